"""From a data set and a time to a plan: every decision with its reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from mmlandmark.datasets.annotated_shapes import annotated_shapes
from mmlandmark.datasets.check_report import one_line
from mmlandmark.datasets.checks import check_dataset
from mmlandmark.datasets.folds import deal_parts
from mmlandmark.datasets.image_checks import Pictures, flipped_fits_better
from mmlandmark.engine.physical_shapes import physical_shapes
from mmlandmark.planning import rules, spacing_rules
from mmlandmark.planning.choice import Choice, OpenQuestion
from mmlandmark.planning.data_source import DataSource
from mmlandmark.planning.fingerprint import DataView, Fingerprint, read_fingerprint
from mmlandmark.planning.self_training_rules import choose_loss, choose_selector
from mmlandmark.planning.unlabelled import UnlabelledImages, read_unlabelled
from mmlandmark.planning.y_direction import choose_y_direction
from mmlandmark.registry import DATASETS
from mmlandmark.structures import LandmarkSchema, spacing_of


@dataclass(frozen=True)
class Answers:
    """What the user says, beyond the data.

    Attributes:
        minutes: For the training.
        memory: Bytes that it may take.
        on_gpu: Whether it runs on a GPU.
        cores: Of this machine.
        pairs: ``a:b`` for landmarks that a mirror swaps.
        spacing: mm per pixel of images without one.
        reference: Two landmarks and their distance in mm.
        scale_to_mm: Millimetres per unit of a TPS file's ``SCALE=``.
        y_up: Whether y counts from the bottom; None asks the data.
        group_pattern: Regular expression for the patient in the sample ids.
        published_weights: Whether published weights are installed and may be the start.
        seed: Of the split.
        unlabelled: Folder of images to label by self-training; None trains on annotated ones alone.
    """

    minutes: float = 30.0
    memory: float = 8 * 2.0**30
    on_gpu: bool = False
    cores: int = 1
    pairs: tuple[str, ...] = ()
    spacing: tuple[float, ...] | None = None
    reference: tuple[str, str, float] | None = None
    scale_to_mm: float | None = None
    y_up: bool | None = None
    group_pattern: str | None = None
    published_weights: bool = False
    seed: int = 0
    unlabelled: str | None = None


@dataclass
class Plan:
    """What was read and decided.

    Attributes:
        source: The data.
        answers: Of the user.
        fingerprint: Of the data.
        dataset: Arguments of the data set in the config, but for pipeline and ids.
        schema: Landmarks with the declared pairs, if the config needs a schema file.
        parts: Sample ids by part: ``train``, ``val``, ``test``.
        choices: The decisions by name.
        fine: Those that differ in a second stage, which looks at patches; none if there is no such stage.
        findings: Of the check, as lines.
        left_out: What was not checked, each as a phrase.
        minutes: That the training is expected to take.
        unlabelled: Images to label; None without self-training.
        labels: Decisions on self-training and fine-tuning; none without.
    """

    source: DataSource
    answers: Answers
    fingerprint: Fingerprint
    dataset: dict[str, Any]
    schema: LandmarkSchema | None
    parts: dict[str, list[str]]
    choices: dict[str, Choice] = field(default_factory=dict)
    fine: dict[str, Choice] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    minutes: float = 0.0
    unlabelled: UnlabelledImages | None = None
    labels: dict[str, Choice] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the plan in the types of JSON."""
        images = self.unlabelled
        more: dict[str, Any] = (
            {}
            if images is None
            else dict(
                unlabelled=dict(folder=str(images.folder), images=len(images.ids), left_out=images.left_out),
                labels={name: asdict(choice) for name, choice in self.labels.items()},
            )
        )
        return dict(
            annotation=str(self.source.ann_file),
            format=self.source.kind,
            answers=asdict(self.answers),
            fingerprint=self.fingerprint.to_dict(),
            choices={name: asdict(choice) for name, choice in self.choices.items()},
            fine={name: asdict(choice) for name, choice in self.fine.items()},
            findings=self.findings,
            left_out=self.left_out,
            images={part: len(ids) for part, ids in self.parts.items()},
            expected_minutes=round(self.minutes, 2),
            **more,
        )


