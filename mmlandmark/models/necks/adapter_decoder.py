"""Embeddings of every pixel that differ from landmark to landmark: shared convolutions, and adapters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mmlandmark.models.blocks import start_as_pytorch
from mmlandmark.models.necks.embedding_decoder import EmbeddingDecoder
from mmlandmark.models.receptive_field_block import ReceptiveFieldBlock
from mmlandmark.models.recompute import run
from mmlandmark.models.side_by_side import folded, for_all, run_joined, side_by_side
from mmlandmark.registry import MODELS


class _Way(Protocol):
    """How shared modules and adapters are run: for one landmark of each image, or for all."""

    def shared(self, module: nn.Module, parts: Sequence[Tensor]) -> Tensor: ...

    def own(self, name: str, parts: Sequence[Tensor]) -> Tensor: ...


@MODELS.register_module()
class AdapterDecoder(EmbeddingDecoder):
    """An :class:`EmbeddingDecoder` of which a part is each landmark's own.

    C-Adapter of He et al., *Landmarks Are Alike Yet Distinct: Harnessing Similarity and Individuality for
    One-Shot Medical Landmark Detection*, equations 1 to 5: beside the convolutions of every level, and beside
    its receptive field block, each landmark has narrow ones, an adapter; what both make is concatenated. An
    adapter is run, and learns, only for its landmark.

    It may start from the weights of an :class:`EmbeddingDecoder`, and then makes for every landmark what that
    one makes, until adapters have learnt.

    Given a landmark for each image, it returns levels (B, C, *S). Without, it returns those of all landmarks,
    (B, K, C, *S): shared convolutions of shared maps are computed once, and all adapters as one convolution.

    As published, the shared convolutions of the next level see the adapter's channels, too, so that only the
    first level of the way up is the same for all landmarks. With ``independent`` they see shared channels
    only, and are computed once; adapters and embeddings see both.

    Args:
        in_channels: Channels of the encoder's levels, finest first.
        num_landmarks: K.
        dims: 2 or 3.
        adapter_channels: Of each landmark at every level; 0 leaves the adapters out, which makes it an
            :class:`EmbeddingDecoder`.
        independent: Whether shared convolutions see shared channels only.
        **kwargs: See :class:`EmbeddingDecoder`.

    Attributes:
        takes_landmarks: Whether :meth:`forward` has a use for landmarks.

    Raises:
        ValueError: There is no landmark, ``adapter_channels`` is negative, or levels are ``dilated`` or
            enlarged by ``transposed`` convolutions.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        num_landmarks: int,
        dims: int = 2,
        adapter_channels: int = 16,
        independent: bool = False,
        **kwargs: Any,
    ) -> None:
        if num_landmarks < 1 or adapter_channels < 0:
            raise ValueError(
                "AdapterDecoder needs at least one landmark, and adapter_channels of at least 0, got "
                f"num_landmarks={num_landmarks}, adapter_channels={adapter_channels}"
            )
        if kwargs.get("dilated") or kwargs.get("upsample") == "transposed":
            raise ValueError("AdapterDecoder knows neither dilated=True nor upsample='transposed'")
        self.adapter_channels, self.independent = adapter_channels, independent
        self.num_landmarks, self.takes_landmarks = num_landmarks, adapter_channels > 0
        super().__init__(in_channels, dims, **kwargs)
        count = num_landmarks if self.takes_landmarks else 0
        self.adapters = nn.ModuleList([self._adapter() for _ in range(count)])
        start_as_pytorch(self.adapters)

    def _own(self, index: int) -> int:
        """Return the channels of a landmark's own on the way up."""
        return 0 if index == self.depth - 1 else self.adapter_channels

    def level(self, index: int, channels: int, *args: Any, **kwargs: Any) -> nn.Sequential:
        """Return the shared convolutions of a level."""
        more = 0 if self.independent else self._own(index + 1)
        return super().level(index, channels + more, *args, **kwargs)

    def field(self, index: int, width: int) -> ReceptiveFieldBlock:
        """Return the shared receptive field block of a level."""
        more = 0 if self.independent else self._own(index)
        return ReceptiveFieldBlock(self.widths[index] + more, width, dims=self.dims)

    def seen_channels(self, index: int) -> int:
        """Return the channels of which the embedding of a level is made, shared ones and a landmark's."""
        return self.widths[index] + (self.adapter_channels if str(index) in self.fields else self._own(index))

    def _adapter(self) -> nn.ModuleDict:
        """Return what a landmark has of its own: an ``up`` and a ``field`` of every level that has one."""
        parts: dict[str, nn.Module] = {}
        width = self.adapter_channels
        for i in range(self.depth - 1, 0, -1):
            channels = self.widths[i] + self._own(i) + self.skip_channels[i - 1]
            parts[self._name(i - 1)] = super().level(i - 1, channels, width=width)
        for i in map(int, self.fields):
            channels = self.widths[i] + self._own(i)
            parts[f"field{i}"] = ReceptiveFieldBlock(channels, width, dims=self.dims)
        return nn.ModuleDict(parts)

    def _name(self, index: int) -> str:
        return f"up{self.depth - 1 - index}"

    def complete_state(self, state: dict[str, Any], prefix: str) -> bool:
        """Complete the weights of an :class:`EmbeddingDecoder`, also with published names, in place.

        Adapters stay as they are, and nothing that sees their channels makes use of them at first: they are
        the last ones it sees, and their weights are 0.

        Args:
            state: Weights by name.
            prefix: Of the names of this part.

        Returns:
            Whether adapters were missing.
        """
        super().complete_state(state, prefix)
        adapters = f"{prefix}adapters."
        if not self.takes_landmarks or any(name.startswith(adapters) for name in state):
            return False
        for name, own in self.state_dict(prefix=prefix).items():
            if name.startswith(adapters):
                state[name] = own.clone()
            elif (given := state.get(name)) is not None and given.ndim == own.ndim > 1:
                more = own.shape[1] - given.shape[1]
                if more > 0:
                    nothing = given.new_zeros(len(given), more, *given.shape[2:])
                    state[name] = torch.cat([given, nothing], 1)
        return True

    def forward(self, features: Sequence[Tensor], landmarks: Tensor | None = None) -> tuple[Tensor, ...]:
        """Return embeddings of all levels, finest first.

        Args:
            features: The encoder's levels (B, C, *S), finest first.
            landmarks: (B,) int64, the landmark of each image; None for all.

        Returns:
            Levels (B, ``embedding``, *S), or (B, K, ``embedding``, *S) of all landmarks. Without adapters
            the former is what all landmarks have in common.

        Raises:
            ValueError: There is another number of landmarks than of images, or no landmark of such a number.
        """
        if not self.takes_landmarks:
            return super().forward(features)
        maps = self.all_sizes(features)
        self.check_levels(maps)
        batch, count = maps[0].shape[0], self.num_landmarks
        if landmarks is not None:
            return self._embeddings(maps, self._for_one(landmarks, batch))
        if not self.training:
            levels = self._embeddings(maps, _ForAll(self))
            return tuple(
                m if m.ndim == self.dims + 3 else m[:, None].expand(-1, count, *m.shape[1:]) for m in levels
            )
        # Batch norms have to see every landmark.
        each = [m.repeat_interleave(count, 0) for m in maps]
        way = self._for_one(torch.arange(count).repeat(batch), batch * count)
        return tuple(m.unflatten(0, (batch, count)) for m in self._embeddings(each, way))

    def uncounted_macs(self, features: Sequence[Tensor], landmarks: Tensor | None = None) -> int:
        """Return the multiply-adds of one image for all landmarks, which no module runs by itself."""
        if self.training or landmarks is not None or not self.takes_landmarks:
            return 0
        with FlopCounterMode(display=False) as counter:
            self.forward(features)
        return counter.get_total_flops() // 2 // len(features[0])

    def _for_one(self, landmarks: Tensor, batch: int) -> _Way:
        chosen = landmarks.tolist()
        if len(chosen) != batch:
            raise ValueError(f"{len(chosen)} landmarks for {batch} images")
        if not all(0 <= k < self.num_landmarks for k in chosen):
            raise ValueError(
                f"AdapterDecoder has adapters of the landmarks 0..{self.num_landmarks - 1}, got {chosen}"
            )
        return _ForOne(self, chosen)

    def _embeddings(self, maps: Sequence[Tensor], way: _Way) -> tuple[Tensor, ...]:
        """Return the embeddings of all levels, finest first."""
        deepest = self.depth - 1
        shared, own = {deepest: maps[-1]}, dict[int, Tensor]()
        for i in range(deepest - 1, -1, -1):
            name = self._name(i)
            common = [self._up(shared[i + 1], maps[i])]
            common += [maps[i]] if self.skip_channels[i] else []
            seen = common + ([self._up(own[i + 1], maps[i])] if i + 1 in own else [])
            shared[i] = way.shared(getattr(self, name), common if self.independent else seen)
            own[i] = way.own(name, seen)
        levels = []
        for i in range(self.depth):
            seen = [shared[i]] + ([own[i]] if i in own else [])
            if str(i) in self.fields:
                common = seen[:1] if self.independent else seen
                seen = [way.shared(self.fields[str(i)], common), way.own(f"field{i}", seen)]
            levels.append(way.shared(self.embeddings[i], seen))
        return tuple(levels)

    def _up(self, maps: Tensor, like: Tensor) -> Tensor:
        """Return maps of either kind at the size of others."""
        return folded(lambda one: self.upsample(one, like.shape[2:]), maps, self.dims)


