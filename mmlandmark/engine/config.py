"""Loading configs, with errors that name file and key."""

from __future__ import annotations

import contextlib
import copy
import difflib
import inspect
import json
import reprlib
import shlex
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmlandmark import registry
from mmlandmark.engine.config_arguments import wrong_arguments
from mmlandmark.engine.config_data import no_run, read_config_of_run
from mmlandmark.engine.console import hushed
from mmlandmark.engine.mmengine_cures import config_scope
from mmlandmark.engine.plain_config import SUFFIXES, import_trusted, read_data_config
from mmlandmark.models.model_file import ModelFile
from mmlandmark.trust import check_names
from mmlandmark.utils.config_hash import KNOWN_KEYS
from mmlandmark.utils.dataset_tree import leaf_configs
from mmlandmark.utils.files import read_text
from mmlandmark.utils.shipped import config_root, shipped_detector, shipped_file

MODEL_SUFFIX = ".pth"  # no config has it
_COUNTS = (
    *("train_cfg.max_epochs", "train_cfg.max_iters", "train_cfg.val_interval"),
    "optim_wrapper.accumulative_counts",
)


class ConfigError(ValueError):
    """A config that cannot be used; the message names file and key."""


def load_config(path: str | Path, options: dict[str, Any] | None = None) -> Config:
    """Load a config file and apply ``key.sub=value`` options.

    Args:
        path: Python, YAML or JSON config, or ``mmlandmark::<path>`` for one that is shipped; or a model
            file, or the name of a detector that comes with the package, of which the config is that of its
            test, see :func:`config_of_model`.
        options: Dotted keys to values, as ``--cfg-options`` gives them.

    Raises:
        FileNotFoundError: The file or one of its bases does not exist.
        ConfigError: It does not parse, or a key looks like a misspelling of a known one.
    """
    # A file beside it may have that very name, so the name of a shipped one comes first.
    path = shipped_file(str(path)) or Path(path)
    if not path.is_file():
        path = shipped_detector(path) or path
    if path.is_dir():
        raise FileNotFoundError(
            f"{path} is a folder, not a config: name the config file; for a folder of annotated images, "
            f"mmlandmark plan {shlex.quote(str(path))} -o my_run makes one"
        )
    if not path.is_file():
        raise FileNotFoundError(f"config {path} does not exist")
    if path.suffix == MODEL_SUFFIX:
        return config_of_model(path, options)
    return _with_options(read_config(path), str(path), options)


def read_config(path: str | Path) -> Config:
    """Return the content of a config file, or of another file of settings such as a sweep, as it is written.

    A Python file is run; JSON and YAML are read as data, see :mod:`mmlandmark.engine.plain_config`.

    Args:
        path: The file.

    Raises:
        FileNotFoundError: The file or one of its bases does not exist.
        ConfigError: It does not parse, or names what is not trusted.
    """
    path = Path(path)
    try:
        if path.suffix in SUFFIXES:
            config = Config(read_data_config(path), cfg_text=read_text(path), filename=str(path))
            import_trusted(config, str(path))
            return config
        if str(path.parent.resolve()) not in sys.path:  # a config may import modules from its folder
            sys.path.append(str(path.parent.resolve()))
        with hushed(), config_scope:
            return Config.fromfile(str(path))
    except FileNotFoundError:
        raise
    except AttributeError as error:
        raise ConfigError(
            f"{path}: a config is a set of sections (model, train_dataloader, ...), which this file is not "
            f"({error})"
        ) from error
    except ValueError as error:
        raise ConfigError(str(error) if str(path) in str(error) else f"{path}: {error}") from error
    except Exception as error:
        raise ConfigError(f"{path}: {type(error).__name__}: {error}") from error


def config_of_model(path: str | Path, options: dict[str, Any] | None = None) -> Config:
    """Return the config in a model file, with the runtime that shipped configs have.

    Args:
        path: The model file.
        options: See :func:`load_config`.

    Raises:
        ConfigError: It is no model file, or one that must not be loaded.
    """
    try:
        data = ModelFile.load(path).config
    except ValueError as error:
        raise ConfigError(str(error)) from error
    runtime = Config.fromfile(str(config_root() / "_base_" / "default_runtime.py")).to_dict()
    config = Config(runtime | data, cfg_text=json.dumps(data), filename=str(path))
    return _with_options(config, str(path), options)


