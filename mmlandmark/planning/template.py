"""The annotated image of a one-shot detection: which of its landmarks can be looked for."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmlandmark.datasets import LandmarkDataset
from mmlandmark.datasets.image_files import image_shape, image_stem
from mmlandmark.planning.data_source import find_data
from mmlandmark.structures import LandmarkSchema, is_inside
from mmlandmark.utils.files import load_json

FORMAT = (
    'name the landmarks of the template in a JSON object, {"sella": [832.0, 993.5], "nasion": null}, or give '
    "an annotation file that has a row for it"
)


@dataclass(frozen=True)
class Template:
    """An annotated image.

    Attributes:
        image: Absolute path.
        size: (*S) pixels.
        points: (K, D) original pixels, all inside of the image.
        schema: Of these K landmarks.
        spacing: mm per pixel, if the annotation knows it.
        left_out: Landmarks that cannot be looked for and why, each as a phrase.
    """

    image: Path
    size: tuple[int, ...]
    points: np.ndarray
    schema: LandmarkSchema
    spacing: list[float] | None
    left_out: list[str]

    def annotation(self) -> dict[str, Any]:
        """Return the content of an annotation file with this image."""
        sample: dict[str, Any] = dict(
            id=image_stem(self.image),
            image=str(self.image),
            landmarks=[[round(float(x), 4) for x in point] for point in self.points],
        )
        if self.spacing is not None:
            sample["spacing"] = self.spacing
        return dict(schema=self.schema.to_dict(), samples=[sample])


def read_template(image: str | Path, points: str | Path) -> Template:
    """Read the landmarks of one image.

    A landmark that is missing or lies outside of the image is left out.

    Args:
        image: The image.
        points: JSON object with the landmarks by name, pixels (x, y), ``null`` where one is missing; or an
            annotation file with a row for the image.

    Raises:
        FileNotFoundError: A file does not exist.
        ValueError: The image cannot be read, or is a volume; there is no row for it, or that of an image of
            another size; or no landmark is left.
    """
    path = Path(os.path.abspath(os.path.expanduser(image)))
    size = image_shape(str(path))
    if len(size) != 2:
        raise ValueError(f"--template {image}: this is a volume, and one-shot detection plans for images")
    record = _named(points) or _row(points, path, size)
    names, found = record["schema"].landmarks, np.asarray(record["landmarks"], dtype=np.float64)
    missing = np.isnan(found).any(axis=1)
    inside = is_inside(found, size)
    left_out = [f"{names[k]!r}, which the template does not show" for k in np.flatnonzero(missing)]
    left_out += [
        f"{names[k]!r} at ({found[k, 0]:g}, {found[k, 1]:g}), outside of the template's "
        f"{size[1]} x {size[0]} pixels"
        for k in np.flatnonzero(~missing & ~inside)
    ]
    if not inside.any():
        raise ValueError(f"--points {points}: no landmark is left: {'; '.join(left_out)}")
    kept = np.flatnonzero(inside).tolist()
    schema = record["schema"] if len(kept) == len(names) else record["schema"].subset(kept)[0]
    return Template(path, tuple(size), found[kept], schema, record["spacing"], left_out)


def _named(points: str | Path) -> dict[str, Any] | None:
    """Return the landmarks of an object with their names; None for any other file."""
    if Path(points).suffix.lower() != ".json":
        return None
    content = load_json(Path(points).expanduser())
    if not isinstance(content, Mapping) or not content or "samples" in content or "images" in content:
        return None
    rows = []
    for name, point in content.items():
        number = isinstance(point, list) and len(point) == 2 and all(map(_is_number, point))
        if point is not None and not number:
            raise ValueError(f"--points {points}: {name!r} is {point!r}, expected [x, y] or null; {FORMAT}")
        rows.append([np.nan, np.nan] if point is None else [float(x) for x in point])
    schema = LandmarkSchema(name="template", landmarks=tuple(content))
    return dict(schema=schema, landmarks=rows, spacing=None)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _row(points: str | Path, image: Path, size: Sequence[int]) -> dict[str, Any]:
    """Return the row of an image (*S) in an annotation file."""
    try:
        source = find_data(points)
    except FileNotFoundError:
        source = find_data(points, image.parent)
    dataset = source.build(**({"y_up": True} if source.y_convention == "bottom" else {}))
    records = [LandmarkDataset.get_data_info(dataset, n) for n in range(len(dataset))]
    named = [r for r in records if r["img_path"] and Path(r["img_path"]).name == image.name]
    own = [r for r in named if os.path.realpath(r["img_path"]) == str(image.resolve())] or named
    if len(own) != 1:
        raise ValueError(
            f"--points {points}: {len(own) or 'none'} of {len(records)} rows is of {image.name}; {FORMAT}"
        )
    told = own[0].get("ori_shape")
    if told is not None and tuple(told) != tuple(size):
        raise ValueError(
            f"--points {points}: its row says that {image.name} has {told[1]} x {told[0]} pixels, but it has "
            f"{size[1]} x {size[0]}; the landmarks belong to another version of it"
        )
    spacing = own[0]["spacing"]
    return dict(
        schema=dataset.schema,
        landmarks=own[0]["landmarks"],
        spacing=None if spacing is None else [float(mm) for mm in spacing],
    )
