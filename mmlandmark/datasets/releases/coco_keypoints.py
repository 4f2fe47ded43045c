"""Landmarks in the COCO keypoint format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mmlandmark.datasets.annotation_files import load_json
from mmlandmark.datasets.landmark_dataset import LandmarkDataset
from mmlandmark.registry import DATASETS
from mmlandmark.structures import LandmarkSchema


@DATASETS.register_module()
class CocoKeypoints(LandmarkDataset):
    """Images with one set of keypoints each, as COCO JSON.

    Keypoints are ``[x, y, v, ...]`` with v 0 (not annotated), 1 (annotated, hidden) or 2 (annotated); a v
    of 1 or 2 counts as annotated. Names and links come from the category. An image may carry ``spacing``
    (mm per pixel, one number or one per axis) and ``group``. Boxes and areas are not used.

    Args:
        category: Name of the category to read; None if the file has one category of keypoints.
        keep_unannotated: Keep images without annotation, all landmarks missing.
        **kwargs: See :class:`~mmlandmark.datasets.LandmarkDataset`. COCO names no flip pairs: give a
            schema to have them.
    """

    def __init__(self, *args, category: str | None = None, keep_unannotated: bool = False, **kwargs) -> None:
        self.category, self.keep_unannotated = category, keep_unannotated
        super().__init__(*args, **kwargs)

    def load_records(self) -> list[dict[str, Any]]:
        """Join images and annotations."""
        path = Path(self.ann_file)
        if not path.is_file():
            raise FileNotFoundError(
                f"annotation file {str(path)!r} does not exist; check data_root and ann_file"
            )
        data = load_json(path)
        if not isinstance(data, dict) or not {"images", "annotations", "categories"} <= set(data):
            raise ValueError(f"{path}: COCO keypoints need 'images', 'annotations' and 'categories'")
        category = self._category(data["categories"], path)
        if self._full_schema is None:
            self._full_schema = _category_schema(category, path)
        marks: dict[Any, np.ndarray] = {}
        known = {image.get("id") for image in data["images"]}
        for index, note in enumerate(data["annotations"]):
            if note.get("category_id") != category["id"]:
                continue
            where, image_id = f"{path}, annotations[{index}]", note.get("image_id")
            if image_id not in known:
                raise ValueError(f"{where}: image_id {image_id!r} is not among 'images'")
            if image_id in marks:
                raise ValueError(
                    f"{where}: a second annotation of image {image_id!r}; one set of landmarks per image"
                )
            marks[image_id] = self._points(note, where)
        return [
            self._record(image, marks.get(image.get("id")), f"{path}, images[{index}]")
            for index, image in enumerate(data["images"])
            if image.get("id") in marks or self.keep_unannotated
        ]

    def _category(self, categories: list[dict], path: Path) -> dict:
        fitting = [c for c in categories if c.get("keypoints") and self.category in (None, c.get("name"))]
        if len(fitting) != 1:
            names = [c.get("name") for c in categories]
            raise ValueError(
                f"{path}: name one category with keypoints by category=...; the file has {names}"
            )
        return fitting[0]

    def _points(self, note: dict, where: str) -> np.ndarray:
        values = np.asarray(note.get("keypoints", ()), dtype=np.float64)
        if values.size != 3 * len(self._full_schema):
            raise ValueError(
                f"{where}: 'keypoints' has {values.size} numbers, expected 3 for each of "
                f"{len(self._full_schema)} landmarks"
            )
        values = values.reshape(-1, 3)
        if not set(np.unique(values[:, 2])) <= {0, 1, 2}:
            raise ValueError(f"{where}: visibility must be 0, 1 or 2")
        return np.where(values[:, 2:] > 0, values[:, :2], np.nan)

    def _record(self, image: dict, points: np.ndarray | None, where: str) -> dict[str, Any]:
        if "file_name" not in image or "id" not in image:
            raise ValueError(f"{where}: an image needs 'id' and 'file_name'")
        record = dict(
            sample_id=str(image["id"]),
            img_path=self.image_path(image["file_name"]),
            landmarks=points,
            spacing=image.get("spacing"),
            group=image.get("group"),
            source=where,
        )
        if image.get("width") and image.get("height"):
            record["ori_shape"] = (int(image["height"]), int(image["width"]))
        return record


def _category_schema(category: dict, path: Path) -> LandmarkSchema:
    # COCO counts the points of its skeleton from 1.
    links = [[a - 1, b - 1] for a, b in category.get("skeleton", ())]
    data = dict(name=str(category.get("name", "coco")), landmarks=category["keypoints"], links=links)
    return LandmarkSchema.from_dict(data, f"{path}, category {category.get('name')!r}")
