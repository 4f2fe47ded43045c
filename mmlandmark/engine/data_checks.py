"""Checks of the data before the first batch of a run.

The same rules hold for training, validation and test:

=====================  ======================================================================================
dimensions             Images meet a network for images, volumes one for volumes.
names                  All data sets, and the checkpoint that is loaded, have the same landmarks in the same
                       order, by name; where one side has only numbers, their count is compared.
nothing to learn       No training sample has a landmark that counts, or there is no batch: the run stops. A
                       landmark that never counts: a warning names it.
nothing to compare     The same of validation and test.
images left out        Validation and test leave out no image that cannot be read.
place                  A landmark far outside of its image stops the run, one just outside is a warning; as
                       far as sizes can be had from the headers within :data:`SECONDS`.
placeholders           Points on corners, at (-1, -1), within 0..1, or one value for many: a warning.
pixels                 Findings in a few images, see :func:`~mmlandmark.datasets.pixel_checks.pixel_findings`.
leaks                  An image, a copy of it in another format, a group or a sample of training that is in
                       validation or test too stops the run, unless the config has ``allow_leaks = True``.
unit                   A unit that errors cannot be converted to stops the run.
=====================  ======================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from mmengine.dataset import InfiniteSampler
from mmengine.evaluator import Evaluator
from mmengine.runner import Runner
from torch import nn

from mmlandmark.datasets import leak_checks, record_checks
from mmlandmark.datasets.check_cases import Finding, role
from mmlandmark.datasets.image_checks import Pictures, copies
from mmlandmark.datasets.pixel_checks import pixel_findings
from mmlandmark.datasets.records import check_frame, describe
from mmlandmark.datasets.split_records import SplitRecords, read_splits
from mmlandmark.engine.left_out_report import skipped_ids, skipping_parts
from mmlandmark.engine.processes import bare
from mmlandmark.evaluation.measure_metric import MeasureMetric
from mmlandmark.evaluation.metrics import CaseMetric, LandmarkMetric
from mmlandmark.models.model_file import meta_of
from mmlandmark.registry import METRICS
from mmlandmark.structures import name_difference, names_cure, names_of

SECONDS = 5.0  # after which no further image file is opened
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class SplitData:
    """One split of a run, as far as it can be known without its images.

    Attributes:
        name: ``train``, ``val`` or ``test``.
        loader: Its data loader.
        metainfo: Of the data set, about its landmarks.
        metrics: That evaluate it.
        split: Its records; None for a foreign data set, of which only names and counts are checked.
    """

    name: str
    loader: Any
    metainfo: dict[str, Any]
    metrics: tuple[Any, ...] = ()
    split: SplitRecords | None = None

    @property
    def names(self) -> list[str]:
        """Names of the landmarks."""
        assert self.split is not None
        known = names_of(self.metainfo)
        return known or [f"landmark_{k + 1}" for k in range(self.split.points.shape[1])]


def check_data(runner: Runner, doing: str) -> dict[str, SplitData]:
    """Check the data sets of a run against its model, each other and its metrics, before the first batch.

    Args:
        runner: Its loaders are built.
        doing: ``train``, ``val`` or ``test``: what comes next.

    Returns:
        The splits that the run has, by name.

    Raises:
        FileNotFoundError: An image does not exist.
        ValueError: A rule of this module is broken; the split, the first sample or landmark, and the cure are
            named.
    """
    splits = {}
    for name in SPLITS:
        part = _load(runner, name)
        if part is not None:
            splits[name] = part
    _check_counts(runner, splits)
    _check_names(splits)
    used = [name for name in splits if name == doing or (doing, name) == ("train", "val")]
    for name in used:
        _check_batches(splits[name])
        if name != "train":
            _check_whole(splits[name])
    known = read_splits({name: part.loader.dataset for name, part in splits.items()}, SECONDS)
    splits = {name: replace(part, split=known.get(name)) for name, part in splits.items()}
    for name in used:
        if splits[name].split is not None:
            outside = _check_places(runner, splits[name])
            (_check_training if name == "train" else _check_truth)(runner, splits[name], outside)
    if known:
        _warn_of_findings(runner, known, splits, used)
    if doing == "train" and "train" in known and not runner.cfg.get("allow_leaks", False):
        _check_leaks(runner, known)
    return splits


def check_checkpoint(runner: Runner, checkpoint: Mapping[str, Any], source: str) -> None:
    """Refuse weights that were trained for other landmarks than those of the run's data.

    With ``load_strict=False`` nothing is refused: weights may then start other landmarks. Nor are the weights
    of a model that has none for single landmarks, as one that is shown them by a template.

    Args:
        runner: Its loaders are built.
        checkpoint: As it was read.
        source: Its name, for the error.

    Raises:
        ValueError: Names or order differ.
    """
    if not runner.cfg.get("load_strict", True) or getattr(bare(runner), "any_landmarks", False):
        return
    theirs = names_of(checkpoint_landmarks(checkpoint))
    for name in SPLITS:
        loader = getattr(runner, f"_{name}_dataloader", None)
        ours = names_of(getattr(getattr(loader, "dataset", None), "metainfo", None))
        difference = name_difference(theirs, ours)
        if difference is not None:
            raise ValueError(
                f"checkpoint {source} (there) was trained for other landmarks than the {name} data (here): "
                f"{difference}. {names_cure(theirs, ours, f'{name}_dataloader')}"
            )


def checkpoint_landmarks(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a checkpoint or model file records about its landmarks; empty if it records nothing."""
    landmarks = meta_of(checkpoint).get("dataset_meta")
    return dict(landmarks) if isinstance(landmarks, Mapping) else {}


