"""A robust model of shapes, fitted to shapes of which some are wrong.

The landmarks of aligned shapes are modelled as one normal distribution, estimated from wrapped values:
outliers are pulled in (Raymaekers and Rousseeuw, Technometrics 2021). The score of a landmark is its distance
from where *the others of its shape* predict it, by a model fitted to other shapes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_FOLDS = 5
_SMALLEST = 1e-3  # of a shape's size: annotations are not more accurate than this


@dataclass(frozen=True)
class ShapeModel:
    """A normal distribution of the landmarks of aligned shapes.

    Attributes:
        typical: (K, D) shape, centred, of root mean square radius 1.
        middle: (K * D,) median of the aligned shapes, NaN where all of them lack a landmark.
        scale: (K * D,) robust standard deviation of every coordinate.
        precision: (K * D, K * D) inverse covariance of the coordinates in units of ``scale``.
    """

    typical: np.ndarray
    middle: np.ndarray
    scale: np.ndarray
    precision: np.ndarray

    @classmethod
    def fit(cls, aligned: np.ndarray, typical: np.ndarray) -> ShapeModel:
        """Return the model of (N, K, D) shapes aligned to ``typical``, NaN where missing."""
        values = aligned.reshape(len(aligned), -1)
        known = np.isfinite(values).any(axis=0)
        if not known.all():
            return cls._of_some(aligned, typical, known)
        middle = np.nanmedian(values, axis=0)
        scale = 1.4826 * np.nanmedian(np.abs(values - middle), axis=0)
        scale = np.maximum(scale, max(0.1 * float(np.median(scale)), _SMALLEST))
        z = np.nan_to_num(_wrapped((values - middle) / scale))
        z = z / np.sqrt(np.maximum((z**2).mean(axis=0), 1e-9))
        count, size = z.shape
        correlation = z.T @ z / count
        # Ledoit and Wolf's weight of the identity: large for few shapes with many landmarks.
        noise = ((z**2).T @ (z**2) / count - correlation**2).sum() / count
        signal = ((correlation - np.eye(size)) ** 2).sum()
        weight = float(np.clip(noise / max(signal, 1e-12), 0.02, 1.0))
        correlation = (1 - weight) * correlation + weight * np.eye(size)
        return cls(typical, middle, scale, np.linalg.inv(correlation))

    @classmethod
    def _of_some(cls, aligned: np.ndarray, typical: np.ndarray, known: np.ndarray) -> ShapeModel:
        """Return the model where some of the (K * D,) coordinates are ``known`` in no shape."""
        some = known.reshape(typical.shape).all(axis=1)
        part = cls.fit(aligned[:, some], typical[some])
        middle, scale = np.full(len(known), np.nan), np.ones(len(known))
        precision = np.eye(len(known))
        middle[known], scale[known] = part.middle, part.scale
        precision[np.ix_(known, known)] = part.precision
        return cls(typical, middle, scale, precision)

    def distances(self, aligned: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the distances of landmarks and whole shapes from the model.

        Args:
            aligned: (N, K, D) shapes aligned to ``typical``, NaN where missing.

        Returns:
            (N, K) Mahalanobis distance of every landmark from its position given the others, NaN where
            missing or unknown to the model; and (N,) that of the whole shape, per coordinate.
        """
        count, landmarks, dims = aligned.shape
        z = (aligned.reshape(count, landmarks * dims) - self.middle) / self.scale
        seen = np.isfinite(aligned).all(axis=2) & np.isfinite(self.middle).reshape(landmarks, dims).all(
            axis=1
        )
        single, whole = np.full((count, landmarks), np.nan), np.full(count, np.nan)
        for rows in alike(seen):
            here = seen[rows[0]]
            if not here.any():
                continue
            known = np.repeat(here, dims)
            precision = _marginal(self.precision, known)
            values = z[np.ix_(rows, known)]
            pull = values @ precision
            number = int(here.sum())
            own = precision.reshape(number, dims, number, dims)[np.arange(number), :, np.arange(number)]
            towards = pull.reshape(len(rows), number, dims)
            squares = np.einsum("nki,kij,nkj->nk", towards, np.linalg.inv(own), towards)
            single[np.ix_(rows, here)] = np.sqrt(squares.clip(0))
            whole[rows] = np.sqrt(np.einsum("ni,ni->n", values, pull).clip(0) / (number * dims))
        return single, whole


def _wrapped(z: np.ndarray) -> np.ndarray:
    """Keep values up to 1.5, and bring larger ones smoothly back to 0, which they reach at 4."""
    size = np.abs(z)
    bent = 1.540793 * np.tanh(0.8622731 * (4.0 - size)) * np.sign(z)
    return np.where(size < 1.5, z, np.where(size < 4.0, bent, np.where(np.isnan(z), np.nan, 0.0)))


def alike(seen: np.ndarray) -> list[np.ndarray]:
    """Return the indices of the rows of (N, K) bool that are equal, group by group."""
    if len(seen) == 0:
        return []
    _, group = np.unique(seen, axis=0, return_inverse=True)
    group = group.ravel()
    order = np.argsort(group, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(group[order])) + 1)


def _marginal(precision: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return the precision of the known coordinates, with the others marginalized out."""
    if known.all():
        return precision
    across = precision[np.ix_(known, ~known)]
    others = np.linalg.solve(precision[np.ix_(~known, ~known)], across.T)
    return precision[np.ix_(known, known)] - across @ others


def cross_fitted(
    aligned: np.ndarray, typical: np.ndarray, trusted: np.ndarray
) -> tuple[np.ndarray, np.ndarray, list[ShapeModel]]:
    """Score every shape by a model that was fitted to others.

    Args:
        aligned: (N, K, D) shapes, NaN where missing.
        typical: (K, D) shape that they are aligned to.
        trusted: (N,) bool: shapes that a model may be fitted to.

    Returns:
        (N, K) and (N,) distances as from :meth:`ShapeModel.distances`, and the model of every shape.
    """
    count, landmarks, _ = aligned.shape
    # Folds are assigned in order, so that the result is deterministic.
    fold = np.arange(count) % _FOLDS
    single, whole = np.full((count, landmarks), np.nan), np.full(count, np.nan)
    models = [ShapeModel.fit(aligned[trusted & (fold != number)], typical) for number in range(_FOLDS)]
    for number, model in enumerate(models):
        single[fold == number], whole[fold == number] = model.distances(aligned[fold == number])
    return single, whole, [models[number] for number in fold]
