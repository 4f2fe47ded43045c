"""Landmarks in the COCO keypoint format."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log

from mmlandmark.datasets.annotation_files import existing_file
from mmlandmark.datasets.landmark_dataset import LandmarkDataset
from mmlandmark.datasets.landmark_order import in_order
from mmlandmark.datasets.patients import PATIENT_KEYS, is_patient, set_groups
from mmlandmark.datasets.values import label_of, number_of, sample_id_of, size_of
from mmlandmark.registry import DATASETS
from mmlandmark.structures import LandmarkSchema
from mmlandmark.utils.files import load_json
from mmlandmark.utils.near_names import refuse_misspelt

_LISTS = ("images", "annotations", "categories")
_IMAGE_KEYS = ("id", "file_name", "width", "height", "spacing", "group", "sample_id")
_NOTE_KEYS = (
    *("id", "image_id", "category_id", "keypoints", "num_keypoints", "iscrowd", "area", "bbox"),
    "segmentation",
)


@DATASETS.register_module()
class CocoKeypoints(LandmarkDataset):
    """Images with one set of keypoints each, as COCO JSON.

    Keypoints are ``[x, y, v, ...]`` with v 0 (not annotated), 1 (annotated, hidden) or 2 (annotated); a v
    of 1 or 2 counts as annotated. Names and links come from the category; with a ``schema`` the points are
    reordered by name to match it. An image may carry ``spacing`` (mm per pixel, one number or one per axis),
    ``group`` (or ``patient_id``, ``patient``, ...), and ``sample_id``, which replaces ``id`` as the name of
    the sample. Crowds and annotations without keypoints, boxes and areas are ignored.

    Args:
        category: Name of the category to read; None if the file has one category of keypoints.
        keep_unannotated: Keep images without annotation, with all landmarks missing. Otherwise they are left
            out, and their number is logged.
        **kwargs: See :class:`~mmlandmark.datasets.LandmarkDataset`. COCO has no flip pairs: give a
            schema that has them.
    """

    def __init__(self, *args, category: str | None = None, keep_unannotated: bool = False, **kwargs) -> None:
        self.category, self.keep_unannotated = category, keep_unannotated
        super().__init__(*args, **kwargs)

    def load_records(self) -> list[dict[str, Any]]:
        """Join images and annotations."""
        path = existing_file(self.ann_file)
        data = load_json(path)
        if not isinstance(data, dict) or not set(_LISTS) <= set(data):
            raise ValueError(f"{path}: COCO keypoints need 'images', 'annotations' and 'categories'")
        for key in _LISTS:
            if not isinstance(data[key], list) or not all(isinstance(entry, dict) for entry in data[key]):
                raise ValueError(f"{path}: {key!r} must be a list of objects")
        category = self._category(data["categories"], path)
        own = _category_schema(category, path)
        if self._full_schema is None:
            self._full_schema = own
        marks, others = self._marks(data, category, len(own), path)
        records = [
            self._record(image, marks.get(image.get("id")), f"{path}, images[{index}]")
            for index, image in enumerate(data["images"])
            if self.keep_unannotated or image.get("id") in marks
        ]
        set_groups(records)
        left = len(data["images"]) - len(records)
        if left:
            what = f"images have no keypoints of category {category.get('name')!r}"
            cure = "keep_unannotated=True keeps them"
            if not records:
                raise ValueError(f"{path}: all {left} {what}{_told(others)}; {cure}, all landmarks missing")
            message = (
                f"{path}: {left} of {len(data['images'])} {what} and are left out{_told(others)}; {cure}"
            )
            print_log(message, "current")
        return in_order(records, own.landmarks, self._full_schema.landmarks, f"{path}, category {own.name!r}")

    def _marks(
        self, data: dict[str, Any], category: dict, count: int, path: Path
    ) -> tuple[dict[Any, np.ndarray], Counter]:
        """Return the points of every image, and how many annotations are of which other category."""
        marks: dict[Any, np.ndarray] = {}
        first: dict[Any, int] = {}
        known = {
            _key(image.get("id"), f"{path}, images[{i}]", "id") for i, image in enumerate(data["images"])
        }
        names = {_key(c.get("id"), f"{path}, categories", "id"): c.get("name") for c in data["categories"]}
        others: Counter = Counter()
        for index, note in enumerate(data["annotations"]):
            where = f"{path}, annotations[{index}]"
            refuse_misspelt(set(note) - set(_NOTE_KEYS), _NOTE_KEYS, where)
            image_id, kind = (_key(note.get(key), where, key) for key in ("image_id", "category_id"))
            if kind not in names:
                raise ValueError(f"{where}: category_id {kind!r} is not among 'categories', {names}")
            if kind != category["id"]:
                others[str(names[kind])] += 1
                continue
            if image_id not in known:
                raise ValueError(f"{where}: image_id {image_id!r} is not among 'images'")
            points = _points(note, count, where)
            if points is None:
                continue
            if image_id in marks:
                raise ValueError(
                    f"{where}: a second annotation of image {image_id!r}, the first is "
                    f"annotations[{first[image_id]}]; one set of landmarks per image"
                )
            marks[image_id], first[image_id] = points, index
        return marks, others

    def _category(self, categories: list[dict], path: Path) -> dict:
        fitting = [c for c in categories if c.get("keypoints") and self.category in (None, c.get("name"))]
        if len(fitting) != 1:
            names = [c.get("name") for c in categories]
            raise ValueError(
                f"{path}: name one category with keypoints by category=...; the file has {names}"
            )
        return fitting[0]

    def _record(self, image: dict, points: np.ndarray | None, where: str) -> dict[str, Any]:
        if not isinstance(image.get("file_name"), str) or not image["file_name"] or "id" not in image:
            raise ValueError(f"{where}: an image needs 'id' and 'file_name'")
        own = [key for key in image if key not in _IMAGE_KEYS and not is_patient(key)]
        refuse_misspelt(own, [*_IMAGE_KEYS, *PATIENT_KEYS], where)
        group = image.get("group")
        record = dict(
            sample_id=sample_id_of(image.get("sample_id", image["id"]), where),
            img_path=self.image_path(image["file_name"]),
            landmarks=points,
            spacing=image.get("spacing"),
            group=None if group is None else label_of(group, where, "group"),
            source=where,
            **{key: value for key, value in image.items() if is_patient(key)},
        )
        size = size_of(image.get("width") or None, image.get("height") or None, where)
        return record if size is None else dict(record, ori_shape=size)


def _key(value: Any, where: str, what: str) -> Any:
    """Return an id, by which entries refer to each other."""
    label_of(value, where, what)
    return value


def _told(others: Counter) -> str:
    """Return a clause on annotations of other categories."""
    return (
        f" ({', '.join(f'{n} annotations are of {name!r}' for name, n in others.items())})" if others else ""
    )


def _points(note: dict, count: int, where: str) -> np.ndarray | None:
    """Return (K, 2) points, NaN where v is 0; None if the annotation says that there are none."""
    values = note.get("keypoints") or []
    if not isinstance(values, list):
        raise ValueError(f"{where}: 'keypoints' must be a list of numbers, got {values!r:.80}")
    number = note.get("num_keypoints")
    if note.get("iscrowd") or (not values and not number and ("keypoints" in note or number == 0)):
        return None
    if len(values) != 3 * count:
        raise ValueError(
            f"{where}: 'keypoints' has {len(values)} numbers, expected 3 for each of {count} landmarks"
        )
    table = np.array([number_of(value, where, "a keypoint") for value in values]).reshape(-1, 3)
    if not set(np.unique(table[:, 2])) <= {0, 1, 2}:
        raise ValueError(f"{where}: visibility must be 0, 1 or 2")
    seen = table[:, 2] > 0
    if number == 0 and seen.any():
        raise ValueError(
            f"{where}: num_keypoints is 0, but {int(seen.sum())} keypoints have a visibility of 1 or 2"
        )
    if not np.isfinite(table[seen]).all():
        raise ValueError(f"{where}: a visible keypoint is not finite")
    return None if number == 0 else np.where(seen[:, None], table[:, :2], np.nan)


def _category_schema(category: dict, path: Path) -> LandmarkSchema:
    where = f"{path}, category {category.get('name')!r}"
    skeleton = category.get("skeleton") or []
    if not isinstance(skeleton, list) or not all(isinstance(pair, list) for pair in skeleton):
        raise ValueError(f"{where}: 'skeleton' must be a list of pairs, got {skeleton!r:.80}")
    # COCO counts the points of its skeleton from 1; some programs count from 0 or write names.
    first = 0 if any(0 in pair for pair in skeleton) else 1
    links = [[p - first if isinstance(p, int) else p for p in pair] for pair in skeleton]
    data = dict(name=str(category.get("name", "coco")), landmarks=category["keypoints"], links=links)
    return LandmarkSchema.from_dict(data, where)