def _load(runner: Runner, name: str) -> SplitData | None:
    """Build a split's loader, as the run's loop would, and read its records."""
    key = f"_{name}_dataloader"
    loader = getattr(runner, key, None)
    if loader is None:
        return None
    if isinstance(loader, dict):
        loader = runner.build_dataloader(loader, seed=runner.seed)
        setattr(runner, key, loader)
    if len(loader.dataset) == 0:
        raise ValueError(f"{key[1:]}: the dataset is empty")
    return SplitData(
        name,
        loader,
        getattr(loader.dataset, "metainfo", {}),
        tuple(_metrics(getattr(runner, f"_{name}_evaluator", None))),
    )


def _metrics(evaluator: Any) -> list[Any]:
    """Return the metrics of an evaluator or of its config; these are built to be asked, not to be used."""
    if isinstance(evaluator, Evaluator):
        return list(evaluator.metrics)
    if isinstance(evaluator, Mapping) and "metrics" in evaluator:
        evaluator = evaluator["metrics"]
    configs = list(evaluator) if isinstance(evaluator, list | tuple) else [evaluator] * bool(evaluator)
    return [METRICS.build(config) if isinstance(config, dict) else config for config in configs]


def _check_counts(runner: Runner, splits: Mapping[str, SplitData]) -> None:
    model = bare(runner)
    expected = getattr(getattr(model, "head", None), "num_landmarks", None)
    for name, part in splits.items():
        count = part.metainfo.get("num_landmarks")
        if None not in (count, expected) and count != expected:
            raise ValueError(
                f"{name}_dataloader: the dataset has {count} landmarks, model.head.num_landmarks is "
                f"{expected}"
            )
    _check_dims(model, splits)


def _check_dims(model: Any, splits: Mapping[str, SplitData]) -> None:
    """Raise ValueError if volumes meet a network for images, or images one for volumes."""
    parts = (getattr(model, "backbone", None), getattr(model, "head", None))
    networks = [part for part in parts if isinstance(part, nn.Module)]
    layers = {
        type(conv).__name__: 3 if isinstance(conv, nn.Conv3d) else 2
        for network in networks
        for conv in network.modules()
        if isinstance(conv, nn.Conv2d | nn.Conv3d)
    }
    for name, part in splits.items():
        dims = part.metainfo.get("dims")
        if dims in (2, 3) and layers and set(layers.values()) != {dims}:
            raise ValueError(
                f"{name}_dataloader: landmarks are {dims}D, the network has layers of "
                f"{', '.join(sorted(layers))}; take dims out of the model's config, a run fills in those of "
                "its data"
            )


def _check_names(splits: Mapping[str, SplitData]) -> None:
    named = [(name, names_of(part.metainfo)) for name, part in splits.items()]
    for i, (first, there) in enumerate(named):
        for second, here in named[i + 1 :]:
            difference = name_difference(there, here)
            if difference is not None:
                raise ValueError(
                    f"the {first} data (there) and the {second} data (here) differ: {difference}. "
                    f"{names_cure(there, here, f'{second}_dataloader')}"
                )


