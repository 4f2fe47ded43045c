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
_DOTTED = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+")
_SCOPES = frozenset({"mmlandmark", "mmengine"})
_FILES = frozenset(
    """
    bmp csv dcm gif gz jpeg jpg json md nii npy png pt pth tif tiff tps tsv txt yaml yml
    """.split()  # noqa: SIM905  a list of quoted words reads worse
)


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
        ValueError: A dotted path, a scope or an entry of ``custom_imports`` is not trusted. The message names
            key and package.
    """
    for path, value in strings_in(data):
        key = next((part for part in reversed(path) if not part.isdigit()), "")
        if key in ("default_scope", "_scope_"):
            allowed = value in _SCOPES or is_trusted(value)
        elif "custom_imports" in path:
            allowed = key != "imports" or is_trusted(value)
        else:
            # What names a class is imported whether it looks like a path of Python or not.
            dotted = _DOTTED.fullmatch(value) or ("." in value and (_names_class(key) or not files))
            allowed = not dotted or _is_harmless(value, key, files)
        if not allowed:
            package = value.split(".")[0]
            raise ValueError(
                f"{source}: {'.'.join(path)} names {value!r}, and importing it runs code of the package "
                f"{package!r}: if you trust that package, use --trust {package} or set {VARIABLE}={package}"
            )


def strings_in(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield every text inside of plain data, with the keys that lead to it."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from strings_in(part, (*path, str(key)))
    elif isinstance(value, list | tuple):
        for index, part in enumerate(value):
            yield from strings_in(part, (*path, str(index)))
    elif isinstance(value, str):
        yield path, value


def is_trusted(dotted: str) -> bool:
    """Return whether the user trusts the package of a dotted path."""
    return any(dotted == package or dotted.startswith(f"{package}.") for package in _trusted())


def _names_class(key: str) -> bool:
    return key == "type" or key.endswith(("_type", "constructor"))


def _is_harmless(dotted: str, key: str, files: bool) -> bool:
    """Whether a string with dots names a registered or trusted class, or nothing in Python at all."""
    if is_trusted(dotted) or dotted in _registered():
        return True
    first, last = dotted.split(".")[0], dotted.rsplit(".", 1)[1]
    if _names_class(key):
        return False
    if files and last.lower() in _FILES:
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
