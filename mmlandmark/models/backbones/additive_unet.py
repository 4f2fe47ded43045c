"""The local appearance network of the SpatialConfiguration-Net."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from mmlandmark.models.base_module import BaseModule
from mmlandmark.models.blocks import he_block, upsample
from mmlandmark.models.unet_levels import check_sides, checked_kernels, checked_strides
from mmlandmark.registry import MODELS


@MODELS.register_module()
class AdditiveUNet(BaseModule):
    """U-Net of one width whose levels are added, of the SpatialConfiguration-Net (Payer et al. 2019).

    After a first convolution every level is convolution, dropout, convolution; levels are joined by average
    pooling. On the way up, the convolution of a level's skip connection is added to the level below,
    interpolated; there are no others. All start as in He et al. 2015, with biases of zero. The publication
    has a width of 128 in images and of 64 in volumes. The other half of the network is
    :class:`~mmlandmark.models.heads.SpatialConfigurationHead`.

    Args:
        in_channels: Of the image.
        width: Channels of all levels.
        levels: Number of levels.
        dims: 2 or 3.
        kernel_sizes: See :class:`~mmlandmark.models.unet_levels.UNetLevels`, likewise ``strides``.
        strides: Likewise.
        dropout: Chance of a value to be dropped between the two convolutions of a level.
        padding_mode: ``zeros``, or ``reflect`` as the publication has it in volumes.
        norm_cfg: Norm layer of :mod:`mmcv.cnn`; None, as in the publication, for none.
        act_cfg: Activation of :mod:`mmcv.cnn`.
        init_cfg: See MMEngine.

    Attributes:
        out_channels: Channels of the one level that is returned, in a list.

    Raises:
        ValueError: Fewer than two levels, or a kernel or stride is wrong.
    """

    def __init__(
        self,
        in_channels: int = 1,
        width: int = 128,
        levels: int = 4,
        dims: int = 2,
        kernel_sizes: int | Sequence[int | Sequence[int]] = 3,
        strides: Sequence[int | Sequence[int]] | None = None,
        dropout: float = 0.5,
        padding_mode: str = "zeros",
        norm_cfg: dict | None = None,
        act_cfg: dict | None = dict(type="LeakyReLU", negative_slope=0.1),  # noqa: B006  never written to
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if levels < 2:
            raise ValueError(f"AdditiveUNet needs at least two levels, got {levels}")
        kernels = checked_kernels(kernel_sizes, levels, dims)
        self.strides = checked_strides(strides, levels, dims)
        self.dims, self.depth, self.out_channels = dims, levels, [width]
        block: dict[str, Any] = dict(padding_mode=padding_mode, norm_cfg=norm_cfg, act_cfg=act_cfg)
        pool: Any = nn.AvgPool2d if dims == 2 else nn.AvgPool3d
        self.stem = he_block(in_channels, width, kernels[0], **block)
        self.pools = nn.ModuleList([nn.Identity(), *(pool(stride) for stride in self.strides[1:])])
        # Named as those of UNet: methods tap features by these names.
        for i, kernel in enumerate(kernels):
            convs = [he_block(width, width, kernel, **block) for _ in range(2)]
            self.add_module(f"down{i + 1}", nn.Sequential(convs[0], nn.Dropout(dropout), convs[1]))
            self.add_module(f"skip{i + 1}", he_block(width, width, kernel, **block))

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """Return features (B, width, *S) of images (B, in_channels, *S).

        Raises:
            ValueError: A side of the image is shorter than the product of the strides.
        """
        check_sides(images, self.strides, "an AdditiveUNet")
        features, skips = self.stem(images), []
        for i, pool in enumerate(self.pools):
            features = getattr(self, f"down{i + 1}")(pool(features))
            skips.append(getattr(self, f"skip{i + 1}")(features))
        total = skips.pop()
        for skip in reversed(skips):
            total = skip + upsample(total, skip)
        return (total,)
