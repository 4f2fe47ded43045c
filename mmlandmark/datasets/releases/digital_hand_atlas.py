"""The Digital Hand Atlas with 37 landmarks and three cross-validation folds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmlandmark.datasets.annotation_files import existing_file
from mmlandmark.datasets.image_files import index_images
from mmlandmark.datasets.landmark_dataset import LandmarkDataset
from mmlandmark.datasets.table_files import read_csv
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
        fold_dir: Folder of the fold lists below ``setup``; ignored with ``num_folds``.
        **kwargs: See :class:`~mmlandmark.datasets.LandmarkDataset`.
    """

    SCHEMA = "hand_atlas"

    def __init__(self, *args, fold_dir: str | None = "cv", **kwargs) -> None:
        if kwargs.get("num_folds") is not None:
            fold_dir = None
        super().__init__(*args, fold_dir=fold_dir, **kwargs)

    def fold_folder(self) -> Path | None:
        """Return the folder of published folds, which is next to the annotations."""
        folder = self.selection.fold_dir
        return None if folder is None else self._setup() / folder

    def load_records(self) -> list[dict[str, Any]]:
        """Read all rows."""
        if self.selection.split is not None and self.selection.fold is None:
            raise ValueError(
                "DigitalHandAtlas: splits belong to folds; give fold=1, 2 or 3 with split='train' or 'test'"
            )
        root = Path(self.data_root)
        table = existing_file(root / self.ann_file if self.ann_file else self._setup() / "all.csv")
        folders = [self.image_dir] if self.image_dir else _IMAGE_FOLDERS
        images: dict[str, str] = {}
        for folder in folders:
            images.update(index_images(root / folder))
        records, _ = read_csv(table, names=self.release_names)
        for record in records:
            del record["image"]
            name = record["sample_id"]
            expected = str(root / folders[0] / f"{name}.jpg")
            record["img_path"] = images.get(name) or self.find_image(
                expected, f"{name}.jpg", record["source"]
            )
        return records

    def _setup(self) -> Path:
        root = Path(self.data_root)
        return root / "setup" if (root / "setup").is_dir() else root