def is_of_model(config: Config) -> bool:
    """Return whether a config comes from a model file, which holds its weights as well."""
    return Path(config.filename or "").suffix == MODEL_SUFFIX


def _with_options(config: Config, source: str, options: dict[str, Any] | None) -> Config:
    _check_keys(config, source)
    if options:
        # Stages that are replaced, too, keep nothing.
        stages = () if "stages" in options else config.get("stages") or ()
        for key in options:
            _check_option(config, key, stages)
        _warn_of_rate(config, options)
        try:
            config.merge_from_dict(copy.deepcopy(options))  # merging takes _delete_ out of the values
        except TypeError as error:
            raise ConfigError(_kinds_that_differ(config, options)) from error
    config.setdefault("default_scope", "mmlandmark")
    check_arguments(config, source)
    return config


def check_arguments(config: Config, where: str) -> None:
    """Refuse a section with an argument that its class does not take.

    Args:
        config: A whole config; its stages become whole in their plan.
        where: What it is, to begin an error with.

    Raises:
        ConfigError: Section, class and the nearest argument are named; or a count is none.
    """
    for key in _COUNTS:
        count = value_at(config, key.split("."), 1)
        whole = isinstance(count, int) or (isinstance(count, float) and count.is_integer())
        if isinstance(count, bool) or not whole or count < 1:
            raise ConfigError(f"{where}: {key} must be a whole number of at least 1, got {count!r}")
    content = {key: value for key, value in config.items() if key in KNOWN_KEYS and key != "stages"}
    wrong = next(wrong_arguments(content), None)
    if wrong is not None:
        raise ConfigError(
            f"{where}: {wrong} (a section of another type than the one it is merged over begins with "
            "_delete_=True)"
        )


def config_of_run(folder: str | Path, options: dict[str, Any] | None = None) -> Config:
    """Return the config that a training run left in its work folder, read as data; no code in it is run.

    Args:
        folder: The work folder, or a model file instead, see :func:`config_of_model`.
        options: See :func:`load_config`.

    Raises:
        ConfigError: The folder holds no config, or not one; or it cannot be read as data, or names classes of
            a package that is not trusted, see :mod:`mmlandmark.trust`.
    """
    if Path(folder).is_file():
        return config_of_model(folder, options)
    try:
        left = read_config_of_run(folder)
        if left is not None:
            check_names(left[0], str(left[1]))
            import_trusted(left[0], str(left[1]))
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if left is None:
        count = len(list(Path(folder).glob("*.py"))) if Path(folder).is_dir() else 0
        if count == 0:
            raise ConfigError(no_run(folder))
        raise ConfigError(f"{folder}: expected the work folder of one training run, found {count} configs")
    config = Config(left[0], cfg_text=read_text(left[1]), filename=str(left[1]))
    return _with_options(config, str(left[1]), options)


def test_pipeline(config: Config) -> list[dict]:
    """Return what an image goes through before the network in a test, or else in a validation.

    A model file without a test has its pipeline under ``pipeline``.
    """
    loader = config.get("test_dataloader") or config.get("val_dataloader")
    if not loader and is_of_model(config):
        return config.pipeline
    dataset = (loader or {}).get("dataset") or {}
    return leaf_configs(dataset)[0].get("pipeline") or []


def input_size(config: Config) -> tuple[int, ...] | None:
    """Return the (*S) of the network's input: what the last sizing step of the test's pipeline makes."""
    sizes = [tuple(step["size"]) for step in test_pipeline(config) if step.get("size")]
    return sizes[-1] if sizes else None


def _check_keys(config: Config, source: str) -> None:
    for key in config:
        if key not in KNOWN_KEYS:
            near = difflib.get_close_matches(key, KNOWN_KEYS, n=1, cutoff=0.85)
            if near:
                raise ConfigError(f"{source}: unknown key {key!r}; did you mean {near[0]!r}?")


def value_at(node: Any, keys: Sequence[str | int], default: Any = None) -> Any:
    """Return what stands under keys of a config, one below the other, or ``default`` if nothing does.

    Args:
        node: A config or a section of it.
        keys: Names in sections, indices in lists.
        default: For a name that is not there.
    """
    for key in keys:
        if isinstance(key, str) and (not isinstance(node, dict | Config) or key not in node):
            return default
        node = node[key]
    return node


