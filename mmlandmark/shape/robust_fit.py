"""A typical shape fitted to detected landmarks of which many may be wrong."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmlandmark.shape.alignment import Alignment, align
from mmlandmark.shape.tails import Tails

_DRAWS = 500  # with half of the landmarks wrong, four right ones are among them with certainty (1 - 1e-14)
_TRUSTED = 0.5  # share of the landmarks whose distances are minimised
_OUTLIER = 2.5  # root mean square over the coordinates, in standard deviations of one
_ROUNDS = 5


@dataclass(frozen=True)
class RobustFit:
    """A typical shape, placed where the landmarks of one case are.

    Attributes:
        matrix: (D+1, D+1) from the frame of the typical shape to that of the case: a rotation, a translation
            and a scaling.
        placed: (K, D) the typical shape in the frame of the case.
        agree: (K,) bool: landmarks that the fit explains; not those that are missing.
    """

    matrix: np.ndarray
    placed: np.ndarray
    agree: np.ndarray


def fit_robustly(points: np.ndarray, typical: np.ndarray) -> RobustFit | None:
    """Fit a typical shape to landmarks by rotation, translation and scaling; up to half may be wrong.

    Least median of squares (Rousseeuw, JASA 1984): of fits to a few landmarks each, drawn at random, the one
    counts whose median distance is smallest; then least squares of the landmarks that agree with it. The
    draws are the same in every call.

    Args:
        points: (K, D), NaN where missing, in isotropic units.
        typical: (K, D) complete shape.

    Returns:
        The fit, or None if there are not more than D landmarks, or they lie in one place.
    """
    count, dims = typical.shape
    seen = np.flatnonzero(np.isfinite(points).all(1))
    if len(seen) <= dims or np.ptp(points[seen], axis=0).max() <= 1e-9 * np.abs(points[seen]).max():
        return None
    rng = np.random.default_rng(0)
    few = rng.random((_DRAWS, len(seen))).argsort(1)[:, : dims + 1]
    tried = np.full((_DRAWS + 1, count, dims), np.nan)
    rows = np.arange(_DRAWS)[:, None]
    tried[rows, seen[few]] = points[seen[few]]
    tried[-1] = points  # without outliers nothing is better than all of them
    fits = align(tried, typical)
    distances = _distances(fits, points, typical)
    medians = np.nanquantile(distances, _TRUSTED, axis=1)
    if not np.isfinite(medians).any():
        return None
    best = int(np.nanargmin(medians))
    fit, agree = align(tried[best : best + 1], typical), np.isfinite(points).all(1)
    for _ in range(_ROUNDS):
        before, agree = agree, _agreeing(_distances(fit, points, typical)[0], len(seen), dims)
        if agree.sum() <= dims:
            break
        fit = align(np.where(agree[:, None], points, np.nan)[None], typical)
        if (agree == before).all():
            break
    matrix = np.eye(dims + 1)
    matrix[:dims, :dims] = fit.scales[0] * fit.rotations[0]
    matrix[:dims, dims] = fit.centers[0]
    return RobustFit(matrix, fit.restored(typical)[0], agree)


def _distances(fits: Alignment, points: np.ndarray, typical: np.ndarray) -> np.ndarray:
    """Return (N, K) distances of landmarks from the typical shape, placed by N fits; in units of the points.

    A typical shape that shrinks to one place is near to nothing, so it does not win.
    """
    return np.linalg.norm(points - fits.restored(typical), axis=2)


def _agreeing(distances: np.ndarray, count: int, dims: int) -> np.ndarray:
    """Return which landmarks lie within 2.5 robust standard deviations along every axis on average."""
    middle = np.nanmedian(distances) * (1 + 5 / max(count - dims - 1, 1))  # Rousseeuw's small-sample factor
    sigma = middle / Tails.normal_median(dims)
    with np.errstate(invalid="ignore"):
        return distances <= max(_OUTLIER * np.sqrt(dims) * sigma, 1e-9)
