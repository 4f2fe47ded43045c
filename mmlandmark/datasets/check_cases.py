"""The input of a dataset check, the records as arrays, and its output, the findings."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mmlandmark.datasets.check_kinds import KINDS, Severity
from mmlandmark.datasets.image_files import ImageHeader, image_exists, image_header, image_shape
from mmlandmark.datasets.landmark_dataset import LandmarkDataset
from mmlandmark.datasets.readers.file_format import SUFFIXES, file_format, suffix_of
from mmlandmark.datasets.readers.raster import raster_orientation, upright_matrix
from mmlandmark.structures import LandmarkSchema, apply_matrix, name_difference, names_cure


@dataclass(frozen=True)
class Finding:
    """One fault in a sample or a split.

    Attributes:
        check: Kind of the fault, a key of :data:`~mmlandmark.datasets.check_kinds.KINDS`.
        sample_id: The sample; ``""`` if the finding is about a whole split.
        message: What is wrong, with the names of the landmarks.
        split: Name of the split, as given to the check.
        source: File and line of the annotation, if the reader names them.
        image: Path of the image; ``""`` if there is none.
        severity: ``error``, ``warning`` or ``note``.
        advice: What to do.
        landmarks: Indices of the landmarks concerned.
        score: Ranks findings of one kind; larger is worse.
    """

    check: str
    sample_id: str
    message: str
    split: str = ""
    source: str = ""
    image: str = ""
    severity: Severity = "warning"
    advice: str = ""
    landmarks: tuple[int, ...] = field(default=())
    score: float = 0.0


class Cases:
    """The records of all splits as arrays.

    Args:
        datasets: Datasets by the name of their split; their schemas must agree.
        images: Whether images may be decoded to get their size.
        deadline: Time (of ``time.monotonic``) after which no file is opened, or None.

    Attributes:
        points: (N, K, D) landmarks in pixels, as annotated.
        clean: (N, K, D) the same, NaN where a check has detected that the value is not a position.
        sizes: (N, D) image size (width, height[, depth]) in pixels, NaN if unknown.
        spacing: (N, D) mm per pixel as the records state it, NaN if unknown.
        splits: N names of the splits.
        problems: Findings about images that are missing or have a broken header.
        left_out: What was skipped, each as a phrase.
        same_files: Cached result of :func:`~mmlandmark.datasets.leak_checks.same_files`.
    """

    def __init__(
        self, datasets: Mapping[str, LandmarkDataset], images: bool = True, deadline: float | None = None
    ) -> None:
        first = next(iter(datasets.values()))
        for name, dataset in datasets.items():
            difference = name_difference(first.schema.landmarks, dataset.schema.landmarks)
            if difference is not None:
                raise ValueError(
                    f"split {name!r} has other landmarks than the first (there): {difference}. "
                    f"{names_cure(first.schema.landmarks, dataset.schema.landmarks, f'split {name!r}')}"
                )
        self.schema: LandmarkSchema = first.schema
        self.datasets, self.images, self.deadline = datasets, images, deadline
        self.records: list[dict[str, Any]] = []
        self.problems: list[Finding] = []
        self.left_out: list[str] = []
        self.same_files: dict[Hashable, list[int]] | None = None
        self.places: list[tuple[str, int]] = []  # the dataset of every record, and its index there
        self._headers: dict[int, ImageHeader] = {}
        for split, dataset in datasets.items():
            for index in range(len(dataset)):
                # The record alone: the method of a subclass may make the image, which is slow.
                record = dict(LandmarkDataset.get_data_info(dataset, index), dataset_split=split)
                self.records.append(record)
                self.places.append((split, index))
        self.splits = [record["dataset_split"] for record in self.records]
        nothing = [float("nan")] * self.schema.dims
        self.points = np.stack([r["landmarks"] for r in self.records]).astype(np.float64)
        self.clean = self.points.copy()
        sizes = [self._size(n) or nothing for n in range(len(self.records))]
        self.sizes = np.array(sizes, dtype=np.float64)
        self.spacing = np.array([r["spacing"] or nothing for r in self.records], dtype=np.float64)

    def __len__(self) -> int:
        return len(self.records)

    @property
    def out_of_time(self) -> bool:
        """Whether the deadline has passed, so that no further file should be opened."""
        return self.deadline is not None and time.monotonic() > self.deadline

    def training_rows(self) -> np.ndarray:
        """Return (N,) bool: the training records, or all if no split is called train."""
        chosen = np.array([is_training(split) for split in self.splits])
        return chosen if chosen.any() else np.ones(len(self), dtype=bool)

    def _size(self, n: int) -> tuple[int, ...] | None:
        record = self.records[n]
        path, shape = record["img_path"], record.get("ori_shape")
        try:
            if path is not None and not image_exists(path):
                raise FileNotFoundError(f"image {path!r} does not exist")
            if shape is None and "slice" in record:
                if self.images:
                    shape = self.image_of(n).shape[: self.schema.dims]
            elif shape is None and path is not None:
                shape = self._file_shape(n, path)
        except (FileNotFoundError, ValueError, ImportError) as error:
            self.problems.append(self.finding(n, "broken image", str(error)))
        return tuple(shape)[::-1] if shape is not None and len(shape) == self.schema.dims else None

    def _file_shape(self, n: int, path: str) -> tuple[int, ...] | None:
        if self.out_of_time:
            self.leave_out("sizes of images, for lack of time")
            return None
        kind = "dicom" if os.path.isdir(path) else file_format(path)
        if not self.images and (kind == "webp" or (kind == "unknown" and suffix_of(path) not in SUFFIXES)):
            self.leave_out("sizes of images whose format has to be decoded to know them")
            return None
        header = self._header(n, path) if self.schema.dims == 3 else None
        return image_shape(path) if header is None else header.shape

    def _header(self, n: int, path: str) -> ImageHeader | None:
        """Return the header of a record's image, read once; None if a package is missing that reads it."""
        if n not in self._headers:
            try:
                self._headers[n] = image_header(path)
            except ImportError as error:
                self.leave_out(f"directions of volumes ({error})")
                return None
        return self._headers[n]

    # ---- images as a viewer shows them ------------------------------------------------------------------

    @cached_property
    def turns(self) -> dict[int, np.ndarray]:
        """(3, 3) stored pixels to those that a viewer shows, by record; of images with an orientation tag."""
        found: dict[int, np.ndarray] = {}
        for n, record in enumerate(self.records if self.schema.dims == 2 else ()):
            path = record["img_path"]
            if path is None or "slice" in record or not np.isfinite(self.sizes[n]).all():
                continue
            if self.out_of_time:
                self.leave_out("orientation tags of images, for lack of time")
                break
            try:
                orientation = raster_orientation(Path(path))
            except (OSError, ValueError):
                continue  # an image that cannot be read, which is reported
            if orientation != 1:
                found[n] = upright_matrix(orientation, self.sizes[n, ::-1].astype(int).tolist())
        return found

    def upright(self, points: np.ndarray) -> np.ndarray:
        """Return (N, K, D) stored pixels as pixels of the images that a viewer shows."""
        turned = points.copy() if self.turns else points
        for n, matrix in self.turns.items():
            turned[n] = apply_matrix(matrix, points[n])
        return turned

    def upright_sides(self, sides: np.ndarray) -> np.ndarray:
        """Return (N, D) lengths along the stored axes, such as ``sizes``, along those that a viewer shows."""
        turned = sides.copy() if self.turns else sides
        for n, matrix in self.turns.items():
            turned[n] = np.abs(matrix[:2, :2]) @ sides[n]
        return turned

    # ---- volumes in the patient -------------------------------------------------------------------------

    @cached_property
    def frames(self) -> list[np.ndarray | None]:
        """(4, 4) stored voxels to mm in LPS, by every record or its file; None if unknown, and in 2D."""
        return [self._frame(n) if self.schema.dims == 3 else None for n in range(len(self))]

    def _frame(self, n: int) -> np.ndarray | None:
        record = self.records[n]
        path, world = record["img_path"], record.get("world_from_original")
        if world is None and path is not None and "slice" not in record:
            if n not in self._headers and self.out_of_time:
                self.leave_out("directions of volumes, for lack of time")
                return None
            try:
                header = self._header(n, path)
            except (FileNotFoundError, ValueError):
                return None  # the size of this image is unknown too, which is reported
            world = None if header is None else header.world_from_original
        return None if world is None or np.shape(world) != (4, 4) else np.asarray(world, dtype=np.float64)

    def assumed(self, n: int) -> str:
        """Return what the frame of a volume's file takes for granted, ``""`` if nothing."""
        stated = self.frames[n] is None or self.records[n].get("world_from_original") is not None
        return "" if stated or n not in self._headers else self._headers[n].assumed

    @cached_property
    def to_mm(self) -> np.ndarray:
        """(N, 4, 4) voxels to mm, in patient axes (LPS) where these are known, else along those stored."""
        matrices = []
        for spacing, world in zip(self.spacing, self.frames, strict=True):
            steps = spacing if np.isfinite(spacing).all() else np.ones(3)
            matrices.append(np.diag([*steps, 1.0]) if world is None else world)
        return np.stack(matrices)

    def comparable(self) -> np.ndarray:
        """Return the (N, K, D) ``clean`` landmarks as samples are compared.

        Those of volumes in mm, of images in pixels as a viewer shows them.
        """
        if self.schema.dims == 2:
            return self.upright(self.clean)
        linear, offset = self.to_mm[:, :3, :3], self.to_mm[:, :3, 3]
        return np.einsum("nij,nkj->nki", linear, self.clean) + offset[:, None]

    def leave_out(self, what: str) -> None:
        """Note that something was skipped."""
        if what not in self.left_out:
            self.left_out.append(what)

    def image_of(self, n: int) -> np.ndarray:
        """Return the image of a record whose dataset makes images itself, (*S) or (*S, C)."""
        split, index = self.places[n]
        return self.datasets[split].get_data_info(index)["img"]

    def finding(self, index: int, check: str, message: str, **more) -> Finding:
        """Return a finding about record ``index``."""
        record, kind = self.records[index], KINDS[check]
        more = dict(dict(severity=kind.severity, advice=kind.advice), **more)
        return Finding(
            check,
            record["sample_id"],
            message,
            split=record["dataset_split"],
            source=record.get("source", "") or "",
            image=record["img_path"] or "",
            **more,
        )

    def whole(self, split: str, check: str, message: str, **more) -> Finding:
        """Return a finding about all samples of a split."""
        kind = KINDS[check]
        more = dict(dict(severity=kind.severity, advice=kind.advice), **more)
        source = self.datasets[split].ann_file if split in self.datasets else ""
        return Finding(check, "", message, split=split, source=str(source or ""), **more)

    def at(self, n: int, k: int) -> str:
        """Return the name and position of landmark ``k`` of record ``n``, for messages."""
        place = ", ".join(f"{c:.1f}" for c in self.points[n, k])
        return f"landmark {k} ({self.schema.landmarks[k]}) at ({place})"


def role(split: str) -> str:
    """Return a split's name without part numbers: the parts of a concatenation are one split."""
    return re.sub(r"\[\d+\]", "", split)


def is_training(split: str) -> bool:
    """Whether a split is a training split, by its name."""
    return any(part.startswith("train") for part in role(split).lower().split("+"))
