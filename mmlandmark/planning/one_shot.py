"""From one annotated image, a folder of others and a time to a plan of one-shot detection."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from mmlandmark.datasets.image_io import read_image
from mmlandmark.engine import load_config
from mmlandmark.planning import one_shot_rules, rules
from mmlandmark.planning.budget_rules import Speed
from mmlandmark.planning.choice import Choice, duration
from mmlandmark.planning.fingerprint import DataView, Fingerprint, read_fingerprint
from mmlandmark.planning.known_images import KnownImages, read_known
from mmlandmark.planning.one_shot_text import IMAGES, KNOWN, TEMPLATE, one_shot_text
from mmlandmark.planning.plan_folder import compare_answers, read_plan
from mmlandmark.planning.source_text import BESIDE
from mmlandmark.planning.speed import describe_machine, measure_speed
from mmlandmark.planning.template import Template, read_template
from mmlandmark.planning.unlabelled import UnlabelledImages, read_unlabelled
from mmlandmark.registry import DATASETS
from mmlandmark.utils.files import atomic_write_text
from mmlandmark.utils.json_checksum import with_checksum
from mmlandmark.utils.result_folders import CONFIG, PLAN

_SAME_VIEW = 0.2  # by which the widths of what images show may differ from the template's
BESIDE_ONE_SHOT = (TEMPLATE, IMAGES, KNOWN)
_SEEN = 1 / 8  # of the range from black to white that the values of a template take
_AUGMENTATION = dict(rotation=15, scale=0.15, shift=0.08, mirror=False)


@dataclass(frozen=True)
class OneShotAnswers:
    """What the user says.

    Attributes:
        template: The annotated image.
        points: File with its landmarks.
        images: Folder of the others.
        minutes: For the training.
        known: Annotation of some of the images, to test on; None for none.
        spacing: mm per pixel of images without.
        published_weights: Whether published weights are installed and may be the start.
        memory: Bytes that the training may take.
        on_gpu: Whether it runs on a GPU.
        cores: Of this machine.
    """

    template: str
    points: str
    images: str
    minutes: float
    known: str | None = None
    spacing: tuple[float, ...] | None = None
    published_weights: bool = False
    memory: float = 8 * 2.0**30
    on_gpu: bool = False
    cores: int = 1


@dataclass
class OneShotPlan:
    """What was read and decided.

    Attributes:
        answers: Of the user.
        template: The annotated image.
        images: To be labelled.
        data: Fingerprint of these.
        known: Annotated images to test on; None for none.
        choices: The decisions by name.
        warnings: What the user should know.
        minutes: That the training is expected to take.
    """

    answers: OneShotAnswers
    template: Template
    images: UnlabelledImages
    data: Fingerprint
    known: KnownImages | None
    choices: dict[str, Choice] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    minutes: float = 0.0

    def title(self) -> str:
        """Return what is planned, in one line."""
        return (
            f"written by mmlandmark one-shot: {len(self.template.schema.landmarks)} landmarks of "
            f"{self.template.image.name}, {len(self.images.ids)} images without annotation, "
            f"{duration(self.answers.minutes)} on {describe_machine()}"
        )

    def files(self) -> dict[str, str]:
        """Return the files of the plan: name -> content; the plan comes first and the config last.

        So the others are known to be of a plan, and a config never stands alone.
        """
        given = dict(type="ImageFolderDataset", image_dir=str(self.images.folder), **_given(self.answers))
        known = None
        texts = {PLAN: with_checksum(self.to_dict(), indent=2) + "\n"}
        texts |= {TEMPLATE: _json(self.template.annotation()), IMAGES: "\n".join(self.images.ids) + "\n"}
        if self.known is not None:
            known = dict(self.known.config, ids=f"{BESIDE}{KNOWN}")
            texts[KNOWN] = "\n".join(self.known.ids) + "\n"
        texts[CONFIG] = one_shot_text(self.title(), self.choices, given, known)
        return texts

    def write(self, folder: Path) -> None:
        """Write all files of the plan, each atomically."""
        for name, text in self.files().items():
            atomic_write_text(folder / name, text)
        if self.known is None:  # of a plan that this one replaces
            (folder / KNOWN).unlink(missing_ok=True)

    def to_dict(self) -> dict[str, Any]:
        """Return the plan in the types of JSON."""
        return dict(
            answers=asdict(self.answers),
            landmarks=list(self.template.schema.landmarks),
            landmarks_left_out=self.template.left_out,
            images=len(self.images.ids),
            images_left_out=self.images.left_out,
            known=None if self.known is None else len(self.known.ids),
            known_left_out=[] if self.known is None else self.known.left_out,
            fingerprint=self.data.to_dict(),
            choices={name: asdict(choice) for name, choice in self.choices.items()},
            warnings=self.warnings,
            expected_minutes=round(self.minutes, 2),
        )


def read_one_shot(answers: OneShotAnswers) -> OneShotPlan:
    """Read the template and look through the images; nothing is measured or written.

    Raises:
        FileNotFoundError: A file or folder does not exist.
        ValueError: No landmark or no image is left, or a file is broken.
    """
    template = read_template(answers.template, answers.points)
    if template.spacing is None and answers.spacing is not None:
        mm = answers.spacing
        template = replace(template, spacing=[*mm] if len(mm) == 2 else [mm[0], mm[0]])
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, TEMPLATE).write_text(_json(template.annotation()), encoding="utf-8")
        config = dict(
            type="LandmarkDataset", data_root=folder, ann_file=TEMPLATE, outside_root=True, **_given(answers)
        )
        shown = DataView(DATASETS.build(config))
        broken = [problem for problem in shown.pictures.problems if problem.severity == "error"]
        if broken:
            raise ValueError(f"--template {answers.template}: {broken[0].message}")
        images = read_unlabelled(answers.images, shown, config, template.schema, (), "--images")
    if images.view.dataset.annotated:  # type: ignore[attr-defined]  # the template is among them
        images = replace(images, left_out=["the template itself", *images.left_out[1:]])
    data = read_fingerprint(images.view, template.schema, images.ids, [str(template.image)])
    known = None
    if answers.known is not None:
        names = template.schema.landmarks
        known = read_known(answers.known, names, template.image.resolve(), shown, **_given(answers))
    plan = OneShotPlan(answers, template, images, data, known)
    plan.choices.update(_choices(plan, shown))
    plan.warnings += [*_other_view(shown, data), *_other_values(template, plan.choices["values"].value)]
    return plan


def is_one_shot_planned(folder: Path, answers: OneShotAnswers) -> bool:
    """Return whether a folder has the plan of these answers, so that its training can go on.

    Raises:
        ValueError: It has another plan, or that is broken.
    """
    if not (folder / PLAN).is_file() or not (folder / CONFIG).is_file():
        return False
    there = read_plan(folder).get("answers") or {}
    compare_answers(folder, there, json.loads(json.dumps(asdict(answers))))
    return True


def decide_one_shot(plan: OneShotPlan, measure: Callable[[OneShotPlan], Speed]) -> None:
    """Add the decisions that depend on time; the smallest size and the chosen one are measured.

    Args:
        plan: As read.
        measure: Returns the speed of the first stage of a plan.

    Raises:
        ValueError: The time is too short.
    """
    candidates = one_shot_rules.sizes(plan.data.median_size)
    plan.choices.update(_of_size(plan, Choice(list(candidates[0]), "a trial")))
    speed, minutes = measure(plan), plan.answers.minutes
    images = len(plan.images.ids)
    plan.choices["labellers"] = one_shot_rules.choose_labellers(
        plan.choices["start"].value, candidates, speed, minutes, images
    )
    labellers = plan.choices["labellers"].value
    size = one_shot_rules.choose_size(candidates, speed, minutes, images, labellers)
    plan.choices.update(_of_size(plan, size))
    if size.value != list(candidates[0]):
        speed = measure(plan)
    first, second, plan.minutes = one_shot_rules.choose_epochs(speed, minutes, images, labellers)
    plan.choices.update(ssl=first, student=second)


def measure_one_shot(plan: OneShotPlan) -> Speed:
    """Return the speed of the first stage on this machine; its files are written to a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        plan.write(Path(folder))
        config = load_config(Path(folder) / CONFIG)
        config.pop("stages")
        return measure_speed(config, plan.images.ids, plan.data.read_seconds)


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def _given(answers: OneShotAnswers) -> dict[str, Any]:
    """Return the arguments of data sets that the user gives."""
    mm = answers.spacing
    return {} if mm is None else dict(spacing=mm[0] if len(mm) == 1 else list(mm))


