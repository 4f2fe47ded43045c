"""Embeddings of every pixel at several resolutions, from an encoder's levels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from mmlandmark.models import published_cc2d
from mmlandmark.models.blocks import BATCH_NORM, RELU, start_as_pytorch
from mmlandmark.models.necks.unet_decoder import UNetDecoder
from mmlandmark.models.receptive_field_block import ReceptiveFieldBlock
from mmlandmark.registry import MODELS


@MODELS.register_module()
class EmbeddingDecoder(UNetDecoder):
    """The way up of a U-Net, with an embedding of every pixel at every level, of CC2D.

    Yao et al. 2021, *One-Shot Medical Landmark Detection*: at the deepest levels a receptive field block
    stands before the convolution that makes the embedding, beside the way up. With ``VGG(depth=19,
    pooled=True)``, ``widths=(128, 64, 128, 256)`` it is the published network: 58,008,576 parameters, and
    58,312,512 with ``full_size``, a level that the publication computes but does not compare. ``load_from``
    takes weights of the published code.

    Args:
        in_channels: Channels of the encoder's levels, finest first; each is half as large as the one before.
        dims: 2 or 3.
        widths: Channels on the way up, finest first, of all levels but the deepest; None for those of the
            encoder.
        embedding: Channels of an embedding.
        receptive_fields: Number of levels, from the deepest on, with a receptive field block.
        full_size: Add a level twice as large as the encoder's finest one, as wide as that on the way up.
        **kwargs: See :class:`UNetLevels`; norms are batch norms and activations ReLU by default.

    Raises:
        ValueError: ``receptive_fields`` is no number of levels, or see :class:`UNetDecoder`.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        dims: int = 2,
        widths: Sequence[int] | None = None,
        embedding: int = 64,
        receptive_fields: int = 3,
        full_size: bool = False,
        norm_cfg: dict | None = BATCH_NORM,
        act_cfg: dict | None = RELU,
        **kwargs: Any,
    ) -> None:
        ways = list(in_channels)[:-1] if widths is None else list(widths)
        channels, self.full_size = list(in_channels), full_size
        if full_size:
            channels, ways = [0, *channels], [ways[0], *ways]
        levels = range(len(channels))
        super().__init__(
            channels, dims, ways, norm_cfg=norm_cfg, act_cfg=act_cfg, out_indices=list(levels), **kwargs
        )
        if not 0 <= receptive_fields <= len(levels):
            raise ValueError(f"receptive_fields must lie in 0..{len(levels)}, got {receptive_fields}")
        conv: Any = nn.Conv2d if dims == 2 else nn.Conv3d
        with_fields = levels[len(levels) - receptive_fields :]
        self.fields = nn.ModuleDict({str(i): self.field(i, self.widths[i]) for i in with_fields})
        self.embeddings = nn.ModuleList([conv(self.seen_channels(i), embedding, 1) for i in levels])
        self.out_channels = [embedding] * len(levels)
        start_as_pytorch(self)

    def field(self, index: int, width: int) -> ReceptiveFieldBlock:
        """Return a receptive field block of a level, as wide as is asked."""
        return ReceptiveFieldBlock(self.widths[index], width, dims=self.dims)

    def seen_channels(self, index: int) -> int:
        """Return the channels of which the embedding of a level is made."""
        return self.widths[index]

    def complete_state(self, state: dict[str, Any], prefix: str) -> bool:
        """Give weights of the published code of CC2D our names, in place.

        Args:
            state: Weights by name.
            prefix: Of the names of this part.

        Returns:
            Whether weights were missing: no.
        """
        if published_cc2d.is_published(state):
            names = [n for n in state if n.removeprefix("module.").startswith(published_cc2d.PARTS)]
            published = {name: state.pop(name) for name in names}
            given = published_cc2d.decoder_state(published, self.skip_channels)
            state.update({prefix + name: value for name, value in given.items()})
        return False

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return embeddings (B, ``embedding``, *S) of all levels, finest first.

        Args:
            features: The encoder's levels, finest first.
        """
        levels = super().forward(self.all_sizes(features))
        seen = [self.fields[str(i)](m) if str(i) in self.fields else m for i, m in enumerate(levels)]
        return tuple(conv(m) for conv, m in zip(self.embeddings, seen, strict=True))

    def all_sizes(self, features: Sequence[Tensor]) -> Sequence[Tensor]:
        """Return the levels with an empty one of the full size, if that is asked for."""
        if not self.full_size:
            return features
        finest = features[0]
        size = [2 * side for side in finest.shape[2:]]
        return [finest.new_zeros(finest.shape[0], 0, *size), *features]
