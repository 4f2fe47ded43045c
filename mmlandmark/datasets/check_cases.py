"""What a dataset check looks at, and what it finds."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from mmlandmark.datasets.image_files import image_shape
from mmlandmark.datasets.landmark_dataset import LandmarkDataset
from mmlandmark.structures import LandmarkSchema


@dataclass(frozen=True)
class Finding:
    """One fault: which check found it, in which sample, and what is wrong."""

    check: str
    sample_id: str
    message: str
    split: str = ""
    source: str = ""
    level: Literal["error", "warning"] = "warning"
    landmarks: tuple[int, ...] = field(default=())


class Cases:
    """The records of all splits as arrays.

    Args:
        datasets: Datasets by the name of their split; their schemas must agree.

    Attributes:
        points: (N, K, D) landmarks in pixels.
        sizes: (N, D) image size (width, height[, depth]) in pixels, NaN where not known.
        spacing: (N, D) mm per pixel, NaN where not known.
        problems: Findings about images that are missing or whose header is broken.
    """

    def __init__(self, datasets: Mapping[str, LandmarkDataset]) -> None:
        first = next(iter(datasets.values()))
        for name, dataset in datasets.items():
            if dataset.schema.landmarks != first.schema.landmarks:
                raise ValueError(
                    f"split {name!r} has other landmarks than the first: {dataset.schema.name!r}"
                )
        self.schema: LandmarkSchema = first.schema
        self.records: list[dict[str, Any]] = []
        self.problems: list[Finding] = []
        sizes = []
        for split, dataset in datasets.items():
            for index in range(len(dataset)):
                # The record alone: a dataset may make its image here, which takes long.
                record = dict(LandmarkDataset.get_data_info(dataset, index), dataset_split=split)
                self.records.append(record)
                sizes.append(self._size(record, dataset, index))
        nothing = [float("nan")] * self.schema.dims
        self.points = np.stack([r["landmarks"] for r in self.records]).astype(np.float64)
        self.sizes = np.array([nothing if size is None else size for size in sizes], dtype=np.float64)
        self.spacing = np.array([r["spacing"] or nothing for r in self.records], dtype=np.float64)

    def __len__(self) -> int:
        return len(self.records)

    def _size(self, record: dict[str, Any], dataset: LandmarkDataset, index: int) -> tuple[int, ...] | None:
        path, shape = record["img_path"], record.get("ori_shape")
        try:
            if path is not None and not os.path.isfile(path):
                raise FileNotFoundError(f"image {path!r} does not exist")
            if shape is None and "slice" in record:
                shape = dataset.get_data_info(index)["img"].shape[: self.schema.dims]
            elif shape is None and path is not None:
                shape = image_shape(path)
        except (FileNotFoundError, ValueError) as error:
            self.problems.append(_finding(record, "broken image", str(error), level="error"))
        return tuple(shape)[::-1] if shape is not None and len(shape) == self.schema.dims else None

    def finding(self, index: int, check: str, message: str, **more) -> Finding:
        """Return a finding about record ``index``."""
        return _finding(self.records[index], check, message, **more)


def _finding(record: dict[str, Any], check: str, message: str, **more) -> Finding:
    return Finding(
        check,
        record["sample_id"],
        message,
        split=record["dataset_split"],
        source=record.get("source", ""),
        **more,
    )
