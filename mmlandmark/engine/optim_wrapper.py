"""Mixed precision on every device."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper, optimizer
from torch import nn

from mmlandmark.registry import OPTIM_WRAPPERS
from mmlandmark.utils.cpu import has_bfloat16

DTYPES = ("auto", "bfloat16", "float32")


@OPTIM_WRAPPERS.register_module()
class AutocastOptimWrapper(OptimWrapper):
    """Run the forward pass under bfloat16 autocast, on a CPU as on a GPU.

    bfloat16 has the exponent range of float32, so no loss scaling is needed. Losses compute in float32. A
    processor without instructions for it computes the same up to ten times as slowly, so ``auto`` takes
    float32 there; the terminal shows it and checkpoints keep it as ``meta["precision"]``.

    Args:
        dtype: ``auto``; ``bfloat16`` for that wherever it runs, or ``float32`` to switch autocast off without
            changing the wrapper.
        kwargs: See :class:`mmengine.optim.OptimWrapper`.

    Raises:
        ValueError: ``dtype`` is none of these.
    """

    def __init__(self, *args, dtype: str = "auto", **kwargs) -> None:
        super().__init__(*args, **kwargs)
        if dtype not in DTYPES:
            raise ValueError(f"dtype must be one of {DTYPES}, got {dtype!r}; float16 needs AmpOptimWrapper")
        self.asked, self._told = dtype, False

    def precision(self, device: str | None = None) -> str:
        """Return ``bfloat16`` or ``float32``, what the network computes in.

        Args:
            device: Type of the device; that of the parameters by default.
        """
        if self.asked != "auto":
            return self.asked
        if device is None:
            device = self.param_groups[0]["params"][0].device.type
        return "float32" if device == "cpu" and has_bfloat16() is False else "bfloat16"

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Enter autocast for the model's device."""
        device = next(model.parameters()).device.type
        enabled = self.precision(device) == "bfloat16"
        if enabled and device == "cpu" and not self._told and has_bfloat16() is False:
            print_log(
                "this processor has no instructions for bfloat16: a step may take ten times as long as in "
                "float32, which optim_wrapper.dtype=auto chooses by itself",
                "current",
                logging.WARNING,
            )
        self._told = True
        with super().optim_context(model), torch.autocast(device, torch.bfloat16, enabled=enabled):
            yield


@OPTIM_WRAPPERS.register_module()
class AmpOptimWrapper(optimizer.AmpOptimWrapper):
    """MMEngine's mixed precision with loss scaling; without a GPU its error names the alternatives.

    Raises:
        ValueError: There is no device for it.
    """

    def __init__(self, *args, **kwargs) -> None:
        try:
            super().__init__(*args, **kwargs)
        except AssertionError as error:
            raise ValueError(
                f"AmpOptimWrapper: {error}; AutocastOptimWrapper trains in bfloat16 on any device"
            ) from error


def precision_of(optim_wrapper: OptimWrapper) -> str:
    """Return the number type that a run's network trains in: ``float32``, ``bfloat16`` or ``float16``."""
    if isinstance(optim_wrapper, AutocastOptimWrapper):
        return optim_wrapper.precision()
    if isinstance(optim_wrapper, optimizer.AmpOptimWrapper):
        kind = optim_wrapper.cast_dtype
        return "float16" if kind is None else str(kind).removeprefix("torch.")
    return "float32"
