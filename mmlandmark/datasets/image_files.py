"""Finding images in folders, and their size without decoding them."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from mmlandmark.datasets.image_io import jpeg_shape, read_image

# In the order in which they are preferred when one image lies there in several formats.
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


def index_images(folder: str | Path) -> dict[str, str]:
    """Return the images anywhere below ``folder`` as {stem: path}; lossless formats come before JPEG."""
    found: dict[str, str] = {}
    for root, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            suffix = image_suffix(name)
            if not suffix or name.startswith("."):
                continue
            stem = image_stem(name)
            other = found.get(stem)
            if other is None or _rank(suffix) < _rank(image_suffix(other)):
                found[stem] = os.path.join(root, name)
    return found


def _rank(suffix: str) -> int:
    return IMAGE_SUFFIXES.index(suffix)


def child_ignoring_case(folder: str | Path, *names: str) -> Path | None:
    """Return the entry of ``folder`` called like one of ``names``, whatever its case, or None."""
    wanted = {name.lower() for name in names}
    if not Path(folder).is_dir():
        return None
    return next((p for p in sorted(Path(folder).iterdir()) if p.name.lower() in wanted), None)


def image_shape(path: str | Path) -> tuple[int, ...]:
    """Return the size (*S) of an image, in array order, from its header.

    PNG, JPEG, BMP and MetaImage headers are read; any other format is decoded. The Exif orientation of a
    JPEG is not applied. A leading axis of length one of a MetaImage (a flat volume) is dropped.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The header is broken.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"image {str(path)!r} does not exist")
    reader = _HEADERS.get(path.suffix.lower())
    if reader is None:
        return read_image(path).ori_shape
    try:
        with path.open("rb") as file:
            shape = reader(file)
    except (struct.error, KeyError, ValueError) as error:
        raise ValueError(f"{path}: the header of this {path.suffix} file is broken ({error})") from error
    if not shape or min(shape) <= 0:
        raise ValueError(f"{path}: the header of this {path.suffix} file says {shape}")
    return shape


def _png_shape(file: BinaryIO) -> tuple[int, ...]:
    head = file.read(24)
    if head[:8] != b"\x89PNG\r\n\x1a\n":
        raise ValueError("not a PNG")
    width, height = struct.unpack(">II", head[16:24])
    return height, width


def _bmp_shape(file: BinaryIO) -> tuple[int, ...]:
    head = file.read(26)
    if head[:2] != b"BM":
        raise ValueError("not a BMP")
    width, height = struct.unpack("<ii", head[18:26])
    return abs(height), width  # a negative height marks rows stored from the top


def _jpeg_shape(file: BinaryIO) -> tuple[int, ...]:
    data = file.read(1 << 17)
    if data[:2] != b"\xff\xd8":
        raise ValueError("not a JPEG")
    # Rarely, long comments or a preview picture come before the frame.
    header = jpeg_shape(data) or jpeg_shape(data + file.read())
    if header is None:
        raise ValueError("no frame")
    return header[:2]


def read_metaimage_header(file: BinaryIO) -> tuple[dict[str, str], int]:
    """Return the keys of a MetaImage header and the offset at which local data begins.

    Raises:
        ValueError: The file is not a MetaImage.
    """
    keys: dict[str, str] = {}
    for _ in range(256):
        line = file.readline(65536).decode("latin-1")
        name, separator, value = line.partition("=")
        if not separator:
            break
        keys[name.strip()] = value.strip()
        if name.strip() == "ElementDataFile":
            return keys, file.tell()
    raise ValueError("not a MetaImage: no ElementDataFile")


def _metaimage_shape(file: BinaryIO) -> tuple[int, ...]:
    keys, _ = read_metaimage_header(file)
    shape = tuple(int(n) for n in keys["DimSize"].split())[::-1]
    return shape[1:] if len(shape) == 3 and shape[0] == 1 else shape


_HEADERS: dict[str, Callable[[BinaryIO], tuple[int, ...]]] = {
    ".png": _png_shape,
    ".bmp": _bmp_shape,
    ".jpg": _jpeg_shape,
    ".jpeg": _jpeg_shape,
    ".mha": _metaimage_shape,
    ".mhd": _metaimage_shape,
}
