"""Heatmap regression at one or several resolutions."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from mmlandmark.models.blocks import enlarged
from mmlandmark.models.heads.base_heatmap_head import BaseHeatmapHead
from mmlandmark.registry import MODELS


@MODELS.register_module()
class HeatmapHead(BaseHeatmapHead):
    """A 1x1 convolution per supervised feature level.

    Args:
        in_channels: Channels of the level, or of all supervised levels, the output first: ``out_channels`` of
            the backbone or neck.
        num_landmarks: K.
        codec: Config of a codec.
        loss: Config of a loss, or a list of them.
        num_annotators: R, see :class:`BaseHeatmapHead`, likewise ``level_weights``.
        level_weights: Weight of every level's losses, for deep supervision of several.
        hidden_channels: Of a 3x3 convolution before the last one, without norm and activation as in FARNet;
            None leaves it out.
        bias_init: Initial value of the last bias; None leaves PyTorch's random start.
        upsample_to: Factor by which the maps of all levels are enlarged, by linear interpolation: 4 brings
            those of a backbone with stride 4 to the size of the image.
        dims: 2 or 3.
        presence: See :class:`BaseHeatmapHead`.
        init_cfg: See MMEngine.

    Raises:
        ValueError: ``level_weights`` and ``in_channels`` differ in length, or there are several levels
            without weights.
    """

    def __init__(
        self,
        in_channels: int | Sequence[int],
        num_landmarks: int,
        codec: dict,
        loss: dict | Sequence[dict],
        num_annotators: int = 1,
        level_weights: Sequence[float] | None = None,
        hidden_channels: int | None = None,
        bias_init: float | None = None,
        upsample_to: int = 1,
        dims: int = 2,
        presence: dict | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        channels = [in_channels] if isinstance(in_channels, int) else list(in_channels)
        if len(channels) > 1 and level_weights is None:
            raise ValueError(
                f"HeatmapHead gets {len(channels)} levels of {channels} channels: choose one by out_indices "
                "or a neck, or give level_weights to supervise all"
            )
        super().__init__(
            num_landmarks,
            codec,
            loss,
            num_annotators,
            len(channels),
            level_weights,
            dims,
            presence,
            init_cfg,
        )
        conv = nn.Conv2d if dims == 2 else nn.Conv3d
        hidden = hidden_channels
        self.hidden = nn.ModuleList(conv(c, hidden, 3, padding=1) for c in channels) if hidden else None
        layers = [conv(hidden or c, self.num_maps, 1) for c in channels]
        self.convs, self.upsample_to = nn.ModuleList(layers), upsample_to
        for layer in layers:
            if bias_init is not None and layer.bias is not None:
                nn.init.constant_(layer.bias, bias_init)

    def forward(self, features: Sequence[Tensor], all_levels: bool = True) -> list[Tensor]:
        """Return raw maps (B, R * K * M, *S) of every supervised level, or of the first."""
        if len(features) < len(self.convs):
            raise ValueError(f"the head has {len(self.convs)} levels, the backbone returns {len(features)}")
        used = len(self.convs) if all_levels else 1
        if self.hidden is not None:
            features = [conv(f) for conv, f in zip(self.hidden[:used], features, strict=False)]
        maps = [conv(f) for conv, f in zip(self.convs[:used], features, strict=False)]
        return [enlarged(one, self.upsample_to) for one in maps]
