"""The annotated images that a one-shot detection is measured by, and what of an annotation is left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmlandmark.datasets.image_files import image_exists, image_shape
from mmlandmark.datasets.records import check_frame
from mmlandmark.planning.data_source import find_data
from mmlandmark.planning.fingerprint import DataView
from mmlandmark.planning.unlabelled import Reasons


@dataclass(frozen=True)
class KnownImages:
    """Annotated images to test on.

    Attributes:
        config: Of their data set, without pipeline and ids.
        ids: Of the images.
        left_out: Which rows of the annotation are not among them and why, each as a phrase.
        spacing_known: Whether mm per pixel are known of every image.
    """

    config: dict[str, Any]
    ids: list[str]
    left_out: list[str]
    spacing_known: bool


def read_known(path: str, names: Sequence[str], template: Path, shown: DataView, **given: Any) -> KnownImages:
    """Look through an annotation; a test must not end at an image that cannot be read.

    Images are decoded for up to a minute.

    Args:
        path: Of the annotation.
        names: Landmarks that are looked for.
        template: Image of the template, which is not among them, nor are its copies.
        shown: View of the template.
        given: Further arguments of the data set.

    Raises:
        FileNotFoundError: There is no such file, or no image of it.
        ValueError: It annotates no image but the template, has no such landmark, or is broken.
    """
    source = find_data(path)
    options = dict(given)
    if list(source.build(y_up=False).schema.landmarks) != list(names):
        options["landmarks"] = list(names)
    if source.y_convention == "bottom":
        options["y_up"] = True
    try:
        view = DataView(source.build(**options))
    except ValueError as error:
        raise ValueError(f"--known {path}: {error}") from error
    records = view.cases.records
    there = [bool(record["img_path"]) and image_exists(record["img_path"]) for record in records]
    reasons = Reasons(view)
    reasons.add(np.flatnonzero(~np.array(there)), "whose image does not exist")
    reasons.broken()
    misfits = [n for n, record in enumerate(records) if n not in reasons.rows and not _fits(record)]
    reasons.add(misfits, "whose landmarks do not fit the image")
    own = [n for n, r in enumerate(records) if there[n] and Path(r["img_path"]).resolve() == template]
    phrases = [*reasons.phrases]
    reasons.rows.update(own)
    reasons.copies(shown, "the template")
    blank = np.all(np.isnan(view.cases.points).any(axis=2), axis=1)
    reasons.add(np.flatnonzero(blank), "without any of these landmarks")
    chosen = [n for n in range(len(records)) if n not in reasons.rows]
    if not chosen:
        raise ValueError(f"--known {path}: it annotates no image but the template; {'; '.join(phrases)}")
    return KnownImages(
        config=source.config(**options),
        ids=[reasons.names[n] for n in chosen],
        left_out=reasons.phrases,
        spacing_known=bool(np.isfinite(view.axes.spacing[chosen]).all()),
    )


def _fits(record: Mapping[str, Any]) -> bool:
    """Return whether ``LoadImage`` takes the landmarks of a record for some of its image."""
    shape, told = image_shape(record["img_path"]), record.get("ori_shape")
    try:
        check_frame(np.asarray(record["landmarks"]), shape, "", record["img_path"])
    except ValueError:
        return False
    return told is None or tuple(told) == tuple(shape)
