"""The Digital Hand Atlas with 37 landmarks and three cross-validation folds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmlandmark.datasets.annotation_files import read_csv
from mmlandmark.datasets.image_files import index_images
from mmlandmark.datasets.landmark_dataset import LandmarkDataset
from mmlandmark.datasets.records import read_ids
from mmlandmark.registry import DATASETS

_IMAGE_FOLDERS = ("images", "JPEGimages", "jpg")


@DATASETS.register_module()
class DigitalHandAtlas(LandmarkDataset):
    """Hand radiographs as released.

    Annotations are ``setup/all.csv`` (or ``all.csv``): id, then x and y of 37 landmarks, no header. Images
    are found by their id anywhere below ``images``, ``JPEGimages`` or ``jpg``, in any format. Folds are the
    lists ``setup/<fold_dir>/set<fold>/train.txt`` and ``test.txt``; ``fold=1, split="train"`` reads the
    first. The images have no spacing: millimetres come from the wrist width of the schema.

    Args:
        fold_dir: Folder of the fold lists below ``setup``.
        **kwargs: See :class:`~mmlandmark.datasets.LandmarkDataset`.
    """

    SCHEMA = "hand_atlas"

    def __init__(self, *args, fold_dir: str = "cv", **kwargs) -> None:
        self.fold_dir = fold_dir
        super().__init__(*args, **kwargs)

    def load_records(self) -> list[dict[str, Any]]:
        """Read all rows; with a fold, mark those in its lists."""
        if self.split is not None and self.fold is None:
            raise ValueError(
                "DigitalHandAtlas: splits belong to folds; give fold=1, 2 or 3 with split='train' or 'test'"
            )
        root = Path(self.data_root)
        setup = root / "setup" if (root / "setup").is_dir() else root
        table = Path(self.data_root, self.ann_file) if self.ann_file else setup / "all.csv"
        if not table.is_file():
            raise FileNotFoundError(f"annotation file {str(table)!r} does not exist; check data_root")
        folders = [self.image_dir] if self.image_dir else _IMAGE_FOLDERS
        images: dict[str, str] = {}
        for folder in folders:
            images.update(index_images(root / folder))
        parts = self._fold_lists(setup) if self.fold is not None else {}
        records = read_csv(table).records
        for record in records:
            del record["image"]
            name = record["sample_id"]
            record["img_path"] = images.get(name, str(root / folders[0] / f"{name}.jpg"))
            if name in parts:
                record["fold"] = parts[name]
        return records

    def _fold_lists(self, setup: Path) -> dict[str, str]:
        """Return {id: fold}: this fold for its test list, another name for its training list."""
        folder = setup / self.fold_dir / f"set{self.fold}"
        train, _ = read_ids(folder / "train.txt")
        test, _ = read_ids(folder / "test.txt")
        both = sorted(set(train) & set(test))
        if both:
            raise ValueError(f"{folder}: ids in both train.txt and test.txt: {both[:5]}")
        return {**{i: "other" for i in train}, **{i: str(self.fold) for i in test}}
