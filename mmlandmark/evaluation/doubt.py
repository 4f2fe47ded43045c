"""Which landmarks a person should look at: how likely each is wrong, learnt on the calibration data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mmlandmark.evaluation.plain_values import checked_keys, need, numbers
from mmlandmark.evaluation.tested_cases import TestedCases

FEATURES = ("landmark", "spread", "score", "deviation")
_FEWEST, _PENALTY = 10, 1.0  # of errors to learn from; of the squared weights
_WIDEST = 8.0  # standard deviations of a feature: a detector may say nearly the same of all images
_KEYS = (
    "limit",
    "flag_rate",
    "threshold",
    "farthest",
    "lowest",
    "weights",
    "centre",
    "width",
    "error",
    "score",
)


@dataclass(frozen=True, eq=False)
class Doubt:
    """A logistic model of an error beyond a limit, and the threshold above which a landmark is flagged.

    Its features are the typical error of the landmark, the calibrated spread of its map as a part of the
    image, its score beside the usual one, and its deviation from where the other landmarks expect it; each as
    a logarithm. So it needs no spacing. What a detector does not say counts as usual. A landmark that
    deviates more, or scores less, than any right one in the calibration data is flagged, too: an error of
    that kind may not have been there to learn from.

    Attributes:
        limit: Error in the unit of the calibration beyond which a landmark is wrong.
        flag_rate: Part of all landmarks of the calibration data that is flagged.
        threshold: Probability from which on a landmark is flagged.
        farthest: Largest deviation of a right landmark in the calibration data; NaN without a prior.
        lowest: Lowest score of a right one there, as the logarithm of its part of the usual score.
        weights: (1 + F,) of a constant and the features.
        centre: (F,) means of the features.
        width: (F,) their standard deviations.
        error: (K,) logarithm of the median error of every landmark.
        score: (K,) logarithm of its median score.
    """

    limit: float
    flag_rate: float
    threshold: float
    farthest: float
    lowest: float
    weights: np.ndarray
    centre: np.ndarray
    width: np.ndarray
    error: np.ndarray
    score: np.ndarray

    @classmethod
    def fit(cls, cases: TestedCases, limit: float | None, flag_rate: float = 0.05) -> Doubt | None:
        """Learn from tested cases with a calibrated spread.

        With fewer than ten errors beyond ``limit``, and without one, the largest ``flag_rate`` of all errors
        count as wrong, and the limit becomes theirs.

        Args:
            cases: Calibration data.
            limit: See :class:`Doubt`; None for that of the largest errors.
            flag_rate: Likewise.

        Returns:
            The model, or None if there are fewer than ten errors even so, or nearly all errors are 0.

        Raises:
            ValueError: ``flag_rate`` is not between 0 and 1, or ``limit`` is not positive.
        """
        if not 0 < flag_rate < 1:
            raise ValueError(f"the part of landmarks to flag lies between 0 and 1, got {flag_rate}")
        if limit is not None and not (limit > 0 and np.isfinite(limit)):
            raise ValueError(f"the error beyond which a person should look must be above 0, got {limit}")
        errors = cases.errors
        known = np.isfinite(errors)
        if limit is None or (errors[known] > limit).sum() < _FEWEST:
            limit = float(np.quantile(errors[known], 1 - flag_rate))
        wrong = errors[known] > limit
        if wrong.sum() < _FEWEST or limit <= 0:
            return None
        with np.errstate(invalid="ignore", divide="ignore"):
            usual_error = _log_median(errors)
            usual_score = _log_median(cases.scores)
        features = _features(cases, usual_error, usual_score)
        values = features[known]
        centre = np.nan_to_num(_nan_mean(values))
        width = np.nan_to_num(_nan_mean((values - centre) ** 2)) ** 0.5
        width[width < 1e-9] = 1.0
        weights = _logistic(_standardised(values, centre, width), wrong)
        right = known & (np.nan_to_num(errors, nan=np.inf) <= limit)
        farthest, lowest = _largest(cases.deviation[right]), -_largest(features[right][:, 2])
        made = cls(limit, flag_rate, 0.0, farthest, lowest, weights, centre, width, usual_error, usual_score)
        return replace(made, threshold=_threshold(made.probability(cases)[known], flag_rate))

    def probability(self, cases: TestedCases) -> np.ndarray:
        """Return how likely every error is beyond the limit, (N, K); NaN where nothing is predicted.

        Args:
            cases: With a calibrated spread.
        """
        values = _features(cases, self.error, self.score)
        values = _standardised(values, self.centre, self.width)
        chance = _sigmoid(self.weights[0] + values @ self.weights[1:])
        return np.where(np.isfinite(cases.points).all(axis=2), chance, np.nan)

    def flagged(self, cases: TestedCases) -> np.ndarray:
        """Return which landmarks a person should look at, (N, K) bool; see :meth:`probability`."""
        return np.any(self._signs(cases), axis=0)

    def _signs(self, cases: TestedCases) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return which landmarks are probably wrong, deviate too far, score too low; each (N, K) bool."""
        found = np.isfinite(cases.points).all(axis=2)
        score = -_features(cases, self.error, self.score)[..., 2]
        with np.errstate(invalid="ignore"):
            likely = self.probability(cases) >= self.threshold
            return likely, found & (cases.deviation > self.farthest), found & (score < self.lowest)

    def reasons(self, case: TestedCases, unit: str) -> dict[int, str]:
        """Return the reasons to look at landmarks of one case, by their indices."""
        chance, deviation = self.probability(case)[0], case.deviation[0]
        likely, far, low = (sign[0] for sign in self._signs(case))
        reasons: dict[int, str] = {}
        for k in map(int, np.flatnonzero(likely | far | low)):
            texts = [f"{chance[k]:.0%} chance of an error beyond {self.limit:.3g} {unit}"] * bool(likely[k])
            texts += [deviation_reason(deviation[k])] * bool(far[k])
            texts += ["a lower score than any right one of the calibration"] * bool(low[k])
            reasons[k] = "; ".join(texts)
        return reasons

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        single = {key: getattr(self, key) for key in _KEYS[:3]}
        ends = {key: _plain([getattr(self, key)])[0] for key in _KEYS[3:5]}
        arrays = {key: _plain(getattr(self, key)) for key in _KEYS[5:]}
        return dict(single, **ends, **arrays)

    @classmethod
    def from_dict(cls, data: Any, count: int) -> Doubt:
        """Return the model of K landmarks from :meth:`to_dict`.

        Raises:
            ValueError: Something is missing or has another size.
        """
        data = checked_keys(data, _KEYS, "calibration: doubt")
        single = numbers([data[key] for key in _KEYS[:4]], "doubt", positive=True, missing=True)
        lowest = numbers([data["lowest"]], "doubt: lowest", missing=True)
        need(np.isfinite(single[:3]).all(), "doubt: all must be finite numbers")
        sizes = dict(weights=1 + len(FEATURES), centre=len(FEATURES), width=len(FEATURES))
        arrays: dict[str, Any] = {
            key: numbers(data[key], f"doubt: {key}", sizes.get(key, count), missing=key in ("error", "score"))
            for key in _KEYS[5:]
        }
        need((arrays["width"] > 0).all(), "doubt: width must be positive")
        return cls(*single.tolist(), *lowest.tolist(), **arrays)


