"""Selecting records of a data set by split, fold and id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmlandmark.datasets.folds import deal_folds, fold_lists, published_folds
from mmlandmark.datasets.id_lists import read_ids

Records = list[dict[str, Any]]


@dataclass(frozen=True)
class Selection:
    """A selection of records; the arguments are those of :class:`~mmlandmark.datasets.LandmarkDataset`.

    Attributes:
        split: Keeps the records of this split; None keeps all.
        fold: Cross-validation fold within the records of ``fold_split``; None ignores folds.
        num_folds: Number of folds to deal the records out into.
        fold_seed: Seed of ``num_folds``.
        fold_split: The split that folds divide; None divides all records.
        fold_dir: Folder of published folds, as in the config.
        ids: Sample ids to keep, or a file that lists them.
        split_groups: Names that stand for several splits.

    Raises:
        ValueError: ``num_folds`` is given without ``fold``, or together with ``fold_dir``.
    """

    split: str | None = None
    fold: int | str | None = None
    num_folds: int | None = None
    fold_seed: int = 0
    fold_split: str | None = "train"
    fold_dir: str | None = None
    ids: str | Sequence[str | int] | None = None
    split_groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.num_folds is not None and self.fold is None:
            raise ValueError("num_folds gives the number of folds; give fold=... too, which selects one")
        if self.num_folds is not None and self.fold_dir is not None:
            raise ValueError("num_folds makes new folds, fold_dir reads published ones: give one of them")

    def __str__(self) -> str:
        return f"split={self.split!r}, fold={self.fold!r}, ids={self.ids!r}"

    def wants_split(self, name: str) -> bool:
        """Return whether records of split ``name`` may be selected."""
        if self.fold is not None:
            return self.fold_split is None or self.fold_dir is not None or name == self.fold_split
        return self.split is None or name in self.split_groups.get(self.split, (self.split,))

    def select(self, records: Records, title: str, root: str = "", folder: Path | None = None) -> Records:
        """Return the selected records.

        Args:
            records: All records of the data set.
            title: Name of the data set, for messages.
            root: Folder of the data, below which a list of ids may lie.
            folder: Folder of published folds, None if there are none.

        Raises:
            FileNotFoundError: A list of ids does not exist.
            ValueError: The split or the fold is empty, an id is unknown, or nothing is left.
        """
        records = self._by_fold(self._by_split(records, title), title, folder)
        records = self._by_ids(records, title, root)
        if not records:
            raise ValueError(f"{title}: no records are left for {self}")
        return records

    def available_folds(self, records: Records, title: str, folder: Path | None = None) -> list[str]:
        """Return the names of all folds, whichever is selected.

        Raises:
            ValueError: There are none.
        """
        if self.num_folds is not None:
            return [str(fold) for fold in range(self.num_folds)]
        if folder is not None:
            return published_folds(folder)
        records = [r for r in records if r.get("fold") is not None]
        if any(r.get("split") is not None for r in records):
            records = [r for r in records if r.get("split") == self.fold_split or self.fold_split is None]
        if not records:
            raise ValueError(f"{title} has no folds; give num_folds=... to make some")
        return sorted({str(r["fold"]) for r in records}, key=lambda name: (len(name), name))

    def _by_split(self, records: Records, title: str) -> Records:
        if self.split is None and self.fold is None:
            return records
        splits = sorted({str(r["split"]) for r in records if r.get("split") is not None})
        if self.fold is not None and (self.fold_split is None or self.fold_dir is not None or not splits):
            return records
        kept = [r for r in records if r.get("split") is not None and self.wants_split(str(r["split"]))]
        if not kept:
            split = self.split if self.fold is None else self.fold_split
            cure = "its samples have no split; split=None takes all, ids= a list (mmlandmark split)"
            cure = f"splits found: {splits}" if splits else cure
            raise ValueError(f"{title}: split {split!r} is empty; {cure}")
        return kept

    def _by_fold(self, records: Records, title: str, folder: Path | None) -> Records:
        if self.fold is None:
            return records
        if self.num_folds is not None:
            deal_folds(records, self.num_folds, self.fold_seed)
        elif folder is not None:
            self._assign_published(records, title, folder)
        records = [r for r in records if r.get("fold") is not None]
        folds = sorted({str(r["fold"]) for r in records})
        if str(self.fold) not in folds:
            raise ValueError(f"{title}: fold {self.fold!r} is empty; folds found: {folds or 'none'}")
        return [r for r in records if (str(r["fold"]) == str(self.fold)) != (self.split == "train")]

    def _assign_published(self, records: Records, title: str, folder: Path) -> None:
        """Set ``fold`` of every record by the published lists."""
        parts = fold_lists(folder, str(self.fold))
        lost = sorted(parts.keys() - {str(r["sample_id"]) for r in records})
        if lost:
            raise ValueError(
                f"{folder}, train.txt, test.txt or val.txt of set{self.fold}: {len(lost)} ids of fold "
                f"{self.fold} are not in {title}: {lost[:5]}"
            )
        for record in records:
            record["fold"] = parts.get(str(record["sample_id"]))

    def _by_ids(self, records: Records, title: str, root: str) -> Records:
        if self.ids is None:
            return records
        wanted, where = read_ids(self.ids, root)
        by_id = {str(r["sample_id"]): r for r in records}
        lost = [i for i in wanted if i not in by_id]
        if lost:
            raise ValueError(f"{where}: {len(lost)} of {len(wanted)} ids are not in {title}, e.g. {lost[:5]}")
        return [by_id[i] for i in wanted]
