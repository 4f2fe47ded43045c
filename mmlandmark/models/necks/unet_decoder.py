"""The way up of a U-Net, as a neck of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from mmlandmark.models.blocks import start_as_pytorch
from mmlandmark.models.unet_levels import UNetLevels
from mmlandmark.registry import MODELS


@MODELS.register_module()
class UNetDecoder(UNetLevels):
    """The way up of a U-Net over an encoder's levels: interpolate, concatenate ``[up, skip]``, convolve.

    It makes a U-Net of an encoder without a decoder, and a second branch of one with, see
    :class:`~mmlandmark.models.detectors.MultiTaskDetector`.

    Args:
        in_channels: Channels of the levels, finest first; each is half as large as the one before.
        dims: 2 or 3.
        widths: Channels of the levels on the way up, finest first, of all but the deepest, with which it
            begins; None for those of ``in_channels``.
        **kwargs: See :class:`UNetLevels`.

    Raises:
        ValueError: There is not one width for each level but the deepest.
    """

    def __init__(
        self, in_channels: Sequence[int], dims: int = 2, widths: Sequence[int] | None = None, **kwargs: Any
    ) -> None:
        ways = list(in_channels)[:-1] if widths is None else list(widths)
        if len(ways) != len(in_channels) - 1:
            raise ValueError(
                f"{type(self).__name__} needs {len(in_channels) - 1} widths, one for each of "
                f"{len(in_channels)} levels but the deepest, got {ways}"
            )
        super().__init__([*ways, in_channels[-1]], dims, **kwargs)
        self.skip_channels = tuple(in_channels)
        self.add_way_up()
        start_as_pytorch(self)

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the levels of ``out_indices``, from levels (B, C, *S / 2^i), finest first.

        Raises:
            ValueError: There are more or fewer levels than ``in_channels``.
        """
        self.check_levels(features)
        return self.go_up(features)

    def check_levels(self, features: Sequence[Tensor]) -> None:
        """Raise ValueError if there are more or fewer levels than ``in_channels``."""
        if len(features) != self.depth:
            raise ValueError(f"UNetDecoder has {self.depth} levels, the encoder returns {len(features)}")
