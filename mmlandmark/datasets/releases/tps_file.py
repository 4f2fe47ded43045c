"""Landmarks of morphometrics in tpsDig's TPS format."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np

from mmlandmark.datasets.image_files import image_shape, image_stem
from mmlandmark.datasets.landmark_dataset import LandmarkDataset
from mmlandmark.registry import DATASETS


@DATASETS.register_module()
class TpsFile(LandmarkDataset):
    """Specimens of a TPS file: ``LM=K``, K lines ``x y``, then ``IMAGE=``, ``ID=`` and ``SCALE=``.

    The image's name without suffix is the sample id, else ``ID``. ``NA`` or two negative coordinates mark
    a missing landmark. Curves, outlines and comments are skipped.

    Args:
        y_up: Coordinates count upwards from the centre of the bottom row, as tpsDig writes them; the image
            must then exist. False takes them as counted from the top.
        scale_to_mm: Millimetres per unit of ``SCALE`` (10 if scales were set in cm).
        **kwargs: See :class:`~mmlandmark.datasets.LandmarkDataset`.
    """

    def __init__(self, *args, y_up: bool = True, scale_to_mm: float = 1.0, **kwargs) -> None:
        self.y_up, self.scale_to_mm = y_up, scale_to_mm
        super().__init__(*args, **kwargs)

    def load_records(self) -> list[dict[str, Any]]:
        """Read all specimens."""
        path = Path(self.ann_file)
        if not path.is_file():
            raise FileNotFoundError(
                f"annotation file {str(path)!r} does not exist; check data_root and ann_file"
            )
        records = []
        for specimen in _specimens(path):
            where, image = specimen["source"], specimen.get("IMAGE")
            if not image and not specimen.get("ID"):
                raise ValueError(f"{where}: the specimen has neither IMAGE= nor ID=")
            record = dict(
                sample_id=image_stem(image) if image else specimen["ID"],
                img_path=self.image_path(image) if image else None,
                landmarks=specimen["points"],
                source=where,
            )
            if "SCALE" in specimen:
                record["spacing"] = _floats(specimen["SCALE"], where)[0] * self.scale_to_mm
            if self.y_up:
                self._turn(record, where)
            records.append(record)
        return records

    def _turn(self, record: dict[str, Any], where: str) -> None:
        if record["img_path"] is None:
            raise ValueError(
                f"{where}: y_up needs IMAGE=, since y is counted from the image's bottom; or set y_up=False"
            )
        if not Path(record["img_path"]).is_file():
            return  # reported, or dropped, with all other missing images
        record["ori_shape"] = image_shape(record["img_path"])
        record["landmarks"][:, 1] = record["ori_shape"][-2] - 1 - record["landmarks"][:, 1]


def _specimens(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the specimens with their ``points``, ``source`` and keys."""
    lines = [line.strip() for line in path.read_text(encoding="utf-8-sig", errors="replace").splitlines()]
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
            rows = [
                _floats(line, f"{path}, line {number + i + 1}")
                for i, line in enumerate(lines[number : number + count])
            ]
            if (
                len(rows) != count
                or any(len(row) != len(rows[0]) for row in rows)
                or len(rows[0]) not in (2, 3)
            ):
                raise ValueError(f"{where}: {count} lines of 2 or 3 coordinates must follow")
            points = np.asarray(rows, dtype=np.float64)
            points[(points < 0).all(axis=1)] = math.nan
            specimen = dict(points=points, source=where)
            number += count
        elif key == "POINTS":  # of a curve or outline
            number += _count(value, where)
        elif separator and specimen is not None:
            specimen[key] = PureWindowsPath(value).name if key == "IMAGE" and "\\" in value else value
        elif separator or lines[number - 1]:
            raise ValueError(
                f"{where}: {lines[number - 1]!r} is not expected here; a specimen begins with LM="
            )
    if specimen is not None:
        yield specimen


def _count(value: str, where: str) -> int:
    if not value.isdigit() or int(value) == 0:
        raise ValueError(f"{where}: expected a number of points, got {value!r}")
    return int(value)


def _floats(line: str, where: str) -> list[float]:
    try:
        return [math.nan if cell.upper() in ("NA", "NAN") else float(cell) for cell in line.split()]
    except ValueError as error:
        raise ValueError(f"{where}: {line!r} are not numbers") from error
