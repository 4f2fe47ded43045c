"""TIFF files whose pages are the slices of one volume, with the spacing that ImageJ and OME write."""

from __future__ import annotations

import mmap
import re
import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np

from mmlandmark.datasets.readers.loaded_image import LoadedImage, Stored, UnsupportedShape, from_array
from mmlandmark.datasets.readers.raster_headers import (
    ORIENTATION,
    PHOTOMETRIC,
    TiffBytes,
    TiffField,
    tiff_dtype,
    tiff_pages,
    tiff_values,
)
from mmlandmark.structures import world_matrix

_KIND, _WIDTH, _HEIGHT, _BITS, _SAMPLES, _FORMAT = 254, 256, 257, 258, 277, 339
_PLANES = 284
_DESCRIPTION, _X_RESOLUTION, _Y_RESOLUTION = 270, 282, 283
_MM = {
    "mm": 1.0, "millimeter": 1.0, "millimetre": 1.0, "cm": 10.0, "m": 1000.0, "inch": 25.4, "in": 25.4,
    "nm": 1e-6, "um": 1e-3, "micron": 1e-3, "microns": 1e-3, "micrometer": 1e-3, "\u00b5m": 1e-3,
    "\u03bcm": 1e-3, "\\u00b5m": 1e-3,
}  # fmt: skip

Pages = Sequence[dict[int, TiffField]]


def tiff_header(file: BinaryIO) -> Stored:
    """Return size, as stored, and type of a TIFF: of the volume of its pages, or of its first page.

    Raises:
        UnsupportedShape: It holds several volumes.
        ValueError: It is no TIFF.
    """
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:  # directories may be anywhere
        pages = list(tiff_pages(data))
        if not pages or not {_WIDTH, _HEIGHT} <= set(pages[0]):
            raise ValueError("its first page states no width and height")
        shape = stack_shape(data, pages) or (pages[0][_HEIGHT].value, pages[0][_WIDTH].value)
        return Stored(shape, tiff_dtype(pages[0]))


