"""The spine radiographs of AASCE 2019 (SpineWeb dataset 16, BoostNet): 17 vertebrae, 68 corners."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from mmlandmark.datasets.annotation_files import existing_file
from mmlandmark.datasets.image_files import image_shape
from mmlandmark.datasets.landmark_dataset import LandmarkDataset
from mmlandmark.datasets.table_rows import read_rows
from mmlandmark.datasets.values import sample_id_of, written_number
from mmlandmark.registry import DATASETS

_FOLDERS = {"train": "training", "test": "test"}


@DATASETS.register_module()
class SpineAasce2019(LandmarkDataset):
    """Antero-posterior spine radiographs as released.

    Below ``data_root`` (or its folder ``boostnet_labeldata``) are ``data/{training,test}/*.jpg`` and
    ``labels/{training,test}/{filenames,landmarks,angles}.csv`` without header. A row of landmarks holds
    68 x and then 68 y, as fractions of the image's width and height. The three Cobb angles (degrees) are
    kept as ``angles``. Films of one person share a ``group``: the file name without date and letter.

    Args:
        sort_vertebra_points: Sort the corners of every vertebra as top left, top right,
            bottom left, bottom right: the two smaller x are left, then the smaller y is top. Repairs
            swapped corners, not vertebrae in a wrong order.
        **kwargs: See :class:`~mmlandmark.datasets.LandmarkDataset`.
    """

    SCHEMA = "spine_aasce2019"

    def __init__(self, *args, sort_vertebra_points: bool = False, **kwargs) -> None:
        self.sort_vertebra_points = sort_vertebra_points
        super().__init__(*args, **kwargs)

    def load_records(self) -> list[dict[str, Any]]:
        """Read the rows of every selected split."""
        root = Path(self.data_root)
        if (root / "boostnet_labeldata").is_dir():
            root = root / "boostnet_labeldata"
        if not (root / "labels").is_dir():
            raise FileNotFoundError(f"no folder 'labels' in {root}; data_root must hold 'data' and 'labels'")
        records = []
        for split, folder in _FOLDERS.items():
            if self.wants_split(split) and (root / "labels" / folder).is_dir():
                records += self._load_split(root, split, folder)
        return records

    def _load_split(self, root: Path, split: str, folder: str) -> list[dict[str, Any]]:
        labels = root / "labels" / folder
        names = [",".join(row).strip() for _, row in _rows(labels / "filenames.csv")]
        points = _numbers(labels / "landmarks.csv", 136)
        angles = _numbers(labels / "angles.csv", 3)
        if not len(names) == len(points) == len(angles):
            raise ValueError(
                f"{labels}: filenames.csv, landmarks.csv and angles.csv have {len(names)}, {len(points)} "
                f"and {len(angles)} rows; they must agree"
            )
        records = []
        for row, name in enumerate(names):
            where = f"{labels / 'filenames.csv'}, row {row + 1}"
            ident = sample_id_of(Path(name).stem, where)
            path = Path(self.find_image(str(root / "data" / folder / name), name, where))
            record: dict[str, Any] = dict(
                sample_id=ident,
                img_path=str(path),
                landmarks=None,
                angles=tuple(float(a) for a in angles[row]),
                group=_person(name),
                split=split,
                source=f"{labels}, row {row + 1} of filenames.csv and landmarks.csv",
            )
            if os.path.isfile(path):
                height, width = record["ori_shape"] = image_shape(path)
                record["landmarks"] = points[row].reshape(2, 68).T * np.array([width, height])
                if self.sort_vertebra_points:
                    record["landmarks"] = sort_corners(record["landmarks"])
            records.append(record)
        return records


def sort_corners(points: np.ndarray) -> np.ndarray:
    """Return vertebra corners as top left, top right, bottom left, bottom right.

    Args:
        points: (4 V, 2) corners of V vertebrae, in pixels.
    """
    sorted_points = np.empty_like(points)
    for start in range(0, len(points), 4):
        by_x = points[start : start + 4][np.argsort(points[start : start + 4, 0], kind="stable")]
        left, right = (side[np.argsort(side[:, 1], kind="stable")] for side in (by_x[:2], by_x[2:]))
        sorted_points[start : start + 4] = left[0], right[0], left[1], right[1]
    return sorted_points


def _person(name: str) -> str:
    """Return the number of a person: the file name without date, film letter and view."""
    stem = re.sub(r"\d{1,2}-[A-Za-z]{3}-\d{4}-?", "", Path(name).stem).lower()
    match = re.match(r"(.*?\d)\s+[a-z]\s+ap", stem)
    return match[1] if match else stem


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    return read_rows(existing_file(path))


def _numbers(path: Path, columns: int) -> np.ndarray:
    table = []
    for line, row in _rows(path):
        values = [written_number(cell, f"{path}, line {line}") for cell in row]
        if len(values) != columns:
            raise ValueError(f"{path}, line {line}: {len(values)} numbers, expected {columns}")
        table.append(values)
    return np.asarray(table, dtype=np.float64).reshape(-1, columns)