def _kinds_that_differ(config: Config, options: dict[str, Any]) -> str:
    """Return which option is a dict in the place of another value, which MMEngine refuses."""
    for dotted, value in options.items():
        try:
            copy.deepcopy(config).merge_from_dict({dotted: copy.deepcopy(value)})
        except TypeError:
            held = reprlib.repr(value_at(config, dotted.split("."), None))
            return (
                f"--cfg-options {dotted}: {reprlib.repr(value)} is a dict in the place of another value, of "
                f"which there is {held}; _delete_=True in the dict replaces it"
            )
    return f"--cfg-options {', '.join(options)}: two of them are a dict and another value in one place"


def _check_option(config: Config, dotted: str, stages: Sequence[Any]) -> None:
    """Refuse an option with a key that is missing but resembles one that exists."""
    node: Any = config
    walked: list[str] = []
    top = dotted.split(".")[0]
    if top in config and top not in KNOWN_KEYS:
        warnings.warn(
            f"--cfg-options {dotted}: {top!r} is no key of a run; unless code of yours reads it nothing "
            "changes, since the values made of it are made already; mmlandmark print-config shows them",
            stacklevel=2,
        )
    missing = object()
    for number, stage in enumerate(stages):
        if value_at(stage, dotted.split("."), missing) is not missing:
            warnings.warn(
                f"--cfg-options {dotted}: the stage {stage.get('name')!r} keeps a value of its own; "
                f"stages.{number}.{dotted}=... changes it",
                stacklevel=2,
            )
    for part in dotted.split("."):
        if isinstance(node, list | tuple):
            if not part.isdigit() or int(part) >= len(node):
                raise ConfigError(f"--cfg-options {dotted}: {'.'.join(walked)} is a list of {len(node)}")
            node = node[int(part)]
        elif isinstance(node, dict | Config):
            keys = list(node.keys())
            if part not in keys:
                if (not walked and part in KNOWN_KEYS) or _takes(node.get("type"), part):
                    return  # It is left at its default here.
                near = difflib.get_close_matches(
                    part, [*keys, *(KNOWN_KEYS if not walked else ())], n=3, cutoff=0.75
                )
                if near or not walked:
                    hint = (
                        f" Did you mean {', '.join(near)}?"
                        if near
                        else f" Keys there: {', '.join(sorted(keys))}."
                    )
                    raise ConfigError(f"--cfg-options {dotted}: there is no key {part!r}.{hint}")
                return  # A new key under an existing section: the section's builder will judge it.
            node = node[part]
        else:
            raise ConfigError(f"--cfg-options {dotted}: {'.'.join(walked)} is {node!r} and has no keys")
        walked.append(part)


def _warn_of_rate(config: Config, options: dict[str, Any]) -> None:
    """Warn of a learning rate that a schedule replaces by its own."""
    rate, schedules = "optim_wrapper.optimizer.lr", config.get("param_scheduler")
    if rate not in options or not isinstance(schedules, list):
        return
    for number, schedule in enumerate(schedules):
        peak = f"param_scheduler.{number}.eta_max"
        kind = schedule.get("type")
        if getattr(kind, "__name__", kind) == "OneCycleLR" and not {peak, "param_scheduler"} & set(options):
            warnings.warn(
                f"--cfg-options {rate}: the OneCycleLR of this config sets the rate itself, up to its "
                f"eta_max={schedule.get('eta_max')}; {peak}=... changes it",
                stacklevel=2,
            )


def _takes(kind: Any, argument: str) -> bool:
    """Whether a class, or one that is registered under that name anywhere, has an argument of a name."""
    named = []
    for one in vars(registry).values() if isinstance(kind, str) else ():
        if isinstance(one, registry.Registry):
            with contextlib.suppress(registry.NotRegisteredError):
                named.append(one.get(kind))
    return any(
        argument in inspect.signature(base.__init__).parameters
        for one in ([kind] if inspect.isclass(kind) else named)
        for base in getattr(one, "__mro__", ())
        if "__init__" in vars(base)
    )
