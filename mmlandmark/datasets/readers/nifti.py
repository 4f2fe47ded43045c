"""NIfTI: pixels, frame, and the header without the pixels."""

from __future__ import annotations

import math
import struct
import zlib
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from mmlandmark.datasets.readers.claimed_size import SMALL
from mmlandmark.datasets.readers.loaded_image import (
    LoadedImage,
    Remark,
    Stored,
    from_array,
    range_of_bits,
    rescaled,
    spatial_shape,
    to_canonical,
    white_bits,
)
from mmlandmark.datasets.readers.volume import need
from mmlandmark.structures import first_slice, is_frame, swap_lps_ras, world_matrix
from mmlandmark.utils.bounded_reading import gunzip

_UNITS = {"meter": 1000.0, "micron": 0.001}  # in mm; unknown units count as mm
# What a volume of spacing alone counts as; ITK, and so 3D Slicer, take it for the same.
UNSTATED = (
    "states no orientation (sform_code and qform_code are 0), so its axes count as left, back and head (LPS) "
    "from a first voxel at 0 mm, as in ITK"
)
_TYPES = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 128: "u1", 256: "i1", 512: "u2", 768: "u4", 1024: "i8",
    1280: "u8", 2304: "u1",
}  # fmt: skip


def read_nifti(path: Path, fill_value: float | None) -> LoadedImage:
    """Read a NIfTI-1 or NIfTI-2 file, plain or gzipped."""
    nibabel = need("nibabel", path)
    data = path.read_bytes()
    if data[:2] == b"\x1f\x8b":
        data = gunzip(data, _claimed_bytes(path))  # in full, so that its checksum is verified
    if data[344:348] == b"ni1\0" or data[4:8] == b"ni2\0":
        raise ValueError("it is the header of a pair .hdr and .img: store both as one .nii")
    two = 540 in (struct.unpack("<i", data[:4])[0], struct.unpack(">i", data[:4])[0])
    image = (nibabel.Nifti2Image if two else nibabel.Nifti1Image).from_bytes(data)
    slope, intercept = float(image.dataobj.slope), float(image.dataobj.inter)
    array = rescaled(np.asanyarray(image.dataobj.get_unscaled()), slope, intercept)
    while array.ndim > 2 and array.shape[-1] == 1:
        array = array[..., 0]
    spatial_shape(array.shape[::-1], array.ndim)  # before anything is made of four dimensions
    dims, bits = array.ndim, white_bits(image.get_data_dtype())
    world, remarks = _nifti_world(image.header, dims)
    loaded = from_array(
        array.transpose(),
        dims=dims,
        world_from_original=world,
        value_range=None if bits is None else range_of_bits(bits, slope, intercept),
        bits=bits,
        fill_value=fill_value,
        remarks=remarks,
    )
    return loaded if remarks else to_canonical(loaded)


def _nifti_world(header: Any, dims: int) -> tuple[np.ndarray | None, list[Remark]]:
    """Return the (4, D+1) matrix to mm in LPS, or one of spacing alone if the file has no directions."""
    scale = _UNITS.get(header.get_xyzt_units()[0], 1.0)
    spacing = np.abs(np.array([*header.get_zooms(), 1.0, 1.0][:dims], dtype=np.float64)) * scale
    known = int(header["sform_code"]) > 0 or int(header["qform_code"]) > 0
    affine = np.diag([scale, scale, scale, 1.0]) @ header.get_best_affine()
    if known and is_frame(affine):
        return swap_lps_ras(affine if dims == 3 else first_slice(affine)), []
    plain = world_matrix(spacing) if (spacing > 0).all() and np.isfinite(spacing).all() else None
    if dims == 2:
        return plain, []
    if known:
        message = "its orientation is not invertible: the volume counts as one without spacing"
        return None, [Remark("malformed spacing", message)]
    return plain, [Remark("no directions", f"it {UNSTATED}")]


def nifti_frame(path: Path) -> tuple[np.ndarray | None, str]:
    """Return the matrix to mm of a NIfTI file from its header, and what it takes for granted.

    The matrix is None if the file does not define one.
    """
    nibabel = need("nibabel", path)
    with path.open("rb") as file:
        shape = nifti_header(file).shape
        file.seek(0)
        head = _nifti_head(file)
    two = 540 in (struct.unpack("<i", head[:4])[0], struct.unpack(">i", head[:4])[0])
    kind = nibabel.Nifti2Header if two else nibabel.Nifti1Header
    world, remarks = _nifti_world(kind(head[: kind.sizeof_hdr]), len(shape))
    return world, UNSTATED if any(remark.check == "no directions" for remark in remarks) else ""


class _Fields(NamedTuple):
    """Entries of a header: sizes, code of the type, bits of a value, and where the voxels begin."""

    dim: tuple[int, ...]
    code: int
    bits: int
    start: int


def _fields(head: bytes) -> _Fields:
    order = "<" if struct.unpack("<i", head[:4])[0] in (348, 540) else ">"
    two = struct.unpack(order + "i", head[:4])[0] == 540
    count, *dim = struct.unpack(order + ("8q" if two else "8h"), head[16:80] if two else head[40:56])
    code, bits = struct.unpack_from(order + "2h", head, 12 if two else 70)
    start = struct.unpack_from(order + ("q" if two else "f"), head, 168 if two else 108)[0]
    return _Fields(tuple(dim[:count]), code, max(bits, 0), int(start) if 0 < start < SMALL else 0)


def _claimed_bytes(path: Path) -> int:
    """Return how many bytes a NIfTI file has at most by its header; what else lies in it is small."""
    with path.open("rb") as file:
        head = _nifti_head(file)
    fields = _fields(head)
    return math.prod(max(side, 1) for side in fields.dim) * (fields.bits // 8 + 1) + fields.start + SMALL


def _nifti_head(file: BinaryIO) -> bytes:
    """Return the first bytes of a NIfTI file, plain or gzipped."""
    head = file.read(4098)
    return zlib.decompressobj(wbits=31).decompress(head, 4096) if head[:2] == b"\x1f\x8b" else head


def nifti_header(file: BinaryIO) -> Stored:
    """Return size, in the order in which it is stored, and type of a NIfTI file."""
    fields = _fields(_nifti_head(file))
    shape, code = list(fields.dim), _TYPES.get(fields.code)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    return Stored(spatial_shape(shape[::-1], len(shape)), None if code is None else np.dtype(code))
