"""Checkpoints hold tensors and plain values only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from mmengine.runner import Runner

from mmlandmark.registry import HOOKS
from mmlandmark.utils.checkpoint import holds_its_values

_HISTORY = "__history_buffer__"


@HOOKS.register_module()
class SafeCheckpointHook(Hook):
    """Make checkpoints that ``torch.load(weights_only=True)`` reads, without losing the log's history.

    MMEngine's message hub keeps scalars in ``HistoryBuffer`` objects, which a safe load refuses. They are
    written as tensors and turned back on resume.
    """

    priority = "LOWEST"

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Replace every value that is not plain."""
        # Some schedulers keep a function among their state; it is there again when they are built.
        schedulers = checkpoint.get("param_schedulers", [])
        for states in schedulers.values() if isinstance(schedulers, dict) else [schedulers]:
            states[:] = [{k: v for k, v in state.items() if not callable(v)} for state in states]
        for key in list(checkpoint):
            checkpoint[key] = to_plain(checkpoint[key], key)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Turn written histories back into buffers.

        Raises:
            ValueError: One is broken.
        """
        hub = checkpoint.get("message_hub")
        scalars: Any = hub.get("log_scalars") if isinstance(hub, Mapping) else None
        for name, value in scalars.items() if isinstance(scalars, Mapping) else ():
            if isinstance(value, dict) and _HISTORY in value:
                scalars[name] = _history(str(name), value)


def _history(name: str, value: dict[str, Any]) -> HistoryBuffer:
    history: Any = value[_HISTORY]
    counts: Any = value.get("counts")
    length = value.get("max_length")
    if (
        not all(holds_its_values(part) and part.ndim == 1 for part in (history, counts))
        or history.shape != counts.shape
        or isinstance(length, bool)
        or not isinstance(length, int)
        or not 0 < length < 2**31
    ):
        raise ValueError(f"message_hub.log_scalars[{name[:60]!r}] is no history of numbers")
    return HistoryBuffer(history.cpu().numpy(), counts.cpu().numpy(), max_length=length)


def to_plain(value: Any, where: str = "") -> Any:
    """Return ``value`` with numpy values as tensors or numbers, and history buffers as dicts.

    Raises:
        TypeError: Something else than tensors, numbers, strings and containers; its place is named.
    """
    if isinstance(value, HistoryBuffer):
        history, counts = value.data
        return {
            _HISTORY: torch.from_numpy(np.ascontiguousarray(history)),
            "counts": torch.from_numpy(np.ascontiguousarray(counts)),
            "max_length": value.max_length,
        }
    if value is None or isinstance(value, torch.Tensor | str | bool | int | float | bytes):
        # Subclasses of str and the numbers (numpy scalars among them) would need their class to load.
        for plain in (bool, int, float, str):
            if isinstance(value, plain):
                return plain(value)
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return torch.from_numpy(np.ascontiguousarray(value))
    if isinstance(value, Mapping):
        # An OrderedDict of weights keeps its type and its metadata, which loading uses.
        items = {
            k if isinstance(k, str | int) else str(k): to_plain(v, f"{where}.{k}") for k, v in value.items()
        }
        if type(value) is dict or not hasattr(value, "_metadata"):
            return items
        weights: Any = value
        for key, item in items.items():
            weights[key] = item
        return weights
    if isinstance(value, list | tuple | set | frozenset):
        parts = [to_plain(v, f"{where}[{i}]") for i, v in enumerate(value)]
        return tuple(parts) if isinstance(value, tuple) else parts
    raise TypeError(f"checkpoint entry {where} is a {type(value).__name__}, which cannot be loaded safely")
