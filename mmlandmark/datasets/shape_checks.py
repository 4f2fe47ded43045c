"""The typical shape of a dataset, and how far every record is from it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mmlandmark.datasets.check_cases import Cases, Finding

_ROUNDS = 4


def shape_outliers(cases: Cases, shape: float, landmark: float, min_records: int) -> Iterator[Finding]:
    """Shapes, single landmarks and mirror images that do not fit the typical shape."""
    residuals = shape_residuals(cases.clean, min_records)
    if residuals is None:
        return
    for n in mirrored_shapes(cases.clean, residuals):
        yield cases.finding(n, "mirrored shape", "fits the typical shape much better when it is mirrored")
    seen = np.isfinite(residuals)
    with np.errstate(invalid="ignore"):  # records without landmarks become NaN, and compare as False
        rms = np.sqrt(np.where(seen, residuals**2, 0).sum(axis=1) / seen.sum(axis=1))
    median = np.nanmedian(rms)
    deviation = 1.4826 * np.nanmedian(np.abs(rms - median))
    far = rms > median + shape * deviation
    for n in np.flatnonzero(far):
        k = int(np.nanargmax(residuals[n]))
        score = float((rms[n] - median) / deviation) if deviation > 0 else float("inf")
        message = f"unlike the typical shape ({score:.1f} robust deviations); farthest is {cases.at(n, k)}"
        yield cases.finding(int(n), "shape outlier", message, landmarks=(k,), score=score)
    typical = np.nanmedian(residuals, axis=0)
    # In a shape that fits nowhere, single landmarks say nothing.
    for n, k in np.argwhere((residuals > landmark * typical) & ~far[:, None]):
        times = float(residuals[n, k] / typical[k]) if typical[k] > 0 else float("inf")
        message = f"{cases.at(n, k)} is {times:.1f} times as far from its typical place as usual"
        yield cases.finding(int(n), "landmark outlier", message, landmarks=(int(k),), score=times)


def shape_residuals(points: np.ndarray, min_records: int = 10) -> np.ndarray | None:
    """Return the distance of every landmark from the typical shape after a similarity alignment.

    The typical shape is the median of the aligned shapes, so that faults do not bend it.

    Args:
        points: (N, K, D) landmarks in pixels, NaN where missing.
        min_records: Fewer usable records tell nothing.

    Returns:
        (N, K) distances in units of the typical shape's size (root mean square distance from its centre),
        NaN for missing landmarks and unusable records; None if there are too few records.
    """
    typical = typical_shape(points, min_records)
    if typical is None:
        return None
    return np.stack([np.linalg.norm(align(p, typical) - typical, axis=1) for p in points])


def typical_shape(points: np.ndarray, min_records: int = 10) -> np.ndarray | None:
    """Return the (K, D) median shape, centred and of size one, or None; see :func:`shape_residuals`."""
    usable = points[_usable(points)]
    if len(usable) < min_records or np.isnan(usable).all(axis=(0, 2)).any():
        return None
    typical = usable[np.isfinite(usable).all(axis=2).sum(axis=1).argmax()]
    if np.isnan(typical).any():
        # No record is complete: begin with the median of the positions.
        typical = np.nanmedian(usable, axis=0)
    typical = _normalised(typical)
    for _ in range(_ROUNDS):
        typical = _normalised(np.nanmedian([align(p, typical) for p in usable], axis=0))
    return typical


def mirrored_shapes(points: np.ndarray, residuals: np.ndarray) -> list[int]:
    """Return the records that fit the typical shape at least twice as well after a mirroring.

    Args:
        points: (N, K, D) landmarks in pixels.
        residuals: (N, K) what :func:`shape_residuals` gave for them.
    """
    typical = typical_shape(points)
    if typical is None:
        return []
    mirror = points * np.array([-1.0] + [1.0] * (points.shape[2] - 1))
    found = []
    for n in np.flatnonzero(_usable(points)):
        other = np.linalg.norm(align(mirror[n], typical) - typical, axis=1)
        if np.nanmean(other**2) < 0.25 * np.nanmean(residuals[n] ** 2):
            found.append(int(n))
    return found


def align(points: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return ``points`` moved, turned and scaled (not mirrored) to fit ``target`` in the least squares.

    Args:
        points: (K, D) landmarks, NaN where missing; these do not take part.
        target: (K, D) complete shape.
    """
    seen = np.isfinite(points).all(axis=1)
    dims = points.shape[1]
    if seen.sum() <= dims:
        return np.full_like(points, np.nan)
    center, goal = points[seen].mean(axis=0), target[seen].mean(axis=0)
    source, destination = points[seen] - center, target[seen] - goal
    left, sizes, right = np.linalg.svd(source.T @ destination)
    signs = np.ones(dims)
    signs[-1] = np.sign(np.linalg.det(left @ right))
    scale = (sizes * signs).sum() / max(float((source**2).sum()), 1e-12)
    return (points - center) @ (left * signs) @ right * scale + goal


def _usable(points: np.ndarray) -> np.ndarray:
    """(N,) bool: more than D landmarks, and not all in one place."""
    seen = np.isfinite(points).all(axis=2, keepdims=True)
    low = np.where(seen, points, np.inf).min(axis=1)
    high = np.where(seen, points, -np.inf).max(axis=1)
    return (seen.sum(axis=(1, 2)) > points.shape[2]) & (high > low).any(axis=1)


def _normalised(shape: np.ndarray) -> np.ndarray:
    centred = shape - shape.mean(axis=0)
    return centred / np.sqrt((centred**2).sum(axis=1).mean())
