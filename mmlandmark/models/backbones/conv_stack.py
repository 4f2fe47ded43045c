"""Convolutions at the size of the image."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from mmlandmark.models.base_module import BaseModule
from mmlandmark.models.blocks import RELU, he_block
from mmlandmark.models.unet_levels import checked_kernels
from mmlandmark.registry import MODELS


@MODELS.register_module()
class ConvStack(BaseModule):
    """Convolutions one after the other, without any pooling.

    With the defaults, the local part of the SpatialConfiguration-Net for hands (Payer et al. 2016): three
    convolutions of 128 channels and 5 x 5 pixels, started as in He et al. 2015.

    Args:
        in_channels: Of the image.
        widths: Channels of every convolution.
        kernel_sizes: Odd: one number, or one entry per convolution, each a number or one per axis.
        dims: 2 or 3.
        padding_mode: ``zeros``, ``reflect`` or ``replicate``.
        norm_cfg: Norm layer of :mod:`mmcv.cnn`, or None.
        act_cfg: Activation of :mod:`mmcv.cnn`, or None.
        init_cfg: See MMEngine.

    Attributes:
        out_channels: Channels of the one level that is returned, in a list.

    Raises:
        ValueError: There is no width, or a kernel is wrong.
    """

    def __init__(
        self,
        in_channels: int = 1,
        widths: Sequence[int] = (128, 128, 128),
        kernel_sizes: int | Sequence[int | Sequence[int]] = 5,
        dims: int = 2,
        padding_mode: str = "zeros",
        norm_cfg: dict | None = None,
        act_cfg: dict | None = RELU,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if not widths:
            raise ValueError("ConvStack needs at least one width")
        kernels = checked_kernels(kernel_sizes, len(widths), dims)
        before = (in_channels, *widths[:-1])
        self.convs = nn.Sequential(
            *(
                he_block(channels, width, kernel, padding_mode, norm_cfg, act_cfg)
                for channels, width, kernel in zip(before, widths, kernels, strict=True)
            )
        )
        self.dims, self.out_channels = dims, [widths[-1]]

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """Return features (B, C, *S) of images (B, in_channels, *S)."""
        return (self.convs(images),)
