"""A folder of images with a file of points each, such as the point lists of 3D Slicer."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log

from mmlandmark.datasets.frame_fit import (
    Coordinates,
    count_outside,
    inside_by_reading,
    misfit,
    to_pixels,
    unstated_frame,
)
from mmlandmark.datasets.image_files import (
    IMAGE_SUFFIXES,
    ImageHeader,
    image_header,
    image_shape,
    image_suffix,
)
from mmlandmark.datasets.landmark_dataset import LandmarkDataset
from mmlandmark.datasets.landmark_order import in_order
from mmlandmark.datasets.readers.dicom_series import is_series
from mmlandmark.datasets.readers.markups import SUFFIXES, NameSource, PointList
from mmlandmark.datasets.readers.point_files import POINT_SUFFIXES, read_points
from mmlandmark.registry import DATASETS
from mmlandmark.structures import LandmarkSchema, apply_matrix, spacing_of, world_matrix
from mmlandmark.utils.near_names import did_you_mean


@DATASETS.register_module()
class SlicerMarkups(LandmarkDataset):
    """Images with a file of points of the same name: ``a.nii.gz`` and ``a.mrk.json`` or ``a.fcsv``.

    Where a folder holds no files of Slicer, any other file that
    :func:`~mmlandmark.datasets.readers.point_files.read_points` knows belongs to the image of its name:
    ``a.csv``, ``a.tsv``, ``a.txt`` and ``a.json``. The image ``a`` may be a folder of DICOM slices.
    ``a.png.mrk.json`` belongs to ``a.png``, even if there is an ``a.jpg``.
    The files are found anywhere below their folders; the path without suffix is the sample id. Points in mm,
    LPS or RAS, become pixels by the frame of the image, whose spacing becomes that of the sample. Points are
    known by name; without a schema, the names are those of the file that has most of the common ones. Points
    without names are in the order of the schema. A point that is not placed is missing. Images without
    markups are left out, and their number is logged.

    Args:
        ann_file: Folder of the markups, relative to ``data_root``; empty is ``data_root`` itself.
        data_root: Folder of the data.
        image_dir: Folder of the images, relative to ``data_root``.
        names_from: Text of a point that names it, ``"label"`` or ``"description"``.
        image_ending: Text between the common name and the suffix of images, such as ``_T1w``.
        markups_ending: The same for markups.
        pixel_size: mm per pixel of images without a frame when the points were set. None takes ``spacing``
            or, without one, 1 mm, as Slicer does.
        coordinates: What the numbers of a table are that does not say it: ``"pixels"`` (voxels), or mm in
            ``"LPS"``, as DICOM has them, or in ``"RAS"``.
        **kwargs: See :class:`~mmlandmark.datasets.LandmarkDataset`.

    Raises:
        ValueError: Most points of a case lie outside of its image, or far from its plane, as they do in
            another frame; the message says which frame they seem to be in.
    """

    def __init__(
        self,
        ann_file: str = "",
        data_root: str = "",
        image_dir: str = "",
        *,
        names_from: NameSource = "label",
        image_ending: str = "",
        markups_ending: str = "",
        pixel_size: float | None = None,
        **kwargs,
    ) -> None:
        if names_from not in ("label", "description"):
            raise ValueError(f"names_from must be 'label' or 'description', got {names_from!r}")
        self.names_from, self.pixel_size = names_from, pixel_size
        self.image_ending, self.markups_ending = image_ending, markups_ending
        super().__init__(ann_file, data_root, image_dir, **kwargs)

    def load_records(self) -> list[dict[str, Any]]:
        """Join images and point lists."""
        # MMEngine joins ann_file and data_root, but not where one of them is empty.
        folder = self.ann_file or self.data_root or "."
        image_folder = os.path.join(self.data_root, self.image_dir) or "."
        stems = _files(image_folder, IMAGE_SUFFIXES, self.image_ending)
        files = _files(folder, SUFFIXES, self.markups_ending)
        if not files:  # other files need an image, since a folder may hold tables and notes of other kinds
            others = _files(folder, POINT_SUFFIXES, self.markups_ending)
            files = {stem: path for stem, path in others.items() if stem in stems}
        if not files:
            raise FileNotFoundError(
                f"no *{self.markups_ending}{{{','.join(POINT_SUFFIXES)}}} below {folder!r}"
            )
        images = _images_of(files, stems, image_folder)
        lost = [stem for stem in files if stem not in images]
        if lost and self.missing_images != "drop":
            raise FileNotFoundError(
                f"{files[lost[0]]}: there is no image {lost[0] + self.image_ending!r} below {image_folder!r}"
                f"{did_you_mean(lost[:1], stems)}; {len(lost)} of {len(files)} markups have none. Points in "
                "mm need the frame of their image; take these files out, or set missing_images='drop' of the "
                "data set in a config"
            )
        for count, what in (
            (len(lost), "markups have no image"),
            (len(set(stems.values()) - set(images.values())), "images have no markups"),
        ):
            if count:
                print_log(f"{self._title()}: {count} {what} and are left out", "current")
        if not images:
            raise FileNotFoundError(f"{self._title()}: none of {len(files)} markups has an image")
        headers = {stem: image_header(image) for stem, image in images.items()}
        lists = {
            stem: read_points(files[stem], self.names_from, len(header.shape))
            for stem, header in headers.items()
        }
        names = self._names(lists, files, images)
        records = []
        for stem, points in lists.items():
            record = self._record(stem, points, images[stem], files[stem], headers)
            own = self._own_names(points, names, files[stem])
            records += in_order([record], own, names, files[stem])
        return records

    def _own_names(self, points: PointList, names: Sequence[str], path: str) -> Sequence[str]:
        """Return the names of a file; points without names are in the order of ``names``."""
        if points.named:
            return points.names
        if len(points.names) != len(names):
            raise ValueError(
                f"{path}: {len(points.names)} points without names, but there are {len(names)} landmarks"
            )
        return names

    def _names(
        self, lists: Mapping[str, PointList], files: Mapping[str, str], images: Mapping[str, str]
    ) -> tuple[str, ...]:
        """Return the landmarks; without a schema, those of the file with most of the common names."""
        if self._full_schema is None:
            common = Counter(name for points in lists.values() for name in points.names)
            first = max(lists, key=lambda stem: sum(common[name] for name in lists[stem].names))
            names = lists[first].names
            for stem, points in lists.items():
                unknown = [name for name in points.names if name not in names]
                if unknown:
                    raise ValueError(
                        f"{files[stem]}: points {unknown[:5]} are not in {files[first]}, whose names are the "
                        f"most common{did_you_mean(unknown[:5], names)}; give a schema that names all "
                        "landmarks"
                    )
            dims = len(image_shape(images[first]))
            self._full_schema = LandmarkSchema("from_markups", tuple(names), dims)
        return self._full_schema.landmarks

    def _record(
        self, stem: str, points: PointList, image: str, path: str, headers: Mapping[str, ImageHeader]
    ) -> dict[str, Any]:
        shape, frame = headers[stem].shape, headers[stem].world_from_original
        coordinates = points.coordinates or self.coordinates
        if coordinates is None:
            raise ValueError(f"{path}: {_undecided(points, shape, frame)}")
        placed = frame
        if frame is None and coordinates != "pixels":
            placed = self._assumed(shape, image)
        wrong = misfit(points.points, shape, placed, coordinates)
        if wrong:
            sure = "puts them inside" in wrong  # all of them
            fitting = "" if sure else _where_they_fit(points, coordinates, stem, headers)
            unstated = unstated_frame(image, headers[stem].assumed)
            if not fitting and not unstated and "?" not in wrong:
                fitting = "; they were set in another image or frame"
            raise ValueError(f"{path}: {wrong}{fitting}{unstated}")
        record: dict[str, Any] = dict(
            sample_id=stem,
            img_path=image,
            landmarks=_pixels(points, placed, coordinates, path)[:, : len(shape)],
            visibility=points.visibility,
            ori_shape=shape,
            source=path,
        )
        return record if frame is None else dict(record, spacing=spacing_of(frame))

    def _assumed(self, shape: tuple[int, ...], image: str) -> np.ndarray:
        """Return the frame of an image that has none."""
        if len(shape) == 3:
            raise ValueError(
                f"{image}: the volume does not say where its voxels lie in mm, so its points in mm have no "
                "place in it; store it in the format in which they were set, such as NIfTI or NRRD"
            )
        size = self.pixel_size or self.spacing or 1.0
        return world_matrix(np.broadcast_to(size, 2))


def _files(folder: str, suffixes: tuple[str, ...], ending: str) -> dict[str, str]:
    """Return the files below a folder by their path without ending and suffix, in ``/``.

    Raises:
        ValueError: Two files of markups have the same name.
    """
    found: dict[str, str] = {}
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if suffixes is IMAGE_SUFFIXES:
            for name in [name for name in folders if is_series(os.path.join(root, name))]:
                folders.remove(name)
                path = os.path.join(root, name)
                if name.endswith(ending):
                    stem = Path(os.path.relpath(path, folder)).as_posix()
                    found[stem.removesuffix(ending)] = path
        for name in sorted(names):
            suffix = max(
                (s for s in suffixes if name.lower().endswith(ending.lower() + s)), key=len, default=""
            )
            if not suffix or name.startswith("."):
                continue
            path = os.path.join(root, name)
            stem = Path(os.path.relpath(path, folder)).as_posix()[: -len(ending + suffix)]
            other = found.get(stem)
            if other is not None and suffixes is not IMAGE_SUFFIXES:
                raise ValueError(f"{path}: {other} is there too; keep one file of markups per image")
            if other is None or suffixes.index(suffix) < _rank(other):
                found[stem] = path
    return found


def _rank(image: str) -> int:
    """Return the place of an image among those of one name; a folder of slices comes first."""
    return -1 if os.path.isdir(image) else IMAGE_SUFFIXES.index(image_suffix(image))


def _images_of(files: dict[str, str], stems: dict[str, str], folder: str) -> dict[str, str]:
    """Return the image of every file of markups that has one, by its stem.

    It is the image whose name, with suffix, is that stem, as in ``a.png.mrk.json``, or else one of that stem.

    Raises:
        ValueError: Two files of markups have the same image.
    """
    found: dict[str, str] = {}
    owners: dict[str, str] = {}
    for stem, path in files.items():
        named = os.path.join(folder, stem)
        image = named if image_suffix(stem) and os.path.isfile(named) else stems.get(stem)
        if image is None:
            continue
        other = owners.setdefault(os.path.normpath(image), path)
        if other != path:
            raise ValueError(f"{path}: {other} is of the same image; keep one file of markups per image")
        found[stem] = image
    return found


def _pixels(points: PointList, frame: np.ndarray | None, coordinates: Coordinates, path: str) -> np.ndarray:
    """Return the (K, D) pixels of points; ValueError if they lie beside the plane of their image."""
    pixels = to_pixels(points.points, frame, coordinates)
    if frame is None or coordinates == "pixels" or not np.isfinite(pixels).any():
        return pixels
    world = points.points[:, : len(frame) - 1] * (
        [-1, -1, 1] if coordinates == "RAS" and len(frame) == 4 else 1
    )
    off = np.linalg.norm(apply_matrix(frame, pixels) - world, axis=1)
    if len(frame) == 3 and points.points.shape[1] == 3:  # the plane z = 0
        off = np.hypot(off, points.points[:, 2])
    if np.nanmax(off) > max(spacing_of(frame)):
        index = int(np.nanargmax(off))
        raise ValueError(
            f"{path}: point {points.names[index]!r} lies {off[index]:.1f} mm from the plane of the image; "
            "the points were set in another image or frame"
        )
    return pixels


def _undecided(points: PointList, shape: tuple[int, ...], frame: np.ndarray | None) -> str:
    """Return what is wrong with a file that does not say what its numbers are, and what would fit."""
    inside = inside_by_reading(points.points, shape, frame)
    counts = ", ".join(f"{count} as {name}" for name, count in inside.items())
    best = max(inside, key=lambda name: inside[name])
    return (
        f"the file does not say whether its numbers are voxels or mm; of {len(points.names)} points "
        f"{counts} lie inside of the image: give the data set coordinates={best!r}, if that is right"
    )


def _where_they_fit(
    points: PointList, coordinates: Coordinates, stem: str, headers: Mapping[str, ImageHeader]
) -> str:
    """Return which other images hold all points of a file, as the end of a sentence; empty if none does."""
    found = points.points[np.isfinite(points.points).all(axis=1)]
    fitting = []
    for other, header in headers.items():
        known = header.world_from_original is not None or coordinates == "pixels"
        if other == stem or not known or len(header.shape) != points.points.shape[1]:
            continue
        if not count_outside(to_pixels(found, header.world_from_original, coordinates), header.shape):
            fitting.append(repr(other))
        if len(fitting) > 2:
            break
    return f"; they fit {' or '.join(fitting)}: is this the file of another case?" if fitting else ""