def read_data(source: DataSource, answers: Answers) -> Plan:
    """Read, check and divide a data set; nothing is measured or written.

    Raises:
        OpenQuestion: Only the user knows.
        ValueError: The check has found an error, or there are too few images.
    """
    options: dict[str, Any] = dict(
        spacing=_scalar(answers.spacing), group_pattern=answers.group_pattern, scale_to_mm=answers.scale_to_mm
    )
    dataset = source.build(**options, y_up=False)
    view = DataView(dataset)
    _check_spacing(view, answers.spacing)
    y = Choice(False, "all volumes are turned to LPS; points are on the voxels as stored")
    if isinstance(view.pictures, Pictures):
        evidence = flipped_fits_better(view.cases, view.pictures) if answers.y_up is None else None
        y = choose_y_direction(source.y_convention, evidence, answers.y_up)
    if y.value or source.kind == "TPS":
        options["y_up"] = y.value
    if y.value:
        dataset = source.build(**options)
        view = DataView(dataset, view)
    schema = _with_pairs(dataset.schema, answers.pairs)
    if schema is not None:
        options["schema"] = "{{ fileDirname }}/schema.json"
    findings = _check(view, source)
    division = rules.choose_parts(*view.annotated())
    parts = _divide(view, division, answers.seed)
    fingerprint = read_fingerprint(view, schema or dataset.schema, parts["train"])
    plan = Plan(source, answers, fingerprint, source.config(**options), schema, parts)
    plan.findings, plan.left_out = findings, view.left_out
    measures = [measure["name"] for measure in (schema or dataset.schema).measures]
    plan.choices.update(_data_choices(plan, y), parts=division, measures=rules.choose_measures(measures))
    if answers.unlabelled is not None:
        _add_unlabelled(plan, view, answers.unlabelled)
    return plan


def _add_unlabelled(plan: Plan, view: DataView, folder: str) -> None:
    """Add the images of a folder, and decide which of their labels are learnt from."""
    schema = plan.schema or view.dataset.schema
    held_out = {name for part, ids in plan.parts.items() if part != "train" for name in ids}
    plan.unlabelled = read_unlabelled(folder, view, plan.dataset, schema, held_out)
    options = dict(plan.dataset, schema=schema, ids=plan.parts["train"], missing_images="keep")
    annotated = DATASETS.build(options)
    points, unit = physical_shapes(annotated)
    if unit != "mm" or (not plan.unlabelled.spacing_known and schema.reference_length is None):
        points, unit = annotated_shapes(annotated)[0], "px"
    plan.labels["selector"] = choose_selector(points, schema.landmarks, unit)
    plan.labels["loss"] = choose_loss(points.shape[2])


def _scalar(spacing: tuple[float, ...] | None) -> Any:
    return spacing[0] if spacing is not None and len(spacing) == 1 else spacing


def _check_spacing(view: DataView, spacing: Sequence[float] | None) -> None:
    """Raise OpenQuestion if a spacing would replace that of volumes whose files state it."""
    rows = [] if spacing is None or view.dataset.dims == 2 else view.replaced_spacing(spacing)
    if rows:
        record, frame = view.cases.records[rows[0]], view.cases.frames[rows[0]]
        assert frame is not None
        stated = " x ".join(f"{mm:.4g}" for mm in spacing_of(frame))
        raise OpenQuestion(
            f"--spacing would replace what the files of volumes state ({len(rows)} of them), first "
            f"{record['sample_id']!r}: {stated} mm. Leave it out, and give the others a spacing in the "
            "annotation"
        )


def _with_pairs(schema: LandmarkSchema, pairs: Sequence[str]) -> LandmarkSchema | None:
    """Return the schema with the declared pairs; None if there are none to add."""
    if not pairs:
        return None
    found = rules.given_pairs(schema.landmarks, pairs)
    names = list(schema.landmarks)
    indices = tuple((names.index(a), names.index(b)) for a, b in found)
    return replace(schema, flip_pairs=indices)


def _check(view: DataView, source: DataSource) -> list[str]:
    """Return what the check of annotations has found.

    Raises:
        ValueError: It is an error, on which training would be wrong.
    """
    report = check_dataset({"all": view.dataset})
    found = [*report["findings"], *(asdict(problem) for problem in view.pictures.problems)]
    errors = [finding for finding in found if finding["severity"] == "error"]
    if errors:
        shown = "\n  ".join(one_line(finding) for finding in errors[:5])
        more = f"\n  and {len(errors) - 5} more" if len(errors) > 5 else ""
        raise ValueError(
            f"{source.ann_file}: training on this would be wrong; correct it or take the samples out:\n"
            f"  {shown}{more}\nmmlandmark check shows all, with pictures"
        )
    return [one_line(finding) for finding in found if finding["check"] != "y from the bottom"]


