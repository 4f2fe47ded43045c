"""Configs in JSON and YAML: they name classes and run no code, see :mod:`mmlandmark.trust`."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from mmengine.config import Config
from mmengine.utils import import_modules_from_strings

from mmlandmark.trust import check_names, is_trusted, strings_in
from mmlandmark.utils.files import parse_json, read_text
from mmlandmark.utils.shipped import shipped_file

SUFFIXES = (".json", ".yaml", ".yml")
_MOST = 1_000_000  # values of a config: thousands of times those of a large one
_VARIABLE = re.compile(r"\{\{\s*\$(\w+)\s*:\s*(\S*?)\s*\}\}")
_IN_JSON = re.compile(rf'"(?:[^"\\]|\\.)*"|{_VARIABLE.pattern}', re.DOTALL)
_HELD = re.compile("\ue000([0-9]+)\ue001")  # characters for private use: YAML allows them everywhere


class _DataLoader(yaml.SafeLoader):
    """Read plain values only, and tuples, which MMEngine writes with a Python tag.

    An environment variable is held as a plain word, since ``{{`` begins a mapping in YAML, and gets its value
    in the scalar that holds it, where nothing of the value needs an escape.
    """

    def __init__(self, text: str) -> None:
        self._variables: list[re.Match[str]] = []
        super().__init__(_VARIABLE.sub(self._hold, text))

    def _hold(self, variable: re.Match[str]) -> str:
        self._variables.append(variable)
        return f"\ue000{len(self._variables) - 1}\ue001"

    def compose_scalar_node(self, anchor: Any) -> Any:
        """Return the node of a scalar; without quotes its value may be a number, a list or whatever it is."""
        is_plain = self.peek_event().implicit[0]
        node = super().compose_scalar_node(anchor)
        text = _HELD.sub(lambda held: self._value(int(held[1]), node.style), node.value)
        if text == node.value:
            return node
        node.value = text
        if is_plain and text.startswith(("[", "{")):
            node = yaml.compose(text, _DataLoader)
            self.anchors[anchor] = node
        elif is_plain:
            node.tag = self.resolve(yaml.ScalarNode, text, (True, False))
        return node

    def _value(self, number: int, style: str | None) -> str:
        """Return a variable's value; its default is written as the scalar around it is."""
        variable = self._variables[number]
        if variable[1] in os.environ:
            return os.environ[variable[1]]
        if style == '"':
            return str(yaml.safe_load(f'"{variable[2]}"'))
        return variable[2].replace("''", "'") if style == "'" else variable[2]


_DataLoader.add_constructor(
    "tag:yaml.org,2002:python/tuple", lambda loader, node: tuple(loader.construct_sequence(node, deep=True))
)


def _check_programs(data: Any, source: str) -> None:
    """Refuse a Python config named by data, such as that of a further model: reading it would run it."""
    for path, value in strings_in(data):
        if path[-1] != "config":
            continue
        try:
            is_data = shipped_file(value) is not None or Path(value).suffix in SUFFIXES
        except FileNotFoundError as error:
            raise ValueError(f"{source}: {'.'.join(path)}: {error}") from None
        if not is_data:
            raise ValueError(
                f"{source}: {'.'.join(path)} names {value!r}, which is a program, not data: name a JSON or "
                "YAML config, or leave the key out if a config lies beside the checkpoint"
            )


def read_data_config(path: str | Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Read a config in JSON or YAML, with its bases; ``{{$NAME:default}}`` is an environment variable.

    In quotes its value is text, whatever characters it has. Without quotes it is a value of JSON or YAML,
    such as a number.

    Args:
        path: The file. Its bases must be JSON, YAML, or shipped configs (``mmlandmark::...``).
        above: The files that inherit from it.

    Raises:
        FileNotFoundError: A file does not exist.
        ValueError: It cannot be read as data, two of its bases have the same key, or :func:`check_names`
            refuses a name in it.
    """
    path = Path(path)
    if path.resolve() in above:
        raise ValueError(f"{path}: it is a base of itself")
    text = read_text(path)
    config = _parse_json(text, path) if path.suffix == ".json" else _parse_yaml(text, path)
    if not isinstance(config, dict) or not all(isinstance(key, str) for key in config):
        raise ValueError(f"{path}: a config is an object with named keys, got {type(config).__name__}")
    check_names(config, str(path))
    _check_programs(config, str(path))
    bases = config.pop("_base_", [])
    inherited: dict[str, Any] = {}
    for base in [bases] if isinstance(bases, str) else bases:
        content = _base(path, str(base), (*above, path.resolve()))
        twice = sorted(inherited.keys() & content.keys())
        if twice:
            raise ValueError(
                f"{path}: {', '.join(twice)} in its _base_ {base!r} is in one before it, too; a key is not "
                "allowed in two bases"
            )
        inherited.update(content)
    return Config._merge_a_into_b(config, inherited) if inherited else config


def import_trusted(config: Mapping[str, Any], source: str) -> None:
    """Import the modules that ``custom_imports`` of a config that is data names.

    Args:
        config: The config.
        source: Its file, for error messages.

    Raises:
        ValueError: They are no list of names, not trusted, or cannot be imported.
    """
    custom = config.get("custom_imports")
    if not custom:
        return
    names = custom.get("imports") if isinstance(custom, dict) else None
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, list) or not all(isinstance(name, str) and is_trusted(name) for name in names):
        raise ValueError(f"{source}: custom_imports.imports must list modules that you trust, got {names!r}")
    try:
        import_modules_from_strings(names, bool(custom.get("allow_failed_imports")))
    except ImportError as error:
        raise ValueError(
            f"{source}: custom_imports: {error.__cause__ or error.__context__ or error}"
        ) from error


def _parse_json(text: str, path: Path) -> Any:
    """Return the content of JSON text, with the values of environment variables."""
    return parse_json(_IN_JSON.sub(_value_in_json, text) if _VARIABLE.search(text) else text, path)


def _value_in_json(match: re.Match[str]) -> str:
    if match[1] is not None:
        return _value(match)
    try:
        text = json.loads(match[0])
    except ValueError:  # whoever reads the whole text says where
        return match[0]
    return json.dumps(_VARIABLE.sub(_value, text))


def _value(variable: re.Match[str]) -> str:
    return os.environ.get(variable[1], variable[2])


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
    try:
        shipped = shipped_file(base)
    except FileNotFoundError as error:
        raise ValueError(f"{path}: _base_ {error}") from None
    if shipped is not None:
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
