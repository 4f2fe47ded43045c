"""The records of a run's splits as arrays, without loading an image."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch.utils.data import Subset

from mmlandmark.datasets.check_cases import Cases, role
from mmlandmark.datasets.landmark_dataset import LandmarkDataset
from mmlandmark.utils.dataset_tree import inner_datasets


@dataclass(frozen=True)
class SplitRecords:
    """The rows of one split in the cases of all.

    Attributes:
        cases: Records of all splits, N of this one.
        rows: (N,) indices of this split in ``cases``.
        annotated: (N, K) bool: annotated and not absent, so that metrics use it.
        counts: (N, K) bool: also of a weight above 0, so that losses use it.
        read: (N, K) bool: as ``counts``, but of several annotators one is enough.
    """

    cases: Cases
    rows: np.ndarray
    annotated: np.ndarray
    counts: np.ndarray
    read: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def records(self) -> list[dict[str, Any]]:
        """The N records of the data set."""
        return [self.cases.records[row] for row in self.rows]

    @property
    def points(self) -> np.ndarray:
        """(N, K, D) landmarks in original pixels, NaN where missing."""
        return self.cases.points[self.rows]

    @property
    def sizes(self) -> np.ndarray:
        """(N, D) size of the images (width, height[, depth]), NaN where only decoding would tell."""
        return self.cases.sizes[self.rows]

    @property
    def spacing(self) -> np.ndarray:
        """(N, D) mm per pixel, NaN where unknown."""
        return self.cases.spacing[self.rows]


def read_splits(datasets: Mapping[str, Any], seconds: float) -> dict[str, SplitRecords]:
    """Read the records of several splits of one set of landmarks; no image is decoded.

    Args:
        datasets: Data sets, or wrappers around them, by the name of their split. A split that contains
            another kind than :class:`LandmarkDataset` is left out.
        seconds: Time limit for opening image files.
    """
    parts: dict[str, LandmarkDataset] = {}
    for name, dataset in datasets.items():
        leaves = landmark_datasets(dataset)
        if leaves:
            parts.update({f"{name}[{i}]" if len(leaves) > 1 else name: leaf for i, leaf in enumerate(leaves)})
    if not parts:
        return {}
    cases = Cases(parts, images=False, deadline=time.monotonic() + seconds)
    splits = {}
    for name in dict.fromkeys(role(part) for part in parts):
        rows = np.array([n for n, split in enumerate(cases.splits) if role(split) == name])
        splits[name] = SplitRecords(cases, rows, *_looked_at(cases, rows))
    return splits


def landmark_datasets(dataset: Any) -> list[LandmarkDataset]:
    """Return the data sets inside a wrapper, once each; empty if one is not a :class:`LandmarkDataset`.

    Of a ``torch.utils.data.Subset``, only its part counts.
    """
    if isinstance(dataset, LandmarkDataset):
        return [dataset]
    if isinstance(dataset, Subset) and isinstance(dataset.dataset, LandmarkDataset):
        return [dataset.dataset.get_subset(list(dataset.indices))]
    inner = [] if isinstance(dataset, Subset) else inner_datasets(dataset)
    parts = [landmark_datasets(part) for part in inner]
    return [leaf for part in parts for leaf in part] if all(parts) else []


def _looked_at(cases: Cases, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (N, K) ``annotated``, ``counts`` and ``read`` of some rows."""
    points = cases.points[rows]
    annotated, weighed = np.isfinite(points).all(2), np.ones(points.shape[:2], dtype=bool)
    read = annotated.copy()
    for n, record in enumerate(cases.records[row] for row in rows):
        if record.get("visibility") is not None:
            annotated[n] &= np.asarray(record["visibility"]) > 0
        if record.get("weights") is not None:
            weighed[n] = np.asarray(record["weights"]) > 0
        read[n] = annotated[n]
        if record.get("by_annotator") is not None:
            read[n] = np.isfinite(record["by_annotator"]).all(2).any(0)
    return annotated, annotated & weighed, read & weighed
