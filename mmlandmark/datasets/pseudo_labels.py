"""Labels of images that nobody has annotated, which a training makes and replaces."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch


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

    def set(self, points: np.ndarray) -> None:
        """Set all labels, here and in all workers.

        Args:
            points: (N, K, D) original pixels; NaN where there is no label.

        Raises:
            ValueError: The shape is another.
        """
        if points.shape != tuple(self._points.shape):
            raise ValueError(f"expected labels {tuple(self._points.shape)}, got {points.shape}")
        self._points.copy_(torch.from_numpy(np.ascontiguousarray(points, dtype=np.float32)))

    def weigh(self, weight: float) -> None:
        """Set the weight of every label in the loss, here and in all workers."""
        self._weight[0] = weight

    @property
    def points(self) -> np.ndarray:
        """(N, K, D) float32, NaN where there is no label; a copy."""
        return self._points.numpy().copy()

    def __len__(self) -> int:
        return len(self._points)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return the fields of a record: ``landmarks`` (K, D) and ``weights`` (K,)."""
        points = self._points[index].numpy().copy()
        return dict(landmarks=points, weights=np.full(len(points), float(self._weight[0]), dtype=np.float32))

    def __deepcopy__(self, memo: dict) -> PseudoLabels:
        # A deep copy of a shared tensor would be private, and would not reach the workers of the copy.
        other = PseudoLabels(*self._points.shape)
        other.set(self.points)
        other.weigh(float(self._weight[0]))
        return other


def without_annotation(record: dict[str, Any]) -> dict[str, Any]:
    """Return a complete record whose annotation is hidden: what was annotated is ``hidden_landmarks``.

    These are NaN where nothing was annotated. Only reports of a training read them.
    """
    fields = ("by_annotator", "visibility", "weights")
    rest = {key: value for key, value in record.items() if key not in fields}
    hidden = record["landmarks"]
    return dict(rest, landmarks=np.full_like(hidden, np.nan), hidden_landmarks=hidden)