def _choices(plan: OneShotPlan, shown: DataView) -> dict[str, Choice]:
    """Return the decisions that depend on the images alone, and on the template as it is shown."""
    data, answers, count = plan.data, plan.answers, len(plan.template.schema.landmarks)
    values = rules.choose_value_range(data.bits, data.used, data.values)
    grey = rules.grey_range(values.value, data.bits, data.file_range)
    start = Choice(False, "EfficientNet-Lite0, random weights: those of ImageNet are not installed")
    normalisation = rules.choose_normalisation(data.mean, data.std, data.file_range, grey)
    if answers.published_weights:
        start = Choice(True, "EfficientNet-Lite0, weights of ImageNet")
        normalisation = Choice(dict(mean=0.498, std=0.502), "as the weights expect it")
    unit, why = _unit(plan)
    side = max(data.median_size)
    radii = (2, 2.5, 3, 4) if unit == "mm" else sorted({max(1, round(side * s)) for s in (0.005, 0.01, 0.02)})
    left_out = f"; left out: {'; '.join(plan.images.left_out)}" if plan.images.left_out else ""
    return dict(
        images=Choice(len(plan.images.ids), f"{len(plan.images.ids)} images{left_out}"),
        landmarks=Choice(count, "as many as the template shows"),
        unit=Choice(dict(unit=unit, radii=list(radii)), why),
        channels=rules.choose_channels(data.colour),
        values=values,
        contrast=rules.choose_contrast(2, data.bits, data.values, data.own_contrast),
        aspect=rules.choose_aspect(_aspect_spread(plan.data, shown.axes.sizes[0])),
        border=rules.choose_border(rules.rescaled(data.border, data.file_range, grey)),
        augmentation=Choice(dict(_AUGMENTATION), "how shapes vary is not known"),
        workers=rules.choose_workers(answers.on_gpu, answers.cores),
        start=start,
        normalisation=normalisation,
        selector=one_shot_rules.choose_selector(count, len(plan.images.ids)),
        labellers=Choice(1, "a trial"),
        ssl=Choice(1, "a trial"),
        student=Choice(1, "a trial"),
    )


