"""The config inside of a model file: plain data, and only of classes that do no harm.

A model file may come from anybody. Its config may name registered classes that compute; it may not start
from other weights, name files to write or a server to read from, or name a class that reads or writes on its
own.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mmengine.registry import FUNCTIONS, Registry

from mmlandmark import registry
from mmlandmark.datasets.transforms import LoadImage, PackInputs
from mmlandmark.registry import TRANSFORMS, NotRegisteredError
from mmlandmark.trust import check_names, is_trusted
from mmlandmark.utils.near_names import did_you_mean
from mmlandmark.utils.sentences import one_line

REQUIRED = ("model", "pipeline")
OPTIONAL = ("test_dataloader", "test_evaluator", "test_cfg")
MAX_DEPTH = 40
MAX_VALUES = 2**27  # pixels of an image that a pipeline makes: 512 MiB in single precision
# Processes, pixels of padding, peaks of a map, views of an image.
MOST = {"num_workers": 64, "size_divisor": 1024, "candidates": 64, "views": 64}

# What a network starts from, and what a test reads or writes beside images and annotation.
_STARTS = frozenset({"init_cfg", "checkpoint", "pretrained", "load_from"})
_FILES = frozenset(
    {"out_file", "predictions_file", "image_cache", "collect_dir", "cache_dir", "backend_args"}
)
_ABOUT = frozenset({"metainfo", "schema"})  # say what the data is, and may tell where it was published
# Packages of which registered classes only compute, beside ours.
_COMPUTING = ("torch.nn", "mmcv.cnn", "mmengine.model", "mmengine.dataset", "mmengine.runner.loops")


def without_starts(model: Any) -> Any:
    """Return a model's config without the weights that its training started from."""
    if isinstance(model, Mapping):
        return {key: without_starts(value) for key, value in model.items() if key not in _STARTS}
    return [without_starts(value) for value in model] if isinstance(model, list | tuple) else model


def without_files(section: Any) -> Any:
    """Return a section of a test without the files that it writes, and without its caches."""
    if isinstance(section, Mapping):
        return {key: without_files(value) for key, value in section.items() if key not in _FILES}
    return [without_files(value) for value in section] if isinstance(section, list | tuple) else section


def check_frozen(config: Any, where: str, trust: bool = False) -> None:
    """Refuse a config that is no plain data, or that may do more than compute.

    Args:
        config: ``model`` and ``pipeline``; of a file that can be tested also ``test_dataloader``,
            ``test_evaluator`` and ``test_cfg``.
        where: Its file, for errors.
        trust: Accept names of classes of any package.

    Raises:
        ValueError: The key, and what is wrong with it.
    """
    check_plain(config, where)
    unknown = sorted(set(config) - {*REQUIRED, *OPTIONAL})
    if unknown:
        hint = did_you_mean(unknown, (*REQUIRED, *OPTIONAL))
        raise ValueError(f"{where}: its config has unknown keys {', '.join(unknown)}{hint}")
    model, pipeline = (config.get(key) for key in REQUIRED)
    if not isinstance(model, dict) or not isinstance(pipeline, list) or not pipeline:
        raise ValueError(f"{where}: its config needs 'model', a section, and 'pipeline', a list of steps")
    if not all(isinstance(step, dict) for step in pipeline):
        raise ValueError(f"{where}: every step of its pipeline must be a section with a type")
    _check_test(config, where)
    for forbidden, sections in ((_STARTS, REQUIRED), (_FILES, OPTIONAL)):
        for path, value in _entries({key: config[key] for key in sections if key in config}):
            if path[-1] in forbidden and value not in (None, [], {}):
                raise ValueError(
                    f"{where}: {'.'.join(path)} names something beside the file itself, which a model file "
                    "must not do"
                )
    for key in addresses(config):
        raise ValueError(
            f"{where}: {key} is the address of a server, from which a model file must not fetch anything"
        )
    if not trust:
        check_names(config, where)
        check_names({key: config[key] for key in REQUIRED}, where, files=False)
        for key, section in config.items():
            _check_types(section, f"{where}: {key}")
    _check_sizes(config, where)


def addresses(config: Mapping[str, Any]) -> Iterator[str]:
    """Yield the dotted keys of the values in a config that are addresses, such as those of shards."""
    for path, value in _entries(config):
        # A variable may hold a part of one: data sets replace it by its value.
        if isinstance(value, str) and "://" in os.path.expandvars(value) and not _ABOUT & set(path[:-1]):
            yield ".".join(path)


def _check_test(config: dict[str, Any], where: str) -> None:
    """Raise ValueError unless the sections of a test are sections."""
    loader, evaluator = config.get("test_dataloader"), config.get("test_evaluator")
    wrong = {
        "test_dataloader": loader is not None
        and not (isinstance(loader, dict) and isinstance(loader.get("dataset"), dict)),
        "test_evaluator": evaluator is not None
        and not all(isinstance(m, dict) for m in (evaluator if isinstance(evaluator, list) else [evaluator])),
        "test_cfg": not isinstance(config.get("test_cfg"), dict | None),
    }
    for key in (key for key, is_wrong in wrong.items() if is_wrong):
        raise ValueError(f"{where}: {key} is no section of a config")


