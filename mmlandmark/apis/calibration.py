"""Calibrate a trained detector on data that its training has not seen, and show what that is worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mmlandmark.evaluation import (
    Calibration,
    CoverageReport,
    TestedCases,
    read_overlaps,
    sample_hashes,
    split_hash,
)
from mmlandmark.evaluation.conformal import needed_for
from mmlandmark.evaluation.tested_cases import words_of
from mmlandmark.models.model_file import ModelFile
from mmlandmark.utils.shipped import config_root
from mmlandmark.utils.table_text import markdown_table, markdown_text
from mmlandmark.visualization.uncertainty import plot_coverage, plot_flags, plot_landmark_coverage


def calibrate(model: ModelFile, cases: TestedCases, sources: Sequence[str], **options: Any) -> ModelFile:
    """Return a detector with a calibration, in place of one that it had and of what that one's coverage was.

    Args:
        model: The detector.
        cases: Images that its training has not seen.
        sources: Where they come from, for the record.
        options: Of :meth:`Calibration.fit <mmlandmark.evaluation.Calibration.fit>`.
    """
    calibration = Calibration.fit(cases, **options)
    about = dict(
        calibration.about,
        sources=[source_name(source) for source in sources],
        hash=split_hash(cases.sample_ids, cases.truth),
        samples=sorted(sample_hashes(cases)),
    )
    others = {key: value for key, value in model.measured.items() if not _is_coverage(value)}
    return replace(model, calibration=replace(calibration, about=about).to_dict(), measured=others)


def source_name(source: str | Path) -> str:
    """Return the name of data: of its file or folder, for a test with that of the run.

    Every run has its results in ``test``, often ``predictions.json``, which would not tell which they are of.
    """
    path = Path(source).resolve()
    if path.name == "predictions.json":
        path = path.parent
    tested = path.is_dir() and (path / "predictions.json").is_file()
    return "/".join(path.parts[-2:]) if tested else path.name


def _is_coverage(result: Any) -> bool:
    """Return whether one of the results in a model file tells how often its calibration holds."""
    return isinstance(result, dict) and "coverage" in result


def measure_coverage(model: ModelFile, cases: TestedCases, tested: str = "") -> CoverageReport:
    """Return what a detector's calibration holds on other images.

    Images that are known to be in the training set too, see ``configs/overlaps.json``, are reported apart.

    Raises:
        ValueError: The detector has no calibration, or was calibrated on some of these images.
    """
    calibration = calibration_of(model)
    shared = len(set(calibration.about.get("samples") or ()) & set(sample_hashes(cases)))
    if shared:
        raise ValueError(
            f"{tested or 'these images'}: the detector was calibrated on {shared} of these {len(cases)} "
            "images, so their coverage says nothing; give others"
        )
    return CoverageReport.measure(calibration, cases, *_parts(cases, tested))


def calibration_of(model: ModelFile) -> Calibration:
    """Return the calibration of a detector.

    Raises:
        ValueError: It has none.
    """
    if model.calibration is None:
        raise ValueError(
            f"model {model.name!r} is not calibrated: mmlandmark calibrate MODEL DATA calibrates it"
        )
    return Calibration.from_dict(model.calibration)


def save_coverage(report: CoverageReport, folder: str | Path) -> list[Path]:
    """Write table, JSON and figures of a report to a folder; return the files."""
    folder, rows = Path(folder), report.landmarks
    paths = report.save(folder)
    curves = {key: report.curve[key] for key in ("radii", "regions")}
    paths.append(plot_coverage(report.curve["nominal"], curves, folder / "coverage.png"))
    for level in report.levels:
        paths.append(
            plot_landmark_coverage(
                [row["name"] for row in rows],
                [row["observed"][str(level)] for row in rows],
                [row["points"] for row in rows],
                folder / f"coverage_by_landmark_{100 * level:g}.png",
                level=level,
                scores=[row["scores"] for row in rows],
            )
        )
    if report.flags:
        flags = report.flags
        paths.append(
            plot_flags(
                flags["looked_at"],
                {"most doubtful first": flags["caught_at"]},
                folder / "flags.png",
                what=f"errors > {flags['limit']:.3g} {report.unit}",
                rate=flags["flagged"],
            )
        )
    return paths


def describe_calibration(model: ModelFile, cases: TestedCases) -> str:
    """Return a table of the radii of a calibrated detector, and how it was made.

    Args:
        model: Calibrated.
        cases: Images whose median radii are shown.
    """
    calibration = calibration_of(model)
    levels = calibration.levels
    radii = {level: calibration.radii(cases, level) for level in levels}
    few = {level: calibration.quantiles(level)[1] for level in levels}
    rows = []
    for k, name in enumerate(calibration.landmarks):
        cells = [markdown_text(name), str(len(calibration.scores[calibration.radius_kind][k]))]
        for level in levels:
            column = radii[level][:, k][np.isfinite(radii[level][:, k])]
            text = f"{np.median(column):.2f}" if column.size else "-"
            cells.append(("~" if few[level][k] else "") + text)
        temperature = calibration.temperature
        rows.append([*cells, "-" if temperature is None else f"{temperature[k]:.3g}"])
    head = ["landmark", "scores", *(f"radius {level:.0%} ({calibration.unit})" for level in levels)]
    sizes = ", ".join(f"{kind} {size:.3g}" for kind, size in calibration.about["mean_sizes"].items())
    notes = [
        f"Radii are {calibration.radius_kind}, regions {calibration.region_kind}: of the kinds, with the "
        f"mean radius of their {levels[0]:.0%} regions cross-fitted on these {calibration.about['images']} "
        f"images ({sizes} {calibration.unit}), a later one is taken where it is 2 % smaller."
    ]
    notes += words_of(calibration.about.get("left_out") or {})
    for level in levels:
        if few[level].any():
            notes.append(
                f"~ {int(few[level].sum())} landmarks have fewer than the {needed_for(level)} scores that "
                f"{level:.0%} takes: their radius comes from all landmarks together and holds for them on "
                "average (-: none)."
            )
    if calibration.doubt is not None:
        doubt = calibration.doubt
        notes.append(
            f"Flagged: a chance of {doubt.threshold:.1%} or more of an error beyond {doubt.limit:.3g} "
            f"{calibration.unit}, {doubt.flag_rate:.0%} of these points."
        )
    return markdown_table([*head, "temperature"], rows, padded=True) + "\n\n" + "\n".join(notes) + "\n"


def _parts(cases: TestedCases, tested: str) -> tuple[dict[str, np.ndarray], str, str]:
    """Return the images of a known test set that are not in its training set too, and a note about them."""
    order = np.argsort(cases.sample_ids)
    overlap = read_overlaps(config_root() / "overlaps.json").get(split_hash(cases.sample_ids, cases.truth))
    if overlap is None:
        return {}, tested, ""
    others = np.ones(len(cases), dtype=bool)
    others[order[list(overlap.positions)]] = False
    note = (
        f"{len(overlap.positions)} of the {overlap.images} images are {overlap.why}; the last row lacks them."
    )
    return {f"{overlap.num_others} others": others}, tested, note
