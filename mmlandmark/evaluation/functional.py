"""Errors of landmarks and statistics of them: pure NumPy, in two and three dimensions.

A missing point is NaN, and so is its error; means and quantiles ignore NaN. No function knows the size of a
pixel: millimetres come from ``scale`` alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

PRESENT = 0.5
"""Least probability of presence of a landmark that is predicted."""


def radial_errors(pred: np.ndarray, gt: np.ndarray, scale: np.ndarray | float | None = None) -> np.ndarray:
    """Return the Euclidean distance between predicted and annotated landmarks.

    Args:
        pred: (N, K, D) pixels, (x, y[, z]), NaN where nothing is predicted.
        gt: (N, K, D) pixels, NaN where nothing is annotated.
        scale: (N, D) or (N,) length per pixel of every image, one number for all, or None for pixels.

    Returns:
        (N, K) in the unit of ``scale``; NaN where either point is missing.

    Raises:
        ValueError: Shapes disagree, or a scale is not a positive number.

    Example:
        >>> gt = np.array([[[10.0, 10.0], [np.nan, np.nan]]])
        >>> radial_errors(np.array([[[13.0, 14.0], [5.0, 5.0]]]), gt, scale=0.1).tolist()
        [[0.5, nan]]
    """
    pred, gt = _pair(pred, gt)
    difference = pred - gt
    difference[~np.isfinite(difference)] = np.nan  # Infinite coordinates count as missing.
    if scale is not None:
        difference = difference * _per_image(scale, len(gt), gt.shape[2])[:, None]
    return np.linalg.norm(difference, axis=2)


def reference_scale(
    gt: np.ndarray, pair: Sequence[int], length: float = 1.0, spacing: np.ndarray | None = None
) -> np.ndarray:
    """Return the scale of every image that makes the distance of two annotated landmarks ``length``.

    The wrist in the Digital Hand Atlas is such a pair: it is assumed to be 50 mm wide. With ``length`` 1,
    errors are fractions of the reference.

    Args:
        gt: (N, K, D) annotated landmarks in pixels.
        pair: Indices of the two landmarks, from 0.
        length: The known length, for instance in mm.
        spacing: (N, D) or (N,) relative length of a pixel along every axis, for pixels that are not square.

    Returns:
        (N, D) length per pixel; NaN where a point of the pair is missing or both coincide.

    Raises:
        ValueError: The pair is not two different landmarks, or the length is not positive.

    Example:
        >>> reference_scale(np.array([[[0.0, 0.0], [400.0, 0.0]]]), (0, 1), length=50.0).tolist()
        [[0.125, 0.125]]
    """
    gt = np.asarray(gt, dtype=np.float64)
    count, dims = gt.shape[1:]
    first, second = pair
    if first == second or not (0 <= first < count and 0 <= second < count):
        raise ValueError(f"reference pair {tuple(pair)} must be two different landmarks of 0..{count - 1}")
    if not (np.isfinite(length) and length > 0):
        raise ValueError(f"reference length must be positive, got {length}")
    base = np.ones((len(gt), dims)) if spacing is None else _per_image(spacing, len(gt), dims)
    distance = np.linalg.norm((gt[:, first] - gt[:, second]) * base, axis=1)
    distance[distance == 0] = np.nan
    return base * length / distance[:, None]


def summarize(errors: np.ndarray, axis: int | None = None) -> dict[str, np.ndarray | float]:
    """Return mean, standard deviation, median, 95th percentile and count of all errors that are not NaN.

    Args:
        errors: (N, K) errors, NaN where there is none.
        axis: None pools all points; 0 gives one number per landmark, 1 one per image.

    Returns:
        ``mre``, ``sd`` (population), ``median``, ``p95`` and ``count``; NaN where there are no errors.

    Example:
        >>> summary = summarize(np.array([[1.0, np.nan], [2.0, 3.0]]))
        >>> float(summary["mre"]), int(summary["count"])
        (2.0, 3)
    """
    errors = np.asarray(errors, dtype=np.float64)
    count = np.isfinite(errors).sum(axis=axis)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.nansum(errors, axis=axis) / count
        spread = errors - (mean if axis is None else np.expand_dims(mean, axis))
        sd = np.sqrt(np.nansum(spread**2, axis=axis) / count)
    return dict(
        mre=mean, sd=sd, median=_quantile(errors, 50, axis), p95=_quantile(errors, 95, axis), count=count
    )


def per_image_mean(errors: np.ndarray) -> np.ndarray:
    """Return the mean error of every image, (N, K) -> (N,); NaN for an image without a point.

    Example:
        >>> per_image_mean(np.array([[1.0, np.nan], [2.0, 3.0]])).tolist()
        [1.0, 2.5]
    """
    return np.asarray(summarize(errors, axis=1)["mre"])


def mean_offsets(vectors: np.ndarray) -> np.ndarray:
    """Return the length of every landmark's mean error vector, (K,): how far all images agree to be off.

    Args:
        vectors: (N, K, D) annotated minus predicted, NaN where either is missing.

    Example:
        >>> mean_offsets(np.array([[[3.0, 0.0]], [[3.0, 8.0]], [[np.nan, 0.0]]])).tolist()
        [5.0]
    """
    known = np.isfinite(vectors).all(axis=2)
    total = np.where(known[..., None], vectors, 0).sum(axis=0)
    with np.errstate(invalid="ignore"):
        return np.linalg.norm(total / known.sum(axis=0)[:, None], axis=1)


def success_rate(
    errors: np.ndarray,
    radius: float,
    strict: bool = False,
    valid: np.ndarray | None = None,
    axis: int | None = None,
) -> np.ndarray | float:
    """Return the successful detection rate (SDR): the percentage of errors within a radius.

    Args:
        errors: (N, K) errors, NaN where there is none.
        radius: Radius in the unit of the errors.
        strict: Count only errors below the radius; the default also counts those equal to it.
        valid: (N, K) bool, the points to count. A valid point whose error is NaN (nothing predicted) is a
            failure. The default counts all errors that are not NaN.
        axis: None pools all points; 0 gives one number per landmark.

    Returns:
        Percentage; NaN where there are no points.

    Example:
        >>> errors = np.array([[1.0, 2.0, np.nan, 5.0, 9.0]])
        >>> float(success_rate(errors, 2.0)), float(success_rate(errors, 2.0, strict=True))
        (50.0, 25.0)
        >>> float(success_rate(errors, 2.0, valid=np.full((1, 5), True)))
        40.0
    """
    errors = np.asarray(errors, dtype=np.float64)
    valid = np.isfinite(errors) if valid is None else np.asarray(valid, dtype=bool)
    hit = (errors < radius if strict else errors <= radius) & valid
    with np.errstate(invalid="ignore", divide="ignore"):
        return 100.0 * hit.sum(axis=axis) / np.asarray(valid.sum(axis=axis), dtype=np.float64)


def outlier_rate(
    errors: np.ndarray,
    radius: float,
    strict: bool = False,
    valid: np.ndarray | None = None,
    axis: int | None = None,
) -> np.ndarray | float:
    """Return the percentage of points beyond a radius; arguments as in :func:`success_rate`."""
    return 100.0 - success_rate(errors, radius, strict, valid, axis)


def cumulative_curve(
    errors: np.ndarray, radii: np.ndarray | Sequence[float], valid: np.ndarray | None = None
) -> np.ndarray:
    """Return the success rate at each of (R,) radii, as (R,) percentages; see :func:`success_rate`.

    Example:
        >>> cumulative_curve(np.array([[0.5, 1.5, 2.5, 9.0]]), (1, 2, 3)).tolist()
        [25.0, 50.0, 75.0]
    """
    return np.array([success_rate(errors, radius, valid=valid) for radius in radii])


def independent_units(groups: Sequence[object]) -> np.ndarray:
    """Return (N,) numbers from 0, the same for images of one group (patient), which are no independent ones.

    Args:
        groups: Of N images; None for an image without one, which stands for itself.

    Example:
        >>> independent_units(["ann", None, "ann", None]).tolist()
        [0, 1, 0, 2]
    """
    numbers: dict[object, int] = {}
    names = [(None, n) if group is None else (group, 0) for n, group in enumerate(groups)]
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], dtype=np.int64)


def mean_interval(
    errors: np.ndarray,
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
    groups: Sequence[object] | None = None,
) -> tuple[float, float]:
    """Return a bootstrap interval of the mean error; images are resampled, since their points are correlated.

    Args:
        errors: (N, K) errors, NaN where there is none.
        level: Coverage between 0 and 1.
        draws: Number of resamplings.
        seed: Seed of the resamplings.
        groups: Of N images, see :func:`independent_units`: groups (patients) are resampled as a whole.

    Returns:
        Lower and upper end; NaN if fewer than two images (groups) have an error.
    """
    errors = np.asarray(errors, dtype=np.float64)
    unit = independent_units(groups) if groups is not None else np.arange(len(errors))
    count = np.bincount(unit, np.isfinite(errors).sum(axis=1))
    total = np.bincount(unit, np.nansum(errors, axis=1))[count > 0]
    count = count[count > 0]
    if len(count) < 2:
        return float("nan"), float("nan")
    chosen = np.random.default_rng(seed).integers(len(total), size=(draws, len(total)))
    low, high = np.quantile(total[chosen].sum(1) / count[chosen].sum(1), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def coordinate_mse(pred: np.ndarray, gt: np.ndarray, size: np.ndarray) -> float:
    """Return the mean squared error of coordinates given as fractions of the image.

    Args:
        pred: (N, K, D) pixels.
        gt: (N, K, D) pixels.
        size: (N, D) extent of every image in pixels, (x, y[, z]): width before height.

    Example:
        >>> gt = np.array([[[50.0, 100.0]]])
        >>> round(coordinate_mse(gt + [[10.0, 0.0]], gt, np.array([[100.0, 200.0]])), 6)
        0.005
    """
    pred, gt = _pair(pred, gt)
    fraction = (pred - gt) / _per_image(size, len(gt), gt.shape[2])[:, None]
    fraction = fraction[np.isfinite(fraction).all(axis=2)]
    return float(np.mean(fraction**2)) if fraction.size else float("nan")


def pearson_rho(pred: np.ndarray, gt: np.ndarray, size: np.ndarray | None = None) -> float:
    """Return Pearson's correlation of all predicted with all annotated coordinates.

    Args:
        pred: (N, K, D) pixels.
        gt: (N, K, D) pixels.
        size: (N, D) extent of every image in pixels, to correlate fractions of the image, or None.

    Returns:
        A number in [-1, 1]; NaN for fewer than two or for constant coordinates.

    Example:
        >>> gt = np.array([[[1.0, 2.0], [3.0, 4.0]]])
        >>> round(pearson_rho(2 * gt + 1, gt), 6)
        1.0
    """
    pred, gt = _pair(pred, gt)
    if size is not None:
        extent = _per_image(size, len(gt), gt.shape[2])[:, None]
        pred, gt = pred / extent, gt / extent
    both = np.isfinite(pred).all(axis=2) & np.isfinite(gt).all(axis=2)
    a, b = pred[both].ravel(), gt[both].ravel()
    if a.size < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def _pair(pred: np.ndarray, gt: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    pred, gt = np.asarray(pred, dtype=np.float64), np.asarray(gt, dtype=np.float64)
    if pred.shape != gt.shape or gt.ndim != 3 or gt.shape[2] not in (2, 3):
        raise ValueError(
            f"predicted and annotated landmarks must both be (N, K, 2 or 3), got {pred.shape} and {gt.shape}"
        )
    return pred, gt


def _per_image(values: np.ndarray | float, images: int, dims: int) -> np.ndarray:
    """Return positive ``values`` of shape (), (N,) or (N, D) as (N, D); NaN (unknown) is kept."""
    array = np.asarray(values, dtype=np.float64)
    if array.shape not in ((), (images,), (images, dims)):
        raise ValueError(
            f"expected one number, one per image ({images},) or one per image and axis ({images}, {dims}), "
            f"got {array.shape}"
        )
    if (np.isinf(array) | (array <= 0)).any():
        raise ValueError(
            f"lengths per pixel must be positive numbers, got {array[np.isinf(array) | (array <= 0)][0]}"
        )
    array = array[:, None] if array.ndim == 1 else array
    return np.broadcast_to(array, (images, dims)).copy()


def _quantile(errors: np.ndarray, percent: float, axis: int | None) -> np.ndarray | float:
    """Return a percentile that ignores NaN, without NumPy's warning about rows that are all NaN."""
    if axis is None:
        present = errors[np.isfinite(errors)]
        return float(np.percentile(present, percent)) if present.size else float("nan")
    rows = np.moveaxis(errors, axis, -1)
    return np.array([_quantile(row, percent, None) for row in rows])


def outside_image(points: np.ndarray, shapes: np.ndarray) -> np.ndarray:
    """Return which points lie beyond the outer pixels of their image, (..., K) bool; False where unknown.

    Args:
        points: (..., K, D) pixels.
        shapes: (..., D) sides of the image in pixels, in array order.

    Example:
        >>> outside_image(np.array([[9.4, 3.0], [9.6, 3.0], [np.nan, 3.0]]), np.array([5, 10])).tolist()
        [False, True, False]
    """
    size = np.asarray(shapes, dtype=np.float64)[..., None, ::-1]
    with np.errstate(invalid="ignore"):
        beyond = (points < -0.5) | (points > size - 0.5)
    return beyond.any(axis=-1) & np.isfinite(points).all(axis=-1)
