"""Shapes fitted to a typical one by translation, rotation and scaling (Procrustes), and the typical one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_ROUNDS = 4
_OTHER_SIDE = 0.5  # a mirror image fits at least this much better
_RARE = 0.15  # of the shapes: more mirror images are views from the other side
_EXACT = 1e-9  # residual, in units of the typical shape, that is but rounding
_TYPICAL_FROM = 600  # shapes are enough to find the typical one


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

    def restored(self, shapes: np.ndarray) -> np.ndarray:
        """Return other aligned shapes (N, K, D) at the places, sizes and rotations of the originals."""
        return shapes @ self.rotations.swapaxes(1, 2) * self.scales[:, None, None] + self.centers[:, None]


def present(points: np.ndarray) -> np.ndarray:
    """Return shapes (N, K, D) whose landmarks without a finite place are NaN altogether."""
    return np.where(np.isfinite(points).all(axis=2, keepdims=True), points, np.nan)


def align(points: np.ndarray, typical: np.ndarray) -> Alignment:
    """Align shapes, without mirroring, in the least-squares sense.

    A misplaced landmark shifts the others, but the covariance of :class:`ShapeModel` accounts for that.
    Weights by residual were tried and detect fewer faults.

    Args:
        points: (N, K, D), NaN where missing. Shapes of D landmarks or fewer become NaN.
        typical: (K, D) complete shape.
    """
    points = present(points)
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


def in_tangent_space(aligned: Alignment, typical: np.ndarray) -> Alignment:
    """Scale aligned shapes into the tangent space of the typical one (Cootes et al., CVIU 1995).

    The least-squares scale of :func:`align` puts them on a sphere. In the tangent space they differ from the
    typical shape by nothing that translation, rotation or scaling could do, so sums of such differences are
    aligned, too.

    Args:
        aligned: Shapes aligned to ``typical``. A shape without extent becomes NaN.
        typical: (K, D) complete shape.
    """
    seen = np.isfinite(aligned.shapes).all(axis=2)
    goal = (seen @ typical / np.maximum(seen.sum(axis=1), 1)[:, None])[:, None]
    target = np.where(seen[..., None], typical - goal, 0.0)
    reach = (np.nan_to_num(aligned.shapes - goal) * target).sum(axis=(1, 2))
    size = (target**2).sum(axis=(1, 2))
    factor = size / np.where(reach > 1e-9 * size, reach, np.nan)
    shapes = goal + (aligned.shapes - goal) * factor[:, None, None]
    scales = aligned.scales / factor
    moved = np.einsum("nj,nij->ni", goal[:, 0], aligned.rotations)
    centers = aligned.centers + moved * (aligned.scales - scales)[:, None]
    return Alignment(shapes, centers, scales, aligned.rotations, _median_distance(shapes, typical))


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
    points = present(points)
    seen = np.isfinite(points).all(axis=2)
    points = _enough(points[seen.sum(axis=1) > points.shape[2]])
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


def find_typical_of_some(points: np.ndarray) -> np.ndarray | None:
    """Return :func:`find_typical` of the landmarks that any shape has; the others lie at its centre.

    For comparing these very shapes, which does not look at a landmark that none of them has.

    Args:
        points: (N, K, D), NaN where missing.

    Returns:
        (K, D), or None if no shape has more than D landmarks.
    """
    there = np.isfinite(points).all(axis=2)
    some = there[there.sum(axis=1) > points.shape[2]].any(axis=0)
    found = find_typical(points[:, some])
    if found is None:
        return None
    typical = np.zeros(points.shape[1:])
    typical[some] = found
    return typical


def _enough(points: np.ndarray) -> np.ndarray:
    """Return some of very many shapes, with all landmarks that any of them has."""
    chosen = np.zeros(len(points), dtype=bool)
    chosen[:: max(1, len(points) // _TYPICAL_FROM)] = True
    there = np.isfinite(points).all(axis=2)
    lost = ~there[chosen].any(axis=0)
    return points[chosen | there[:, lost].any(axis=1)]


def both_sides(points: np.ndarray, typical: np.ndarray) -> tuple[Alignment, Alignment]:
    """Return the alignments of shapes and of their mirror images."""
    return align(points, typical), align(mirror_image(points), typical)


def chosen_side(flipped: np.ndarray, plain: Alignment, other: Alignment) -> Alignment:
    """Return the alignment of the mirrored shape where (N,) ``flipped`` is set, else of the shape itself."""

    def pick(name: str) -> np.ndarray:
        first, second = getattr(plain, name), getattr(other, name)
        return np.where(flipped.reshape(-1, *[1] * (first.ndim - 1)), second, first)

    return Alignment(*(pick(name) for name in Alignment.__dataclass_fields__))


@dataclass(frozen=True)
class Sides:
    """Shapes aligned to the typical shape of the more frequent side.

    Attributes:
        typical: (K, D) complete shape.
        plain: Alignment of the shapes.
        other: Alignment of their mirror images.
        mirrored: (N,) bool: fits clearly better when it is mirrored.
        scored: (N,) bool: has enough landmarks to be aligned.
        usual: Whether mirror images are usual among the shapes.
    """

    typical: np.ndarray
    plain: Alignment
    other: Alignment
    mirrored: np.ndarray
    scored: np.ndarray
    usual: bool

    @property
    def flipped(self) -> np.ndarray:
        """(N,) bool: shapes to mirror, where mirror images are usual: those that fit better so."""
        with np.errstate(invalid="ignore"):
            return (self.other.residuals < self.plain.residuals) & self.usual

    @classmethod
    def find(cls, points: np.ndarray, typical: np.ndarray) -> Sides:
        """Align (N, K, D) shapes to a typical one (K, D), or to its mirror image if most fit that better."""
        plain, other = both_sides(points, typical)
        scored = np.isfinite(plain.residuals) & np.isfinite(plain.shapes).any(axis=(1, 2))
        with np.errstate(invalid="ignore"):
            mirrored = other.residuals < _OTHER_SIDE * plain.residuals
            mirrored &= plain.residuals > _EXACT  # flat shapes fit either way
        share = mirrored[scored].mean() if scored.any() else 0.0
        if share > 1 - _RARE:  # the typical shape shows the rare side
            typical = mirror_image(typical)
            plain, other = both_sides(points, typical)
            mirrored, share = ~mirrored, 1 - share
        return cls(typical, plain, other, mirrored, scored, bool(share > _RARE))


def normalised(shape: np.ndarray) -> np.ndarray | None:
    """Return a (K, D) shape centred and of root mean square radius 1; None if it is a single point."""
    centred = shape - shape.mean(axis=0)
    radius = np.sqrt((centred**2).sum(axis=1).mean())
    return centred / radius if np.isfinite(radius) and radius > 0 else None


def mean_rotation(rotations: np.ndarray) -> np.ndarray:
    """Return the (D, D) rotation nearest to the median of rotations (N, D, D)."""
    left, _, right = np.linalg.svd(np.median(rotations, axis=0))
    signs = np.ones(len(left))
    signs[-1] = np.sign(np.linalg.det(left @ right))
    return (left * signs) @ right


def angles_between(rotations: np.ndarray, usual: np.ndarray) -> np.ndarray:
    """Return the angles in radians between rotations (N, D, D) and one, (N,)."""
    dims = usual.shape[0]
    trace = np.einsum("nij,ij->n", rotations, usual)
    return np.arccos(np.clip((trace - (dims - 2)) / 2, -1, 1))
