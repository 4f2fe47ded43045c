"""The images of a folder that nobody has annotated, and what of them a self-training leaves out."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mmlandmark.datasets import ImageFolderDataset
from mmlandmark.datasets.check_cases import Cases
from mmlandmark.datasets.folds import group_finder
from mmlandmark.datasets.image_checks import copied_groups
from mmlandmark.datasets.leak_checks import same_files
from mmlandmark.planning.fingerprint import DataView
from mmlandmark.structures import LandmarkSchema

_SHOWN = 3  # names of images in a sentence


@dataclass(frozen=True)
class UnlabelledImages:
    """Images to label.

    Attributes:
        folder: Absolute path of the folder.
        ids: Of the images, see :class:`~mmlandmark.datasets.ImageFolderDataset`.
        left_out: What is not among them and why, each as a phrase.
        not_checked: What was not looked at, each as a phrase.
        spacing_known: Whether mm per pixel are known of every image.
        view: What was read of the folder, also of images that are left out.
    """

    folder: Path
    ids: list[str]
    left_out: list[str]
    not_checked: list[str]
    spacing_known: bool
    view: DataView = field(repr=False, compare=False)

    @property
    def largest_volume(self) -> float:
        """Cubic mm of the largest of the images, 0 if no size and spacing are known."""
        chosen, axes = set(self.ids), self.view.axes
        rows = [n for n, record in enumerate(self.view.cases.records) if record["sample_id"] in chosen]
        volumes = np.prod(axes.sizes[rows] * axes.spacing[rows], axis=1)
        return float(np.nan_to_num(volumes).max(initial=0.0))


def read_unlabelled(
    folder: str,
    view: DataView,
    dataset: Mapping[str, Any],
    schema: LandmarkSchema,
    held_out: Collection[str],
    option: str = "--unlabelled",
) -> UnlabelledImages:
    """Look through a folder; images are compared with the annotated ones, and decoded for up to a minute.

    Args:
        folder: With the images, anywhere below it.
        view: The annotated data.
        dataset: Config of the annotated data, without pipeline and ids.
        schema: Its landmarks.
        held_out: Sample ids of the validation and the test part, whose patients are left out.
        option: Of the command line that names the folder, for errors.

    Raises:
        FileNotFoundError: The folder does not exist.
        ValueError: No image is left.
    """
    path = Path(folder).expanduser().absolute()
    if not path.is_dir():
        raise FileNotFoundError(f"{option} {folder}: there is no such folder")
    labelled = {key: value for key, value in dataset.items() if key != "schema"}
    images = ImageFolderDataset(
        str(path), labelled=labelled, schema=schema, spacing=dataset.get("spacing"), missing_images="keep"
    )
    own = DataView(images)
    reasons = Reasons(own)
    reasons.broken()
    reasons.copies(view)
    reasons.patients(view, dataset.get("group_pattern"), held_out)
    known = np.isfinite(own.axes.spacing).all(axis=1)
    if schema.dims == 3 and np.isfinite(view.axes.spacing).all():  # all are resampled to one spacing
        reasons.add(
            np.flatnonzero(~known), "without a spacing (--spacing MM gives it, if no file states one)"
        )
    if schema.dims == 3 and dataset.get("spacing") is not None:
        reasons.add(
            own.replaced_spacing(dataset["spacing"]), "whose files state another spacing than --spacing"
        )
    chosen = [n for n in range(len(images)) if n not in reasons.rows]
    annotated = [f"{images.annotated} with a row in the annotation"] if images.annotated else []
    further = len(images.unusable) - _SHOWN
    unusable = [*images.unusable[:_SHOWN], *([f"{further} more like these"] if further > 0 else [])]
    left_out = [*annotated, *unusable, *reasons.phrases]
    if not chosen:
        raise ValueError(f"{option} {folder}: no image is left to label: {'; '.join(left_out)}")
    return UnlabelledImages(
        folder=path,
        ids=[reasons.names[n] for n in chosen],
        left_out=left_out,
        not_checked=list(own.left_out),
        spacing_known=bool(known[chosen].all()),
        view=own,
    )


class Reasons:
    """Which rows of a view are left out, and why.

    Args:
        view: Of the images to label, or to test on.

    Attributes:
        names: Ids of all rows.
        rows: Those that are left out.
        phrases: Why.
    """

    def __init__(self, view: DataView) -> None:
        self.view = view
        self.names = [record["sample_id"] for record in view.cases.records]
        self.rows: set[int] = set()
        self.phrases: list[str] = []

    def add(self, rows: Sequence[int] | np.ndarray, why: str) -> None:
        """Leave rows out that are not yet."""
        new = [int(n) for n in rows if n not in self.rows]
        if new:
            self.rows.update(new)
            names = ", ".join(self.names[n] for n in new[:_SHOWN])
            more = f" and {len(new) - _SHOWN} more" if len(new) > _SHOWN else ""
            self.phrases.append(f"{len(new)} {why}: {names}{more}")

    def broken(self) -> None:
        """Leave out what cannot be decoded."""
        places = {name: n for n, name in enumerate(self.names)}
        problems = [*self.view.cases.problems, *self.view.pictures.problems]
        self.add([places[p.sample_id] for p in problems if p.severity == "error"], "that cannot be read")

    def copies(self, labelled: DataView, what: str = "an annotated image") -> None:
        """Leave out copies of annotated images, of the same bytes or of the same picture.

        Args:
            labelled: View of these.
            what: Words for one of them.
        """
        first = len(labelled.cases.records)
        both = Cases(dict(labelled=labelled.dataset, unlabelled=self.view.dataset), images=False)
        small = dict(labelled.pictures.small)
        small.update({first + n: picture for n, picture in self.view.pictures.small.items()})
        equal = [*same_files(both).values(), *copied_groups(small)]
        rows = [n - first for members in equal if min(members) < first for n in members if n >= first]
        self.add(sorted(set(rows)), f"showing the same picture as {what}")

    def patients(self, labelled: DataView, pattern: str | None, held_out: Collection[str]) -> None:
        """Leave out further images of the patients that validate or test."""
        if pattern is None:
            return
        records = labelled.cases.records
        tested = {record["group"] for record in records if record["sample_id"] in held_out}
        group_of = group_finder(pattern)
        rows = [n for n, name in enumerate(self.names) if tested & {group_of(end) for end in _ends(name)}]
        self.add(rows, "of patients that validate or test")


def _ends(name: str) -> list[str]:
    """Return a path, and what is left of it without its first folders: annotated ids may begin at any."""
    parts = name.split("/")
    return ["/".join(parts[n:]) for n in range(len(parts))]
