"""The implementation of the operators: native, or the twins in plain PyTorch."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from torch import Tensor


class Backend(NamedTuple):
    """The active implementation of the operators.

    Attributes:
        name: ``native`` or ``reference``.
        reason: Why this one, in words.
        build: ``build_info()`` of :mod:`mmlandmark._C`; empty for ``reference``.
    """

    name: str
    reason: str
    build: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


def _load() -> Backend:
    if os.environ.get("MMLANDMARK_DISABLE_EXT", "0") not in ("", "0"):
        return Backend("reference", "MMLANDMARK_DISABLE_EXT is set", {})
    try:
        native = importlib.import_module("mmlandmark._C")
    except ImportError as error:
        how = "build it with a C++ compiler: pip install --no-build-isolation -e ."
        return Backend("reference", f"mmlandmark._C cannot be imported ({error}); {how}", {})
    build = native.build_info()
    devices = "CPU and CUDA" if build["cuda"] else "CPU"
    return Backend("native", f"mmlandmark._C for {devices}, {build['cpu_level']} instructions", build)


_BACKEND = _load()


def backend() -> Backend:
    """Return which implementation of the operators is active, and why.

    ``MMLANDMARK_DISABLE_EXT=1`` in the environment chooses the twins in plain PyTorch.

    Example:
        >>> backend().name in ("native", "reference")
        True
    """
    return _BACKEND


@contextmanager
def using_reference() -> Iterator[None]:
    """Use the twins in plain PyTorch within a block, in all threads: to compare, or to find a fault.

    Example:
        >>> with using_reference():
        ...     backend().name
        'reference'
    """
    global _BACKEND
    before, _BACKEND = _BACKEND, Backend("reference", "using_reference()", {})
    try:
        yield
    finally:
        _BACKEND = before


def is_native(tensor: Tensor) -> bool:
    """Return whether the native operators support a tensor's device and type."""
    if _BACKEND.name != "native" or not tensor.is_floating_point():
        return False
    return tensor.device.type == "cpu" or (tensor.device.type == "cuda" and bool(_BACKEND.build["cuda"]))