def tiff_frame(path: Path) -> np.ndarray | None:
    """Return the matrix to mm of a TIFF whose pages are a volume, None if it does not state all spacings."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        pages = list(tiff_pages(data))
        return _world(data) if stack_shape(data, pages) else None


def stack_shape(data: TiffBytes, pages: Pages) -> tuple[int, ...] | None:
    """Return the (depth, height, width) of pages that are slices: several, all of one size and type.

    Previews and pages of other sizes make no volume: then the first page is the image.

    Raises:
        UnsupportedShape: ImageJ or OME state more than one channel or time, or slices without a page.
    """

    def looks(page: dict[int, TiffField]) -> tuple:
        return tuple(
            page[tag].value if tag in page else None for tag in (_WIDTH, _HEIGHT, _BITS, _SAMPLES, _FORMAT)
        )

    stated = _imagej(data)
    count = int(stated.get("images", 1))
    if count > 1 and len(pages) == 1:
        raise UnsupportedShape(
            f"ImageJ wrote {count} slices behind one page, as it does above 4 GB: save the stack as NRRD"
        )
    kinds = [page[_KIND].value if _KIND in page else 0 for page in pages]
    if len(pages) < 2 or any(kind & 1 for kind in kinds) or len({looks(page) for page in pages}) > 1:
        return None
    several = {name: float(stated.get(name, 1)) for name in ("channels", "frames")}
    several |= {
        name: _ome_number(data, size, 1) for name, size in (("channels ", "SizeC"), ("times", "SizeT"))
    }
    for name, number in several.items():
        if number > 1:
            raise UnsupportedShape(f"the TIFF holds {number:.0f} {name}: store one volume in a file")
    return len(pages), pages[0][_HEIGHT].value, pages[0][_WIDTH].value


def read_stack(data: bytes, pages: Pages, fill_value: float | None) -> LoadedImage:
    """Read the volume of a TIFF whose pages are slices.

    Raises:
        ValueError: A page cannot be decoded, or has an orientation tag.
    """
    plain = bytearray(data)
    check_planes(pages[0])
    for page in pages:
        if ORIENTATION in page and page[ORIENTATION].value != 1:
            raise ValueError(
                f"its slices have the orientation tag {page[ORIENTATION].value}: store them upright"
            )
        if PHOTOMETRIC in page and page[PHOTOMETRIC].value == 0:  # which OpenCV inverts at 8 bits only
            struct.pack_into(page[PHOTOMETRIC].code, plain, page[PHOTOMETRIC].offset, 1)
    found, slices = cv2.imdecodemulti(np.frombuffer(plain, np.uint8), cv2.IMREAD_UNCHANGED)
    if not found or len(slices) != len(pages):
        raise ValueError(f"{len(slices) if found else 0} of its {len(pages)} pages can be read")
    array = np.stack(slices)
    if array.ndim == 4:
        array = array[..., 2::-1]  # OpenCV's order of channels
    if PHOTOMETRIC in pages[0] and pages[0][PHOTOMETRIC].value == 0:
        array = np.iinfo(str(array.dtype)).max - array if array.dtype.kind in "iu" else 1 - array
    return from_array(array, dims=3, world_from_original=_world(data), fill_value=fill_value)


def check_planes(fields: dict[int, TiffField]) -> None:
    """Refuse colours one plane after the other, which OpenCV reads right at 8 bits only.

    Raises:
        ValueError: They have other bits.
    """
    planes, samples, bits = (fields[tag].value if tag in fields else 1 for tag in (_PLANES, _SAMPLES, _BITS))
    if planes == 2 and samples > 1 and bits != 8:
        raise ValueError(
            f"its {samples} colours of {bits} bits are stored one after the other (PlanarConfiguration 2): "
            "store them pixel by pixel"
        )


def _world(data: TiffBytes) -> np.ndarray | None:
    """Return the (4, 4) matrix of the spacings of a volume; a TIFF states no directions."""
    spacing = _ome_spacing(data) or _imagej_spacing(data)
    if spacing is None or not all(np.isfinite(s) and s > 0 for s in spacing):
        return None
    return world_matrix(spacing)


def _description(data: TiffBytes) -> str:
    text = tiff_values(data, _DESCRIPTION)
    return text if isinstance(text, str) else ""


def _imagej(data: TiffBytes) -> dict[str, str]:
    """Return what ImageJ states about a stack; empty for files of other programs."""
    text = _description(data)
    if not text.startswith("ImageJ="):
        return {}
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line)
    return {name.strip(): value.strip() for name, value in pairs}


def _imagej_spacing(data: TiffBytes) -> tuple[float, ...] | None:
    """Return the mm per voxel that ImageJ states: pixels per unit in x and y, and units per slice."""
    stated = _imagej(data)
    factor = _MM.get(stated.get("unit", "").lower())
    if factor is None or "spacing" not in stated:
        return None
    in_plane = [tiff_values(data, tag) for tag in (_X_RESOLUTION, _Y_RESOLUTION)]
    try:
        steps = [factor / float(value) for value in in_plane if isinstance(value, Fraction) and value > 0]
        steps.append(factor * float(stated["spacing"]))
    except ValueError:
        return None
    return tuple(steps) if len(steps) == 3 else None


def _ome_number(data: TiffBytes, name: str, default: float) -> float:
    match = re.search(rf'<(?:\w+:)?Pixels\b[^>]*\b{name}="([^"]*)"', _description(data))
    try:
        return float(match[1]) if match else default
    except ValueError:
        return default


def _ome_spacing(data: TiffBytes) -> tuple[float, ...] | None:
    """Return the mm per voxel that OME states; its unit is the micrometre if it names none."""
    text = _description(data)
    steps = []
    for axis in "XYZ":
        unit = re.search(rf'\bPhysicalSize{axis}Unit="([^"]*)"', text)
        factor = _MM.get(unit[1].lower() if unit else "um")
        if factor is None:
            return None
        steps.append(factor * _ome_number(data, f"PhysicalSize{axis}", np.nan))
    return tuple(steps) if np.isfinite(steps).all() else None
