"""What the images of a test are: their number, their format, and a hash of their bytes."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmlandmark.datasets.image_files import image_parts
from mmlandmark.utils.files import file_hash

_MAGIC = (
    (b"\xff\xd8\xff", "JPEG"), (b"\x89PNG\r\n\x1a\n", "PNG"), (b"BM", "BMP"), (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"), (b"\x93NUMPY", "NumPy"), (b"ObjectType", "MetaImage"), (b"NRRD", "NRRD"),
)  # fmt: skip
# The luminance table of ISO/IEC 10918-1, annex K, in zigzag order: what libjpeg scales by its quality.
_LUMINANCE = (
    16, 11, 12, 14, 12, 10, 16, 14, 13, 14, 18, 17, 16, 19, 24, 40,
    26, 24, 22, 22, 24, 49, 35, 37, 29, 40, 58, 51, 61, 60, 57, 51,
    56, 55, 64, 72, 92, 78, 64, 68, 87, 69, 55, 56, 80, 109, 81, 87,
    95, 98, 103, 104, 103, 62, 77, 113, 121, 112, 100, 120, 92, 101, 103, 99,
)  # fmt: skip


def digest_images(files: Mapping[str, str | Path]) -> dict[str, Any]:
    """Return what the image files of some samples are, for a record of a test.

    Args:
        files: Sample id -> image file.

    Returns:
        ``files``, their number; ``formats``, how many there are of each; ``digest``, a hash of all bytes,
        which does not depend on where the files lie or in which order they are given.

    Raises:
        FileNotFoundError: A file does not exist.
    """
    digest, formats = hashlib.sha256(), Counter[str]()
    for name in sorted(files):
        path = Path(files[name])
        digest.update("".join(f"{name}\n{file_hash(part)}\n" for part in image_parts(path)).encode())
        formats["DICOM series" if path.is_dir() else image_format(path)] += 1
    return dict(files=len(files), formats=dict(sorted(formats.items())), digest=digest.hexdigest()[:16])


def image_format(path: str | Path) -> str:
    """Return the format of an image file by its content, of a JPEG also libjpeg's quality where it has one.

    A format without a signature at the start of the file is recognised by the suffix.

    Raises:
        FileNotFoundError: The file does not exist.
    """
    with Path(path).open("rb") as file:
        head = file.read(1 << 16)
    name = next((name for magic, name in _MAGIC if head.startswith(magic)), None)
    if name == "JPEG" and (quality := jpeg_quality(head)) is not None:
        return f"JPEG of quality {quality}"
    if name is None:
        name = "DICOM" if head[128:132] == b"DICM" else "".join(Path(path).suffixes[-2:]).lstrip(".")
    return name or "unknown"


def jpeg_quality(head: bytes) -> int | None:
    """Return the quality, 1 to 100, at which libjpeg wrote a file; None if its table is another.

    Args:
        head: The first bytes of the file, with its first quantisation table.
    """
    position = 2
    while position + 4 <= len(head) and head[position] == 0xFF:
        marker, length = head[position + 1], int.from_bytes(head[position + 2 : position + 4], "big")
        if marker == 0xDB:
            if head[position + 4] != 0:  # another table than the first, or one of 16 bits
                return None
            table = tuple(head[position + 5 : position + 69])
            return next((q for q in range(1, 101) if _scaled(q) == table), None)
        position += 2 + length
    return None


def _scaled(quality: int) -> tuple[int, ...]:
    """Return libjpeg's luminance table of a quality."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return tuple(min(max((value * scale + 50) // 100, 1), 255) for value in _LUMINANCE)
