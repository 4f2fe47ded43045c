"""Which names in data may be imported: those of registered classes, and those of packages the user trusts.

A config that is data (JSON, YAML, what runs and model files hold) may name registered classes. A dotted path
makes Python import a module, which runs code, so the user must trust its package by name: in the environment
variable ``MMLANDMARK_TRUST``, or with the option ``--trust`` of a command.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import re
from collections.abc import Iterator
from typing import Any

from mmlandmark import registry

VARIABLE = "MMLANDMARK_TRUST"
_SCOPES = frozenset({"mmlandmark", "mmengine"})
# Arguments of registered classes that make Python load code: values that data may not give them, and why.
_LOADS_CODE = {
    "sys_path": (re.compile(r".*", re.DOTALL), "adds a folder from which modules are imported"),
    "rfstructure_file": (re.compile(r".*\.(pkl|pickle)", re.DOTALL), "is a pickle"),
}


def _trusted() -> set[str]:
    return {part.strip() for part in os.environ.get(VARIABLE, "").split(",") if part.strip()}


def check_names(data: Any, source: str, files: bool = True) -> None:
    """Refuse names that would make Python import a package that the user does not trust.

    Args:
        data: A config, or a part of one, in plain types.
        source: Its file, for error messages.
        files: Whether a text with dots may be the name of a file, such as ``test.json``. Otherwise every text
            counts as one that a registry may look up.

    Raises:
        ValueError: A dotted path, a scope or an entry of ``custom_imports`` is not trusted, or an argument
            makes Python load code. The message names the key.
    """
    for path, value in strings_in(data):
        key = next((part for part in reversed(path) if not part.isdigit()), "")
        _check_code(path, key, value, source)
        if key in ("default_scope", "_scope_"):
            allowed = value in _SCOPES or is_trusted(value)
        elif "custom_imports" in path:
            allowed = key != "imports" or is_trusted(value)
        else:
            # What names a class is imported whether it looks like a path of Python or not.
            dotted = "." in value and (_is_path(value) or _names_class(key) or not files)
            allowed = not dotted or _is_harmless(value, key, files)
        if not allowed:
            package = value.split(".")[0]
            raise ValueError(
                f"{source}: {'.'.join(path)} names {value!r}, and importing it runs code of the package "
                f"{package!r}: if you trust that package, use --trust {package} or set {VARIABLE}={package}"
            )


def strings_in(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield every text inside of plain data, with the keys that lead to it; ``a.b`` are two keys.

    Options of an arm and values of a stage may have dotted keys, which are split when they are merged.
    """
    if isinstance(value, dict):
        for key, part in value.items():
            yield from strings_in(part, (*path, *str(key).split(".")))
    elif isinstance(value, list | tuple):
        for index, part in enumerate(value):
            yield from strings_in(part, (*path, str(index)))
    elif isinstance(value, str):
        yield path, value


def is_trusted(dotted: str) -> bool:
    """Return whether the user trusts the package of a dotted path."""
    return any(dotted == package or dotted.startswith(f"{package}.") for package in _trusted())


def _check_code(path: tuple[str, ...], key: str, value: str, source: str) -> None:
    """Refuse a value that makes Python or a compiler load code, whatever it names."""
    values, why = _LOADS_CODE.get(key, (None, ""))
    if "compile" in path and "options" in path:  # of torch.compile, among them the compiler's program
        values, why = re.compile(r".*", re.DOTALL), "may name a program"
    if values is not None and values.fullmatch(value):
        raise ValueError(
            f"{source}: {'.'.join(path)}={value!r} {why}, which data may not do: write it in a Python config "
            "of your own"
        )


def _is_path(value: str) -> bool:
    return all(part.isidentifier() for part in value.split("."))


def _names_class(key: str) -> bool:
    # mmcv looks a padding_mode up among the layers.
    return key in ("type", "padding_mode") or key.endswith(("_type", "constructor"))


def _is_harmless(dotted: str, key: str, files: bool) -> bool:
    """Whether a string with dots names a registered or trusted class, or nothing in Python at all."""
    if is_trusted(dotted) or dotted in _registered():
        return True
    first, last = dotted.split(".")[0], dotted.rsplit(".", 1)[1]
    if _names_class(key):
        return False
    if files and last.lower() in registry.FILE_ENDINGS:
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