def _unit(plan: OneShotPlan) -> tuple[str, str]:
    """Return the unit of errors, and why."""
    if plan.known is None:
        known, what = plan.images.spacing_known, "images"
    else:
        known, what = plan.known.spacing_known, "annotated images"
    return ("mm" if known else "px"), f"the spacing of all {what} is {'' if known else 'not '}known"


def _aspect_spread(data: Fingerprint, template: np.ndarray) -> float:
    """Return the largest relative deviation of proportions from the median image's, the template's too.

    Args:
        data: Of the images.
        template: (x, y) pixels of the template, turned as its orientation tag says.
    """
    ratios = [side[0] / side[1] for side in (template[::-1], data.median_size)]
    return max(data.aspect_spread, math.expm1(abs(math.log(ratios[0] / ratios[1]))))


def _of_size(plan: OneShotPlan, size: Choice) -> dict[str, Choice]:
    """Return the decisions that follow from the size of the input."""
    data = plan.data
    loaded = rules.choose_loaded_size(size.value, data.largest_size)
    cache = rules.choose_cache(
        len(plan.images.ids), loaded.value, plan.choices["channels"].value, data.bits, plan.answers.memory
    )
    levels = one_shot_rules.choose_levels(size.value)
    return dict(size=size, loaded=loaded, cache=cache, levels=levels)


def _other_view(template: DataView, data: Fingerprint) -> list[str]:
    """Return a warning if a template shows a field of another size in mm than the images."""
    own = template.axes.spacing[0] * template.axes.sizes[0]
    if data.spacing is None or not np.isfinite(own).all():
        return []
    theirs = np.array(data.spacing) * np.array(data.median_size[::-1])
    if np.abs(np.log(own / theirs)).max() <= math.log1p(_SAME_VIEW):
        return []
    mm = [" x ".join(f"{side:.0f}" for side in sides) for sides in (own, theirs)]
    return [
        f"the template shows {mm[0]} mm, the median image {mm[1]}: landmarks are looked for at another "
        "size than they have; crop the template, or take another one"
    ]


def _other_values(template: Template, load: Mapping[str, Any]) -> list[str]:
    """Return a warning if next to nothing of a template is between what is black and white in the images."""
    if "value_range" not in load:
        return []
    low, high = load["value_range"]
    own = np.percentile(read_image(str(template.image)).array, (0.5, 99.5))
    if min(own[1], high) - max(own[0], low) >= _SEEN * (high - low):
        return []
    return [
        f"the values of the template lie from {own[0]:g} to {own[1]:g}, those of all images from {low:g} to "
        f"{high:g}: next to nothing is seen of it; save it in the format of the images"
    ]
