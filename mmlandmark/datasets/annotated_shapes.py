"""The annotated shapes of a data set, without its images, and the typical one of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from mmlandmark.datasets.image_files import image_exists, image_frame
from mmlandmark.datasets.landmark_dataset import LandmarkDataset
from mmlandmark.shape import TypicalShape
from mmlandmark.structures import mm_steps
from mmlandmark.utils.dataset_tree import leaf_datasets


def annotated_shapes(dataset: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the landmarks of all samples of a data set, or of those inside of it, but ``unlabelled`` ones.

    Returns:
        (N, K, D) original pixels, NaN where missing; and (N, D, D) from steps in pixels to steps in mm, see
        :func:`~mmlandmark.structures.mm_steps`, or None unless they are known of every sample.

    Raises:
        ValueError: There is no such sample.
    """
    records = []
    for leaf in (leaf for leaf in leaf_datasets(dataset) if not getattr(leaf, "unlabelled", False)):
        # The record alone: the method of a subclass may make the image, which is slow.
        records += [LandmarkDataset.get_data_info(leaf, index) for index in range(len(leaf))]
    if not records:
        raise ValueError(
            "no image of the training data is annotated: there are no shapes to compare others with"
        )
    points = np.stack([record["landmarks"] for record in records]).astype(np.float64)
    steps = [mm_steps(_frame(record), record["spacing"], points.shape[2]) for record in records]
    known = [one for one in steps if one is not None]
    return points, np.stack(known) if len(known) == len(records) else None


def set_typical_shape(dataset: Any, points: np.ndarray, steps: np.ndarray | None) -> None:
    """Give the typical shape of a data set, for ``AlignToTypicalShape``, to all that are inside of it.

    Args:
        dataset: A data set, or a wrapper of some.
        points: See :meth:`mmlandmark.shape.TypicalShape.of`, as returned by :func:`annotated_shapes`.
        steps: Likewise.
    """
    leaves = _aligning(dataset)
    if leaves:
        shape = TypicalShape.of(points, steps)
        for leaf in leaves:
            leaf.typical_shape = shape


def follow_typical_shape(dataset: Any, shape: TypicalShape) -> None:
    """Give the typical shape of a detector to all data sets inside of one that align to another.

    Args:
        dataset: A data set, or a wrapper of some.
        shape: Of the detector, whose weights may come from other data.
    """
    for leaf in _aligning(dataset):
        own = leaf.typical_shape
        # A detector holds single precision, which makes no other shape.
        same = own.millimetres == shape.millimetres and np.allclose(own.points, shape.points, 1e-5, 1e-5)
        if not same:
            leaf.typical_shape = shape


def _aligning(dataset: Any) -> list[Any]:
    return [leaf for leaf in leaf_datasets(dataset) if getattr(leaf, "needs_typical_shape", False)]


def _frame(record: dict[str, Any]) -> np.ndarray | None:
    """Return the (4, 4) frame of a volume, which only its header says; None for an image."""
    path, world = record["img_path"], record.get("world_from_original")
    if world is not None or record["landmarks"].shape[1] == 2 or path is None or not image_exists(path):
        return world
    try:
        return image_frame(path)
    except (ValueError, ImportError):
        return None  # what is wrong with the image is said when it is loaded
