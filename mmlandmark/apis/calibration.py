"""Calibrate a trained detector on data that its training has not seen, and show what that is worth."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dataset import pseudo_collate

from mmlandmark.apis.running import prepare_config
from mmlandmark.apis.tested_run import tested_run
from mmlandmark.datasets import LandmarkDataset
from mmlandmark.engine import ConfigError, config_of_run
from mmlandmark.evaluation import (
    Calibration,
    CoverageReport,
    LandmarkMetric,
    TestedCases,
    read_overlaps,
    sample_hash,
    split_hash,
)
from mmlandmark.evaluation.conformal import needed_for
from mmlandmark.models.model_file import ModelFile
from mmlandmark.registry import DATASETS
from mmlandmark.utils.dataset_tree import change_leaves, leaf_datasets
from mmlandmark.utils.files import load_json
from mmlandmark.utils.shipped import config_root
from mmlandmark.utils.table_text import markdown_table, markdown_text
from mmlandmark.visualization.uncertainty import plot_coverage, plot_flags, plot_landmark_coverage

_TABLES = (".csv", ".tsv", ".txt")
_CONFIGS = (".py", ".yml", ".yaml")


def read_tested(model: ModelFile, source: str | Path, batch_size: int = 4) -> tuple[TestedCases, bool]:
    """Return predictions and annotation of data, and whether they are those of held-out folds.

    Args:
        model: The detector, which predicts where the data are images.
        source: ``predictions.json`` of a test, or the folder that it is in; the folder of
            ``mmlandmark cross-validate``, of which every fold counts as its own network predicted it; an
            annotation file (JSON, CSV), of which the detector predicts all images; a config, of which it
            predicts the tested data.
        batch_size: Images that are predicted together.

    Raises:
        FileNotFoundError: There is no such file or folder.
        ConfigError: A folder has no predictions, or a config no tested data.
        ValueError: The data have other landmarks than the detector.
    """
    path = Path(source)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder of data to calibrate on")
    files = _prediction_files(path)
    if files:
        cases = TestedCases.joined([TestedCases.read(file) for file in files])
    else:
        cases = _predicted(model, dataset_of(model, path), batch_size)
    if cases.landmarks != tuple(model.schema.landmarks):
        raise ValueError(
            f"{path} has {len(cases.landmarks)} landmarks ({cases.landmarks[0]}, ...), the detector "
            f"{len(model.schema)} ({model.schema.landmarks[0]}, ...)"
        )
    return cases, any(file.parent.parent.name.startswith("fold_") for file in files)


def refuse_seen(model: ModelFile, cases: TestedCases, source: str | Path) -> str:
    """Raise an error if a detector was trained on some of the cases; return what could not be checked.

    A case is recognised by its id and annotation, so the same image under another name is not.

    Raises:
        ConfigError: It was trained on some.
    """
    known = model.training.get("trained_on")
    if not isinstance(known, dict):
        return f"the detector does not say what it was trained on: make sure that {source} is no part of it"
    if known.get("hash") == split_hash(cases.sample_ids, cases.truth):
        seen = list(cases.sample_ids)
    else:
        hashes = _hashes(cases)
        trained = set(known.get("samples") or ())
        seen = [name for name, digest in zip(cases.sample_ids, hashes, strict=True) if digest in trained]
    if seen:
        raise ConfigError(
            f"{source}: the detector was trained on {len(seen)} of these {len(cases)} images, e.g. "
            f"{seen[:3]}: its errors there are too small to calibrate on; give other images, or the folder "
            "of a cross-validation (--allow-seen takes them all the same)"
        )
    if "samples" not in known:
        return (
            f"the detector names its training set only as a whole: make sure that {source} is no part of it"
        )
    return ""


def calibrate(model: ModelFile, cases: TestedCases, sources: Sequence[str], **options: Any) -> ModelFile:
    """Return a detector with a calibration.

    Args:
        model: The detector.
        cases: Images that its training has not seen.
        sources: Where they come from, for the record.
        options: Of :meth:`Calibration.fit <mmlandmark.evaluation.Calibration.fit>`.
    """
    calibration = Calibration.fit(cases, **options)
    about = dict(
        calibration.about,
        sources=[Path(source).name for source in sources],
        hash=split_hash(cases.sample_ids, cases.truth),
        samples=sorted(_hashes(cases)),
    )
    return replace(model, calibration=replace(calibration, about=about).to_dict())


def measure_coverage(model: ModelFile, cases: TestedCases, tested: str = "") -> CoverageReport:
    """Return what a detector's calibration holds on other images.

    Images that are known to be in the training set too, see ``configs/overlaps.json``, are reported apart.

    Raises:
        ValueError: The detector has no calibration, or was calibrated on some of these images.
    """
    calibration = calibration_of(model)
    shared = len(set(calibration.about.get("samples") or ()) & set(_hashes(cases)))
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


def _hashes(cases: TestedCases) -> list[str]:
    """Return a hash of every image's id and annotation, as checkpoints keep them of their training set."""
    return [sample_hash(i, t) for i, t in zip(cases.sample_ids, cases.truth, strict=True)]