def _data_choices(plan: Plan, y: Choice) -> dict[str, Choice]:
    """Return the decisions that depend on the data alone."""
    data, answers = plan.fingerprint, plan.answers
    unit = rules.choose_unit(
        data.images, data.spacing_known, answers.reference, data.scale_without_unit is not None
    )
    values = rules.choose_value_range(data.bits, data.used, data.values)
    contrast = rules.choose_contrast(data.dims, data.bits, data.values, data.own_contrast)
    grey = rules.grey_range(values.value, data.bits, data.file_range)
    normalisation = rules.choose_normalisation(data.mean, data.std, data.file_range, grey)
    if contrast.value is not None:
        values = Choice({}, contrast.why)
        normalisation = rules.choose_normalisation(data.own_mean, data.own_std, (0, 1), (0, 1))
    if data.extent is not None:
        assert data.spacing is not None
        plan.choices["voxel"] = spacing_rules.choose_voxel(data.spacing)
    radii = _radii(unit.value, data)
    return dict(
        unit=Choice(_metric(unit.value, radii.value, data, answers.reference), unit.why),
        radii=radii,
        y=Choice(y.value, f"{'from the bottom' if y.value else 'from the top'}; {y.why}")
        if data.dims == 2
        else y,
        channels=rules.choose_channels(data.colour),
        values=values,
        contrast=contrast,
        aspect=rules.choose_aspect(data.aspect_spread)
        if data.extent is None
        else Choice(False, "all volumes are resampled to voxels of this size"),
        border=rules.choose_border(rules.rescaled(data.border, data.file_range, grey)),
        augmentation=rules.choose_augmentation(data.rotation, data.scale, data.position, data.flip_pairs),
        workers=rules.choose_workers(answers.on_gpu, answers.cores),
        landmarks=Choice(len(data.landmarks), "as many as the annotation has"),
        normalisation=normalisation,
    )


def _radii(unit: str, data: Fingerprint) -> Choice:
    """Decide within which distances a landmark counts as found."""
    if unit == "px":
        radii = [max(1, round(max(data.median_size) * share)) for share in (0.005, 0.01, 0.02)]
        return Choice(tuple(sorted(set(radii))), "about 0.5, 1 and 2 % of the longest side")
    if data.extent is not None and data.spacing is not None:
        return spacing_rules.choose_radii(data.spacing)
    return spacing_rules.choose_image_radii(data.median_size, data.spacing)


def _metric(
    unit: str, radii: tuple[float, ...], data: Fingerprint, reference: tuple[str, str, float] | None
) -> dict[str, Any]:
    """Return the arguments of the metric."""
    metric: dict[str, Any] = dict(unit=unit, radii=radii)
    if reference is not None:
        names = data.landmarks
        lost = [name for name in reference[:2] if name not in names]
        if lost:
            raise OpenQuestion(f"--reference-length {lost[0]}: the landmarks are {', '.join(names)}")
        if reference[0] == reference[1]:
            raise OpenQuestion(f"--reference-length {reference[0]} {reference[1]}: give two landmarks")
        metric["reference"] = dict(
            pair=(names.index(reference[0]), names.index(reference[1])), mm=reference[2]
        )
    return metric


def _divide(view: DataView, choice: Choice, seed: int) -> dict[str, list[str]]:
    """Return the sample ids of every part; what shares a patient or a picture stays together.

    Raises:
        ValueError: The annotation itself puts copies of a picture into several parts.
    """
    records = [
        dict(record, group=group) for record, group in zip(view.cases.records, view.groups(), strict=True)
    ]
    records = [record for record in records if np.isfinite(record["landmarks"]).any()]
    if all(isinstance(share, float) for share in choice.value.values()):
        return deal_parts(records, choice.value, seed)
    parts = {
        role: sorted(r["sample_id"] for r in records if str(r.get("split") or "") in names)
        for role, names in choice.value.items()
    }
    where = {i: role for role, ids in parts.items() for i in ids}
    roles: dict[str, str] = {}
    for record in (r for r in records if r["sample_id"] in where):
        first = roles.setdefault(record["group"], record["sample_id"])
        if where[first] != where[record["sample_id"]] and "train" in (
            where[first],
            where[record["sample_id"]],
        ):
            raise ValueError(
                f"the annotation puts {first!r} into {where[first]} and {record['sample_id']!r} into "
                f"{where[record['sample_id']]}, but they are of one patient or show one picture; correct the "
                "splits, or leave them out so that the plan makes new ones"
            )
    return parts
