"""MetaImage, NRRD, NIfTI and npy: pixels, frame, and headers without the pixels."""

from __future__ import annotations

import gzip
import importlib
import re
import struct
import zlib
from pathlib import Path
from types import ModuleType
from typing import BinaryIO

import numpy as np

from mmlandmark.datasets.readers.loaded_image import (
    LoadedImage,
    Remark,
    from_array,
    range_of_bits,
    spatial_shape,
    to_canonical,
    white_bits,
)
from mmlandmark.structures import is_frame, swap_lps_ras, world_matrix

_UNITS = {"meter": 1000.0, "micron": 0.001}  # in mm; an unknown unit counts as mm


def need(module: str, path: Path, extra: str = "medical") -> ModuleType:
    """Return an optional package; ImportError names the file that needs it and the pip extra."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"reading {str(path)!r} needs {module.split('.')[0]}: pip install 'mmlandmark[{extra}]'"
        ) from error


# ---- MetaImage and NRRD -----------------------------------------------------------------------------


def read_sitk(path: Path, io: str, fill_value: float | None) -> LoadedImage:
    """Read a MetaImage or NRRD by SimpleITK's ``io``, whatever the suffix of the file."""
    sitk = need("SimpleITK", path)
    if io == "MetaImageIO":
        _check_metaimage_data(path)
    reader = sitk.ImageFileReader()
    reader.SetImageIO(io)
    reader.SetFileName(str(path))
    image = reader.Execute()
    array, dims = sitk.GetArrayFromImage(image), image.GetDimension()
    world = None
    if dims in (2, 3):
        world = world_matrix(image.GetSpacing(), image.GetOrigin(), image.GetDirection())
    while dims > 3 and array.shape[0] == 1:
        array, dims = array[0], dims - 1
    return to_canonical(from_array(array, dims=dims, world_from_original=world, fill_value=fill_value))


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


def _check_metaimage_data(path: Path) -> None:
    """Raise ValueError if compressed pixels do not unpack: ITK prints a line, and hands on what it has."""
    with path.open("rb") as file:
        keys, start = read_metaimage_header(file)
    if keys.get("CompressedData", "").lower() not in ("true", "1"):
        return
    name = keys["ElementDataFile"]
    local = name.upper() == "LOCAL"
    data = path if local else path.parent / name
    if not data.is_file():
        return  # a list or pattern of files, or one that ITK misses itself
    stream = zlib.decompressobj(wbits=47)  # zlib or gzip, as the data says
    try:
        with data.open("rb") as file:
            file.seek(start if local else 0)
            while not stream.eof and (block := file.read(1 << 20)):
                stream.decompress(block)
    except zlib.error as error:
        raise ValueError(f"its compressed pixels are damaged ({error})") from error
    if not stream.eof:
        raise ValueError("its compressed pixels are cut off")


def metaimage_shape(file: BinaryIO) -> tuple[int, ...]:
    """Return the (*S) of a MetaImage."""
    keys, _ = read_metaimage_header(file)
    shape = [int(n) for n in keys["DimSize"].split()][::-1]
    while len(shape) > 3 and shape[0] == 1:
        shape = shape[1:]
    return spatial_shape(shape, len(shape))


def nrrd_shape(file: BinaryIO) -> tuple[int, ...]:
    """Return the (*S) of a NRRD.

    Raises:
        KeyError: Its header does not say.
    """
    fields = {}
    for _ in range(1024):
        line = file.readline(65536).decode("latin-1").strip()
        if not line:
            break
        match = re.fullmatch(r"([^#:=]+):\s+(.*)", line)
        if match:
            fields[match[1].strip().lower()] = match[2]
    sizes = [int(n) for n in fields["sizes"].split()]
    kinds = fields.get("kinds", "").split() or ["domain"] * len(sizes)
    space = ("domain", "space", "none", "???")
    shape = [n for n, kind in zip(sizes, kinds, strict=True) if kind.lower() in space][::-1]
    return spatial_shape(shape, len(shape))


# ---- NIfTI ------------------------------------------------------------------------------------------


def read_nifti(path: Path, fill_value: float | None) -> LoadedImage:
    """Read a NIfTI-1 or NIfTI-2 file, plain or gzipped."""
    nibabel = need("nibabel", path)
    data = path.read_bytes()
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)  # in full, so that its checksum is compared
    two = 540 in (struct.unpack("<i", data[:4])[0], struct.unpack(">i", data[:4])[0])
    image = (nibabel.Nifti2Image if two else nibabel.Nifti1Image).from_bytes(data)
    array = np.asanyarray(image.dataobj)
    while array.ndim > 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim not in (2, 3):
        raise ValueError(f"one volume of three dimensions is needed, the shape is {array.shape}")
    dims, bits = array.ndim, white_bits(image.get_data_dtype())
    world, remarks = _nifti_world(image, dims)
    found = from_array(
        array.transpose(),
        dims=dims,
        world_from_original=world,
        value_range=None if bits is None else range_of_bits(bits, image.dataobj.slope, image.dataobj.inter),
        bits=bits,
        fill_value=fill_value,
        remarks=remarks,
    )
    return found if remarks else to_canonical(found)


def _nifti_world(image, dims: int) -> tuple[np.ndarray | None, list[Remark]]:
    """Return the (D+1, D+1) matrix to mm in LPS, or one of spacing alone if the file has no directions."""
    header = image.header
    scale = _UNITS.get(header.get_xyzt_units()[0], 1.0)
    spacing = np.abs(np.array([*header.get_zooms(), 1.0, 1.0][:dims], dtype=np.float64)) * scale
    known = int(header["sform_code"]) > 0 or int(header["qform_code"]) > 0
    affine = None if image.affine is None else np.diag([scale, scale, scale, 1.0]) @ image.affine
    if dims == 3 and known and affine is not None and is_frame(affine):
        return swap_lps_ras(affine), []
    plain = world_matrix(spacing) if (spacing > 0).all() and np.isfinite(spacing).all() else None
    if dims == 2:
        return plain, []
    what = "is not invertible" if known else "is not stated (qform_code and sform_code are 0)"
    return plain, [Remark("no directions", f"its orientation {what}: axes stay as they are stored")]


def nifti_shape(file: BinaryIO) -> tuple[int, ...]:
    """Return the (*S) of a NIfTI file in the order in which it is stored."""
    head = file.read(2)
    head += file.read(4096)
    if head[:2] == b"\x1f\x8b":
        head = zlib.decompressobj(wbits=31).decompress(head, 4096)
    order = "<" if struct.unpack("<i", head[:4])[0] in (348, 540) else ">"
    if struct.unpack(order + "i", head[:4])[0] == 540:
        dim = struct.unpack(order + "8q", head[16:80])
    else:
        dim = struct.unpack(order + "8h", head[40:56])
    shape = list(dim[1 : dim[0] + 1])
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    return spatial_shape(shape[::-1], len(shape))


# ---- npy --------------------------------------------------------------------------------------------


def read_npy(path: Path, fill_value: float | None) -> LoadedImage:
    """Read a NumPy array."""
    return from_array(np.load(path, allow_pickle=False), fill_value=fill_value)


def npy_shape(file: BinaryIO) -> tuple[int, ...]:
    """Return the (*S) of a NumPy array."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return spatial_shape(read(file)[0])