def _prediction_files(path: Path) -> list[Path]:
    """Return the predictions in a folder, or the file itself if it is one; nothing for images."""
    if path.is_dir():
        folds = sorted(path.glob("fold_*/test/predictions.json"))
        own = [path / "predictions.json", path / "test" / "predictions.json"]
        found = folds or [file for file in own if file.is_file()][:1]
        if not found:
            raise ConfigError(
                f"{path}: no predictions in it; give the folder of mmlandmark test or cross-validate, "
                "an annotation file or a config"
            )
        return found
    if path.suffix.lower() != ".json":
        return []
    content = load_json(path)
    return [path] if isinstance(content, dict) and "cases" in content else []


def dataset_of(model: ModelFile, source: str | Path, part: str = "test_dataloader", **changes: Any) -> Any:
    """Return the images of an annotation file, or those of a config, as the detector takes them.

    Args:
        model: The detector.
        source: JSON or CSV, a config, or the work folder of a training.
        part: Which data of a config.
        changes: Further arguments of every dataset.

    Raises:
        ConfigError: The config has no such data, or the file is neither of them.
    """
    path = Path(source)
    pipeline = model.config["pipeline"]
    if path.suffix.lower() in (".json", *_TABLES):
        return LandmarkDataset(
            ann_file=str(path.resolve()),
            data_root=str(path.resolve().parent),
            schema=model.schema,
            pipeline=pipeline,
            test_mode=True,
            **changes,
        )
    if path.is_file() and path.suffix.lower() not in _CONFIGS:
        raise ConfigError(
            f"{path}: this is neither an annotation in the project's own JSON or CSV, nor a config (.py), "
            "nor the folder of a test or of a cross-validation; mmlandmark convert "
            f"{shlex.quote(str(path))} annotation.json --to json makes JSON of other annotations"
        )
    config = config_of_run(path) if path.is_dir() else prepare_config(path)
    loader = tested_run(config)[0].get(part)
    if loader is None:
        raise ConfigError(f"{path}: the config has no {part}, so no data of this kind")
    return DATASETS.build(
        change_leaves(loader.dataset, lambda leaf: {**leaf, "pipeline": pipeline, **changes})
    )


def _predicted(model: ModelFile, dataset: Any, batch_size: int) -> TestedCases:
    detector = model.detector()
    detector.test_cfg["spread"] = True
    metric = LandmarkMetric(unit="px")
    for start in range(0, len(dataset), batch_size):
        batch = [dataset[i] for i in range(start, min(start + batch_size, len(dataset)))]
        with torch.inference_mode():
            samples = detector.test_step(pseudo_collate(batch))
        metric.process(None, [sample.to_dict() for sample in samples])
    names = next(iter(leaf_datasets(dataset))).metainfo["landmark_names"]
    return TestedCases.from_rows(metric.results, names)


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
