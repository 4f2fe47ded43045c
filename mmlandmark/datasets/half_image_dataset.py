"""Images of symmetric anatomy, with each half as a case of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mmlandmark.datasets.folds import name_groups
from mmlandmark.datasets.landmark_dataset import LandmarkDataset
from mmlandmark.datasets.records import chosen_landmarks, complete_record, numbered_schema
from mmlandmark.registry import DATASETS
from mmlandmark.structures import LandmarkSchema

HALVES = ("left", "right")


@DATASETS.register_module()
class HalfImageDataset(LandmarkDataset):
    """Two cases of every image: its left half, and its right half mirrored so that it looks like a left one.

    FSF-LD (Huang et al. 2022, section 4.1.3) makes 420 halves with 5 landmarks of 210 radiographs with 10.
    The pipeline needs a :class:`~mmlandmark.datasets.transforms.TakeHalf` behind ``LoadImage``. Predictions
    are in pixels of the whole image, as always; :meth:`join` brings those of two halves together. Both halves
    of an image belong to one group, so that no fold separates them.

    Args:
        left: Names or indices of the landmarks in the left half of the image.
        right: Names or indices of their counterparts in the right half; both halves take the names of
            ``left``.
        **kwargs: See :class:`LandmarkDataset`.

    Raises:
        ValueError: The lists differ in length, or share a landmark.
    """

    def __init__(self, *args: Any, left: Sequence[int | str], right: Sequence[int | str], **kwargs: Any):
        if len(left) != len(right) or set(left) & set(right):
            raise ValueError(
                "HalfImageDataset: left and right must name different landmarks, and as many, got "
                f"{left} and {right}"
            )
        self.left, self.right = list(left), list(right)
        self._whole_schema: LandmarkSchema | None = None
        super().__init__(*args, **kwargs)
        if self._whole_schema is None and self._full_schema is not None and self.landmarks is None:
            self._schema, _ = self._full_schema.subset(self.left)  # known before anything is read

    def load_records(self) -> list[dict[str, Any]]:
        """Read the images' records and make two of each."""
        self._full_schema = self._whole_schema or self._full_schema
        records = super().load_records()
        whole = self._whole_schema = self._full_schema or numbered_schema(records)
        self._full_schema, left = whole.subset(self.left)
        _, right = whole.subset(self.right)
        if self.group_pattern is not None:  # of the image's id; one patient may have several
            name_groups(records, self.group_pattern)
        halves = []
        for record in records:
            checked = complete_record(record, whole)
            for half, chosen in zip(HALVES, (left, right), strict=True):
                name, group = record["sample_id"], record.get("group")
                halves.append(
                    dict(
                        record,
                        **chosen_landmarks(checked, chosen),
                        sample_id=f"{name}_{half}",
                        half=half,
                        group=name if group is None else group,
                    )
                )
        return halves

    def join(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Return the landmarks of a whole image from those of its halves.

        Args:
            left: (K, D) detected in its left half, in pixels of the whole image.
            right: (K, D) detected in its right half, likewise.

        Returns:
            (2 K', D) in the order of the annotation; NaN for landmarks of neither half.
        """
        self.full_init()
        assert self._whole_schema is not None
        joined = np.full((len(self._whole_schema), np.shape(left)[1]), np.nan)
        for points, names in ((left, self.left), (right, self.right)):
            places = np.asarray(self._whole_schema.subset(names)[1])
            if self.landmarks is not None:  # fewer of each half are detected
                assert self._full_schema is not None
                places = places[self._full_schema.subset(self.landmarks)[1]]
            joined[places] = points
        return joined