class _ForOne:
    """Each image of a batch for one landmark."""

    def __init__(self, neck: AdapterDecoder, landmarks: Sequence[int]) -> None:
        self.neck, self.landmarks = neck, list(landmarks)
        self.recompute = neck.with_checkpoint and neck.training

    def shared(self, module: nn.Module, parts: Sequence[Tensor]) -> Tensor:
        return run(module, torch.cat(list(parts), 1), self.recompute)

    def own(self, name: str, parts: Sequence[Tensor]) -> Tensor:
        maps, adapters = torch.cat(list(parts), 1), self.neck.adapters
        order: list[int] = []
        made = []
        for k in sorted(set(self.landmarks)):
            cases = [n for n, landmark in enumerate(self.landmarks) if landmark == k]
            seen = maps if len(cases) == len(maps) else maps[cases]
            made.append(run(adapters[k][name], seen, self.recompute))  # type: ignore[index]
            order += cases
        if len(made) == 1:
            return made[0]
        back = torch.tensor(order, device=maps.device).argsort()
        return torch.cat(made)[back]


class _ForAll:
    """Every image for all landmarks, in test mode."""

    def __init__(self, neck: AdapterDecoder) -> None:
        self.neck = neck

    def shared(self, module: nn.Module, parts: Sequence[Tensor]) -> Tensor:
        return run_joined(for_all(module), parts, self.neck.dims)

    def own(self, name: str, parts: Sequence[Tensor]) -> Tensor:
        adapters: Any = self.neck.adapters
        return run_joined(side_by_side([adapter[name] for adapter in adapters]), parts, self.neck.dims)
