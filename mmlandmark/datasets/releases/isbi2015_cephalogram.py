"""The ISBI 2015 cephalometric challenge: 400 lateral cephalograms, 19 landmarks, two observers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mmlandmark.datasets.image_files import child_ignoring_case, index_images
from mmlandmark.datasets.landmark_dataset import LandmarkDataset
from mmlandmark.datasets.records import consensus_fields
from mmlandmark.datasets.values import is_text_number, text_number
from mmlandmark.registry import DATASETS
from mmlandmark.utils.files import read_text

_LANDMARKS, _CLASSES = 19, ("ANB", "SNB", "SNA", "ODI", "APDI", "FHI", "FMA", "MW")
# Films of Test1 that are also in Training or Test1 under another number; Test2 was not compared.
_SAME_FILM = {
    173: 144, 201: 103, 275: 1, 276: 123, 277: 196, 278: 159, 279: 141, 280: 56, 281: 138, 282: 80,
    283: 38, 285: 118, 287: 14, 288: 62, 289: 108, 291: 132, 292: 137, 293: 7, 294: 188, 295: 10, 296: 28,
    297: 88, 299: 126,
}  # fmt: skip
_SPLITS = (("train", 150, "TrainingData"), ("test1", 300, "Test1Data"), ("test2", 400, "Test2Data"))


@DATASETS.register_module()
class Isbi2015Cephalogram(LandmarkDataset):
    """Cephalograms of ISBI 2015 as released.

    Images are below ``RawImage`` as .bmp, .png or .jpg, named 001 to 400; the number decides the split
    (train to 150, test1 to 300, test2 to 400, test is both tests), not the folder. Annotations are in
    ``400_senior`` and ``400_junior``, either in ``AnnotationsByMD`` or in ``data_root`` itself, with 19
    lines ``x,y`` and, in the published files, eight clinical classes, kept as ``classes``. Twenty films of
    the training part are in Test1 again under other numbers, and three films of Test1 are there twice: each
    pair is one ``group``.

    Args:
        annotator: Ground truth: "senior", "junior", or their unrounded "mean"; with "mean" the samples also
            carry both annotations, senior first.
        **kwargs: See :class:`~mmlandmark.datasets.LandmarkDataset`; spacing is 0.1 mm unless given.
    """

    SCHEMA = "isbi2015_cephalogram"
    SPLIT_GROUPS = {"test": ("test1", "test2")}

    def __init__(self, *args, annotator: Literal["mean", "senior", "junior"] = "mean", **kwargs) -> None:
        if annotator not in ("mean", "senior", "junior"):
            raise ValueError(f"annotator must be 'mean', 'senior' or 'junior', got {annotator!r}")
        self.annotator = annotator
        kwargs.setdefault("spacing", 0.1)
        super().__init__(*args, **kwargs)

    def load_records(self) -> list[dict[str, Any]]:
        """Read the chosen observers' text files of every image and annotation of the split."""
        observers = ("senior", "junior") if self.annotator == "mean" else (self.annotator,)
        folders = [self._annotations(name) for name in observers]
        image_root = Path(self.data_root, self.image_dir or "RawImage")
        images = index_images(image_root)
        numbers = {stem for stem in images if stem.isdigit()}
        numbers |= {p.stem for p in folders[0].glob("*.txt") if p.stem.isdigit()}
        records = []
        for stem in sorted(numbers, key=int):
            split, place = next(((s, f) for s, last, f in _SPLITS if int(stem) <= last), (None, ""))
            if split is None or not self.wants_split(split):
                continue
            files = [folder / f"{stem}.txt" for folder in folders]
            readings = [_read_annotation(file) for file in files]
            record = dict(
                sample_id=stem,
                img_path=images.get(stem, str(image_root / place / f"{stem}.bmp")),
                split=split,
                group=str(_SAME_FILM.get(int(stem), stem)).zfill(len(stem)),
                source=str(files[0]),
                **consensus_fields([points for points, _ in readings]),
            )
            if readings[0][1]:
                record["classes"] = readings[0][1]
            records.append(record)
        return records

    def _annotations(self, observer: str) -> Path:
        root = Path(self.data_root)
        for base in (child_ignoring_case(root, "AnnotationsByMD"), root):
            folder = child_ignoring_case(base, f"400_{observer}") if base is not None else None
            if folder is not None:
                return folder
        raise FileNotFoundError(f"no folder '400_{observer}' in {root / 'AnnotationsByMD'} or {root}")


def _read_annotation(path: Path) -> tuple[np.ndarray, dict[str, int]]:
    """Return the (19, 2) points and the clinical classes, if the file has them."""
    if not path.is_file():
        raise FileNotFoundError(f"annotation {str(path)!r} does not exist")
    lines = [line.strip() for line in read_text(path).split("\n")]
    lines = [line for line in lines if line]
    if len(lines) not in (_LANDMARKS, _LANDMARKS + len(_CLASSES)):
        raise ValueError(f"{path}: {len(lines)} lines, expected 19 points, or 19 points and 8 classes")
    points = np.empty((_LANDMARKS, 2))
    for number, line in enumerate(lines[:_LANDMARKS]):
        where, cells = f"{path}, line {number + 1}", line.split(",")
        if len(cells) != 2 or not all(is_text_number(cell) and cell.strip() for cell in cells):
            raise ValueError(f"{where}: {line!r:.80} is not 'x,y'")
        points[number] = [text_number(cell, where) for cell in cells]
    rest = lines[_LANDMARKS:]
    if not all(re.fullmatch(r"[+-]?\d{1,9}", line, re.ASCII) for line in rest):
        raise ValueError(f"{path}: lines 20 to 27 must be one integer each, got {rest}")
    classes = {name: int(line) for name, line in zip(_CLASSES, rest, strict=False)}
    return points, classes