def flag_curve(doubt: np.ndarray, wrong: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how many errors are caught if the most doubtful landmarks are looked at.

    Args:
        doubt: (N,) any number that is greater for more doubtful landmarks.
        wrong: (N,) bool.

    Returns:
        (N + 1,) share of the landmarks looked at, from 0 to 1, and share of the wrong ones among them.

    Raises:
        ValueError: Nothing is wrong, so there is nothing to catch.

    Example:
        >>> looked_at, caught = flag_curve(np.array([0.1, 0.9, 0.5, 0.2]), np.array([0, 1, 0, 1], bool))
        >>> looked_at.tolist(), caught.tolist()
        ([0.0, 0.25, 0.5, 0.75, 1.0], [0.0, 0.5, 0.5, 1.0, 1.0])
    """
    wrong = np.asarray(wrong, dtype=bool)
    if not wrong.any():
        raise ValueError("no landmark is wrong: a curve of caught errors needs some")
    order = np.argsort(-np.asarray(doubt), kind="stable")
    caught = np.concatenate([[0], np.cumsum(wrong[order])]) / wrong.sum()
    return np.arange(len(wrong) + 1) / len(wrong), caught


def deviation_reason(deviation: float) -> str:
    """Return why to look at a landmark that lies so many standard deviations from where others expect it."""
    return f"{deviation:.0f} standard deviations from where the others expect it"


def _features(cases: TestedCases, usual_error: np.ndarray, usual_score: np.ndarray) -> np.ndarray:
    """Return the features (N, K, F), NaN where the detector does not say."""
    # Networks see images in one size: a part of the image means the same in all, whatever the spacing.
    sides = np.exp(np.log(cases.shapes).mean(axis=1))
    variance = np.diagonal(cases.spread, axis1=2, axis2=3).mean(axis=2) / sides[:, None] ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = 0.5 * np.log(variance)
        score = usual_score - np.log(np.maximum(cases.scores, 1e-6))
        deviation = np.log1p(cases.deviation)
    return np.stack([np.broadcast_to(usual_error, spread.shape), spread, score, deviation], axis=2)


def _standardised(values: np.ndarray, centre: np.ndarray, width: np.ndarray) -> np.ndarray:
    """Return features in standard deviations; what is unknown is usual, and none counts without limit."""
    return np.clip(np.nan_to_num((values - centre) / width), -_WIDEST, _WIDEST)


def _logistic(values: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """Return the weights of a logistic model with a small penalty, by Newton's method with damped steps."""
    design = np.column_stack([np.ones(len(values)), values])
    penalty = np.array([1e-6, *[_PENALTY] * values.shape[1]])
    signs = np.where(wrong, 1.0, -1.0)

    def cost(weights: np.ndarray) -> float:
        return float(np.logaddexp(0, -signs * (design @ weights)).sum() + penalty @ weights**2 / 2)

    weights = np.zeros(design.shape[1])
    weights[0] = np.log(wrong.mean() / max(1 - wrong.mean(), 1e-6))
    for _ in range(100):
        chance = _sigmoid(design @ weights)
        slope = design.T @ (wrong - chance) - penalty * weights
        bend = (design * (chance * (1 - chance))[:, None]).T @ design + np.diag(penalty)
        step, before = np.linalg.solve(bend, slope), cost(weights)
        while np.abs(step).max() > 1e-9 and cost(weights + step) > before:
            step = step / 2
        weights = weights + step
        if np.abs(step).max() < 1e-9:
            break
    return weights


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(values, -50, 50)))


def _log_median(values: np.ndarray) -> np.ndarray:
    """Return the logarithm of the median of every column (K,), NaN where nothing is known."""
    columns = [column[np.isfinite(column)] for column in values.T]
    medians = [np.median(column) if column.size else np.nan for column in columns]
    return np.log(np.maximum(medians, 1e-6))


def _nan_mean(values: np.ndarray) -> np.ndarray:
    """Return the mean over rows of what is known, NaN (without a warning) where nothing is."""
    known = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.where(known, values, 0).sum(axis=0) / known.sum(axis=0)


def _largest(values: np.ndarray) -> float:
    """Return the largest of what is known, NaN where nothing is."""
    known = values[np.isfinite(values)]
    return float(known.max()) if known.size else np.nan


def _threshold(chances: np.ndarray, flag_rate: float) -> float:
    """Return the chance from which on at most so many landmarks are flagged, also where many are equal."""
    threshold = np.quantile(chances, 1 - flag_rate)
    if (chances >= threshold).mean() > flag_rate + 1 / len(chances):
        threshold = np.nextafter(threshold, 2)
    return float(threshold)


def _plain(values: Iterable[float]) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]
