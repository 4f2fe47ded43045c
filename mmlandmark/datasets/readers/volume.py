"""MetaImage, NRRD and npy: pixels, frame, and headers without the pixels."""

from __future__ import annotations

import importlib
import re
import tempfile
import zlib
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

import numpy as np

from mmlandmark.datasets.readers.claimed_size import check_claim
from mmlandmark.datasets.readers.loaded_image import (
    LoadedImage,
    Remark,
    Stored,
    from_array,
    spatial_shape,
    to_canonical,
)
from mmlandmark.datasets.readers.nrrd_axes import check_axes
from mmlandmark.datasets.readers.pixel_files import check_data_files, named_files
from mmlandmark.structures import is_frame, world_matrix
from mmlandmark.utils.bounded_reading import BoundedFile

# Types of values in headers: those of MetaImage, and of NRRD by the words that it allows for them.
_ELEMENT_TYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4",
    "MET_UINT": "u4", "MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4", "MET_DOUBLE": "f8",
}  # fmt: skip
_LONGEST_FIELD = 500  # characters of a line of a NRRD that is no comment, no content and no key of its own
_NRRD_TYPES = {
    **dict.fromkeys(("signed char", "int8", "int8_t"), "i1"),
    **dict.fromkeys(("uchar", "unsigned char", "uint8", "uint8_t"), "u1"),
    **dict.fromkeys(("short", "short int", "signed short", "signed short int", "int16", "int16_t"), "i2"),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"), "u2"),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t"), "i4"),
    **dict.fromkeys(("uint", "unsigned int", "uint32", "uint32_t"), "u4"),
    **dict.fromkeys(
        ("longlong", "long long", "long long int", "signed long long", "signed long long int"), "i8"
    ),
    **dict.fromkeys(("int64", "int64_t"), "i8"),
    **dict.fromkeys(
        ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"), "u8"
    ),
    "float": "f4",
    "double": "f8",
}


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
    """Read a MetaImage or NRRD by SimpleITK's ``io``, whatever the suffix of the file.

    Raises:
        ValueError: Its header names a file of pixels outside of its folder, or its pixels are damaged.
    """
    sitk = need("SimpleITK", path)
    stated, bad = _checked_header(path, io)
    with tempfile.TemporaryDirectory(prefix="mmlandmark_") as folder:
        source = path
        if io == "MetaImageIO":
            _check_metaimage_data(path)
            source = _without_frame(path, Path(folder)) if bad else path
        reader = _sitk_reader(sitk, source, io)
        image = reader.Execute()
    array, dims = sitk.GetArrayFromImage(image), image.GetDimension()
    world = _sitk_world(image) if stated and not bad else None
    remarks = []
    if bad:
        remarks = [Remark("malformed spacing", f"{bad}: the image counts as one without spacing")]
    while dims > 3 and array.shape[0] == 1:
        array, dims = array[0], dims - 1
    loaded = from_array(array, dims=dims, world_from_original=world, fill_value=fill_value, remarks=remarks)
    return to_canonical(loaded)


def sitk_frame(path: Path, io: str) -> np.ndarray | None:
    """Return the matrix to mm of a MetaImage or NRRD from its header; None if it does not define one."""
    sitk = need("SimpleITK", path)
    stated, bad = _checked_header(path, io)
    if bad or not stated:
        return None
    reader = _sitk_reader(sitk, path, io)
    reader.ReadImageInformation()
    return _sitk_world(reader)


def _checked_header(path: Path, io: str) -> tuple[bool, str]:
    """Return whether the header states a spacing, and the error in its frame, if any."""
    with path.open("rb") as file:
        keys = read_metaimage_header(file)[0] if io == "MetaImageIO" else _nrrd_fields(file)
        if io == "MetaImageIO":
            _check_dims(keys)
        else:
            check_axes(keys)
        check_data_files(keys.get("ElementDataFile", keys.get("data file", "LOCAL")), file)
    return _metaimage_frame(keys) if io == "MetaImageIO" else _nrrd_frame(keys)


def _check_dims(keys: dict[str, str]) -> None:
    """Refuse a MetaImage whose number of dimensions is not that of its sizes; ITK would end the process."""
    dims, sizes = keys.get("NDims", ""), keys.get("DimSize", "")
    if not re.fullmatch("[1-9]", dims) or len(sizes.split()) != int(dims):
        raise ValueError(f"its NDims {dims!r} is not the number of its sizes, DimSize {sizes!r}")


def _sitk_reader(sitk: ModuleType, path: Path, io: str) -> Any:
    reader = sitk.ImageFileReader()
    reader.SetImageIO(io)
    reader.SetFileName(str(path))
    return reader


