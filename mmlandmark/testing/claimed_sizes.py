"""Headers that claim huge sizes: nothing is read, and no memory is asked for, in any format.

A valid file of each format of :mod:`.fuzz_images` gets other sizes in its header, at random, as large as the
format can say.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mmlandmark.testing.fuzz import Job, Plan
from mmlandmark.testing.fuzz_case import Input
from mmlandmark.testing.fuzz_images import image_cases
from mmlandmark.testing.mutations import gunzipped, gzipped, with_png_checksums

MEMORY = 1 << 28  # bytes that reading such a file may take
_SMALLEST = 10_000  # of a side: more than a file of some kilobytes may claim
_FULL = 100_000


def _packed(data: bytes, at: int, fmt: str, *numbers: int) -> bytes:
    changed = bytearray(data)
    struct.pack_into(fmt, changed, at, *numbers)
    return bytes(changed)


def _replaced(data: bytes, old: bytes, new: bytes) -> bytes:
    if data.count(old) != 1:
        raise ValueError(f"{old!r} is {data.count(old)} times in a file that should have it once")
    return data.replace(old, new)


def _png(data: bytes, height: int, width: int) -> bytes:
    return with_png_checksums(_packed(data, 16, ">II", width, height))


def _jpeg(data: bytes, height: int, width: int) -> bytes:
    return _packed(data, data.index(b"\xff\xc0") + 5, ">HH", height, width)


def _bmp(data: bytes, height: int, width: int) -> bytes:
    return _packed(data, 18, "<ii", width, height)


def _tiff(data: bytes, height: int, width: int) -> bytes:
    at: int = struct.unpack_from("<I", data, 4)[0]
    for entry in range(at + 2, at + 2 + 12 * struct.unpack_from("<H", data, at)[0], 12):
        tag = struct.unpack_from("<H", data, entry)[0]
        if tag in (256, 257):
            data = _packed(data, entry + 2, "<HII", 4, 1, width if tag == 256 else height)
    return data


def _pnm(data: bytes, height: int, width: int) -> bytes:
    return _replaced(data, b"\n36 32\n", b"\n%d %d\n" % (width, height))


def _webp(data: bytes, height: int, width: int) -> bytes:
    if data[12:16] == b"VP8 ":
        return _packed(data, 26, "<HH", width, height)
    bits = struct.unpack_from("<I", data, 21)[0] & ~(2**28 - 1)
    return _packed(data, 21, "<I", bits | (height - 1) << 14 | (width - 1))


def _npy(data: bytes, height: int, width: int) -> bytes:
    old = re.search(rb"\(4, 6, 5\), \} *", data)
    assert old is not None
    return _replaced(data, old[0], (b"(4, %d, %d), }" % (height, width)).ljust(len(old[0])))


def _metaimage(data: bytes, height: int, width: int) -> bytes:
    return _replaced(data, b"DimSize = 5 6 4", b"DimSize = %d %d 4" % (width, height))


def _nrrd(data: bytes, height: int, width: int) -> bytes:
    return _replaced(data, b"sizes: 5 6 4", b"sizes: %d %d 4" % (width, height))


def _nifti(data: bytes, height: int, width: int) -> bytes:
    return _packed(data, 42, "<2h", width, height)


def _nifti_gz(data: bytes, height: int, width: int) -> bytes:
    return gzipped(_nifti(gunzipped(data), height, width))


def _dicom(data: bytes, height: int, width: int) -> bytes:
    for tag, number in ((b"\x28\x00\x10\x00US\x02\x00", height), (b"\x28\x00\x11\x00US\x02\x00", width)):
        data = _packed(data, data.index(tag) + len(tag), "<H", number)
    return data


# Format -> how its header is changed, and the largest side that it can say, at most 100,000.
CLAIMS: dict[str, tuple[Callable[[bytes, int, int], bytes], int]] = {
    "PNG": (_png, _FULL), "JPEG": (_jpeg, 65_500), "BMP": (_bmp, _FULL), "TIFF": (_tiff, _FULL),
    "PGM": (_pnm, _FULL), "PPM": (_pnm, _FULL), "WebP": (_webp, 16_383), "npy": (_npy, _FULL),
    "MHA": (_metaimage, _FULL), "MHD": (_metaimage, _FULL), "NRRD": (_nrrd, _FULL), "NIfTI": (_nifti, 32_767),
    "NIfTI.gz": (_nifti_gz, 32_767), "DICOM": (_dicom, 65_535),
}  # fmt: skip


class ClaimPlan(Plan):
    """Files whose headers claim sizes at random, for :func:`~mmlandmark.testing.fuzz.run`.

    Args:
        root: Folder of all files.
        seed: Of the sizes.
    """

    def __init__(self, root: Path, seed: int) -> None:
        # A slice that differs from the others of its series is refused for that.
        super().__init__([case for case in image_cases(root) if case.name != "series"], root, seed)

    def input(self, job: Job) -> Input:
        """Return a file with another size in its header."""
        change, most = CLAIMS[self.cases[job.case].format]
        rng = np.random.default_rng((self.seed, *job))
        height, width = (int(side) for side in rng.integers(_SMALLEST, most, 2, endpoint=True))
        return Input(change(self.contents[job.case], height, width), (f"{height} x {width}",))
