"""The annotated shapes of a data set, without its images."""

from __future__ import annotations

from typing import Any

import numpy as np

from mmlandmark.datasets.landmark_dataset import LandmarkDataset
from mmlandmark.utils.dataset_tree import leaf_datasets


def annotated_shapes(dataset: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the landmarks of all samples of a data set, or of those inside of it.

    Returns:
        (N, K, D) original pixels, NaN where missing; and (N, D) mm per pixel as annotated, or None unless it
        is known of every sample.
    """
    records = []
    for leaf in leaf_datasets(dataset):
        # The record alone: the method of a subclass may make the image, which is slow.
        records += [LandmarkDataset.get_data_info(leaf, index) for index in range(len(leaf))]
    points = np.stack([record["landmarks"] for record in records]).astype(np.float64)
    spacing = [record["spacing"] for record in records]
    known = all(value is not None for value in spacing)
    return points, np.array(spacing, dtype=np.float64) if known else None
