"""Landmarks annotated in CVAT, exported as "CVAT for images 1.1"."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from mmlandmark.datasets.annotation_files import existing_file
from mmlandmark.datasets.image_files import stem_of
from mmlandmark.datasets.landmark_dataset import LandmarkDataset
from mmlandmark.datasets.landmark_order import in_order
from mmlandmark.datasets.values import id_of_name, is_text_number, size_of, text_number
from mmlandmark.registry import DATASETS
from mmlandmark.structures import LandmarkSchema
from mmlandmark.utils.safe_xml import Element, read_elements

_IMAGE, _TRACK = "annotations/image", "annotations/track"
_LABELS = tuple(f"annotations/meta/{kind}/labels/label" for kind in ("task", "project", "job"))
_CENTRE = 0.5  # CVAT counts from the corner of the image


@DATASETS.register_module()
class CvatImages(LandmarkDataset):
    """Images of a CVAT file with points, one per landmark, alone or in a skeleton.

    The label of a point names the landmark. The centre of the first pixel is (0.5, 0.5) in CVAT, and becomes
    (0, 0). A point with ``outside="1"`` is not annotated. The id is the name of the image without suffix.
    Without a schema, the landmarks are the labels of type points, in the order of the file. Other shapes and
    tags are ignored.

    Args:
        **kwargs: See :class:`~mmlandmark.datasets.LandmarkDataset`.
    """

    def load_records(self) -> list[dict[str, Any]]:
        """Read all images of the file."""
        path = existing_file(self.ann_file)
        declared: dict[str, str] = {}
        images: list[tuple[Element, dict[str, np.ndarray]]] = []
        for element in read_elements(path, {_IMAGE, _TRACK, *_LABELS}):
            if element.path == _TRACK:
                raise ValueError(
                    f"{path}, line {element.line}: tracks of a video; export the task as 'CVAT for images'"
                )
            if element.path == _IMAGE:
                images.append((element, _points(element, path)))
            else:
                texts = {child.name: child.text for child in element.children}
                declared[texts.get("name", "")] = texts.get("type", "")
        if not images:
            raise ValueError(f"{path}: there is no image in it; is it a file of CVAT?")
        used = list(dict.fromkeys(name for _, points in images for name in points))
        names = [n for n, kind in declared.items() if kind == "points" or n in used]
        names += [name for name in used if name not in declared]
        if self._full_schema is None:
            if not names:
                raise ValueError(f"{path}: no image has points, and no label is of type points")
            self._full_schema = LandmarkSchema.from_dict(dict(name="from_cvat", landmarks=names), str(path))
        elif not set(used) - set(self._full_schema.landmarks):
            names = [name for name in names if name in self._full_schema.landmarks]  # labels without points
        files = [_name(image, path) for image, _ in images]
        stems = Counter([*map(_stem, files), *files])  # one may be called as another without its suffix
        records = [self._record(image, points, names, stems, path) for image, points in images]
        return in_order(records, names, self._full_schema.landmarks, str(path))

    def _record(
        self, image: Element, points: dict[str, np.ndarray], names: list[str], stems: Counter, path: Path
    ) -> dict[str, Any]:
        where = f"{path}, line {image.line}"
        name = _name(image, path)
        sides = {
            key: text_number(image.attributes[key], where)
            for key in ("width", "height")
            if key in image.attributes
        }
        missing = np.full(2, math.nan)
        return dict(
            sample_id=id_of_name(_stem(name) if stems[_stem(name)] == 1 else name),
            img_path=self.image_path(name),
            landmarks=np.array([points.get(name, missing) for name in names]),
            ori_shape=size_of(sides.get("width"), sides.get("height"), where),
            source=where,
        )


def _name(image: Element, path: Path) -> str:
    name = image.attributes.get("name", "")
    if not name:
        raise ValueError(f"{path}, line {image.line}: the image has no name")
    return name


def _stem(name: str) -> str:
    """Return the name of an image with its folders, but without its suffix."""
    path = PurePosixPath(name.replace("\\", "/"))
    return str(path.with_name(stem_of(path.name)))


def _points(image: Element, path: Path) -> dict[str, np.ndarray]:
    """Return the (2,) pixels of every landmark of an image."""
    found: dict[str, np.ndarray] = {}
    skeletons = [child for child in image.children if child.name == "skeleton"]
    for shape in [*image.children, *(point for skeleton in skeletons for point in skeleton.children)]:
        if shape.name != "points":
            continue
        where = f"{path}, line {shape.line}"
        label, text = (shape.attributes.get(key, "") for key in ("label", "points"))
        if not label:
            raise ValueError(f"{where}: the points have no label, which names the landmark")
        if shape.attributes.get("outside") == "1":
            continue
        cells = text.replace(";", ",").split(",")
        if ";" in text.strip("; ") or len(cells) != 2 or not all(map(is_text_number, cells)):
            raise ValueError(f"{where}: {label!r} must be one point 'x,y', got {text!r:.80}")
        if label in found:
            raise ValueError(
                f"{where}: a second point {label!r} in image {image.attributes.get('name')!r}; one per "
                "landmark"
            )
        found[label] = np.array([text_number(cell, where) for cell in cells]) - _CENTRE
    return found