def build_steps(pipeline: Iterable[dict], where: str) -> list[Any]:
    """Return the built steps of a pipeline that begins with ``LoadImage`` and ends with ``PackInputs``.

    Args:
        pipeline: See :func:`check_frozen`.
        where: Its file, for errors.

    Raises:
        ValueError: A step cannot be built, or the ends are others.
    """
    try:
        steps = [TRANSFORMS.build(dict(step)) for step in pipeline]
    except Exception as error:  # a config of unknown origin leads constructors anywhere
        raise ValueError(f"{where}: a step of its pipeline cannot be built: {one_line(error)}") from error
    if not isinstance(steps[0], LoadImage) or not isinstance(steps[-1], PackInputs):
        raise ValueError(f"{where}: its pipeline must begin with LoadImage and end with PackInputs")
    return steps


def check_plain(data: Any, where: str) -> None:
    """Refuse data that is nested too deeply, has a key that is no text, or a number beyond all bounds.

    Raises:
        ValueError: See above.
    """
    if not isinstance(data, dict):
        raise ValueError(f"{where}: expected a section with named keys, got {type(data).__name__}")
    level: list[Any] = [data]
    for _ in range(MAX_DEPTH):
        for value in level:
            if isinstance(value, dict) and not all(isinstance(key, str) for key in value):
                raise ValueError(f"{where}: the keys of a section must be text")
            if isinstance(value, int | float) and not abs(value) < 2**63:
                raise ValueError(f"{where}: it holds the number {str(value)[:20]}, which is out of bounds")
        level = [
            part
            for value in level
            if isinstance(value, dict | list | tuple)
            for part in (value.values() if isinstance(value, dict) else value)
        ]
        if not level:
            return
    raise ValueError(f"{where}: its data is nested more than {MAX_DEPTH} levels deep")


def _entries(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every named value inside of a config, with the keys that lead to it."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield (*path, str(key)), value
        yield from _entries(value, (*path, str(key)))


def _check_types(section: Any, where: str) -> None:
    """Refuse a class that is not registered, or that belongs to a package of which not all only computes."""
    for path, name in _entries(section):
        here = f"{where}.{'.'.join(path)}"
        if path[-1] == "_scope_" and name != registry.SCOPE:
            raise ValueError(f"{here}: names are looked up in {registry.SCOPE} only, not in {name!r:.60}")
        if path[-1] != "type" or name is None:
            continue
        if not isinstance(name, str):
            raise ValueError(f"{here} must be the name of a class, got {type(name).__name__}")
        kinds = list(_registered(name))
        if not kinds:
            raise ValueError(f"{here}: {name!r} is not registered{_near(name)}")
        for kind in kinds:
            if not _computes(kind):
                package = kind.__module__.split(".")[0]
                raise ValueError(
                    f"{here}: {name!r} is a class of {kind.__module__}, not one for model files unless you "
                    f"trust the package: --trust {package}"
                )


def _registries() -> Iterator[Registry]:
    yield from (one for one in vars(registry).values() if isinstance(one, registry.Registry))
    yield FUNCTIONS  # such as those that make batches


def _registered(name: str) -> Iterator[Any]:
    """Yield what a name stands for in every registry; nothing is imported for it."""
    for one in _registries():
        if "." in name:  # a name that was found to be registered or trusted
            with contextlib.suppress(NotRegisteredError):
                yield one.get(name)
            continue
        one.import_from_location()
        upper = {} if one.parent is None else one.parent.module_dict
        kind = one.module_dict.get(name, upper.get(name))
        if kind is not None:
            yield kind


def _computes(kind: Any) -> bool:
    """Whether a class is ours, of a plugin that the user installed, trusted, or one that only computes."""
    module = f"{kind.__module__}."
    own = any(kind in one.module_dict.values() for one in _registries() if isinstance(one, registry.Registry))
    return own or is_trusted(kind.__module__) or any(module.startswith(f"{name}.") for name in _COMPUTING)


def _near(name: str) -> str:
    return did_you_mean([name[:60]], {known for one in _registries() for known in one.module_dict})


def _check_sizes(config: dict[str, Any], where: str) -> None:
    """Refuse images and numbers that would take memory or time out of all proportion."""
    for path, value in _entries(config):
        numbers = value if isinstance(value, list) else [value]
        plain = all(isinstance(n, int | float) for n in numbers)
        if path[-1] == "size" and plain and not abs(math.prod(numbers)) <= MAX_VALUES:
            raise ValueError(f"{where}: {'.'.join(path)} makes images of {value}, which is out of bounds")
        count, most = len(value) if isinstance(value, list) else value, MOST.get(path[-1], math.inf)
        if isinstance(count, int | float) and count > most:
            raise ValueError(f"{where}: {'.'.join(path)} is {count}, at most {most} are allowed")
