"""Calibration: from what a detector says about its own errors to radii that hold what they promise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from mmlandmark.evaluation.calibration_data import calibration_from_dict, calibration_to_dict, short
from mmlandmark.evaluation.conformal import (
    KINDS,
    check_level,
    conformal_quantile,
    fit_temperature,
    mean_radii,
    nonconformity,
    outer_radii,
    shape_matrices,
)
from mmlandmark.evaluation.doubt import Doubt
from mmlandmark.evaluation.functional import mean_offsets
from mmlandmark.evaluation.tested_cases import TestedCases
from mmlandmark.structures import Prediction

LEVELS = (0.9, 0.95)
ROUND = ("absolute", "scaled")
_LIMIT_MM = 4.0  # beyond which studies count an outlier
_FOLDS, _WORTH = 5, 0.98  # of the comparison of kinds; a kind must be 2 % smaller to replace a simpler one


@dataclass(frozen=True, eq=False)
class Calibration:
    """What was measured on images that training had not seen, to be applied to new ones.

    Fit it by :meth:`fit`; :meth:`apply` fills radii, regions and reasons into a prediction. Two kinds of
    scores are kept, see :data:`~mmlandmark.evaluation.conformal.KINDS`: ``radius_kind`` for radii, which is
    round, and ``region_kind`` for regions. Both are chosen on the calibration data alone.

    Attributes:
        landmarks: K names.
        dims: 2 or 3.
        unit: ``mm``, or ``pixels`` where the spacing of most images was unknown.
        levels: Levels that :meth:`apply` fills in; :meth:`quantiles` knows any.
        radius_kind: ``absolute`` or ``scaled``.
        region_kind: ``absolute``, ``scaled`` or ``elliptic``.
        scores: By kind: K sorted arrays of calibration scores.
        temperature: (K,) factors of the spread, see :func:`~mmlandmark.evaluation.conformal.fit_temperature`;
            None if the detector predicts no spread.
        doubt: Ranks landmarks by how likely they are wrong; None if there was nothing to learn it from.
        about: Plain values for the report: number of images, what was left out, source, mean sizes by kind.
    """

    landmarks: tuple[str, ...]
    dims: int
    unit: str
    levels: tuple[float, ...]
    radius_kind: str
    region_kind: str
    scores: dict[str, tuple[np.ndarray, ...]]
    temperature: np.ndarray | None = None
    doubt: Doubt | None = None
    about: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def fit(
        cls,
        cases: TestedCases,
        levels: Sequence[float] = LEVELS,
        kind: str | None = None,
        limit: float | None = None,
        flag_rate: float = 0.05,
    ) -> Calibration:
        """Calibrate on images that training has not seen.

        What cannot be measured is left out, see :meth:`TestedCases.measurable`, and counted in ``about``.

        Args:
            cases: Predicted and annotated landmarks.
            levels: Probabilities between 0 and 1.
            kind: Of radii and regions (of regions alone for ``elliptic``); None chooses the smallest ones.
            limit: Error beyond which a person should look at a landmark, in the unit of the cases; 4 mm by
                default, in pixels the one that ``flag_rate`` of the errors exceed.
            flag_rate: Part of all landmarks to flag.

        Raises:
            ValueError: A level is wrong or there is none, no landmark is both annotated and predicted,
                ``limit`` or ``flag_rate`` is out of bounds, or ``kind`` needs a spread that the detector does
                not predict.
        """
        if not levels:
            raise ValueError("levels: give at least one probability, such as 0.9")
        for level in levels:
            check_level(level)
        cases, left_out = cases.measurable(cases.unit)
        _check_cases(cases, kind)
        temperature, compared = None, cases
        if cases.has_spread:
            temperature = fit_temperature(cases.residuals, cases.spread)
            # Kinds are compared on the same points.
            compared, without = cases.measurable(cases.unit, with_spread=True)
            left_out["spread"] = without["spread"]
        sizes = compare_kinds(compared, temperature, levels[0])
        region = kind or _smallest(sizes, list(sizes))
        radius = kind if kind in ROUND else _smallest(sizes, [k for k in sizes if k in ROUND])
        scores = {k: _sorted(_scores(cases, k, temperature)) for k in dict.fromkeys((radius, region))}
        made = cls(
            landmarks=cases.landmarks,
            dims=cases.dims,
            unit=cases.unit,
            levels=tuple(float(level) for level in levels),
            radius_kind=radius,
            region_kind=region,
            scores=scores,
            temperature=temperature,
            about=dict(
                images=len(cases) - left_out["images"],
                left_out=left_out,
                mean_sizes={k: float(f"{v:.4g}") for k, v in sizes.items() if math.isfinite(v)},
                offsets=short(mean_offsets(cases.residuals * cases.scale[:, None])),
            ),
        )
        if limit is None and cases.unit == "mm":
            limit = _LIMIT_MM
        return replace(made, doubt=Doubt.fit(made.calibrated_spread(cases), limit, flag_rate))

    def quantiles(self, level: float, kind: str | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return the quantiles of the scores of every landmark, and which of them are pooled.

        A landmark with too few scores for the level (fewer than 9 for 90 %, 19 for 95 %) takes the pooled
        quantile: that of the scores of all landmarks, each divided by its landmark's median, times its own
        median. It holds for landmarks on average, not for each. A landmark without any score has none.

        Args:
            level: Probability between 0 and 1.
            kind: Of the scores, that of the radii by default.

        Returns:
            (K,) quantiles, NaN where there is none; (K,) bool.
        """
        columns = self.scores[kind or self.radius_kind]
        own = np.array([conformal_quantile(column, level) for column in columns])
        pooled = ~np.isfinite(own)
        if pooled.any():
            medians = np.array([np.median(column) if column.size else np.nan for column in columns])
            known = [c / max(m, 1e-12) for c, m in zip(columns, medians, strict=True) if c.size]
            relative = conformal_quantile(np.concatenate(known), level) if known else math.inf
            own[pooled] = (relative * medians if math.isfinite(relative) else medians * np.nan)[pooled]
        return own, pooled

    def radii(self, cases: TestedCases, level: float) -> np.ndarray:
        """Return the (N, K) radii of a level in :attr:`unit`, NaN where there is none."""
        scale = self.scale(cases)
        shapes = _shapes(cases, self.radius_kind, self.temperature, scale)
        known = np.isfinite(cases.points).all(axis=2)
        return np.where(known, self.quantiles(level)[0] * outer_radii(shapes, scale), np.nan)

    def regions(self, cases: TestedCases, level: float) -> np.ndarray:
        """Return the (N, K, D, D) matrices A in pixels^2 of the regions (x - p)^T A^-1 (x - p) <= 1."""
        shapes = _shapes(cases, self.region_kind, self.temperature, self.scale(cases))
        known = np.isfinite(cases.points).all(axis=2)
        regions = self.quantiles(level, self.region_kind)[0][:, None, None] ** 2 * shapes
        return np.where(known[..., None, None], regions, np.nan)

    def scale(self, cases: TestedCases) -> np.ndarray:
        """Return the (N, D) length of a pixel in :attr:`unit`, NaN where an image does not say it."""
        return cases.spacing if self.unit == "mm" else np.ones_like(cases.spacing)

    def calibrated_spread(self, cases: TestedCases) -> TestedCases:
        """Return cases whose spread is that of Gaussian errors; the same where there is none."""
        if self.temperature is None:
            return cases
        return replace(cases, spread=cases.spread * self.temperature[:, None, None])

    def apply(self, prediction: Prediction) -> Prediction:
        """Fill radii, regions, the calibrated spread and reasons to look at a landmark into a prediction.

        Radii in mm need the spacing of the image; without it they are NaN, and so are round regions.

        Raises:
            ValueError: The prediction has other landmarks, is calibrated already, or lacks the spread that
                the calibration was made with.
        """
        self._check(prediction)
        dims = self.dims
        case = TestedCases.from_predictions([prediction], np.full((1, len(self.landmarks), dims), np.nan))
        radii = {level: self.radii(case, level)[0] for level in self.levels}
        regions = {level: self.regions(case, level)[0] for level in self.levels}
        tempered = self.calibrated_spread(case)
        spread = prediction.spread if self.temperature is None else tempered.spread[0]
        filled = replace(prediction, radii=radii, regions=regions, radius_unit=self.unit, spread=spread)
        if self.doubt is None:
            return filled
        return filled.with_reasons(self.doubt.reasons(tempered, self.unit))

    def _check(self, prediction: Prediction) -> None:
        where = f"prediction {prediction.sample_id!r}"
        if tuple(prediction.schema.landmarks) != self.landmarks or len(prediction.shape) != self.dims:
            raise ValueError(
                f"{where} has landmarks {prediction.schema.landmarks[:3]}... in {len(prediction.shape)}D, "
                f"the calibration {self.landmarks[:3]}... in {self.dims}D: calibrate this detector itself"
            )
        if prediction.radii:
            raise ValueError(f"{where} is calibrated already")
        if prediction.spread is None and self.temperature is not None:
            raise ValueError(
                f"{where} has no spread, which the calibration was made with: predict with "
                "model.test_cfg.spread=True"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return calibration_to_dict(self)

    @classmethod
    def from_dict(cls, data: Any) -> Calibration:
        """Return a calibration from :meth:`to_dict`, or from anything else that claims to be one.

        Raises:
            ValueError: Something is missing, has another size, or is no number that belongs there.
        """
        return cls(**calibration_from_dict(data))


def _check_cases(cases: TestedCases, kind: str | None) -> None:
    """Raise ValueError if there is nothing to calibrate on, or no spread that a kind needs."""
    if not np.isfinite(cases.errors).any():
        raise ValueError(
            "nothing to calibrate on: no landmark of these images is both annotated and predicted"
        )
    if kind not in (None, "absolute", *(KINDS if cases.has_spread else ())):
        raise ValueError(
            f"kind {kind!r} needs a spread that these predictions lack: test with "
            "--cfg-options model.test_cfg.spread=True"
            if kind in KINDS
            else f"kind must be one of {', '.join(KINDS)}, got {kind!r}"
        )


def compare_kinds(
    cases: TestedCases, temperature: np.ndarray | None, level: float, seed: int = 0
) -> dict[str, float]:
    """Return how large the regions of every kind are, on images that their quantiles were not fitted on.

    The images are dealt out into five parts; every part is measured with the quantiles of the others. The
    size is the radius of the ball of equal volume, its geometric mean over landmarks of the mean over images.

    Args:
        cases: Calibration data.
        temperature: (K,) factors of the spread, or None if there is none.
        level: Of the regions.
        seed: Of the parts.
    """
    kinds = KINDS if temperature is not None else KINDS[:1]
    if len(cases) < 2 * _FOLDS:
        kinds = KINDS[:1]  # too few images to choose
    parts = np.random.default_rng(seed).permutation(len(cases)) % _FOLDS
    sizes = {}
    for kind in kinds:
        scores = _scores(cases, kind, temperature)
        balls = mean_radii(_shapes(cases, kind, temperature, cases.scale), cases.scale)
        quantiles = np.stack(
            [
                [_finite_quantile(column[parts != part], level) for column in scores.T]
                for part in range(_FOLDS)
            ]
        )
        known = np.isfinite(scores)
        used = known.any(axis=0)
        means = np.where(known, quantiles[parts] * balls, 0).sum(axis=0)[used] / known.sum(axis=0)[used]
        means = means[np.isfinite(means)]  # a landmark with one score has no quantile of the others
        sizes[kind] = float(np.exp(np.log(np.maximum(means, 1e-12)).mean())) if means.size else math.inf
    return sizes


def _finite_quantile(scores: np.ndarray, level: float) -> float:
    """Return the quantile of the scores that are there, the largest one where they are too few."""
    scores = scores[np.isfinite(scores)]
    value = conformal_quantile(scores, level)
    return value if math.isfinite(value) or not scores.size else float(scores.max())


def _smallest(sizes: dict[str, float], kinds: Sequence[str]) -> str:
    """Return the kind with the smallest regions; a later, less simple one must be clearly smaller."""
    best = kinds[0]
    for kind in kinds[1:]:
        if sizes[kind] < _WORTH * sizes[best]:
            best = kind
    return best


def _shapes(cases: TestedCases, kind: str, temperature: np.ndarray | None, scale: np.ndarray) -> np.ndarray:
    spread = cases.spread if temperature is None else cases.spread * temperature[:, None, None]
    return shape_matrices(kind, spread, scale)


def _scores(cases: TestedCases, kind: str, temperature: np.ndarray | None) -> np.ndarray:
    return nonconformity(cases.residuals, _shapes(cases, kind, temperature, cases.scale))


def _sorted(scores: np.ndarray) -> tuple[np.ndarray, ...]:
    return tuple(np.sort(column[np.isfinite(column)]) for column in scores.T)