def _check_batches(part: SplitData) -> None:
    """Raise ValueError if a split has no batch; an infinite sampler always has one."""
    if isinstance(getattr(part.loader, "sampler", None), InfiniteSampler) or not hasattr(
        part.loader, "__len__"
    ):
        return
    if len(part.loader) == 0:
        size = len(part.loader.dataset)
        raise ValueError(
            f"{part.name}_dataloader gives no batch: {size} samples are fewer than batch_size="
            f"{part.loader.batch_size}, and drop_last=True leaves the rest out; set drop_last=False or a "
            "smaller batch_size"
        )


def _check_whole(part: SplitData) -> None:
    """Raise ValueError if a split that is measured leaves out images that cannot be read."""
    if skipping_parts(part.loader.dataset):
        raise ValueError(
            f"{part.name}_dataloader.dataset: on_error='skip', or no annotation, is for training: a metric "
            "of fewer images than were asked for is one of another data set"
        )


def _check_places(runner: Runner, part: SplitData) -> np.ndarray:
    """Return (N, K) bool: the landmark is known to lie outside of its image.

    Raises:
        ValueError: An image is broken, or a landmark lies so far outside that units or frame must be wrong.
    """
    split = part.split
    assert split is not None
    broken = [finding for finding in split.cases.problems if role(finding.split) == part.name]
    if broken and not {finding.sample_id for finding in broken} <= skipped_ids(part.loader.dataset):
        raise ValueError(f"{part.name}: {broken[0].message} ({len(broken)} such samples)")
    points, sizes = split.points, split.sizes
    with np.errstate(invalid="ignore"):  # unknown values compare as False
        outside = np.any((points < -0.5) | (points > sizes[:, None] - 0.5), axis=2)
    for n in np.flatnonzero(outside.any(1)):
        size = tuple(int(side) for side in sizes[n][::-1])
        check_frame(points[n], size, f"{part.name}: {describe(split.records[n])}")
    return outside


def _warn_of_findings(
    runner: Runner, known: Mapping[str, SplitRecords], splits: Mapping[str, SplitData], used: Sequence[str]
) -> None:
    """Warn of placeholders, points outside of the image and odd pixels: the first of each kind, and a count.

    Raises:
        ValueError: An image that was looked at cannot be used.
    """
    cases = next(iter(known.values())).cases
    kinds: dict[tuple[str, str], list[Finding]] = {}
    for check in (record_checks.placeholders, record_checks.fractions, record_checks.points_outside):
        for finding in check(cases):
            if role(finding.split) in used:
                kinds.setdefault((role(finding.split), finding.check), []).append(finding)
    for name in (name for name in used if name in known):
        for finding in pixel_findings(splits[name].loader.dataset, split=name):
            if finding.severity == "error":
                raise ValueError(f"{name}: sample {finding.sample_id!r}: {finding.message}: {finding.advice}")
            kinds.setdefault((name, finding.check), []).append(finding)
    for (name, _), findings in kinds.items():
        first = findings[0]
        where = f"sample {first.sample_id!r}: " if first.sample_id else ""
        more = f" (and {len(findings) - 1} more: mmlandmark check)" if len(findings) > 1 else ""
        advice = f"; {first.advice}" if first.advice else ""
        runner.logger.warning(f"{name}: {where}{first.message}{advice}{more}")
    for what in cases.left_out:
        runner.logger.info(f"not checked before the run: {what}", extra=dict(console=True))


def _check_training(runner: Runner, part: SplitData, outside: np.ndarray) -> None:
    """Raise ValueError if there is nothing to learn, warn of landmarks that are never annotated."""
    if any("pseudo labels" in getattr(hook, "provides", ()) for hook in runner.hooks):
        return  # the labels are still to come
    model = bare(runner)
    if not getattr(model, "needs_annotation", True):
        return
    split, head = part.split, getattr(model, "head", None)
    assert split is not None
    counts = split.read if getattr(head, "num_annotators", 1) > 1 else split.counts
    if not (counts & ~outside).any():
        why = (
            "all annotated landmarks lie outside their images"
            if counts.any()
            else "all annotated landmarks have weight 0"
            if split.annotated.any()
            else "no landmark is annotated"
        )
        raise ValueError(f"train: nothing can be learnt from {len(split)} samples: {why}")
    _name_empty(runner, part, counts & ~outside, "annotated in no image (with a weight), so it is not learnt")


