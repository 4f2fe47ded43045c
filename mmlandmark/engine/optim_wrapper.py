"""Mixed precision on every device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.optim import OptimWrapper
from torch import nn

from mmlandmark.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class AutocastOptimWrapper(OptimWrapper):
    """Run the forward pass under bfloat16 autocast, on a CPU as on a GPU.

    bfloat16 has the exponent range of float32, so no loss scaling is needed. Losses compute in float32.

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

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Enter autocast for the model's device."""
        device = next(model.parameters()).device.type
        enabled = self.dtype != torch.float32
        with super().optim_context(model), torch.autocast(device, torch.bfloat16, enabled=enabled):
            yield
