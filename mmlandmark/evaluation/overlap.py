"""Test sets with images that were also trained on, from ``overlaps.json``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmlandmark.utils.files import read_json


@dataclass(frozen=True)
class Overlap:
    """The images of one test set that were also trained on.

    Attributes:
        images: Size of the test set.
        positions: Their positions in the sorted ids of the test set, from 0.
        why: What they are, as in ``"films of the training part"``.
    """

    images: int
    positions: tuple[int, ...]
    why: str

    @property
    def num_others(self) -> int:
        """Number of tested images that were not trained on."""
        return self.images - len(self.positions)

    def mean_of_others(self, errors: Sequence[float | None]) -> float | None:
        """Return the mean over the images that were not trained on; None if there is no error among them.

        Args:
            errors: One mean error per tested image, in the order of the sorted ids; None where there is none.
        """
        kept = [e for i, e in enumerate(errors) if i not in self.positions and e is not None]
        return sum(kept) / len(kept) if kept else None


def read_overlaps(path: str | Path) -> dict[str, Overlap]:
    """Return the overlaps by the hash of the test set (``split.hash`` of a record).

    Returns:
        Nothing where the file does not exist.

    Raises:
        ValueError: An entry lacks a key or has a position outside of the test set; the message names it.
    """
    if not Path(path).is_file():
        return {}
    return {key: _overlap(entry, f"{path}: {key}") for key, entry in read_json(path).items()}


def _overlap(entry: Any, where: str) -> Overlap:
    missing = [key for key in ("images", "positions", "why") if key not in entry]
    if missing:
        raise ValueError(f"{where} lacks {missing}")
    images, positions = entry["images"], tuple(entry["positions"])
    wrong = [position for position in positions if not 0 <= position < images]
    if wrong or len(set(positions)) != len(positions):
        raise ValueError(
            f"{where}: positions must be different numbers from 0 to {images - 1}, "
            f"got {wrong or list(positions)}"
        )
    return Overlap(images, positions, entry["why"])
