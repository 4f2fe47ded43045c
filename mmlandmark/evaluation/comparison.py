"""Paired tests: is one method better than another on the same images, or may that be chance?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_ROUND_OFF = 1e-12  # part of the largest error within which errors are equal: those of means in another order


@dataclass(frozen=True)
class PairedTest:
    """Results of two paired tests of the differences between images.

    Attributes:
        images: Number of pairs, of images, or of patients that have several.
        difference: Mean of first minus second; negative where the first method has smaller errors.
        interval: 95 % confidence interval of the mean difference, from Student's t distribution; NaN as
            ``t_p`` is.
        t_p: Two-sided p of the paired t-test, a test of the mean. NaN if all pairs differ by one amount other
            than 0: their spread, by which the test judges the mean, is 0 then, and any amount would pass.
        wilcoxon_p: Two-sided p of Wilcoxon's signed-rank test, which is less sensitive to a few bad failures.
        units: What the pairs are of, ``images`` or ``patients``.
    """

    images: int
    difference: float
    interval: tuple[float, float]
    t_p: float
    wilcoxon_p: float
    units: str = "images"

    @property
    def t_text(self) -> str:
        """``t_p`` in two digits, a dash where there is none."""
        return "-" if np.isnan(self.t_p) else f"{self.t_p:.2g}"


def paired_test(first: np.ndarray, second: np.ndarray, groups: Sequence[int] | None = None) -> PairedTest:
    """Compare the errors of two methods image by image.

    Errors within an image are correlated, so an image is one observation: the mean of its errors. With
    several training runs of a method, give the mean over the runs of every image.

    Args:
        first: (N,) mean errors of the images; pairs with NaN (nothing predicted) are dropped.
        second: (N,) mean errors of the other method, for the same images in the same order.
        groups: N numbers from 0, the same for images of one patient, see
            :func:`~mmlandmark.evaluation.independent_units`: a patient is one observation then, the mean of
            the differences of its images.

    Returns:
        The results; both p values are 1 if no image differs by more than rounding.

    Raises:
        ValueError: The shapes differ, there is not one group for each image, or fewer than two pairs remain.

    Example:
        >>> test = paired_test(np.array([1.0, 1.2, 0.9, 1.1]), np.array([1.2, 1.3, 1.2, 1.25]))
        >>> round(test.difference, 4), round(test.t_p, 3)
        (-0.1875, 0.022)
    """
    from scipy import stats  # takes a second, and most commands compare nothing

    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(
            f"a paired test needs the same images on both sides, got {first.shape} and {second.shape}"
        )
    change = first - second
    known, units = np.isfinite(change), "images"
    if groups is not None:
        if len(groups) != len(change):
            raise ValueError(f"{len(change)} images need as many groups, got {len(groups)}")
        of, units = np.asarray(groups)[known], "patients"
        number = np.bincount(of)
        change = np.bincount(of, change[known])[number > 0] / number[number > 0]
    else:
        change = change[known]
    if len(change) < 2:
        raise ValueError(f"a paired test needs at least two {units}, got {len(change)}")
    mean = float(change.mean())
    largest = np.abs([first, second])[:, known].max()
    steps = np.rint(change / (_ROUND_OFF * largest or 1.0))  # signs and ranks of rounding mean nothing
    if not steps.any():
        return PairedTest(len(change), 0.0, (0.0, 0.0), 1.0, 1.0, units)
    p, low, high = (float("nan"),) * 3
    if np.ptp(steps) > 1:
        t_test = stats.ttest_1samp(change, 0.0)
        p, (low, high) = float(t_test.pvalue), map(float, t_test.confidence_interval(0.95))
    return PairedTest(len(change), mean, (low, high), p, float(stats.wilcoxon(steps).pvalue), units)
