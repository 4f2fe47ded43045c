"""Reading one image or volume of any supported format, with its frame and value range."""

from __future__ import annotations

import logging
import mmap
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log

from mmlandmark.datasets.readers.dicom import read_dicom
from mmlandmark.datasets.readers.dicom_series import read_series
from mmlandmark.datasets.readers.file_format import SUFFIXES, FileFormat, file_format, suffix_of
from mmlandmark.datasets.readers.headers import check_size
from mmlandmark.datasets.readers.loaded_image import (
    LoadedImage,
    NonFinitePixels,
    Pixels,
    Remark,
    from_array,
    to_canonical,
    to_grey_if_equal,
)
from mmlandmark.datasets.readers.nifti import read_nifti
from mmlandmark.datasets.readers.raster import read_raster
from mmlandmark.datasets.readers.volume import read_npy, read_sitk
from mmlandmark.utils.sentences import reason_of

__all__ = [
    "LoadedImage",
    "NonFinitePixels",
    "Remark",
    "from_array",
    "image_of_record",
    "read_image",
    "to_canonical",
    "to_grey_if_equal",
]

# Warnings that were logged already, by the checksum of their kind; in memory that forked workers share.
_LOGGED = mmap.mmap(-1, 4096)


def read_image(
    path: str | Path, min_size: Sequence[int] | None = None, fill_value: float | None = None
) -> LoadedImage:
    """Read an image or a volume; the content decides about the format, not the suffix.

    Formats: png, jpg, bmp, tif and others that OpenCV reads; mha, mhd, nrrd (SimpleITK); dcm (pydicom);
    nii, nii.gz (nibabel); npy. A grey image stays grey, 8 and 16 bit stay as they are, and a colour file
    with equal channels becomes grey. An image is turned as its orientation tag says, which is logged once,
    and the axes of a volume with known directions are reordered to LPS; annotations refer to the stored
    pixels all the same, and ``img_from_original`` leads from there. A volume of depth one becomes an image.
    A header that claims more pixels than ``MMLANDMARK_MAX_PIXELS`` allows, or than the file can hold, is
    refused before memory is reserved. See ``docs/image_formats.md`` for details.

    Args:
        path: The file, or a folder of DICOM slices.
        min_size: (*S) in pixels, of the upright image. A JPEG is decoded at 1/2, 1/4 or 1/8 of its size as
            long as every side stays at least 1.5 times as long as this. None, and other formats, are read in
            full.
        fill_value: Replaces NaN and infinite pixels; None refuses an image that has any.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file is empty, broken, of an unknown format, or has pixels that are not finite, or
            slices make no volume; the message names it.
        ImportError: The package that reads this format is missing; the message names the pip extra.
    """
    path = Path(path)
    if path.is_dir():
        return _with_range(read_series(path, fill_value))
    if not path.is_file():
        raise FileNotFoundError(f"image {str(path)!r} does not exist")
    if path.stat().st_size == 0:
        raise ValueError(f"image {str(path)!r} is empty (0 bytes)")
    try:
        kind = file_format(path)
        check_size(path, kind)
        image = _read(path, kind, min_size, fill_value)
    except ImportError:
        raise
    except Exception as error:  # Every library raises its own errors; all mean that the file cannot be read.
        raise ValueError(f"image {str(path)!r} cannot be read: {reason_of(error)}") from error
    if 0 in image.array.shape:
        raise ValueError(f"image {str(path)!r} has no pixels, its shape is {image.array.shape}")
    image = _with_range(image)
    expected = SUFFIXES.get(suffix_of(path))
    if expected is not None and expected != kind:
        named = Remark("misnamed file", f"its suffix is {suffix_of(path)}, its content is {kind}")
        image = replace(image, remarks=(*image.remarks, named))
    for remark in image.remarks:
        _log_once(path, kind, remark)
    return image


def image_of_record(
    record: Mapping[str, Any], min_size: Sequence[int] | None = None, fill_value: float | None = None
) -> LoadedImage | None:
    """Return the image of a dataset's record: of its file, of a shard, or what the dataset has made.

    Args:
        record: As ``get_data_info`` of a dataset returns it.
        min_size: See :func:`read_image`.
        fill_value: See :func:`read_image`.

    Returns:
        The image as it is read, so of a volume with known directions its axes are reordered to LPS; None if
        the record has none.

    Raises:
        FileNotFoundError, ValueError, ImportError: See :func:`read_image`.
        UnavailableError: A shard is missing or altered.
    """
    if record.get("image_source") is not None:
        with record["image_source"].local() as file:
            return read_image(file, min_size, fill_value)
    if record.get("img") is not None:
        world = record.get("world_from_original")
        made = from_array(np.asarray(record["img"]), world_from_original=world, fill_value=fill_value)
        return to_canonical(made)
    return None if record.get("img_path") is None else read_image(record["img_path"], min_size, fill_value)


def _with_range(image: LoadedImage) -> LoadedImage:
    return replace(image, array=Pixels.of(image.array, image.value_range))


def _read(
    path: Path, kind: FileFormat, min_size: Sequence[int] | None, fill_value: float | None
) -> LoadedImage:
    if kind == "dicom":
        return read_dicom(path, fill_value)
    if kind == "nifti":
        return read_nifti(path, fill_value)
    if kind == "npy":
        return read_npy(path, fill_value)
    if kind in ("metaimage", "nrrd"):
        return read_sitk(path, "MetaImageIO" if kind == "metaimage" else "NrrdImageIO", fill_value)
    return read_raster(path, kind, min_size, fill_value)


def _log_once(path: Path, kind: str, remark: Remark) -> None:
    """Log a remark about a file, once for every format and kind of remark."""
    place = zlib.crc32(f"{kind} {remark.check}".encode()) % len(_LOGGED)
    if not _LOGGED[place]:
        _LOGGED[place] = 1
        print_log(
            f"image {str(path)!r}: {remark.message} (logged once; further {kind} files may be alike)",
            logger="current",
            level=logging.WARNING,
        )