def _sitk_world(image: Any) -> np.ndarray | None:
    """Return the matrix of an image, or of a reader that knows its header."""
    if image.GetDimension() not in (2, 3):
        return None
    return world_matrix(image.GetSpacing(), image.GetOrigin(), image.GetDirection())


def _numbers(text: str) -> np.ndarray:
    """Return the numbers of a header entry; NaN if it is malformed."""
    try:
        return np.array([float(word) for word in re.split(r"[\s(),]+", text) if word])
    except ValueError:
        return np.array([np.nan])


def _metaimage_frame(keys: dict[str, str]) -> tuple[bool, str]:
    """Return whether a MetaImage states its spacing, and the error in its frame, if any."""
    name = next((n for n in ("ElementSpacing", "ElementSize") if n in keys), None)
    spacing = _numbers(keys[name]) if name else np.ones(1)
    if not (np.isfinite(spacing) & (spacing != 0)).all():
        return True, f"its {name} {keys[name or '']!r} is malformed"
    for entry in ("TransformMatrix", "Rotation", "Orientation"):
        if entry in keys:
            matrix = _numbers(keys[entry])
            side = round(len(matrix) ** 0.5)
            frame = np.eye(side + 1)
            if side * side == len(matrix):
                frame[:side, :side] = matrix.reshape(side, side)
            if side * side != len(matrix) or not is_frame(frame):
                return True, f"its {entry} {keys[entry]!r} is malformed"
    return "ElementSpacing" in keys or "ElementSize" in keys, ""


def _nrrd_frame(fields: dict[str, str]) -> tuple[bool, str]:
    """Return whether a NRRD states its spacing, and an error in it that ITK accepts, if any."""
    if "spacings" in fields:
        spacing = _numbers(fields["spacings"])
        # A colour axis has no spacing.
        sides = [s for s, kind in zip(spacing, _nrrd_kinds(fields, len(spacing)), strict=True) if kind]
        return True, "" if np.isfinite(sides).all() else f"its spacings {fields['spacings']!r} are malformed"
    return "space directions" in fields, ""


def _without_frame(path: Path, folder: Path) -> Path:
    """Write a MetaImage into ``folder`` without the entries of its frame, which ITK refuses."""
    with path.open("rb") as file:
        keys, start = read_metaimage_header(file)
        file.seek(start)
        frame = ("ElementSpacing", "ElementSize", "TransformMatrix", "Rotation", "Orientation", "Offset")
        if keys["ElementDataFile"].upper() != "LOCAL":
            keys["ElementDataFile"] = str(path.parent.resolve() / keys["ElementDataFile"])
        header = "".join(f"{key} = {value}\n" for key, value in keys.items() if key not in frame)
        copy = folder / f"image{'.mha' if keys['ElementDataFile'].upper() == 'LOCAL' else '.mhd'}"
        copy.write_bytes(header.encode("latin-1") + file.read())
    return copy


def read_metaimage_header(file: BinaryIO) -> tuple[dict[str, str], int]:
    """Return the keys of a MetaImage header and the offset at which local data begins.

    Raises:
        ValueError: The file is not a MetaImage.
    """
    keys: dict[str, str] = {}
    for _ in range(256):
        line = _header_line(file)
        name, *value = re.split("[=:]", line, maxsplit=1)  # MetaIO takes both
        if not value:
            break
        keys[name.strip()] = value[0].strip()
        if name.strip() == "ElementDataFile":
            return keys, file.tell()
    raise ValueError("not a MetaImage: no ElementDataFile")


def _check_metaimage_data(path: Path) -> None:
    """Raise ValueError if compressed pixels do not unpack; ITK only prints a line and returns what it has."""
    with path.open("rb") as file:
        keys, start = read_metaimage_header(file)
    if not _is_compressed(keys):
        return
    name = keys["ElementDataFile"]
    local = name.upper() == "LOCAL"
    data = path if local else path.parent / name
    if not data.is_file():
        return  # a list or pattern of files, or one that ITK reports as missing
    stream = zlib.decompressobj(wbits=47)  # zlib or gzip, by the data
    try:
        with data.open("rb") as file:
            file.seek(start if local else 0)
            while not stream.eof and (block := stream.unconsumed_tail or file.read(1 << 20)):
                stream.decompress(block, 1 << 20)  # a block may unpack to a thousand times its size
    except zlib.error as error:
        raise ValueError(f"its compressed pixels are damaged ({error})") from error
    if not stream.eof:
        raise ValueError("its compressed pixels are cut off")


def pixels_of(path: Path, metaimage: bool) -> tuple[int | None, bool]:
    """Return the bytes of the file of the pixels, None if it is not one, and whether they are packed.

    Args:
        path: The header, or header and pixels.
        metaimage: Of a MetaImage; else of a NRRD.
    """
    with path.open("rb") as file:
        keys = read_metaimage_header(file)[0] if metaimage else _nrrd_fields(file)
    entry = keys.get("ElementDataFile", keys.get("data file", "LOCAL"))
    data = path if entry.upper() == "LOCAL" else path.parent / entry
    packed = _is_compressed(keys) if metaimage else keys.get("encoding", "").lower() != "raw"
    return data.stat().st_size if data.is_file() else None, packed


