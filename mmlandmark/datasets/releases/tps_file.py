"""Landmarks of morphometrics in tpsDig's TPS format."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log

from mmlandmark.datasets.annotation_files import existing_file
from mmlandmark.datasets.image_files import ids_of_images, image_stem
from mmlandmark.datasets.landmark_dataset import LandmarkDataset
from mmlandmark.datasets.table_rows import legacy_text
from mmlandmark.datasets.values import is_text_number, text_number
from mmlandmark.registry import DATASETS
from mmlandmark.utils.near_names import refuse_misspelt

_KEYS = ("LM", "LM3", "IMAGE", "ID", "SCALE", "CURVES", "POINTS", "OUTLINES", "COMMENT", "VARIABLES", "RADII")


@DATASETS.register_module()
class TpsFile(LandmarkDataset):
    """Specimens of a TPS file: ``LM=K``, K lines ``x y``, then ``IMAGE=``, ``ID=`` and ``SCALE=``.

    The image's name without suffix is the sample id, else ``ID``. ``NA`` or two negative coordinates mark
    a missing landmark, ``LM=0`` a specimen without any, and an empty ``SCALE=`` one without scale. Curves,
    outlines and comments are skipped.

    Args:
        y_up: Coordinates count upwards from the centre of the bottom row, as tpsDig writes them, so that
            the row from the top is H - 1 - y; the image must then exist. False counts from the top.
        scale_to_mm: Millimetres per unit of ``SCALE``: 1 if scales were set in mm, 10 if in cm. Without it
            the unit is unknown: samples have no spacing, and their records keep the number as
            ``scale_without_unit``.
        **kwargs: See :class:`~mmlandmark.datasets.LandmarkDataset`.
    """

    def __init__(self, *args, y_up: bool = True, scale_to_mm: float | None = None, **kwargs) -> None:
        self.scale_to_mm = scale_to_mm
        super().__init__(*args, y_up=y_up, **kwargs)

    def load_records(self) -> list[dict[str, Any]]:
        """Read all specimens."""
        records, unit = [], self.scale_to_mm
        specimens = list(_specimens(existing_file(self.ann_file)))
        ids = ids_of_images((one["IMAGE"][0] for one in specimens if "IMAGE" in one), image_stem)
        for specimen in specimens:
            where = specimen["source"]
            image, ident, scale = (specimen.get(key, ("", where)) for key in ("IMAGE", "ID", "SCALE"))
            if not image[0] and not ident[0]:
                raise ValueError(f"{where}: the specimen has neither IMAGE= nor ID=")
            if self.y_up and not image[0]:
                raise ValueError(
                    f"{where}: y_up needs IMAGE=, since y is counted from the image's bottom; or set "
                    "y_up=False"
                )
            record = dict(
                sample_id=ids[image[0]] if image[0] else ident[0],
                img_path=self.image_path(image[0]) if image[0] else None,
                landmarks=specimen["points"],
                source=where,
            )
            if scale[0]:
                number = _scale(*scale)
                record.update(
                    dict(scale_without_unit=number) if unit is None else dict(spacing=number * unit)
                )
            records.append(record)
        for key, said in (
            ("spacing", "gives {} mm per pixel (by scale_to_mm)"),
            ("scale_without_unit", "is {}, its unit is unknown: scale_to_mm=1 for mm, 10 for cm"),
        ):
            if scales := sorted({record[key] for record in records if key in record}):
                ends = " to ".join(f"{scale:g}" for scale in dict.fromkeys((scales[0], scales[-1])))
                _tell_once(f"{self._title()}: SCALE= {said.format(ends)}")
        return records


@cache
def _tell_once(text: str) -> None:
    """Log what is the same for every part of a data set, which are built one after the other."""
    print_log(text, "current")


def _scale(scale: str, where: str) -> float:
    numbers = _floats(scale, where)
    if len(numbers) != 1 or not numbers[0] > 0:
        raise ValueError(f"{where}: SCALE= must be one positive number, got {scale!r:.80}")
    return numbers[0]


def _specimens(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the specimens with their ``points``, ``source``, and ``(value, where)`` of their keys."""
    lines = [line.strip() for line in legacy_text(path).split("\n")]
    specimen: dict[str, Any] | None = None
    number = 0
    while number < len(lines):
        key, separator, value = lines[number].partition("=")
        key, value, where = key.strip().upper(), value.strip(), f"{path}, line {number + 1}"
        number += 1
        if key in ("LM", "LM3"):
            if specimen is not None:
                yield specimen
            count = _count(value, where)
            specimen = dict(points=_rows(lines[number : number + count], count, path, number), source=where)
            number += count
        elif key == "POINTS":  # of a curve or outline
            number += _count(value, where)
        elif separator and specimen is not None:
            refuse_misspelt([key], _KEYS, where)
            if key in specimen:
                raise ValueError(f"{where}: {key}= is given twice in one specimen")
            specimen[key] = (value, where)
        elif separator or lines[number - 1]:
            raise ValueError(
                f"{where}: {lines[number - 1]!r:.80} is not expected here; a specimen begins with LM="
            )
    if specimen is not None:
        yield specimen


def _rows(lines: list[str], count: int, path: Path, number: int) -> np.ndarray | None:
    """Return (K, D) points, NaN where both coordinates are negative; None for LM=0."""
    if count == 0:
        return None
    short = next((i for i, line in enumerate(lines) if "=" in line), None)
    if short is not None:
        raise ValueError(
            f"{path}, line {number}: LM={count} needs {count} lines of coordinates, but line "
            f"{number + short + 1} is {lines[short]!r:.80}"
        )
    rows = [_floats(line, f"{path}, line {number + i + 1}") for i, line in enumerate(lines)]
    if len(rows) != count or any(len(row) != len(rows[0]) for row in rows) or len(rows[0]) not in (2, 3):
        raise ValueError(f"{path}, line {number}: {count} lines of 2 or 3 coordinates must follow")
    points = np.asarray(rows, dtype=np.float64)
    points[(points < 0).all(axis=1)] = math.nan
    return points


def _count(value: str, where: str) -> int:
    if not re.fullmatch(r"\d{1,9}", value, re.ASCII):
        raise ValueError(f"{where}: expected a number of points, got {value!r:.80}")
    return int(value)


def _floats(line: str, where: str) -> list[float]:
    cells = line.split()
    if not all(is_text_number(cell) for cell in cells):
        raise ValueError(f"{where}: {line!r:.80} are not numbers")
    return [text_number(cell, where) for cell in cells]
