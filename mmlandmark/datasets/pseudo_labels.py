"""Labels of images that nobody has annotated, which a training makes and replaces."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import torch
from mmengine.logging import print_log

_OF_IMAGES = (OSError, ValueError)  # what a pipeline raises if an image, or its labels, do not fit


class PseudoLabels:
    """Landmarks of N images in shared memory: living workers see what the main process sets.

    A training replaces them between two epochs, while no worker reads.

    Args:
        count: N.
        landmarks: K.
        dims: D.
    """

    def __init__(self, count: int, landmarks: int, dims: int) -> None:
        self._points = torch.full((count, landmarks, dims), float("nan")).share_memory_()
        self._weight = torch.ones(1).share_memory_()
        self._told = torch.zeros(count, dtype=torch.bool).share_memory_()

    def set(self, points: np.ndarray, weight: float = 1.0) -> None:
        """Set all labels, here and in all workers.

        Args:
            points: (N, K, D) original pixels; NaN where there is no label.
            weight: Of every label in the loss.

        Raises:
            ValueError: The shape is another.
        """
        if points.shape != tuple(self._points.shape):
            raise ValueError(f"expected labels {tuple(self._points.shape)}, got {points.shape}")
        self._points.copy_(torch.from_numpy(np.ascontiguousarray(points, dtype=np.float32)))
        self._weight[0] = weight

    @property
    def points(self) -> np.ndarray:
        """(N, K, D) float32, NaN where there is no label; a copy."""
        return self._points.numpy().copy()

    def tell_left_out(self, index: int, reason: object) -> None:
        """Warn, once over all workers, that an image is left out."""
        if not self._told[index]:
            self._told[index] = True
            print_log(f"unlabelled image left out: {reason}", "current", logging.WARNING)

    def __len__(self) -> int:
        return len(self._points)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return the fields of a record: ``landmarks`` (K, D) and ``weights`` (K,)."""
        points = self._points[index].numpy().copy()
        return dict(landmarks=points, weights=np.full(len(points), float(self._weight[0]), dtype=np.float32))

    def __deepcopy__(self, memo: dict) -> PseudoLabels:
        # A deep copy of a shared tensor would be private, and would not reach the workers of the copy.
        other = PseudoLabels(*self._points.shape)
        other.set(self.points, float(self._weight[0]))
        return other


def without_annotation(record: dict[str, Any]) -> dict[str, Any]:
    """Return a complete record whose annotation is hidden: what was annotated is ``hidden_landmarks``.

    These are NaN where nothing was annotated. Only reports of a training read them.
    """
    fields = ("by_annotator", "visibility", "weights")
    rest = {key: value for key, value in record.items() if key not in fields}
    hidden = record["landmarks"]
    return dict(rest, landmarks=np.full_like(hidden, np.nan), hidden_landmarks=hidden)


def usable_sample(dataset: Any, index: int) -> Any:
    """Return a sample of an unlabelled dataset or, if its image cannot be read, the next one that can be.

    Nobody has looked at these images before: a broken one is named and left out. An annotated one ends the
    training.

    Args:
        dataset: With ``prepare_data`` and ``pseudo_labels``.
        index: 0 to N - 1.

    Raises:
        ValueError: None of them can be read.
    """
    for step in range(len(dataset)):
        sample, reason = sample_or_reason(dataset, at := (index + step) % len(dataset))
        if reason is None:
            return sample
        dataset.pseudo_labels.tell_left_out(at, reason)
    raise ValueError(f"none of {len(dataset)} unlabelled images can be used; the last: {reason}")


def sample_or_reason(dataset: Any, index: int) -> tuple[Any, str | None]:
    """Return a sample, or None and why there is none.

    Raises:
        MemoryError: No memory was left to read it.
    """
    try:
        return dataset.prepare_data(index), None
    except _OF_IMAGES as error:
        if isinstance(error.__cause__, MemoryError):
            raise error.__cause__ from error
        return None, str(error)
