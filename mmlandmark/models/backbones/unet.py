"""U-Net in two and three dimensions."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from mmlandmark.models.blocks import space_to_depth, start_as_pytorch
from mmlandmark.models.unet_levels import INSTANCE_NORM, LEAKY_RELU, UNetLevels
from mmlandmark.registry import MODELS


@MODELS.register_module()
class UNet(UNetLevels):
    """U-Net (Ronneberger et al. 2015) without learned up-sampling.

    Every level is ``num_convs`` times convolution, norm, activation; levels are joined by max-pooling on
    the way down, and by interpolation and concatenation ``[up-sampled, skip]`` on the way up. With the
    defaults, ``in_channels=3``, biased convolutions and instance norm without parameters, widths
    (32, 64, 128, 256) and (64, 128, 256, 512, 1024) are UNet4 and UNet5 of FSF-LD (Huang et al. 2022).

    Args:
        in_channels: Of the image.
        widths: Channels per level, full resolution first.
        dims: 2 or 3.
        num_convs: Convolutions per level.
        conv_bias: ``auto`` leaves the bias out where a norm with parameters follows.
        norm_cfg: Norm layer of :mod:`mmcv.cnn`, or None.
        act_cfg: Activation of :mod:`mmcv.cnn`, or None.
        upsample: ``bilinear`` (trilinear in 3D) or ``nearest``.
        align_corners: Of the interpolation; ignored for ``nearest``.
        stem_stride: s; blocks of s pixels a side become channels before the first level (space to depth), so
            that the network sees fine detail at the cost of an image s times smaller. Level 0 has that size.
        out_indices: Decoder levels to return, 0 is the finest; the first is the main output.
        bottleneck: Config of a module on the deepest features, such as
            :class:`~mmlandmark.models.NonLocalBlock`; its ``in_channels`` and ``dims`` are filled in.
        with_checkpoint: Recompute levels in the backward pass instead of storing them.
        init_cfg: See MMEngine.

    Attributes:
        out_channels: Channels of the returned levels.

    Raises:
        ValueError: Fewer than two widths, or an ``out_indices`` entry without a level.
    """

    def __init__(
        self,
        in_channels: int = 1,
        widths: Sequence[int] = (32, 64, 128, 256),
        dims: int = 2,
        num_convs: int = 2,
        conv_bias: bool | str = True,
        norm_cfg: dict | None = INSTANCE_NORM,
        act_cfg: dict | None = LEAKY_RELU,
        upsample: str = "bilinear",
        align_corners: bool = True,
        stem_stride: int = 1,
        out_indices: Sequence[int] = (0,),
        bottleneck: dict | None = None,
        with_checkpoint: bool = False,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(
            widths,
            dims,
            num_convs,
            conv_bias,
            norm_cfg,
            act_cfg,
            upsample,
            align_corners,
            out_indices,
            with_checkpoint,
            init_cfg,
        )
        self.stem_stride = stem_stride
        self.pool = nn.MaxPool2d(2) if dims == 2 else nn.MaxPool3d(2)
        # down1, down2... from full resolution on: methods tap features by these names.
        before = in_channels * stem_stride**dims
        for i, width in enumerate(widths):
            self.add_module(f"down{i + 1}", self.level(before, width))
            before = width
        self.bottleneck = None
        if bottleneck is not None:
            self.bottleneck = MODELS.build(dict(bottleneck, in_channels=before, dims=dims))
        self.add_way_up()
        start_as_pytorch(self)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return decoder features of ``out_indices``; (B, in_channels, *S) -> tuple of (B, C, *S / (s 2^i)).

        Raises:
            ValueError: A side of the image is no multiple of ``stem_stride``, or shorter than that times
                ``2 ** (levels - 1)``.
        """
        features = space_to_depth(images, self.stem_stride)
        if min(features.shape[2:]) < 2 ** (self.depth - 1):
            raise ValueError(
                f"an image of {tuple(features.shape[2:])} is too small for a UNet of {self.depth} levels: "
                f"every side needs {2 ** (self.depth - 1)} pixels after the stem"
            )
        levels: list[Tensor] = []
        for i in range(self.depth):
            features = self.run_level(f"down{i + 1}", features if i == 0 else self.pool(features))
            levels.append(features)
        if self.bottleneck is not None:
            levels[-1] = self.bottleneck(levels[-1])
        return self.go_up(levels)
