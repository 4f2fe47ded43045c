"""Maps that weigh the channels of features, each in its own way, of AFPF-RV."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from mmlandmark.models.blocks import enlarged, per_axis
from mmlandmark.models.heads.base_heatmap_head import BaseHeatmapHead, the_one_level
from mmlandmark.registry import MODELS

ATTENTION_SIZE = {2: (25, 20), 3: (8, 8, 8)}


@MODELS.register_module()
class ChannelAttentionHead(BaseHeatmapHead):
    r"""A 1x1 convolution whose weights are multiplied, map by map, with attention to the channels.

    The attentive prediction of AFPF-RV (Chen et al. 2019): every channel, shrunk to a small grid, goes
    through two linear layers to a number per map; their softmax over the C channels, times C, is the
    attention. The publication has 25 x 20 cells, an eighth of its features, and normalises over the one image
    of its batches; here every image is normalised by itself, at any size and in any batch.

    With ``VGG(depth=19, batch_norm=True, pooled=True, out_indices=(1, 2, 3, 4))``, ``PyramidFusion`` and
    ``VotingCodec`` it is the published network: 20,671,739 parameters for 19 landmarks.

    Args:
        in_channels: Channels of the features.
        num_landmarks: K.
        codec: Config of a codec.
        loss: Config of a loss, or a list of them.
        num_annotators: R, see :class:`BaseHeatmapHead`.
        attention_size: Cells of the grid along every axis of the array; 25 x 20 in images and 8 x 8 x 8 in
            volumes by default.
        hidden: Width between the two linear layers.
        upsample_to: Factor by which the maps are enlarged, by linear interpolation.
        bias_init: Initial value of the maps' bias; None leaves PyTorch's random start.
        dims: 2 or 3.
        presence: See :class:`BaseHeatmapHead`.
        init_cfg: See MMEngine.

    Raises:
        ValueError: The backbone or neck returns several levels.
    """

    def __init__(
        self,
        in_channels: int | Sequence[int],
        num_landmarks: int,
        codec: dict,
        loss: dict | Sequence[dict],
        num_annotators: int = 1,
        attention_size: int | Sequence[int] | None = None,
        hidden: int = 128,
        upsample_to: int = 4,
        bias_init: float | None = None,
        dims: int = 2,
        presence: dict | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        channels_in = the_one_level(in_channels, "ChannelAttentionHead")
        super().__init__(num_landmarks, codec, loss, num_annotators, 1, None, dims, presence, init_cfg)
        size = ATTENTION_SIZE[dims] if attention_size is None else attention_size
        self.attention_size, self.upsample_to = per_axis(size, dims, "attention_size"), upsample_to
        conv = nn.Conv2d if dims == 2 else nn.Conv3d
        self.conv = conv(channels_in, self.num_maps, 1)
        self.shrink = nn.Linear(math.prod(self.attention_size), hidden, bias=False)
        self.norm = nn.GroupNorm(1, 1)
        self.weigh = nn.Linear(hidden, self.num_maps, bias=False)
        if bias_init is not None and self.conv.bias is not None:
            nn.init.constant_(self.conv.bias, bias_init)

    def attention(self, features: Tensor) -> Tensor:
        """Return the attention to every channel, (B, R * K * M, C), of features (B, C, *S); its mean is 1."""
        pool: Any = F.adaptive_avg_pool2d if self.dims == 2 else F.adaptive_avg_pool3d
        cells = self.shrink(pool(features, self.attention_size).flatten(2))
        weights = self.weigh(self.norm(cells[:, None])[:, 0].tanh())
        return weights.float().softmax(1).mT * features.shape[1]

    def forward(self, features: Sequence[Tensor], all_levels: bool = True) -> list[Tensor]:
        """Return raw maps (B, R * K * M, f *S) of the one level, f as ``upsample_to``."""
        flat = features[0].flatten(2)
        kernels = self.conv.weight.flatten(1) * self.attention(features[0]).to(flat.dtype)
        maps = (kernels @ flat).unflatten(2, features[0].shape[2:])
        assert self.conv.bias is not None
        return [enlarged(maps + self.conv.bias.view(-1, *[1] * self.dims), self.upsample_to)]
