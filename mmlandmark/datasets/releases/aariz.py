"""Aariz: 1000 cephalograms of several machines, 29 landmarks, two groups of observers."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mmlandmark.datasets.image_files import child_ignoring_case, image_stem, index_images
from mmlandmark.datasets.landmark_dataset import LandmarkDataset
from mmlandmark.datasets.landmark_order import landmark_order
from mmlandmark.datasets.records import consensus_fields
from mmlandmark.datasets.table_rows import read_rows
from mmlandmark.datasets.values import text_number, written_number
from mmlandmark.registry import DATASETS
from mmlandmark.utils.files import load_json, read_json

_SPLITS = {"train": ("train", "training"), "valid": ("valid", "val", "validation"), "test": ("test",)}


@DATASETS.register_module()
class Aariz(LandmarkDataset):
    """Cephalograms of Aariz as released.

    Images are in ``{train,valid,test}/Cephalograms``, points next to them in ``Annotations/Cephalometric
    Landmarks/{Senior,Junior} Orthodontists/<id>.json``; the case of folder names does not matter.
    ``Annotations/CVM Stages/<id>.json``, if it exists, becomes ``cvm_stage``. The pixel size of every image
    is in a CSV file of its own.

    Args:
        annotator: Ground truth: "senior", "junior", or their unrounded "mean"; with "mean" the samples also
            carry both annotations, senior first.
        pixel_size_file: CSV with a header, relative to ``data_root``: one column names the image (id or
            file), one whose name contains "pixel" holds mm per pixel. None looks for one file of
            ``data_root`` with "mapping" in its name.
        **kwargs: See :class:`~mmlandmark.datasets.LandmarkDataset`.
    """

    SCHEMA = "aariz"
    SPLIT_GROUPS = {"val": ("valid",)}

    def __init__(
        self,
        *args,
        annotator: Literal["mean", "senior", "junior"] = "mean",
        pixel_size_file: str | None = None,
        **kwargs,
    ) -> None:
        if annotator not in ("mean", "senior", "junior"):
            raise ValueError(f"annotator must be 'mean', 'senior' or 'junior', got {annotator!r}")
        self.annotator, self.pixel_size_file = annotator, pixel_size_file
        super().__init__(*args, **kwargs)

    def load_records(self) -> list[dict[str, Any]]:
        """Read the images of every selected split, sorted by name."""
        sizes = self._pixel_sizes()
        records = []
        for split, names in _SPLITS.items():
            folder = child_ignoring_case(self.data_root, *names)
            if folder is not None and self.wants_split(split):
                records += self._load_split(split, folder, sizes)
        return records

    def _load_split(self, split: str, folder: Path, sizes: dict[str, float]) -> list[dict[str, Any]]:
        images = index_images(_folder(folder, "Cephalograms"))
        notes = _folder(folder, "Annotations")
        points = _folder(notes, "Cephalometric Landmarks")
        observers = ("senior", "junior") if self.annotator == "mean" else (self.annotator,)
        folders = [_folder(points, f"{observer} orthodontists") for observer in observers]
        stages = child_ignoring_case(notes, "CVM Stages")
        records = []
        for name in sorted(set(images) | {path.stem for path in folders[0].glob("*.json")}):
            files = [observer / f"{name}.json" for observer in folders]
            record = dict(
                sample_id=name,
                img_path=images.get(name, str(folder / "Cephalograms" / f"{name}.png")),
                spacing=sizes.get(name),
                split=split,
                source=str(files[0]),
                **consensus_fields([self._read_points(file) for file in files]),
            )
            if stages is not None and (stages / f"{name}.json").is_file():
                stage = read_json(stages / f"{name}.json").get("cvm_stage")
                record["cvm_stage"] = stage.get("value") if isinstance(stage, dict) else None
            records.append(record)
        return records

    def _read_points(self, path: Path) -> np.ndarray:
        """Return the (29, 2) points, by their symbols where the file has some, else in its order."""
        if not path.is_file():
            raise FileNotFoundError(f"annotation {str(path)!r} does not exist")
        names = self.release_names
        try:
            marks = load_json(path)["landmarks"]
            points = [(mark["value"]["x"], mark["value"]["y"]) for mark in marks]
            symbols = [_plain(mark.get("symbol") or "") for mark in marks]
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path}: needs 'landmarks', each with 'value': {{'x', 'y'}}") from error
        if len(points) != len(names):
            raise ValueError(f"{path}: {len(points)} landmarks, expected {len(names)}")
        if any(symbols):
            order = landmark_order(symbols, [_plain(name) for name in names], str(path))
            if -1 in order:
                lost = [name for name, index in zip(names, order, strict=True) if index < 0]
                raise ValueError(f"{path}: no landmark has the symbol {lost[0]!r}, another one occurs twice")
            points = [points[index] for index in order]
        numbers = [written_number(number, str(path)) for point in points for number in point]
        return np.asarray(numbers, dtype=np.float64).reshape(-1, 2)

    def _pixel_sizes(self) -> dict[str, float]:
        """Return mm per pixel by image name; empty if there is no such file."""
        if self.pixel_size_file is None:
            tables = sorted(p for p in Path(self.data_root).glob("*.csv") if "mapping" in p.name.lower())
            if not tables:
                return {}
            path = tables[0]
        else:
            path = Path(self.data_root, self.pixel_size_file)
            if not path.is_file():
                raise FileNotFoundError(f"pixel_size_file {str(path)!r} does not exist")
        (_, header), *rows = read_rows(path) or [(1, [])]
        size = next((i for i, h in enumerate(header) if "pixel" in h.lower()), None)
        name = next((i for i, h in enumerate(header) if re.search(r"id\b|ceph|image|file", h.lower())), None)
        if size is None or name is None or size == name:
            raise ValueError(
                f"{path}, line 1: needs a column of image ids and one of pixel sizes, has {header}"
            )
        sizes = {}
        for line, row in rows:
            if len(row) <= max(size, name):
                raise ValueError(f"{path}, line {line}: {row} holds no pixel size in column {header[size]!r}")
            number = text_number(row[size], f"{path}, line {line}")
            if number <= 0:
                raise ValueError(f"{path}, line {line}: a pixel size must be positive, got {row[size]!r}")
            if not math.isnan(number):
                sizes[image_stem(row[name].strip())] = number
        return sizes


def _folder(parent: Path, name: str) -> Path:
    child = child_ignoring_case(parent, name)
    if child is None:
        raise FileNotFoundError(f"no folder {name!r} in {parent}")
    return child


def _plain(symbol: str) -> str:
    # Soft-tissue points are written N`, N' or N with a typographic prime.
    return re.sub("[`'\u2018\u2019\u2032\u00b4]", "'", str(symbol)).strip().lower()
