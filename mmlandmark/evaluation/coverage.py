"""Coverage: how often calibrated radii and regions hold the annotated point, on images of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mmlandmark.evaluation.calibration import Calibration
from mmlandmark.evaluation.conformal import needed_for, nonconformity
from mmlandmark.evaluation.doubt import flag_curve
from mmlandmark.evaluation.functional import mean_offsets
from mmlandmark.evaluation.report import dump_json, without_nan
from mmlandmark.evaluation.tested_cases import TestedCases, words_of
from mmlandmark.utils.files import atomic_write_text, read_state
from mmlandmark.utils.table_text import markdown_table, markdown_text

CURVE_LEVELS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.925, 0.95, 0.975, 0.99)


@dataclass(frozen=True)
class CoverageReport:
    """What a calibration promises and what was observed.

    Attributes:
        unit: Of all lengths.
        levels: Nominal probabilities.
        landmarks: One dict per landmark: ``name``, ``scores`` (calibration scores), ``points`` (tested ones),
            ``median_error``, ``offset`` and ``calibration_offset`` (length of the mean error vector in the
            test and in the calibration data), and by level ``radius`` (median), ``observed``, ``region``
            (observed, of the points that have one) and ``pooled``.
        overall: The same of all points, with ``missing`` (annotated, but not predicted).
        parts: Name of a part of the images -> its overall numbers.
        curve: ``nominal``, ``radii`` and ``regions``: observed coverage at many levels, NaN where there were
            too few scores.
        flags: ``limit``, ``wrong`` (errors beyond it), ``flagged`` and ``caught`` (shares), and the curve
            ``looked_at`` and ``caught_at``; empty without a doubt or an error to catch.
        about: What was tested, and the kinds of radii and regions.
    """

    unit: str
    levels: tuple[float, ...]
    landmarks: tuple[dict[str, Any], ...]
    overall: dict[str, Any]
    parts: dict[str, dict[str, Any]]
    curve: dict[str, list[float]]
    flags: dict[str, Any]
    about: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def measure(
        cls,
        calibration: Calibration,
        cases: TestedCases,
        parts: dict[str, np.ndarray] | None = None,
        tested: str = "",
        note: str = "",
    ) -> CoverageReport:
        """Measure a calibration on images that it was not fitted on.

        Args:
            calibration: The calibration.
            cases: Tested images; with their spacing if the calibration is in mm.
            parts: Name -> (N,) bool, images to report by themselves, too.
            tested: What was tested, in words.
            note: What a reader should know of the parts.

        Raises:
            ValueError: The landmarks differ; or no image has the spacing, or no point the spread, that the
                calibration needs.
        """
        _check(calibration, cases)
        cases, left_out = cases.measurable(calibration.unit, calibration.temperature is not None)
        levels = calibration.levels
        inside = {level: _inside(calibration, cases, level) for level in levels}
        every = np.ones(len(cases), dtype=bool)
        rows = [
            _row(calibration, cases, inside, every, k, name) for k, name in enumerate(calibration.landmarks)
        ]
        observed = [_inside(calibration, cases, level) for level in CURVE_LEVELS]
        known = np.isfinite(cases.errors)
        return cls(
            unit=calibration.unit,
            levels=levels,
            landmarks=tuple(rows),
            overall=_row(calibration, cases, inside, every),
            parts={name: _row(calibration, cases, inside, part) for name, part in (parts or {}).items()},
            curve=dict(
                nominal=list(CURVE_LEVELS),
                radii=[_mean(radii[known]) for radii, _, _ in observed],
                regions=[_mean(regions[known]) for _, regions, _ in observed],
            ),
            flags=_flags(calibration, cases),
            about=dict(
                tested=tested,
                note=note,
                images=len(cases) - left_out["images"],
                left_out=left_out,
                radius_kind=calibration.radius_kind,
                region_kind=calibration.region_kind,
                calibration=calibration.about,
            ),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as plain JSON types."""
        return without_nan({key: getattr(self, key) for key in self.__dataclass_fields__})

    @classmethod
    def read(cls, path: str | Path) -> CoverageReport:
        """Return the report in a ``coverage.json``.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: It holds something else; the message names it.
        """
        data = read_state(path, "let mmlandmark calibrate write a new one")
        if set(data) != set(cls.__dataclass_fields__):
            raise ValueError(f"{path}: not a coverage report of mmlandmark calibrate")
        return cls(**dict(data, levels=tuple(data["levels"]), landmarks=tuple(data["landmarks"])))

    def to_markdown(self) -> str:
        """Return a table with a row per landmark, and what stands below it."""
        head = ["landmark", "scores", "points", f"median error ({self.unit})"]
        for level in self.levels:
            head += [f"radius {level:.0%}", "observed", "region"]
        head += ["offset", "of calibration"]
        rows = [_cells(row, self.levels) for row in (*self.landmarks, dict(self.overall, name="all"))]
        rows += [_cells(dict(row, name=name), self.levels) for name, row in self.parts.items()]
        return markdown_table(head, rows, padded=True) + "\n\n" + "\n".join(self._notes()) + "\n"

    def _notes(self) -> list[str]:
        """Return what a reader of the table needs to know."""
        kinds = f"radii {self.about['radius_kind']}, regions {self.about['region_kind']}"
        notes = [
            f"Observed: percent of the points within their radius (median, {self.unit}) and within their "
            f"region; {kinds}. Offset: length of the mean error vector here and in the calibration data "
            f"({self.unit}): where they differ, the two are annotated differently or look different."
        ]
        for level in self.levels:
            few = [row["name"] for row in self.landmarks if row["pooled"][str(level)]]
            if few:
                notes.append(
                    f"~ For {level:.0%}, {len(few)} landmarks have fewer than {needed_for(level)} scores: "
                    "their radius comes from all landmarks together, and holds for them on average (-: there "
                    "is none, and their points count in no coverage)."
                )
        if self.overall["missing"]:
            notes.append(
                f"{self.overall['missing']} annotated points were not predicted; they count nowhere."
            )
        notes += words_of(self.about.get("left_out") or {})
        if self.about.get("note"):
            notes.append(self.about["note"])
        if self.flags:
            f = self.flags
            notes.append(
                f"{f['wrong']} errors are beyond {f['limit']:.3g} {self.unit}; {f['caught']:.1%} of them are "
                f"among the {f['flagged']:.1%} of points that are flagged."
            )
        return notes

    def save(self, folder: str | Path) -> list[Path]:
        """Write ``coverage.json`` and ``coverage.md`` to a folder, each atomically."""
        paths = [Path(folder) / f"coverage.{kind}" for kind in ("json", "md")]
        for path, text in zip(paths, (dump_json(self.to_dict()), self.to_markdown()), strict=True):
            atomic_write_text(path, text)
        return paths


