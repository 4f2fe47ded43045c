"""What shapes of landmarks are usual, learnt from annotated ones; with it, the choice among candidates."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np

from mmlandmark.shape.alignment import Sides, align, both_sides, chosen_side, find_typical
from mmlandmark.shape.shape_model import ShapeModel, cross_fitted
from mmlandmark.shape.tails import Tails

FEWEST = 10  # shapes to learn from
_SUSPECTS = 12  # landmarks of a shape that are tried as the cause
_UPPER = 0.95  # quantile at which distances are matched with a normal distribution


class Choice(NamedTuple):
    """Which candidate of every landmark of N shapes was chosen.

    Attributes:
        picked: (N, K) index of the candidate; 0 is the first.
        deviation: (N, K) distance of the *first* candidate from where the other chosen landmarks expect it,
            in standard deviations; NaN without a candidate.
    """

    picked: np.ndarray
    deviation: np.ndarray


@dataclass(frozen=True)
class ShapePrior:
    """Tells usual shapes from unusual ones, whatever their position, rotation and size.

    Attributes:
        model: Normal distribution of aligned shapes.
        tails: Makes distances of single landmarks standard deviations.
        mirrored: Whether mirror images are as usual as shapes themselves.
    """

    model: ShapeModel
    tails: Tails
    mirrored: bool

    @classmethod
    def fit(cls, points: np.ndarray) -> ShapePrior:
        """Learn what is usual.

        Args:
            points: (N, K, D) landmarks in isotropic units, NaN where missing. A few may be wrong.

        Raises:
            ValueError: There are fewer than 10 shapes of more than D landmarks, or a landmark is missing in
                all shapes.
        """
        points = np.asarray(points, dtype=np.float64)
        enough = np.isfinite(points).all(axis=2).sum(axis=1) > points.shape[2]
        typical = find_typical(points) if enough.sum() >= FEWEST else None
        if typical is None:
            never = np.flatnonzero(np.isnan(points).any(axis=2).all(axis=0))
            raise ValueError(
                f"a prior of shapes needs at least {FEWEST} shapes of more than {points.shape[2]} landmarks, "
                f"and every landmark in some of them; there are {enough.sum()}"
                + (f", and landmark {never[0]} is in none" if len(never) else "")
            )
        sides = Sides.find(points, typical)
        aligned = chosen_side(sides.flipped, sides.plain, sides.other).shapes
        single, _, _ = cross_fitted(aligned, sides.typical, sides.scored)
        tails = Tails.match(single[sides.scored], points.shape[2], _UPPER)
        return cls(ShapeModel.fit(aligned[sides.scored], sides.typical), tails, sides.usual)

    def deviations(self, points: np.ndarray) -> np.ndarray:
        """Return how far (N, K, D) landmarks lie from where the others of their shape expect them.

        Returns:
            (N, K) standard deviations, NaN where missing, or where there are not more than D landmarks.
        """
        return self.tails.rescaled(self.model.distances(self._aligned(points))[0])

    def consistent(self, points: np.ndarray, gate: float = 5.0) -> np.ndarray:
        """Return which landmarks of (N, K, D) shapes agree with each other.

        While a landmark deviates by more than ``gate``, the one or two are set aside without which the others
        fit best. So a wrong landmark does not make its neighbours look wrong.

        Returns:
            (N, K) bool, False where missing. All of a shape are False if more than half of them would have
            to be set aside, or if there are not more than D.
        """
        deviation = self.deviations(points)
        agreed = np.isfinite(deviation)
        with np.errstate(invalid="ignore"):
            doubtful = np.flatnonzero((deviation > gate).any(axis=1))
        for n in doubtful:
            rest = self._consistent(points[n], gate)
            agreed[n] = False if rest is None else np.isfinite(rest).all(axis=1)
        return agreed

    def _aligned(self, points: np.ndarray) -> np.ndarray:
        if not self.mirrored:
            return align(points, self.model.typical).shapes
        plain, other = both_sides(points, self.model.typical)
        with np.errstate(invalid="ignore"):
            return chosen_side(other.residuals < plain.residuals, plain, other).shapes

    def choose(
        self, candidates: np.ndarray, weights: np.ndarray, gate: float = 5.0, strength: float = 3.0
    ) -> Choice:
        """Choose one candidate of every landmark; the first unless the other landmarks speak against it.

        While a landmark deviates by more than ``gate``, the one or two are set aside without which the
        others fit best, but never more than half of them. The rest says where those are expected: of their
        candidates the one with the least ``deviation^2 / 2 - strength * log(weight)`` is chosen.

        Args:
            candidates: (N, K, C, D) in the units of the prior, NaN where there are fewer; the first is what
                was detected.
            weights: (N, K, C) positive: how much speaks for each in the image.
            gate: Standard deviations.
            strength: Weight of the image against the prior.
        """
        deviation = self.deviations(candidates[:, :, 0])
        picked = np.zeros(deviation.shape, dtype=np.int64)
        with np.errstate(invalid="ignore"):
            doubtful = np.flatnonzero((deviation > gate).any(axis=1))
        for n in doubtful:
            cost = -strength * np.log(np.maximum(weights[n], 1e-12))
            picked[n], deviation[n] = self._rechosen(candidates[n], cost, gate, deviation[n])
        return Choice(picked, deviation)

    def _rechosen(
        self, candidates: np.ndarray, cost: np.ndarray, gate: float, deviation: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the (K,) indices of one shape's candidates (K, C, D), with their (K, C) costs."""
        landmarks, count, _ = candidates.shape
        picked = np.zeros(landmarks, dtype=np.int64)
        rest = self._consistent(candidates[:, 0], gate)
        if rest is None:
            return picked, deviation
        deviation = self.deviations(rest[None])[0]
        for k in np.flatnonzero(np.isfinite(candidates[:, 0]).all(1) & np.isnan(rest).any(1)):
            tried = np.repeat(rest[None], count, axis=0)
            tried[:, k] = candidates[k]
            lengths = self.deviations(tried)[:, k]
            total = np.where(np.isfinite(lengths), 0.5 * lengths**2 + cost[k], np.inf)
            picked[k], deviation[k] = int(np.argmin(total)), lengths[0]
        return picked, deviation

    def _consistent(self, shape: np.ndarray, gate: float) -> np.ndarray | None:
        """Return a (K, D) shape without the landmarks that do not fit; None if these are more than half."""
        shape = shape.copy()
        there = np.isfinite(shape).all(axis=1)
        fewest = max(int(there.sum() + 1) // 2, shape.shape[1] + 1)
        while True:
            deviation = np.nan_to_num(self.deviations(shape[None])[0], nan=-1.0)
            if not (deviation > gate).any():
                return shape
            # Two at once, since a wrong landmark can hide another one.
            suspects = np.argsort(-deviation)[: min(_SUSPECTS, int((deviation >= 0).sum()))]
            aside = [list(s) for size in (1, 2) for s in combinations(suspects, size)]
            kept = int(np.isfinite(shape).all(axis=1).sum())
            aside = [s for s in aside if kept - len(s) >= fewest]
            if not aside:
                return None
            without = np.repeat(shape[None], len(aside), axis=0)
            for n, some in enumerate(aside):
                without[n, some] = np.nan
            _, whole = self.model.distances(self._aligned(without))
            left = np.isfinite(without).sum(axis=(1, 2))
            sizes = np.array([len(some) for some in aside])
            shape = without[np.argmin(whole**2 * left + gate**2 * sizes)]
