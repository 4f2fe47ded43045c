"""What a head and a detector know of a codec."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmlandmark.codecs.candidates import Candidates
from mmlandmark.codecs.resizing import resized
from mmlandmark.structures import Detection


class BaseCodec(nn.Module, ABC):
    """Landmarks in input pixels <-> maps, of any size.

    A codec decides how many maps a landmark takes, what a loss compares them with, and how they are decoded.
    Heads and detectors know no more than this class. A codec may have parameters, such as a learned width:
    they are trained and saved with the head.

    Maps are (B, N * M, *S): the M maps of one landmark lie side by side. N is R * K for R annotators,
    annotator by annotator; a codec with something of its own per landmark repeats it for every annotator.

    A subclass whose constructor takes ``num_landmarks`` or ``dims`` is given the head's.

    Attributes:
        maps_per_landmark: M.
        activation: Name of what :meth:`activate` applies to the map in which a landmark has its peak:
            ``sigmoid``, ``softmax`` or None. A head hands it on to losses that look at activated maps.
        activation_scope: ``pixel`` if :meth:`activate` changes every pixel by itself, ``map`` if it is a
            softmax over the pixels of a map, None for any other.
        not_mirrored: Why its maps of a mirrored image do not lie over those of the image; empty if they do.
    """

    maps_per_landmark: int = 1
    activation: str | None = None
    activation_scope: str | None = None
    not_mirrored: str = ""

    @property
    def reach(self) -> int | None:
        """How far from the maximum of a map :meth:`decode` looks at it, in its pixels; None: anywhere.

        With a reach, maps need not be in memory as a whole to be decoded. Then M is 1.
        """
        return None

    @property
    def peak_width(self) -> float | None:
        """Width of a landmark's peak in pixels of the map; None if its maps have no peak."""
        return None

    @abstractmethod
    def encode(
        self,
        landmarks: Tensor,
        mask: Tensor,
        weights: Tensor,
        input_size: Sequence[int],
        map_size: Sequence[int],
    ) -> Any:
        """Return the target of maps of ``map_size``, in whatever form the head's losses take it.

        Args:
            landmarks: (B, N, D) input pixels, (x, y[, z]).
            mask: (B, N) bool, landmark is annotated.
            weights: (B, N) float.
            input_size: (*S) of the network's input.
            map_size: (*S) of the map.
        """

    @abstractmethod
    def decode(self, maps: Tensor, input_size: Sequence[int], spread: bool = False) -> Detection:
        """Detect every landmark in activated maps.

        Args:
            maps: (B, N * M, *S), see :meth:`activate`.
            input_size: (*S) of the network's input.
            spread: Measure how wide the maps are about their points, if the codec can.

        Returns:
            (B, N) landmarks in input pixels; NaN with score 0 where the maps of a landmark are not finite.
        """

    def candidates(self, maps: Tensor, input_size: Sequence[int], count: int) -> Candidates:
        """Return several places where each landmark may be; the strongest one need not be the true one.

        Args:
            maps: (B, N * M, *S) finite activated maps.
            input_size: (*S) of the network's input.
            count: C.

        Returns:
            (B, N, C) candidates in input pixels, strongest first.

        Raises:
            ValueError: This codec knows only one.
        """
        raise ValueError(f"{type(self).__name__} finds one place per landmark: give it a method candidates")

    def activate(self, outputs: Tensor) -> Tensor:
        """Return maps (B, N * M, *S), float32 or wider, from raw output; no activation by default.

        A map that is not finite must stay so.
        """
        return outputs.to(torch.promote_types(outputs.dtype, torch.float32))

    def activate_part(self, outputs: Tensor, log_sum: Tensor) -> Tensor:
        """Return activated values of a part of a map, of a codec whose ``activation_scope`` is ``map``.

        Args:
            outputs: (*S) raw values of the part.
            log_sum: () logarithm of the sum of the exponentials of all raw values of the map.
        """
        return (outputs - log_sum).exp()

    def losses(self, target: Any) -> dict[str, Tensor]:
        """Return scalar losses of the codec's own parameters by name; none by default.

        The head adds them to those of the maps, once per batch, as ``loss_codec_<name>``.

        Args:
            target: Of the output, see :meth:`encode`.
        """
        return {}

    def mirrored(self, maps: Tensor, permutation: Sequence[int]) -> Tensor:
        """Return activated maps of a mirrored image as maps of the image itself.

        Args:
            maps: (B, N * M, *S) of the image mirrored along x.
            permutation: N numbers: the landmark whose maps show this one in a mirrored image.

        Raises:
            ValueError: They would not lie over each other.
        """
        if self.not_mirrored:
            raise ValueError(f"{self.not_mirrored}: test without flip (test_cfg.flip=False)")
        back = maps.flip(-1).unflatten(1, (-1, self.maps_per_landmark))
        return self.mirrored_values(back[:, list(permutation)]).flatten(1, 2)

    def mirrored_values(self, maps: Tensor) -> Tensor:
        """Change what a mirror along x changes in the values of maps (B, N, M, *S); nothing by default.

        Offsets along x change their sign.
        """
        return maps

    def landmark_maps(self, maps: Tensor) -> Tensor:
        """Return one map per landmark to be shown, (B, N, *S) from (B, N * M, *S); the first by default."""
        return maps.unflatten(1, (-1, self.maps_per_landmark))[:, :, 0]

    def target_maps(self, target: Any) -> Tensor:
        """Return a target as one map per landmark to be shown, (B, N, *S); by default its ``heatmaps``.

        Raises:
            ValueError: The target has none.
        """
        if not hasattr(target, "heatmaps"):
            raise ValueError(
                f"{type(target).__name__} has no heatmaps to show: give {type(self).__name__} a target_maps"
            )
        return target.heatmaps

    def resized(self, maps: Tensor, size: Sequence[int]) -> Tensor:
        """Return activated maps (B, N * M, *S) at another size, as this codec would fill it."""
        return resized(maps, size)

    def comparable_by(self) -> dict[str, Any]:
        """Return what two codecs must have in common for their activated maps to be compared, by argument."""
        return {"type": type(self).__name__}

    def given_target(self, maps: Tensor, target: Any) -> Any:
        """Return a target whose maps are given, such as a teacher's.

        Args:
            maps: (B, N * M, *S) activated maps of a comparable codec, of the target's size.
            target: Of the annotation; its mask and weights are kept.

        Raises:
            ValueError: This codec's losses cannot take maps as their target.
        """
        raise ValueError(
            f"{type(self).__name__} cannot take given maps as a target: compare features instead, or give it "
            "a given_target"
        )
