"""A robust model of shapes, fitted to shapes of which some are wrong.

The landmarks of aligned shapes are modelled as one normal distribution, estimated from wrapped values:
outliers are pulled in (Raymaekers and Rousseeuw, Technometrics 2021). The score of a landmark is its distance
from where *the others of its shape* predict it, by a model fitted to other shapes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_FOLDS = 5
_ROUNDS = 4
_TYPICAL_FROM = 600  # shapes are enough to find the typical one
_SMALLEST = 1e-3  # of a shape's size: annotations are not more accurate than this


@dataclass(frozen=True)
class ShapeModel:
    """A normal distribution of the landmarks of aligned shapes.

    Attributes:
        typical: (K, D) shape, centred, of root mean square radius 1.
        middle: (K * D,) median of the aligned shapes.
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

    def distances(self, aligned: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the distances of landmarks and whole shapes from the model.

        Args:
            aligned: (N, K, D) shapes aligned to ``typical``, NaN where missing.

        Returns:
            (N, K) Mahalanobis distance of every landmark from its position given the others, NaN where
            missing; and (N,) that of the whole shape, per coordinate.
        """
        count, landmarks, dims = aligned.shape
        z = (aligned.reshape(count, -1) - self.middle) / self.scale
        seen = np.isfinite(aligned).all(axis=2)
        single, whole = np.full((count, landmarks), np.nan), np.full(count, np.nan)
        for rows in _alike(seen):
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


def _alike(seen: np.ndarray) -> list[np.ndarray]:
    """Return the rows of (N, K) bool that are equal, group by group."""
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


# ---- alignment -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Alignment:
    """Shapes fitted to a typical one by translation, rotation and scaling.

    Attributes:
        shapes: (N, K, D) aligned, NaN where missing.
        centers: (N, D) position of the centre of the typical shape in the original.
        scales: (N,) size of the original in units of the typical shape.
        rotations: (N, D, D) rotation of the original to the typical shape.
        residuals: (N,) median distance of the landmarks from the typical shape, NaN without landmarks.
    """

    shapes: np.ndarray
    centers: np.ndarray
    scales: np.ndarray
    rotations: np.ndarray
    residuals: np.ndarray


def align(points: np.ndarray, typical: np.ndarray) -> Alignment:
    """Align shapes, without mirroring, in the least-squares sense.

    A misplaced landmark shifts the others, but the covariance of :class:`ShapeModel` accounts for that.
    Weights by residual were tried and detect fewer faults.

    Args:
        points: (N, K, D), NaN where missing. Shapes of D landmarks or fewer become NaN.
        typical: (K, D) complete shape.
    """
    seen = np.isfinite(points).all(axis=2)
    usable = seen.sum(axis=1) > points.shape[2]
    total = np.maximum(seen.sum(axis=1), 1)[:, None]
    center = np.nan_to_num(points).sum(axis=1) / total
    goal = seen @ typical / total
    source = np.nan_to_num(points - center[:, None])
    target = np.where(seen[..., None], typical - goal[:, None], 0.0)
    left, sizes, right = np.linalg.svd(np.einsum("nki,nkj->nij", source, target))
    signs = np.ones_like(sizes)
    signs[:, -1] = np.sign(np.linalg.det(left @ right))
    rotation = (left * signs[:, None]) @ right
    spread = (source**2).sum(axis=(1, 2))
    scale = np.maximum((sizes * signs).sum(axis=1) / np.maximum(spread, 1e-12), 1e-12)
    moved = np.einsum("nki,nij->nkj", points - center[:, None], rotation) * scale[:, None, None]
    shapes = moved + goal[:, None]
    shapes[~usable] = np.nan
    centers = center - np.einsum("nj,nij->ni", goal, rotation) / scale[:, None]
    return Alignment(shapes, centers, 1 / scale, rotation, _median_distance(shapes, typical))


def _median_distance(shapes: np.ndarray, typical: np.ndarray) -> np.ndarray:
    distance = np.linalg.norm(shapes - typical, axis=2)
    result = np.full(len(shapes), np.nan)
    some = np.isfinite(distance).any(axis=1)
    result[some] = np.nanmedian(distance[some], axis=1)
    return result


def mirror_image(points: np.ndarray) -> np.ndarray:
    """Return shapes (..., D) mirrored in the first axis."""
    return points * np.array([-1.0] + [1.0] * (points.shape[-1] - 1))


def find_typical(points: np.ndarray) -> np.ndarray | None:
    """Return the (K, D) median of aligned shapes, each mirrored if that fits better.

    Args:
        points: (N, K, D), NaN where missing.

    Returns:
        The shape, or None if a landmark is missing in all of them.
    """
    seen = np.isfinite(points).all(axis=2)
    points = points[seen.sum(axis=1) > points.shape[2]]
    points = points[:: max(1, len(points) // _TYPICAL_FROM)]
    if len(points) == 0 or np.isnan(points).all(axis=(0, 2)).any():
        return None
    # Start with a shape that many others resemble: the candidate with the smallest median distance.
    complete = np.isfinite(points).all(axis=(1, 2))
    if complete.any():
        candidates = points[complete][:: max(1, int(complete.sum()) // 12)]
        starts = [start for start in map(normalised, candidates) if start is not None]
    else:
        starts = [start for start in [normalised(np.nanmedian(points, axis=0))] if start is not None]
    if not starts:
        return None
    some = points[:: max(1, len(points) // 60)]
    fits = [np.nanmedian(np.fmin(*(a.residuals for a in both_sides(some, start)))) for start in starts]
    typical = starts[int(np.nanargmin(fits))]
    for _ in range(_ROUNDS):
        plain, mirrored = both_sides(points, typical)
        closer = (mirrored.residuals < plain.residuals)[:, None, None]
        median = np.nanmedian(np.where(closer, mirrored.shapes, plain.shapes), axis=0)
        improved = normalised(median)
        if improved is None:
            return None
        typical = improved
    return typical


def both_sides(points: np.ndarray, typical: np.ndarray) -> tuple[Alignment, Alignment]:
    """Return the alignments of shapes and of their mirror images."""
    return align(points, typical), align(mirror_image(points), typical)


def normalised(shape: np.ndarray) -> np.ndarray | None:
    """Return a (K, D) shape centred and of root mean square radius 1; None if it is a single point."""
    centred = shape - shape.mean(axis=0)
    radius = np.sqrt((centred**2).sum(axis=1).mean())
    return centred / radius if np.isfinite(radius) and radius > 0 else None


# ---- scores --------------------------------------------------------------------------------------


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


@dataclass(frozen=True)
class Tails:
    """Transforms distances to the scale and tails of a normal distribution.

    Real shapes have heavier tails than a normal distribution. A power reduces them, so that one threshold
    means the same for all data. The power is limited, since many faults also make a heavy tail.

    Attributes:
        median: Of the distances, () or (K,).
        normal: The median of a normal distribution's distances.
        power: Rescaled = normal * (distance / median) ** power.
    """

    median: np.ndarray
    normal: float
    power: float

    @classmethod
    def match(cls, distances: np.ndarray, dims: int, quantile: float) -> Tails:
        """Match median and an upper quantile of (N,) or (N, K) distances, NaN where missing.

        Args:
            distances: Distances of usual shapes.
            dims: Degrees of freedom: 1, 2 or 3.
            quantile: 0.9 or 0.95.
        """
        median = np.maximum(np.nanmedian(distances, axis=0), 1e-6)
        normal, upper = _CHI[dims][0.5], _CHI[dims][quantile]
        reached = float(np.nanquantile(distances / median, quantile))
        power = float(np.clip(np.log(upper / normal) / np.log(max(reached, 1.01)), 0.55, 1.0))
        return cls(median, normal, power)

    def rescaled(self, distances: np.ndarray) -> np.ndarray:
        """Return distances in standard deviations of a normal distribution."""
        return self.normal * (distances / self.median) ** self.power


# Quantiles of the length of a vector of standard normal numbers, by its dimension.
_CHI = {
    1: {0.5: 0.6745, 0.9: 1.6449, 0.95: 1.9600},
    2: {0.5: 1.1774, 0.9: 2.1460, 0.95: 2.4477},
    3: {0.5: 1.5382, 0.9: 2.5003, 0.95: 2.7955},
}