def _check(calibration: Calibration, cases: TestedCases) -> None:
    if cases.landmarks != calibration.landmarks or cases.dims != calibration.dims:
        raise ValueError(
            f"the calibration is for {len(calibration.landmarks)} landmarks ({calibration.landmarks[0]}, "
            f"...), the tested images have {len(cases.landmarks)} ({cases.landmarks[0]}, ...)"
        )
    if calibration.unit == "mm" and not cases.has_spacing.any():
        raise ValueError(
            "none of these images has a spacing, but the calibration is in mm: give the data their spacing"
        )
    if calibration.temperature is not None and not cases.spread_known.any():
        raise ValueError(
            "the tested images have no spread, which the calibration was made with: test with "
            "--cfg-options model.test_cfg.spread=True"
        )


Inside = tuple[np.ndarray, np.ndarray, np.ndarray]


def _inside(calibration: Calibration, cases: TestedCases, level: float) -> Inside:
    """Return (N, K) 1 for points within their radii and regions, 0 for others; and the radii.

    What the calibration gives no radius or region promises nothing, so it is NaN.
    """
    radii = calibration.radii(cases, level)
    errors = np.linalg.norm(cases.residuals * calibration.scale(cases)[:, None], axis=2)
    places = nonconformity(cases.residuals, calibration.regions(cases, level))
    known = np.isfinite(radii), np.isfinite(places)
    within = errors <= radii, places <= 1
    held, inside = (np.where(given, there, np.nan) for given, there in zip(known, within, strict=True))
    return held, inside, radii


