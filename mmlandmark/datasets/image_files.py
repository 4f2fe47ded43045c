"""Finding images in folders, and reading their size without decoding them."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np

from mmlandmark.datasets.image_io import read_image
from mmlandmark.datasets.readers.dicom import dicom_frame, dicom_shape
from mmlandmark.datasets.readers.file_format import SUFFIXES, file_format, suffix_of
from mmlandmark.datasets.readers.raster_headers import bmp_shape, jpeg_file_shape, png_shape, tiff_shape
from mmlandmark.datasets.readers.volume import (
    metaimage_shape,
    nifti_frame,
    nifti_shape,
    npy_shape,
    nrrd_shape,
    read_metaimage_header,
    sitk_frame,
)
from mmlandmark.structures import first_slice

__all__ = [
    "IMAGE_SUFFIXES",
    "child_ignoring_case",
    "image_frame",
    "image_shape",
    "image_stem",
    "image_suffix",
    "index_images",
    "read_metaimage_header",
    "stem_of",
]

# In order of preference, for an image that exists in several formats.
IMAGE_SUFFIXES = (
    ".png", ".bmp", ".tif", ".tiff", ".mha", ".mhd", ".nrrd", ".nii", ".nii.gz", ".dcm", ".npy",
    ".jpg", ".jpeg",
)  # fmt: skip


def image_suffix(name: str | Path) -> str:
    """Return the image suffix of a file name in lower case, ``""`` if it has none."""
    lower = Path(name).name.lower()
    return max((s for s in IMAGE_SUFFIXES if lower.endswith(s)), key=len, default="")


def image_stem(name: str | Path) -> str:
    """Return the file name without folder and image suffix."""
    base = Path(name).name
    return base[: len(base) - len(image_suffix(base))]


def stem_of(image: str) -> str:
    """Return the file name of an image without folders, of any system, and suffix; ``.nii.gz`` is one."""
    name = image.replace("\\", "/")
    return image_stem(name) if image_suffix(name) else Path(name).stem


def index_images(folder: str | Path) -> dict[str, str]:
    """Return the images anywhere below ``folder`` as {stem: path}; lossless formats come before JPEG."""
    paths: dict[str, str] = {}
    for root, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            suffix = image_suffix(name)
            if not suffix or name.startswith("."):
                continue
            stem = image_stem(name)
            other = paths.get(stem)
            if other is None or _rank(suffix) < _rank(image_suffix(other)):
                paths[stem] = os.path.join(root, name)
    return paths


def _rank(suffix: str) -> int:
    return IMAGE_SUFFIXES.index(suffix)


def child_ignoring_case(folder: str | Path, *names: str) -> Path | None:
    """Return the entry of ``folder`` called like one of ``names``, whatever its case, or None."""
    wanted = {name.lower() for name in names}
    if not Path(folder).is_dir():
        return None
    return next((p for p in sorted(Path(folder).iterdir()) if p.name.lower() in wanted), None)


def image_shape(path: str | Path) -> tuple[int, ...]:
    """Return the size (*S) of an image as it is stored, in array order, from its header.

    The format is that of the content, whatever the file is called. PNG, JPEG, BMP, TIFF, MetaImage, NRRD,
    NIfTI, DICOM and npy headers are read; any other format is decoded. Orientation tags are not applied. A
    leading axis of length one (a volume of one slice) is dropped.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The header is broken; the message names the file.
        ImportError: The package that reads this format is missing.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"image {str(path)!r} does not exist")
    kind, suffix = file_format(path), suffix_of(path)
    if kind == "unknown" and suffix not in SUFFIXES:
        return read_image(path).ori_shape
    try:
        if kind == "dicom":
            shape = dicom_shape(path)
        elif kind in _HEADERS:
            with path.open("rb") as file:
                shape = _HEADERS[kind](file)
        elif kind == "unknown":
            raise ValueError("the content has no known format")
        else:
            shape = read_image(path).ori_shape
    except ImportError:
        raise
    except Exception as error:  # Every library has errors of its own; all of them mean a broken header.
        raise ValueError(f"{path}: the header of this {suffix or kind} file is broken ({error})") from error
    if not shape or min(shape) <= 0:
        raise ValueError(f"{path}: the header of this {suffix or kind} file states {shape}")
    return shape


def image_frame(path: str | Path) -> np.ndarray | None:
    """Return the (W+1, D+1) matrix from pixels, as they are stored, to mm, from the header of an image.

    It is ``world_from_original`` of :func:`~mmlandmark.datasets.image_io.read_image`; None if the file does
    not define the place of its pixels.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The header is broken; the message names the file.
        ImportError: The package that reads this format is missing.
    """
    path, dims = Path(path), len(image_shape(path))
    kind = file_format(path)
    try:
        world = _FRAMES[kind](path) if kind in _FRAMES else None
    except ImportError:
        raise
    except Exception as error:  # Every library has errors of its own; all of them mean a broken header.
        raise ValueError(f"{path}: the header of this {kind} file is broken ({error})") from error
    return first_slice(world) if world is not None and world.shape[1] > dims + 1 else world


_FRAMES: dict[str, Callable[[Path], np.ndarray | None]] = {
    "dicom": dicom_frame,
    "nifti": nifti_frame,
    "metaimage": partial(sitk_frame, io="MetaImageIO"),
    "nrrd": partial(sitk_frame, io="NrrdImageIO"),
}
_HEADERS: dict[str, Callable[[BinaryIO], tuple[int, ...]]] = {
    "png": png_shape,
    "bmp": bmp_shape,
    "jpeg": jpeg_file_shape,
    "tiff": tiff_shape,
    "metaimage": metaimage_shape,
    "nrrd": nrrd_shape,
    "nifti": nifti_shape,
    "npy": npy_shape,
}
