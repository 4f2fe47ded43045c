"""Heatmaps as the product of local appearance and spatial configuration (Payer et al. 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmlandmark.models.blocks import he_block, per_axis
from mmlandmark.models.heads.base_heatmap_head import BaseHeatmapHead, the_one_level
from mmlandmark.models.heads.pairwise_branch import PairwiseBranch
from mmlandmark.registry import MODELS

LEAKY_RELU = dict(type="LeakyReLU", negative_slope=0.1)


class SpatialBranch(nn.Module):
    """From the local maps of all landmarks to a factor for each of them, seen from afar.

    The maps are averaged over blocks and go through wide convolutions to K maps and tanh. Cubic interpolation
    brings them back to their size.

    Args:
        maps: Number of maps.
        channels: Of the convolutions between the maps.
        convs: Number of these convolutions.
        kernel_size: Per axis of the array.
        downsample: Side of a block, per axis of the array.
        init_std: Standard deviation of the weights of the last convolution.
        **block: See :func:`mmlandmark.models.blocks.he_block`.
    """

    def __init__(
        self,
        maps: int,
        channels: int,
        convs: int,
        kernel_size: tuple[int, ...],
        downsample: tuple[int, ...],
        init_std: float,
        **block: Any,
    ) -> None:
        super().__init__()
        self.downsample, self.kernel_size = downsample, kernel_size
        self.padding_mode = block["padding_mode"]
        pool: Any = nn.AvgPool2d if len(downsample) == 2 else nn.AvgPool3d
        # A block that is cut off at the end of the map averages what there is of it.
        self.pool = pool(downsample, ceil_mode=True, count_include_pad=False)
        widths = [maps] + [channels] * convs
        self.convs = nn.Sequential(
            *(he_block(before, channels, kernel_size, **block) for before in widths[:-1]),
            map_layer(widths[-1], maps, kernel_size, init_std, block["padding_mode"]),
            nn.Tanh(),
        )

    def forward(self, local: Tensor) -> Tensor:
        """Return factors of the shape of the local maps (B, K, *S).

        Raises:
            ValueError: The image is too small to be reflected at its border.
        """
        pooled = self.pool(local)
        if self.padding_mode == "reflect" and any(
            side <= kernel // 2 for side, kernel in zip(pooled.shape[2:], self.kernel_size, strict=True)
        ):
            needed = tuple((k // 2) * d + 1 for k, d in zip(self.kernel_size, self.downsample, strict=True))
            raise ValueError(
                f"an image of {tuple(local.shape[2:])} is too small for the spatial branch, whose padding "
                f"reflects: its sides need {needed} pixels; choose a smaller downsample or "
                "spatial_kernel, or padding_mode='zeros'"
            )
        factors = self.convs(pooled)
        for axis, (factor, side) in enumerate(zip(self.downsample, local.shape[2:], strict=True), start=2):
            matrix = cubic_matrix(factors.shape[axis], factor, factors)[:side]
            factors = torch.tensordot(factors, matrix, ([axis], [1])).movedim(-1, axis)
        return factors


def cubic_matrix(side: int, factor: int, like: Tensor) -> Tensor:
    """Return the matrix of cubic interpolation to ``factor`` times as many pixels, (factor * side, side).

    PyTorch interpolates images alone by cubic polynomials. One axis after the other, a matrix does it for
    images and volumes, in few multiplications while the others are still coarse.
    """
    unit = torch.eye(side, dtype=torch.float32, device=like.device)[None, None]
    rows = F.interpolate(unit, size=(factor * side, side), mode="bicubic", align_corners=False)[0, 0]
    return rows.to(like.dtype)


def map_layer(
    channels: int, maps: int, kernel_size: tuple[int, ...], init_std: float, padding_mode: str
) -> nn.Module:
    """Return a convolution to maps, with small normal weights, cut off at two standard deviations."""
    layer = he_block(channels, maps, kernel_size, padding_mode, act_cfg=None)
    conv: Any = layer[0]
    nn.init.trunc_normal_(conv.weight, std=init_std, a=-2 * init_std, b=2 * init_std)
    return layer


@MODELS.register_module()
class SpatialConfigurationHead(BaseHeatmapHead):
    r"""SpatialConfiguration-Net (Payer et al. 2019): every heatmap is a product :math:`h_k = l_k s_k`.

    The local map l is precise, but also bright wherever else the image looks like the landmark. The spatial
    map s, seen from the local maps of all landmarks, says where the landmark may be. With
    :class:`~mmlandmark.models.backbones.AdditiveUNet` it is the published network; any other backbone that
    returns a level at the size of the image will do. The defaults are those of cephalograms; in volumes the
    publication has 64 channels, kernels of 7, blocks of 8, reflecting borders and ``init_std=1e-3``.

    Args:
        in_channels: Channels of the features.
        num_landmarks: K.
        codec: Config of a codec, such as :class:`~mmlandmark.codecs.LearnedSigmaCodec`.
        loss: Config of a loss, or a list of them.
        num_annotators: R, see :class:`BaseHeatmapHead`.
        kernel_size: Of the convolution to the local maps: one number, or one per axis of the array.
        channels: Of the convolutions of the spatial branch.
        spatial_convs: Number of these convolutions.
        spatial_kernel: Their kernel, likewise per axis.
        downsample: Side of the blocks over which the spatial branch averages the local maps, likewise. An
            image of any size will do.
        padding_mode: ``zeros`` or ``reflect``.
        norm_cfg: Norm layer of the spatial branch; None, as in the publication, for none.
        act_cfg: Activation of the spatial branch.
        init_std: Standard deviation of the first weights of the convolutions to local and spatial maps.
        pairwise: A spatial branch of one convolution from the maps of all other landmarks instead, see
            :class:`~mmlandmark.models.heads.pairwise_branch.PairwiseBranch`; of the arguments of the branch
            it takes ``spatial_kernel``, ``downsample`` and ``init_std``. With
            :class:`~mmlandmark.models.backbones.ConvStack`, kernels of 5 and 15 and blocks of 8 it is the
            network published for hands (Payer et al. 2016).
        dims: 2 or 3.
        presence: See :class:`BaseHeatmapHead`.
        init_cfg: See MMEngine.

    Raises:
        ValueError: The backbone or neck returns several levels; a kernel is even; or ``pairwise`` with a
            single map.
    """

    def __init__(
        self,
        in_channels: int | Sequence[int],
        num_landmarks: int,
        codec: dict,
        loss: dict | Sequence[dict],
        num_annotators: int = 1,
        kernel_size: int | Sequence[int] = 3,
        channels: int = 128,
        spatial_convs: int = 3,
        spatial_kernel: int | Sequence[int] = 11,
        downsample: int | Sequence[int] = 16,
        padding_mode: str = "zeros",
        norm_cfg: dict | None = None,
        act_cfg: dict | None = LEAKY_RELU,
        init_std: float = 1e-4,
        pairwise: bool = False,
        dims: int = 2,
        presence: dict | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        channels_in = the_one_level(in_channels, "SpatialConfigurationHead")
        super().__init__(num_landmarks, codec, loss, num_annotators, 1, None, dims, presence, init_cfg)
        local, spatial = (
            per_axis(kernel_size, dims, "kernel_size"),
            per_axis(spatial_kernel, dims, "spatial_kernel"),
        )
        if any(side % 2 == 0 for side in (*local, *spatial)):
            raise ValueError(
                f"kernel_size and spatial_kernel must be odd, got {kernel_size}, {spatial_kernel}"
            )
        self.local = map_layer(channels_in, self.num_maps, local, init_std, padding_mode)
        steps = per_axis(downsample, dims, "downsample")
        block: dict[str, Any] = dict(padding_mode=padding_mode, norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.spatial: SpatialBranch | PairwiseBranch
        if pairwise:
            self.spatial = PairwiseBranch(self.num_maps, spatial, steps, init_std)
        else:
            self.spatial = SpatialBranch(
                self.num_maps, channels, spatial_convs, spatial, steps, init_std, **block
            )

    def forward(self, features: Sequence[Tensor], all_levels: bool = True) -> list[Tensor]:
        """Return raw maps (B, R * K * M, *S) of the one level."""
        local = self.local(features[0])
        return [local * self.spatial(local)]