def _row(
    calibration: Calibration,
    cases: TestedCases,
    inside: dict[float, Inside],
    images: np.ndarray,
    landmark: int | None = None,
    name: str = "",
) -> dict[str, Any]:
    """Return the numbers of a landmark, or of all, in some of the images."""
    columns = slice(None) if landmark is None else slice(landmark, landmark + 1)
    vectors = (cases.residuals * calibration.scale(cases)[:, None])[images][:, columns]
    errors = np.linalg.norm(vectors, axis=2)
    known = np.isfinite(errors)
    scores = [len(column) for column in calibration.scores[calibration.radius_kind]][columns]
    offsets = np.asarray(calibration.about.get("offsets") or [np.nan] * len(calibration.landmarks), float)

    def mean(level: float, which: int) -> float:
        return _mean(inside[level][which][images][:, columns][known])

    return dict(
        name=name,
        scores=int(np.sum(scores)),
        points=int(known.sum()),
        missing=int((np.isfinite(cases.truth).all(axis=2)[images][:, columns] & ~known).sum()),
        median_error=float(np.median(errors[known])) if known.any() else float("nan"),
        offset=_mean(mean_offsets(vectors)),
        calibration_offset=_mean(offsets[columns]),
        radius={str(level): _median(inside[level][2][images][:, columns][known]) for level in inside},
        observed={str(level): mean(level, 0) for level in inside},
        region={str(level): mean(level, 1) for level in inside},
        pooled={str(level): bool(calibration.quantiles(level)[1][columns].any()) for level in inside},
    )


def _flags(calibration: Calibration, cases: TestedCases) -> dict[str, Any]:
    doubt = calibration.doubt
    if doubt is None:
        return {}
    spread, scale = calibration.calibrated_spread(cases), calibration.scale(cases)
    chance = doubt.probability(spread)
    errors = np.linalg.norm(cases.residuals * scale[:, None], axis=2)
    known = np.isfinite(errors)
    wrong = errors[known] > doubt.limit
    if not wrong.any():
        return {}
    looked_at, caught = flag_curve(chance[known], wrong)
    flagged = doubt.flagged(spread)[known]
    steps = np.unique(np.linspace(0, len(wrong), 201).round().astype(int))
    return dict(
        limit=doubt.limit,
        wrong=int(wrong.sum()),
        flagged=float(flagged.mean()),
        caught=float(flagged[wrong].mean()),
        looked_at=looked_at[steps].round(5).tolist(),
        caught_at=caught[steps].round(5).tolist(),
    )


def _cells(row: dict[str, Any], levels: Sequence[float]) -> list[str]:
    cells = [markdown_text(row["name"]), str(row["scores"]), str(row["points"]), _text(row["median_error"])]
    for level in map(str, levels):
        mark = "~" if row["pooled"][level] else ""
        cells += [mark + _text(row["radius"][level])]
        cells += [_percent(row["observed"][level]), _percent(row["region"][level])]
    return [*cells, _text(row["offset"]), _text(row["calibration_offset"])]


def _text(value: float | None) -> str:
    return f"{value:.2f}" if value is not None and np.isfinite(value) else "-"


def _percent(value: float | None) -> str:
    return f"{100 * value:.1f}" if value is not None and np.isfinite(value) else "-"


def _mean(values: np.ndarray) -> float:
    values = values[np.isfinite(values)]
    return float(values.mean()) if values.size else float("nan")


def _median(values: np.ndarray) -> float:
    values = values[np.isfinite(values)]
    return float(np.median(values)) if values.size else float("nan")
