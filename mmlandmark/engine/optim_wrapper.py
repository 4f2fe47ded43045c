"""Mixed precision on every device."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper
from torch import nn

from mmlandmark.registry import OPTIM_WRAPPERS
from mmlandmark.utils.cpu import has_bfloat16


@OPTIM_WRAPPERS.register_module()
class AutocastOptimWrapper(OptimWrapper):
    """Run the forward pass under bfloat16 autocast, on a CPU as on a GPU.

    bfloat16 has the exponent range of float32, so no loss scaling is needed. Losses compute in float32.
    A processor without instructions for it computes the same, slowly; that is told once.

    Args:
        dtype: ``bfloat16``, or ``float32`` to switch autocast off without changing the wrapper.
        kwargs: See :class:`mmengine.optim.OptimWrapper`.
    """

    def __init__(self, *args, dtype: str = "bfloat16", **kwargs) -> None:
        super().__init__(*args, **kwargs)
        if dtype not in ("bfloat16", "float32"):
            raise ValueError(
                f"dtype must be 'bfloat16' or 'float32', got {dtype!r}; float16 needs AmpOptimWrapper"
            )
        self.dtype = getattr(torch, dtype)
        self._told = False

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Enter autocast for the model's device."""
        device = next(model.parameters()).device.type
        enabled = self.dtype != torch.float32
        if enabled and device == "cpu" and not self._told and has_bfloat16() is False:
            print_log(
                "this processor has no instructions for bfloat16: a step may take three times as long as in "
                "float32, which --cfg-options optim_wrapper.dtype=float32 chooses",
                "current",
                logging.WARNING,
            )
        self._told = True
        with super().optim_context(model), torch.autocast(device, torch.bfloat16, enabled=enabled):
            yield