def _check_truth(runner: Runner, part: SplitData, outside: np.ndarray) -> None:
    """Raise ValueError if a split cannot be evaluated, warn of landmarks that cannot."""
    split = part.split
    if split is None or not any(isinstance(metric, CaseMetric) for metric in part.metrics):
        return
    if not split.annotated.any():
        word = "a test" if part.name == "test" else "a validation"
        raise ValueError(
            f"{part.name}: none of {len(split)} samples is annotated, so nothing can be compared: {word} "
            "needs annotations"
        )
    _name_empty(runner, part, split.annotated, "annotated in no image, so it has no error")
    for metric in part.metrics:
        if isinstance(metric, LandmarkMetric):
            _check_unit(metric, part)
        if isinstance(metric, MeasureMetric):
            metric.dataset_meta = part.metainfo
            metric.check_sample(part.loader.dataset[0]["data_samples"] if metric.fields else None)


def _name_empty(runner: Runner, part: SplitData, counts: np.ndarray, what: str) -> None:
    empty = [part.names[k] for k in np.flatnonzero(~counts.any(0))]
    if empty:
        shown = ", ".join(map(repr, empty[:10])) + (f" and {len(empty) - 10} more" if empty[10:] else "")
        runner.logger.warning(f"{part.name}: {len(empty)} of {counts.shape[1]} landmarks: {shown}: {what}")


def _check_unit(metric: LandmarkMetric, part: SplitData) -> None:
    """Raise ValueError if errors of a sample cannot be converted to a metric's unit."""
    split = part.split
    assert split is not None
    spacing: list[Any] = [None if np.isnan(row).any() else row for row in split.spacing]
    lacking = [n for n, row in enumerate(spacing) if row is None]
    if lacking and metric.unit != "px" and len(part.loader.dataset) >= len(split):
        # The pipeline may take it from the image: one sample shows it for all.
        spacing_of_file = part.loader.dataset[lacking[0]]["data_samples"].get("spacing")
        for n in lacking:
            spacing[n] = spacing_of_file
    truth = np.where(split.annotated[..., None], split.points, np.nan)
    metric.dataset_meta = part.metainfo
    metric.check_scale(
        [
            dict(sample_id=r["sample_id"], gt=points, spacing=s)
            for r, points, s in zip(split.records, truth, spacing, strict=True)
        ]
    )


def _check_leaks(runner: Runner, known: Mapping[str, SplitRecords]) -> None:
    """Raise ValueError for samples that are both trained on and evaluated."""
    cases, train = known["train"].cases, set(known["train"].rows)
    leaked: dict[str, str] = {}
    images = {n for members in leak_checks.same_files(cases).values() for n in members}
    rows = {(cases.splits[n], record["sample_id"]): n for n, record in enumerate(cases.records)}
    doubtful: list[str] = []
    looked_at = Pictures(cases, seconds=SECONDS)
    copied = (finding for finding in copies(cases, looked_at.small) if finding.check == "image copy leak")
    for finding in (*leak_checks.leaks(cases), *copied):
        n = rows[finding.split, finding.sample_id]
        if n not in train or finding.severity != "error":
            continue
        if finding.check == "sample leak" and finding.image and n not in images:
            doubtful.append(finding.sample_id)  # numbered alike, but other images
        else:
            leaked.setdefault(finding.sample_id, finding.message)
    if leaked:
        name, message = next(iter(leaked.items()))
        raise ValueError(
            f"{len(leaked)} training samples are also in the validation or test data, first {name!r}: "
            f"{message}. A test on training data measures nothing: remove them from one of the two "
            "(give patients a 'group' before you split), or set allow_leaks = True if it is meant"
        )
    if doubtful:
        runner.logger.warning(
            f"{len(doubtful)} training samples have the id of another image in the validation or test data, "
            f"first {doubtful[0]!r}: if these are the same patients, give them a 'group'"
        )
