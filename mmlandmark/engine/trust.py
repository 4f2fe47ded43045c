"""Configs that are data: JSON, YAML, and the configs that runs write. They name classes and run no code.

Such a config may name registered classes. A dotted path makes Python import a module, which runs code, so
the user must trust its package by name: in the environment variable ``MMLANDMARK_TRUST``, or with the option
``--trust`` of a command.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import json
import os
import re
from pathlib import Path
from typing import Any

import yaml
from mmengine.config import Config

from mmlandmark import registry
from mmlandmark.utils.files import parse_json
from mmlandmark.utils.shipped import config_root

VARIABLE = "MMLANDMARK_TRUST"
SUFFIXES = (".json", ".yaml", ".yml")
_DOTTED = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+")
_SCOPES = frozenset({"mmlandmark", "mmengine"})
_FILES = frozenset(
    """
    bmp csv dcm gif gz jpeg jpg json md nii npy png pt pth tif tiff tps tsv txt yaml yml
    """.split()  # noqa: SIM905  a list of quoted words reads worse
)


class _DataLoader(yaml.SafeLoader):
    """Read plain values only, and tuples, which MMEngine writes with a Python tag."""


_DataLoader.add_constructor(
    "tag:yaml.org,2002:python/tuple", lambda loader, node: tuple(loader.construct_sequence(node, deep=True))
)


def _trusted() -> set[str]:
    return {part.strip() for part in os.environ.get(VARIABLE, "").split(",") if part.strip()}


def check_names(data: Any, source: str) -> None:
    """Refuse names that would make Python import a package that the user does not trust.

    Args:
        data: A config, or a part of one, in plain types.
        source: Its file, for error messages.

    Raises:
        ValueError: A dotted path, a scope or an entry of ``custom_imports`` is not trusted. The message names
            key and package.
    """
    for path, value in _strings(data):
        key = next((part for part in reversed(path) if not part.isdigit()), "")
        if key in ("default_scope", "_scope_"):
            allowed = value in _SCOPES or _is_trusted(value)
        elif "custom_imports" in path:
            allowed = key != "imports" or _is_trusted(value)
        else:
            allowed = not _DOTTED.fullmatch(value) or _is_harmless(value, key)
        if not allowed:
            package = value.split(".")[0]
            raise ValueError(
                f"{source}: {'.'.join(path)} names {value!r}, and importing it runs code of the package "
                f"{package!r}: if you trust that package, use --trust {package} or set {VARIABLE}={package}"
            )


def _check_programs(data: Any, source: str) -> None:
    """Refuse a Python config named by data, such as that of a further model: reading it would run it."""
    for path, value in _strings(data):
        is_data = Path(value).suffix in SUFFIXES or value.startswith("mmlandmark::")
        if path[-1] == "config" and not is_data:
            raise ValueError(
                f"{source}: {'.'.join(path)} names {value!r}, which is a program, not data: name a JSON or "
                "YAML config, or leave the key out if a config lies beside the checkpoint"
            )


def _strings(value: Any, path: tuple[str, ...] = ()) -> Any:
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _strings(part, (*path, str(key)))
    elif isinstance(value, list | tuple):
        for index, part in enumerate(value):
            yield from _strings(part, (*path, str(index)))
    elif isinstance(value, str):
        yield path, value


def _is_trusted(dotted: str) -> bool:
    return any(dotted == package or dotted.startswith(f"{package}.") for package in _trusted())


def _is_harmless(dotted: str, key: str) -> bool:
    """Whether a string with dots names a registered or trusted class, or nothing in Python at all."""
    if _is_trusted(dotted) or dotted in _registered():
        return True
    first, last = dotted.split(".")[0], dotted.rsplit(".", 1)[1]
    if key == "type" or key.endswith(("_type", "constructor")):
        return False
    if last.lower() in _FILES:
        return True
    try:
        return importlib.util.find_spec(first) is None
    except (ImportError, ValueError, AttributeError):
        return False


@functools.lru_cache(maxsize=1)
def _registered() -> frozenset[str]:
    """Return the dotted names of all registered classes: with their scope, and with their module."""
    with contextlib.suppress(registry.NotRegisteredError):
        registry.MODELS.get("LandmarkDetector")  # this imports all rooms
    names = set()
    for one in vars(registry).values():
        for part in (one, getattr(one, "parent", None)) if isinstance(one, registry.Registry) else ():
            if part is None:
                continue
            for name, kind in part.module_dict.items():
                names |= {f"{part.scope}.{name}", f"{kind.__module__}.{kind.__qualname__}"}
    return frozenset(names)


def read_data_config(path: str | Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Read a config in JSON or YAML, with its bases; ``{{$NAME:default}}`` is an environment variable.

    Args:
        path: The file. Its bases must be JSON, YAML, or shipped configs (``mmlandmark::...``).
        above: The files that inherit from it.

    Raises:
        FileNotFoundError: A file does not exist.
        ValueError: It cannot be read as data, or :func:`check_names` refuses a name in it.
    """
    path = Path(path)
    if path.resolve() in above:
        raise ValueError(f"{path}: it is a base of itself")
    text = re.sub(r"\{\{\s*\$(\w+)\s*:\s*(\S*?)\s*\}\}", _variable, path.read_text(encoding="utf-8"))
    config = parse_json(text, path) if path.suffix == ".json" else _parse_yaml(text, path)
    if not isinstance(config, dict) or not all(isinstance(key, str) for key in config):
        raise ValueError(f"{path}: a config is an object with named keys, got {type(config).__name__}")
    check_names(config, str(path))
    _check_programs(config, str(path))
    bases = config.pop("_base_", [])
    inherited: dict[str, Any] = {}
    for base in [bases] if isinstance(bases, str) else bases:
        inherited.update(_base(path, str(base), (*above, path.resolve())))
    return Config._merge_a_into_b(config, inherited) if inherited else config


def _parse_yaml(text: str, path: Path) -> Any:
    try:
        return yaml.load(text, _DataLoader)
    except (ValueError, yaml.YAMLError, RecursionError) as error:  # a date that does not exist: ValueError
        raise ValueError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error


def _base(path: Path, base: str, above: tuple[Path, ...]) -> dict[str, Any]:
    scope, marker, name = base.partition("::")
    if marker and scope == "mmlandmark":
        shipped = (config_root() / name).resolve()
        if config_root().resolve() not in shipped.parents or not shipped.is_file():
            raise ValueError(f"{path}: _base_ {base!r} is not among the shipped configs")
        return Config.fromfile(str(shipped)).to_dict()
    file = path.parent / base
    if file.suffix not in SUFFIXES:
        raise ValueError(
            f"{path}: _base_ {base!r} is not JSON or YAML, and a config that is data runs no Python: inherit "
            "from it in a Python config of your own"
        )
    if not file.is_file():
        raise FileNotFoundError(f"{path}: its _base_ {file} does not exist")
    return read_data_config(file, above)


def _variable(match: re.Match[str]) -> str:
    value = os.environ.get(match[1], match[2])
    return json.dumps(value)[1:-1]
