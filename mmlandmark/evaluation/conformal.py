r"""Split-conformal prediction for landmarks: pure NumPy.

A nonconformity score says how far the annotated point lies from the predicted one. If images are
exchangeable (drawn alike, in any order), the score of a new image is at most the :math:`\lceil (n + 1)\,l
\rceil`-th smallest of n calibration scores with a probability of at least :math:`l`, whatever the network is
and whatever its errors look like (Vovk et al. 2005; Papadopoulos et al. 2002). Scores follow the ellipsoidal
kind that Jonkers et al. (arXiv 2503.14106) compare with others: :math:`s = \sqrt{e^T M^{-1} e}` for the error
:math:`e` and a shape matrix :math:`M` of the image and landmark, so that the region of level l is
:math:`e^T M^{-1} e \le q^2` with the quantile q of level l.
"""

from __future__ import annotations

import math

import numpy as np

KINDS = ("absolute", "scaled", "elliptic")
"""``absolute``: M is the identity, so every image has the same radius; ``scaled``: M is a circle as wide as
the predicted spread; ``elliptic``: M is the predicted spread itself."""

# A Gaussian lets one in a million points lie further out, in squared standard deviations, by dimension.
_OUTLIER = {2: 27.63, 3: 30.66}


def conformal_quantile(scores: np.ndarray, level: float) -> float:
    r"""Return the :math:`\lceil (n + 1)\,l \rceil`-th smallest of n scores; infinity where n is too small.

    Args:
        scores: (n,) finite numbers.
        level: Probability l with which a new score is to be at most the result.

    Raises:
        ValueError: ``level`` is not between 0 and 1.

    Example:
        >>> conformal_quantile(np.arange(1.0, 20.0), 0.9), conformal_quantile(np.arange(1.0, 9.0), 0.9)
        (18.0, inf)
    """
    check_level(level)
    rank = math.ceil((len(scores) + 1) * level - 1e-9)  # 10 * 0.9 must not become 10
    return float(np.sort(scores)[max(rank, 1) - 1]) if rank <= len(scores) else math.inf


def needed_for(level: float) -> int:
    """Return how many scores a finite :func:`conformal_quantile` of this level takes.

    Example:
        >>> needed_for(0.9), needed_for(0.95), needed_for(0.99)
        (9, 19, 99)
    """
    check_level(level)
    return math.ceil(level / (1 - level) - 1e-9)


def check_level(level: float) -> None:
    """Raise ValueError for a level that is not between 0 and 1."""
    if not 0 < level < 1:
        raise ValueError(f"a level is a probability between 0 and 1, such as 0.9, got {level}")


def shape_matrices(kind: str, spread: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Return the matrices M of a kind, (N, K, D, D) in pixels^2.

    Args:
        kind: One of :data:`KINDS`.
        spread: (N, K, D, D) predicted covariance in pixels^2, at least 1/12 in every direction, the variance
            of a place within a pixel; only its size counts for ``absolute``.
        scale: (N, D) length of a pixel, such as mm: ``absolute`` and ``scaled`` are round in that unit.

    Raises:
        ValueError: The kind is unknown.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    spread = _widened(spread)
    if kind == "elliptic":
        return spread
    square = scale[:, None, :] ** 2
    round_ = np.eye(spread.shape[-1]) / square[..., None]
    if kind == "absolute":
        return np.broadcast_to(round_, spread.shape)
    variance = (np.diagonal(spread, axis1=2, axis2=3) * square).mean(axis=2)
    return round_ * variance[..., None, None]


def nonconformity(residuals: np.ndarray, shapes: np.ndarray) -> np.ndarray:
    """Return the scores sqrt(e^T M^-1 e), (N, K); NaN where a residual or a matrix is missing.

    Args:
        residuals: (N, K, D) annotated minus predicted, pixels.
        shapes: (N, K, D, D) from :func:`shape_matrices`.
    """
    known = np.isfinite(residuals).all(axis=2) & np.isfinite(shapes).all(axis=(2, 3))
    scores = np.full(known.shape, np.nan)
    errors = residuals[known]
    solved = np.linalg.solve(_regular(shapes[known]), errors[..., None])[..., 0]
    scores[known] = np.sqrt(np.maximum((errors * solved).sum(axis=1), 0))
    return scores


def outer_radii(shapes: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Return the largest semi-axis of e^T M^-1 e <= 1 in the unit of ``scale``, (N, K)."""
    scaled = shapes * scale[:, None, :, None] * scale[:, None, None, :]
    known = np.isfinite(scaled).all(axis=(2, 3))
    radii = np.full(known.shape, np.nan)
    radii[known] = np.sqrt(np.linalg.eigvalsh(scaled[known])[:, -1])
    return radii


def mean_radii(shapes: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Return the radius of the ball with the volume of e^T M^-1 e <= 1, in the unit of ``scale``, (N, K)."""
    scaled = shapes * scale[:, None, :, None] * scale[:, None, None, :]
    known = np.isfinite(scaled).all(axis=(2, 3))
    radii = np.full(known.shape, np.nan)
    radii[known] = np.maximum(np.linalg.det(scaled[known]), 0) ** (0.5 / shapes.shape[-1])
    return radii


def fit_temperature(residuals: np.ndarray, spread: np.ndarray) -> np.ndarray:
    r"""Return the factors (K,) that make the predicted covariances those of Gaussian errors.

    The likelihood of :math:`e \sim N(0, T_k S)` is greatest at the mean of :math:`e^T S^{-1} e / D`. Points
    so far out that a Gaussian of that width would send one in a million there are no part of it: one point
    on the wrong tooth would double the width for all other images. The coverage shows them.

    Args:
        residuals: (N, K, D) annotated minus predicted, pixels; NaN where missing.
        spread: (N, K, D, D) predicted covariance, pixels^2.

    Returns:
        (K,) factors; NaN for a landmark without a single error.
    """
    dims = residuals.shape[-1]
    squares = nonconformity(residuals, spread) ** 2
    factors = np.full(squares.shape[1], np.nan)
    for k, column in enumerate(squares.T):
        column = column[np.isfinite(column)]
        if not column.size:
            continue
        factor = np.median(column) / (2 * math.log(2) if dims == 2 else 2.366)  # the median of chi^2
        for _ in range(50):
            near = column[column <= _OUTLIER[dims] * factor]
            again = near.mean() / dims if near.size else factor
            if math.isclose(again, factor, rel_tol=1e-9):
                break
            factor = again
        factors[k] = max(factor, 1e-12)
    return factors


def _widened(spread: np.ndarray) -> np.ndarray:
    """Return covariances of at least 1/12 in every direction: one pixel is not certain of its point."""
    known = np.isfinite(spread).all(axis=(-2, -1))
    values, axes = np.linalg.eigh(np.where(known[..., None, None], spread, np.eye(spread.shape[-1])))
    narrow = known & (values[..., 0] < 1 / 12)
    wide = (axes * np.maximum(values, 1 / 12)[..., None, :]) @ np.swapaxes(axes, -2, -1)
    return np.where(narrow[..., None, None], wide, spread)


def _regular(matrices: np.ndarray) -> np.ndarray:
    """Return covariances that can be inverted: a map of one pixel has none."""
    floor = 1e-6 * np.trace(matrices, axis1=1, axis2=2) + 1e-12
    return matrices + floor[:, None, None] * np.eye(matrices.shape[-1])
