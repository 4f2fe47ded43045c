"""Finding the annotation and the images of a data set, given one path."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmlandmark.datasets import LandmarkDataset
from mmlandmark.datasets.image_files import image_exists, images_below
from mmlandmark.planning.markup_folders import has_markups, markup_folders
from mmlandmark.registry import DATASETS
from mmlandmark.utils.files import load_json

TABLES = (".csv", ".tsv", ".txt")
# Where y is 0: the documented JSON and COCO define it, tpsDig counts from the bottom, tables come from
# anywhere.
CONVENTIONS = {
    "json": "top", "COCO": "top", "CVAT": "top", "Slicer": "top", "nnLandmark": "top", "TPS": "bottom",
    "table": "unknown",
}  # fmt: skip
_TYPES = {
    "COCO": "CocoKeypoints", "CVAT": "CvatImages", "Slicer": "SlicerMarkups", "nnLandmark": "NnLandmark",
    "TPS": "TpsFile",
}  # fmt: skip
_FOLDERS = ("Slicer", "nnLandmark")  # kinds whose annotation is a folder
_FORMATS = "JSON with 'samples', COCO keypoints, CVAT for images (.xml), .csv, .tsv or .tps"


@dataclass(frozen=True)
class DataSource:
    """An annotation file and the folder of its images.

    Attributes:
        kind: A key of :data:`CONVENTIONS`.
        ann_file: Absolute path of the annotation file; of Slicer's markups and nnLandmark, the folder.
        image_dir: Folder of the images, relative to that of the annotation file, or absolute.
    """

    kind: str
    ann_file: Path
    image_dir: str = ""

    @property
    def y_convention(self) -> str:
        """Where the format puts y = 0: ``top``, ``bottom`` or ``unknown``."""
        return CONVENTIONS[self.kind]

    def config(self, **options: Any) -> dict[str, Any]:
        """Return the dataset config, with absolute folders; options of the value None are left out.

        Raises:
            ValueError: ``scale_to_mm`` is given, and this is no TPS file.
        """
        if options.get("scale_to_mm") is not None and self.kind != "TPS":
            raise ValueError("--scale-to-mm is for SCALE= of TPS files; --spacing gives mm per pixel")
        config: dict[str, Any] = dict(type=_TYPES.get(self.kind, "LandmarkDataset"))
        if self.kind in _FOLDERS:
            config.update(data_root=str(self.ann_file))
        else:
            config.update(data_root=str(self.ann_file.parent), ann_file=self.ann_file.name)
        if self.image_dir:
            config["image_dir"] = self.image_dir
        return config | {key: value for key, value in options.items() if value is not None}

    def build(self, **options: Any) -> LandmarkDataset:
        """Return the data set; images that do not exist are kept, for the check to report."""
        return DATASETS.build(self.config(**dict(dict(missing_images="keep"), **options)))


def find_data(path: str | Path, images: str | Path | None = None) -> DataSource:
    """Return the annotation and the images that a path stands for.

    Args:
        path: An annotation file; a folder with one annotation file in it; a folder of images with markups of
            3D Slicer, which may lie in folders of their own; or a data set of nnLandmark.
        images: Folder of the images; None looks beside the annotation and in the folders there.

    Raises:
        FileNotFoundError: The path does not exist, or there is no annotation or image.
        ValueError: A folder has several annotation files, or a file is of no known format.
    """
    path = Path(os.path.abspath(os.path.expanduser(path)))
    if path.is_dir():
        ann_file, kind = _annotation_in(path)
    elif path.is_file():
        known = _kind_of(path)
        if known is None:
            raise ValueError(
                f"{path}: this is no annotation file: those are {_FORMATS}, or the folder of Slicer's "
                "markups; see docs/datasets.md"
            )
        ann_file, kind = path, known
    else:
        raise FileNotFoundError(f"{path} does not exist; give an annotation file or the folder with one")
    if kind == "Slicer" and images is None:
        return DataSource(kind, *markup_folders(ann_file))
    if kind == "nnLandmark":  # whose folders have fixed names
        return DataSource(kind, ann_file)
    return DataSource(kind, ann_file, _image_dir(kind, ann_file, images))


def _annotation_in(folder: Path) -> tuple[Path, str]:
    """Return the annotation file of a folder and its kind."""
    files = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    if any(p.name.startswith("all_landmarks_voxel") for p in files):
        return folder, "nnLandmark"
    # In a folder, a text file is more often a note than a table; it can be named.
    known = [(p, kind) for p in files if p.suffix.lower() != ".txt" and (kind := _kind_of(p))]
    if not known and has_markups(folder):
        return folder, "Slicer"
    if not known:
        raise FileNotFoundError(
            f"{folder}: there is no annotation file in it ({_FORMATS}) and there are no markups of Slicer; "
            "name the file, and the folder of its images by --images"
        )
    if len(known) > 1:
        raise ValueError(
            f"{folder}: there are {len(known)} annotation files, {[p.name for p, _ in known]}; name one of "
            "them in place of the folder"
        )
    return known[0]


def _kind_of(path: Path) -> str | None:
    suffix = path.suffix.lower()
    if suffix in (".tps", ".xml"):
        return "TPS" if suffix == ".tps" else "CVAT"
    if suffix in TABLES:
        return "table"
    if suffix != ".json":
        return None
    content = load_json(path)
    if not isinstance(content, dict):
        return None
    if {"images", "annotations", "categories"} <= set(content):
        return "COCO"
    return "json" if "samples" in content else None


def _image_dir(kind: str, ann_file: Path, images: str | Path | None) -> str:
    """Return the first folder in which the images of the annotation exist.

    Raises:
        FileNotFoundError: They exist in none.
    """
    root = ann_file if kind in _FOLDERS else ann_file.parent
    if images is not None:
        given = Path(os.path.abspath(os.path.expanduser(images)))
        if not given.is_dir():
            raise FileNotFoundError(f"--images {images}: there is no such folder")
        return os.path.relpath(given, root) if given.is_relative_to(root) else str(given)
    below = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    held = [p.name for p in below if next(images_below(p), None) is not None]
    folders = ["", *held]
    counts = {}
    for folder in folders:
        counts[folder], total = _existing(DataSource(kind, ann_file, folder))
        if counts[folder] == total:
            return folder
    best = max(folders, key=lambda folder: counts[folder])
    if not counts[best]:
        where = _somewhere_else(DataSource(kind, ann_file))
        where = where or (f"there are images in {held}; " if held else "")
        raise FileNotFoundError(
            f"{ann_file}: none of its images exists beside it or in a folder there; {where}give their folder "
            "by --images"
        )
    return best


def _somewhere_else(source: DataSource) -> str:
    """Return a clause on an image that lies in a folder which the annotation does not name."""
    try:
        dataset = source.build(y_up=False, serialize_data=False)
    except FileNotFoundError:
        return ""
    paths = [dataset.get_data_info(index)["img_path"] for index in range(len(dataset))]
    names = {os.path.basename(path).lower() for path in paths if path is not None}
    root = source.ann_file if source.kind in _FOLDERS else source.ann_file.parent
    found = next((name for _, name in images_below(root) if os.path.basename(name).lower() in names), None)
    if found is None:
        return ""
    folder, name = os.path.split(found)
    return f"{name!r} is in {folder!r}: write folders into the annotation if there are several, else "


def _existing(source: DataSource) -> tuple[int, int]:
    """Return how many images of an annotation exist, and how many it names."""
    # y is not turned yet, since that needs the images.
    options = dict(y_up=False, serialize_data=False)
    try:
        dataset = source.build(**options)
    except FileNotFoundError:
        return 0, 1
    paths = [dataset.get_data_info(index)["img_path"] for index in range(len(dataset))]
    named = [path for path in paths if path is not None]
    return sum(image_exists(path) for path in named), len(named)