def pixel_files(path: Path, metaimage: bool) -> list[Path]:
    """Return the files that hold the pixels of a header, as it names them; empty if it holds them itself.

    Args:
        path: See :func:`pixels_of`.
        metaimage: See :func:`pixels_of`.

    Raises:
        ValueError: The header is broken, or names a file outside of its folder.
    """
    with path.open("rb") as file:
        keys = read_metaimage_header(file)[0] if metaimage else _nrrd_fields(file)
        entry = keys.get("ElementDataFile", keys.get("data file", "LOCAL"))
        return [path.parent / name for name in named_files(entry, file)]


def _is_compressed(keys: dict[str, str]) -> bool:
    return keys.get("CompressedData", "").lower() in ("true", "1")


def metaimage_header(file: BinaryIO) -> Stored:
    """Return size and type of a MetaImage."""
    keys, _ = read_metaimage_header(file)
    shape = [int(n) for n in keys["DimSize"].split()][::-1]
    while len(shape) > 3 and shape[0] == 1:
        shape = shape[1:]
    return Stored(spatial_shape(shape, len(shape)), _dtype(_ELEMENT_TYPES.get(keys.get("ElementType", ""))))


def _dtype(code: str | None) -> np.dtype | None:
    return None if code is None else np.dtype(code)


def nrrd_header(file: BinaryIO) -> Stored:
    """Return size and type of a NRRD.

    Raises:
        KeyError: The header has no sizes.
    """
    fields = _nrrd_fields(file)
    sizes = [int(n) for n in fields["sizes"].split()]
    shape = [n for n, kind in zip(sizes, _nrrd_kinds(fields, len(sizes)), strict=True) if kind][::-1]
    kind_of_value = _NRRD_TYPES.get(fields.get("type", "").lower())
    return Stored(spatial_shape(shape, len(shape)), _dtype(kind_of_value))


def _nrrd_kinds(fields: dict[str, str], count: int) -> list[bool]:
    """Return which of the axes are spatial."""
    kinds = fields.get("kinds", "").split() or ["domain"] * count
    return [kind.lower() in ("domain", "space", "none", "???") for kind in kinds]


def _nrrd_fields(file: BinaryIO) -> dict[str, str]:
    """Return the fields of a NRRD header; the file is then where its data, or the names of a list, begin.

    Raises:
        ValueError: The header does not end, or has a long field: ITK writes what is wrong with one beyond
            the end of its buffer, and the process is lost.
    """
    fields: dict[str, str] = {}
    for number in range(1, 1025):
        line = _header_line(file).strip("\r\n")
        if not line:
            return fields
        if len(line) > _LONGEST_FIELD and not re.match(r"#|content:|[^:]*:=", line):
            raise ValueError(
                f"line {number} of its header has {len(line)} characters, and a field of a NRRD at most "
                f"{_LONGEST_FIELD}"
            )
        match = re.fullmatch(r"([^#:=]+):\s+(.*)", line.strip())
        if match:
            name = match[1].strip().lower()
            fields["data file" if name == "datafile" else name] = match[2]
            if fields.get("data file", "").startswith("LIST"):
                return fields
    raise ValueError("not a NRRD: its header has more than 1024 lines")


def _header_line(file: BinaryIO) -> str:
    """Return the next line of a header; ValueError if it is too long."""
    line = file.readline(65536)
    if len(line) == 65536:
        raise ValueError("a line of its header has more than 65,535 characters")
    return line.decode("latin-1")


# ---- npy --------------------------------------------------------------------------------------------


def read_npy(path: Path, fill_value: float | None) -> LoadedImage:
    """Read a NumPy array."""
    return from_array(npy_array(path), fill_value=fill_value)


def npy_array(path: Path) -> np.ndarray:
    """Return the array in a file of NumPy.

    Raises:
        TooLarge: The file cannot hold what its header claims.
        ValueError: It is no such file, or holds objects.
    """
    with BoundedFile(path) as file:
        shape, dtype = _npy_shape(file)
        check_claim(shape, dtype.itemsize, path.stat().st_size, packed=False)
        file.seek(0)
        return np.load(file, allow_pickle=False)


def npy_header(file: BinaryIO) -> Stored:
    """Return size and type of a NumPy array."""
    shape, dtype = _npy_shape(file)
    return Stored(spatial_shape(shape), dtype)


def _npy_shape(file: BinaryIO) -> tuple[tuple[int, ...], np.dtype]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    return shape, dtype
