"""Configs in JSON and YAML: they name classes and run no code, see :mod:`mmlandmark.trust`."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import yaml
from mmengine.config import Config

from mmlandmark.trust import check_names, strings_in
from mmlandmark.utils.files import parse_json
from mmlandmark.utils.shipped import config_root

SUFFIXES = (".json", ".yaml", ".yml")
_MOST = 1_000_000  # values of a config: thousands of times those of a large one


class _DataLoader(yaml.SafeLoader):
    """Read plain values only, and tuples, which MMEngine writes with a Python tag."""


_DataLoader.add_constructor(
    "tag:yaml.org,2002:python/tuple", lambda loader, node: tuple(loader.construct_sequence(node, deep=True))
)


def _check_programs(data: Any, source: str) -> None:
    """Refuse a Python config named by data, such as that of a further model: reading it would run it."""
    for path, value in strings_in(data):
        is_data = Path(value).suffix in SUFFIXES or value.startswith("mmlandmark::")
        if path[-1] == "config" and not is_data:
            raise ValueError(
                f"{source}: {'.'.join(path)} names {value!r}, which is a program, not data: name a JSON or "
                "YAML config, or leave the key out if a config lies beside the checkpoint"
            )


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
        content = yaml.load(text, _DataLoader)
        if _count(content, {}) > _MOST:
            raise ValueError(f"its aliases make more than {_MOST:,} values of it")
        return content
    except (ValueError, yaml.YAMLError, RecursionError) as error:  # a date that does not exist: ValueError
        raise ValueError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error


def _count(value: Any, known: dict[int, int]) -> int:
    """Return how many values there are if every alias is a copy; too many if there is no end."""
    if not isinstance(value, dict | list | tuple):
        return 1
    if id(value) not in known:
        known[id(value)] = _MOST + 1  # until it is counted: an alias of itself has no end
        parts = [*value.keys(), *value.values()] if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_count(part, known) for part in parts)
    return known[id(value)]


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
