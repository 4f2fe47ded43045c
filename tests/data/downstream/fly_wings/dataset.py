"""A data set in a format of its own: one method reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mmlandmark.datasets import LandmarkDataset
from mmlandmark.registry import DATASETS


@DATASETS.register_module()
class FlyWings(LandmarkDataset):
    """Wings as ``wings.txt`` lists them: name of the image, split, then x and y of every landmark.

    Args:
        **kwargs: See :class:`~mmlandmark.datasets.LandmarkDataset`.
    """

    def load_records(self) -> list[dict[str, Any]]:
        """Read all lines.

        Raises:
            FileNotFoundError: There is no ``wings.txt``.
            ValueError: A line does not hold name, split and numbers.
        """
        path = Path(self.data_root) / "wings.txt"
        records = []
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            try:
                name, split, *numbers = line.split()
                landmarks = np.array(numbers, dtype=float).reshape(-1, 2)
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: expected name, split, x y x y ...") from error
            image = str(path.parent / name)
            records.append(dict(sample_id=name, img_path=image, split=split, landmarks=landmarks))
        return records
