"""A folder of images with point lists of 3D Slicer."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log

from mmlandmark.datasets.image_files import (
    IMAGE_SUFFIXES,
    image_frame,
    image_shape,
    image_suffix,
)
from mmlandmark.datasets.landmark_dataset import LandmarkDataset
from mmlandmark.datasets.landmark_order import in_order
from mmlandmark.datasets.readers.markups import SUFFIXES, NameSource, PointList, read_markups
from mmlandmark.registry import DATASETS
from mmlandmark.structures import LandmarkSchema, apply_matrix, original_from_world, spacing_of, world_matrix
from mmlandmark.utils.near_names import did_you_mean


@DATASETS.register_module()
class SlicerMarkups(LandmarkDataset):
    """Images with a file of markups of the same name: ``a.nii.gz`` and ``a.mrk.json`` or ``a.fcsv``.

    ``a.png.mrk.json`` belongs to ``a.png``, even if there is an ``a.jpg``.
    The files are found anywhere below their folders; the path without suffix is the sample id. Points in mm,
    LPS or RAS, become pixels by the frame of the image, whose spacing becomes that of the sample. Points are
    known by name; without a schema, the names are those of the file with most points. A point that is not
    placed is missing. Images without markups are left out, and their number is logged.

    Args:
        ann_file: Folder of the markups, relative to ``data_root``; empty is ``data_root`` itself.
        data_root: Folder of the data.
        image_dir: Folder of the images, relative to ``data_root``.
        names_from: Text of a point that names it, ``"label"`` or ``"description"``.
        image_ending: Text between the common name and the suffix of images, such as ``_T1w``.
        markups_ending: The same for markups.
        pixel_size: mm per pixel of images without a frame when the points were set. None takes ``spacing``
            or, without one, 1 mm, as Slicer does.
        **kwargs: See :class:`~mmlandmark.datasets.LandmarkDataset`.

    Raises:
        ValueError: Most points of a case lie outside of its image, or far from its plane, as they do in
            another frame.
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
        files = _files(folder, SUFFIXES, self.markups_ending)
        if not files:
            raise FileNotFoundError(f"no *{self.markups_ending}{{{','.join(SUFFIXES)}}} below {folder!r}")
        image_folder = os.path.join(self.data_root, self.image_dir) or "."
        stems = _files(image_folder, IMAGE_SUFFIXES, self.image_ending)
        images = _images_of(files, stems, image_folder)
        lost = [stem for stem in files if stem not in images]
        if lost and self.missing_images != "drop":
            raise FileNotFoundError(
                f"{files[lost[0]]}: there is no image {lost[0] + self.image_ending!r} below {image_folder!r}"
                f"{did_you_mean(lost[:1], stems)}; {len(lost)} of {len(files)} markups have none. Points in "
                "mm need the frame of their image; missing_images='drop' leaves these out"
            )
        for count, what in (
            (len(lost), "markups have no image"),
            (len(set(stems.values()) - set(images.values())), "images have no markups"),
        ):
            if count:
                print_log(f"{self._title()}: {count} {what} and are left out", "current")
        lists = {stem: read_markups(path, self.names_from) for stem, path in files.items() if stem in images}
        if not lists:
            raise FileNotFoundError(f"{self._title()}: none of {len(files)} markups has an image")
        names = self._names(lists, files, images)
        records = []
        for stem, points in lists.items():
            record = self._record(stem, points, images[stem], files[stem])
            records += in_order([record], points.names, names, files[stem])
        return records

    def _names(
        self, lists: dict[str, PointList], files: dict[str, str], images: dict[str, str]
    ) -> tuple[str, ...]:
        """Return the landmarks, those of the file with most points if there is no schema."""
        if self._full_schema is None:
            first = max(lists, key=lambda stem: len(lists[stem].names))
            names = lists[first].names
            for stem, points in lists.items():
                unknown = [name for name in points.names if name not in names]
                if unknown:
                    raise ValueError(
                        f"{files[stem]}: points {unknown[:5]} are not in {files[first]}, the file with most "
                        f"points{did_you_mean(unknown[:5], names)}; give a schema that names all landmarks"
                    )
            dims = len(image_shape(images[first]))
            self._full_schema = LandmarkSchema("from_markups", tuple(names), dims)
        return self._full_schema.landmarks

    def _record(self, stem: str, points: PointList, image: str, path: str) -> dict[str, Any]:
        shape = image_shape(image)
        frame = image_frame(image)
        record: dict[str, Any] = dict(
            sample_id=stem,
            img_path=image,
            landmarks=_pixels(
                points, shape, frame if frame is not None else self._assumed(shape, image), path
            ),
            visibility=points.visibility,
            ori_shape=shape,
            source=path,
        )
        return record if frame is None else dict(record, spacing=spacing_of(frame))

    def _assumed(self, shape: tuple[int, ...], image: str) -> np.ndarray:
        """Return the frame of an image that has none."""
        if len(shape) == 3:
            raise ValueError(
                f"{image}: the volume does not say where its voxels lie in mm, so its markups have no place "
                "in it; store it in the format in which the points were set, such as NIfTI or NRRD"
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
        for name in sorted(names):
            suffix = max(
                (s for s in suffixes if name.lower().endswith(ending.lower() + s)), key=len, default=""
            )
            if not suffix or name.startswith("."):
                continue
            path = os.path.join(root, name)
            stem = Path(os.path.relpath(path, folder)).as_posix()[: -len(ending + suffix)]
            other = found.get(stem)
            if other is not None and suffixes is SUFFIXES:
                raise ValueError(f"{path}: {other} is there too; keep one file of markups per image")
            if other is None or suffixes.index(suffix) < suffixes.index(image_suffix(other)):
                found[stem] = path
    return found


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


def _pixels(points: PointList, shape: tuple[int, ...], frame: np.ndarray, path: str) -> np.ndarray:
    """Return the (K, D) pixels of points in mm; ValueError if they are not those of this image."""
    world = points.points[:, : len(frame) - 1]
    pixels = apply_matrix(original_from_world(frame), world)
    found = np.isfinite(pixels).all(axis=1)
    if not found.any():
        return pixels
    off = np.linalg.norm(apply_matrix(frame, pixels) - world, axis=1)
    if len(frame) == 3:  # the plane z = 0
        off = np.hypot(off, points.points[:, 2])
    if (off[found] > max(spacing_of(frame))).any():
        index = int(np.nanargmax(off))
        raise ValueError(
            f"{path}: point {points.names[index]!r} lies {off[index]:.1f} mm from the plane of the image; "
            "the points were set in another image or frame"
        )
    outside = _outside(pixels[found], shape)
    if 2 * outside > found.sum():
        turned = apply_matrix(original_from_world(frame), world * ([-1, -1, 1][: len(frame) - 1]))
        inside = int(found.sum()) - _outside(turned[found], shape)
        hint = (
            f"with x and y of the opposite sign, {inside} are inside: LPS and RAS are mixed up in this file"
            if inside > found.sum() / 2
            else "they were set in another image or frame"
        )
        raise ValueError(f"{path}: {outside} of {found.sum()} points lie outside of the image; {hint}")
    return pixels


def _outside(pixels: np.ndarray, shape: tuple[int, ...]) -> int:
    """Return how many of (K, D) points are outside of an image of (*S) pixels."""
    return int(((pixels < -0.5) | (pixels > np.array(shape[::-1]) - 0.5)).any(axis=1).sum())
