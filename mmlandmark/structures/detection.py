"""What a detector returns: where the landmarks are, and how sure it is of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from mmlandmark.structures.coordinates import apply_matrix

SCORES = ("lowest", "mean")
CENTERS = ("mean", "median")


@dataclass(frozen=True)
class Detection:
    """Detected landmarks, of a batch or of one case, of one annotator or of several.

    Leading dimensions, written ``...``, are (B,) or (B, R) for a batch, () or (R,) for one case. A landmark
    that is not predicted has NaN as its point and 0 as its score.

    Attributes:
        points: (..., K, D) pixels, (x, y[, z]); of the network's input unless :meth:`mapped`.
        scores: (..., K), see the codec.
        spread: (..., K, D, D) covariance of the position in pixels^2, or None where it was not measured.
        presence: (..., K) probability that the landmark is in the image, or None where the model does not
            predict it.
        maps: (B, C, *S) activated maps that the points were decoded from, or (C, *S) of one case.
        deviation: (..., K) how far the strongest peak of a landmark lies from where the other landmarks
            expect it, in standard deviations; None without a prior of shapes. Where it is large, the point
            may be another peak.
    """

    points: Tensor
    scores: Tensor
    spread: Tensor | None = None
    presence: Tensor | None = None
    maps: Tensor | None = None
    deviation: Tensor | None = None

    def __getitem__(self, index: int) -> Detection:
        """Return one case of a batch, or one annotator of a case without maps."""
        return self._each(lambda value: value[index])

    def to(self, device: str | torch.device) -> Detection:
        """Return the detection on another device."""
        return self._each(lambda value: value.to(device))

    def mapped(self, matrix: np.ndarray | Tensor) -> Detection:
        """Return the detection in another frame; maps stay as they are.

        A covariance S becomes A S A^T, with A the linear part of the matrix.

        Args:
            matrix: (D+1, D+1) from the pixels of this frame to those of the other, or (B, D+1, D+1), one per
                case of a batch.

        Example:
            >>> from mmlandmark.structures import resize_matrix
            >>> small = Detection(torch.tensor([[1.0, 2.0]]), torch.ones(1), torch.eye(2)[None])
            >>> large = small.mapped(resize_matrix((8, 8), (16, 16)))
            >>> large.points.tolist(), large.spread[0].tolist()
            ([[2.5, 4.5]], [[4.0, 0.0], [0.0, 4.0]])
        """
        matrix = torch.as_tensor(matrix, dtype=torch.float64, device=self.points.device)
        points, spread = self.points, self.spread
        if matrix.ndim == 2:
            points = apply_matrix(matrix, points)
        else:
            points = apply_matrix(matrix, points.flatten(1, -2)).view(points.shape)
        if spread is not None:
            linear = matrix[..., :-1, :-1]
            if matrix.ndim == 3:
                linear = linear.view(len(matrix), *[1] * (spread.ndim - 3), *linear.shape[1:])
            spread = (linear @ spread.double() @ linear.mT).to(spread.dtype)
        return replace(self, points=points, spread=spread)

    def with_annotators(self, count: int) -> Detection:
        """Return (B, R, K, ...) from (B, R * K, ...), annotator by annotator; maps stay as they are."""
        alone = replace(self, maps=None)
        return replace(alone._each(lambda value: value.unflatten(1, (count, -1))), maps=self.maps)

    def over_annotators(self) -> Detection:
        """Return the :meth:`mean` of the annotators, (B, K) of a batch (B, R, K) or (K,) of a case (R, K)."""
        dim = self.points.ndim - 3
        alone = replace(self, maps=None)
        parts = [alone._each(partial(torch.select, dim=dim, index=r)) for r in range(self.points.shape[dim])]
        return replace(Detection.mean(parts), maps=self.maps)

    @staticmethod
    def mean(detections: Sequence[Detection], scores: str = "lowest", center: str = "mean") -> Detection:
        """Return what several detections of the same cases say together.

        The point is the mean of theirs, so that a landmark that one misses is not predicted. Presence is the
        mean, the deviation the largest. The spread is that of their mixture: the mean of theirs plus the
        mean square of their distances to the point, or None unless all have one. Maps are those of the first.

        Args:
            detections: Of one shape, in one frame.
            scores: ``lowest``: a doubtful one must not hide behind the others; ``mean``.
            center: ``mean``, or ``median`` of their coordinates, one by one: of three or more points one may
                be anywhere.

        Raises:
            ValueError: ``scores`` or ``center`` is unknown, or there is nothing to average.
        """
        if scores not in SCORES or center not in CENTERS or not detections:
            raise ValueError(
                f"scores must be one of {SCORES}, center one of {CENTERS} and detections at least one, got "
                f"{scores!r}, {center!r} and {len(detections)} detections"
            )
        every = torch.stack([d.points for d in detections])
        points = every.mean(0) if center == "mean" else _median(every)
        score = torch.stack([d.scores for d in detections])
        score = score.amin(0) if scores == "lowest" else score.mean(0)
        score = torch.where(torch.isfinite(points).all(-1), score, 0)
        spread = _mean_of([d.spread for d in detections])
        if spread is not None:
            offsets = (every - points)[..., None]
            spread = spread + (offsets @ offsets.mT).mean(0)
        presence = _mean_of([d.presence for d in detections])
        deviations = [d.deviation for d in detections if d.deviation is not None]
        deviation = torch.stack(deviations).amax(0) if len(deviations) == len(detections) else None
        return Detection(points, score, spread, presence, detections[0].maps, deviation)

    def _each(self, change: Callable[[Tensor], Tensor]) -> Detection:
        values = [None if value is None else change(value) for value in self._optional()]
        return Detection(change(self.points), change(self.scores), *values)

    def _optional(self) -> tuple[Tensor | None, ...]:
        return self.spread, self.presence, self.maps, self.deviation


def _median(points: Tensor) -> Tensor:
    """Return the median over the first dimension; NaN where one is NaN.

    Programs that are exported know how to sort, but no quantiles.
    """
    ordered = points.sort(0).values  # NaN comes last
    middle = (ordered[(len(points) - 1) // 2] + ordered[len(points) // 2]) / 2
    return torch.where(points.isnan().any(0), torch.nan, middle)


def _mean_of(values: Sequence[Tensor | None]) -> Tensor | None:
    known = [value for value in values if value is not None]
    return torch.stack(known).mean(0) if len(known) == len(values) else None
