"""A resolved config as data: written into a run's folder, read without executing anything."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

from mmlandmark.utils.files import read_state

CONFIG_FILE = "config.json"
_BESIDE = "remove it: the Python file beside it, or else the checkpoint, has the config, too"

# Where and how a run was started, not what it trains.
_OF_THE_START = frozenset(
    (
        "work_dir",
        "resume",
        "load_from",
        "launcher",
        "experiment_name",
        "log_level",
        "visualizer",
        "vis_backends",
    )
)


_NO_DATA = (
    "this is a program, not a config that a run has left; it is executed only if you name it yourself as the "
    "config"
)


def config_to_data(config: Any) -> dict[str, Any]:
    """Return a config in the types of JSON; classes and functions become their dotted names.

    Args:
        config: An MMEngine ``Config`` or a dict.
    """
    content = config.to_dict() if hasattr(config, "to_dict") else dict(config)
    return {str(key): _plain(value) for key, value in content.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    if hasattr(value, "tolist"):  # arrays and tensors
        return value.tolist()
    return str(value)


def read_dumped_config(text: str, source: str) -> dict[str, Any]:
    """Read the Python text in which MMEngine dumps a resolved config, as data.

    Such a text is a list of assignments of literals and ``dict(...)``. Nothing is executed.

    Args:
        text: The text.
        source: Where it comes from, for errors.

    Raises:
        ValueError: It holds anything else; the line is named.
    """
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"{source}: not a config that a run has dumped: {error}") from error
    config: dict[str, Any] = {}
    for line in body:
        if not (
            isinstance(line, ast.Assign) and len(line.targets) == 1 and isinstance(line.targets[0], ast.Name)
        ):
            raise ValueError(f"{source}, line {line.lineno}: {_NO_DATA}")
        config[line.targets[0].id] = _literal(line.value, source)
    return config


def _literal(node: ast.expr, source: str) -> Any:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict":
        # Where keys are no names of Python, MMEngine writes dict({...}).
        if len(node.args) <= all(isinstance(part, ast.Dict) for part in node.args) and all(
            word.arg for word in node.keywords
        ):
            first = _literal(node.args[0], source) if node.args else {}
            return first | {str(word.arg): _literal(word.value, source) for word in node.keywords}
    elif isinstance(node, ast.Dict) and all(isinstance(key, ast.Constant) for key in node.keys):
        values = (_literal(value, source) for value in node.values)
        return {key.value: value for key, value in zip(node.keys, values, strict=True)}  # type: ignore[union-attr]
    elif isinstance(node, ast.List | ast.Tuple | ast.Set):
        items = [_literal(item, source) for item in node.elts]
        return items if isinstance(node, ast.List) else tuple(items)
    elif isinstance(node, ast.Constant):
        return node.value
    elif isinstance(node, ast.Name) and node.id in ("inf", "nan"):
        return float(node.id)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = _literal(node.operand, source)
        if isinstance(value, int | float):
            return -value
    raise ValueError(f"{source}, line {node.lineno}: {_NO_DATA}")


def config_in(meta: dict[str, Any]) -> dict[str, Any] | None:
    """Return the resolved config that a checkpoint's ``meta`` holds, or None if it holds none.

    Text of older checkpoints is read by :func:`read_dumped_config`, never executed.
    """
    stored, text = meta.get("resolved_config"), meta.get("cfg")
    try:
        if isinstance(stored, str):
            config = json.loads(stored)
        else:
            config = read_dumped_config(text, "meta.cfg") if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return None
    return config_to_data(config) if isinstance(config, dict) else None


def read_config_of_run(folder: str | Path) -> tuple[dict[str, Any], Path] | None:
    """Return the config that a run left in its folder, and its file; None if there is not exactly one.

    It is ``config.json``; runs of earlier versions left a Python file, which is read as text.

    Raises:
        ValueError: The file cannot be read as data.
    """
    folder = Path(folder)
    path = folder / CONFIG_FILE
    if path.is_file():
        return read_state(path, _BESIDE), path
    dumped = sorted(folder.glob("*.py")) if folder.is_dir() else []
    if len(dumped) != 1:
        return None
    try:
        text = dumped[0].read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{dumped[0]}: not UTF-8: {error}") from error
    return read_dumped_config(text, str(dumped[0])), dumped[0]


def runs_below(folder: str | Path) -> list[Path]:
    """Return the folders of runs in a folder, by name: stages of a config, or whatever lies there."""
    return sorted(path.parent for path in Path(folder).glob(f"*/{CONFIG_FILE}"))


def no_run(folder: str | Path, lacks: str = f"no {CONFIG_FILE}") -> str:
    """Return what to say of a folder that is not that of one run; the last run below it is named.

    Args:
        folder: The folder.
        lacks: What it holds, such as ``no config.json``.
    """
    runs = runs_below(folder)
    cure = "name the folder that mmlandmark train wrote, or a model file"
    if runs:
        cure = f"name {runs[-1]}" + (f", the last of {len(runs)} runs in it" if len(runs) > 1 else "")
    return f"{folder} is not the folder of a run, it holds {lacks}: {cure}"


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Return the differences between two configs, ``key old -> new``, apart from how they were started."""
    flat = [
        _flat({key: value for key, value in config_to_data(config).items() if key not in _OF_THE_START})
        for config in (old, new)
    ]
    absent = object()
    return [
        f"{key} {_shown(flat[0].get(key, absent), absent)} -> {_shown(flat[1].get(key, absent), absent)}"
        for key in sorted(flat[0].keys() | flat[1].keys())
        if flat[0].get(key, absent) != flat[1].get(key, absent)
    ]


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    items = value.items() if isinstance(value, dict) else enumerate(value)
    flat: dict[str, Any] = {}
    for key, item in items:
        name = f"{prefix}{key}"
        nested = isinstance(item, dict) or (
            isinstance(item, list) and any(isinstance(part, dict | list) for part in item)
        )
        flat.update(_flat(item, f"{name}.") if nested and item else {name: item})
    return flat


def _shown(value: Any, absent: object) -> str:
    text = "(none)" if value is absent else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
