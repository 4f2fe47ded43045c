"""DICOM: pixels, their value range, and the frame of slices and volumes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mmlandmark.datasets.readers.claimed_size import check_claim
from mmlandmark.datasets.readers.loaded_image import (
    LoadedImage,
    Remark,
    Stored,
    from_array,
    range_of_bits,
    rescaled,
    spatial_shape,
    to_canonical,
)
from mmlandmark.datasets.readers.volume import need
from mmlandmark.structures import is_frame, world_matrix
from mmlandmark.utils.bounded_reading import BoundedFile


class DicomPixels(NamedTuple):
    """The stored pixels of a file, and how they become values.

    Attributes:
        array: (*S) or (*S, C) as stored, or by the modality table of the file; MONOCHROME1 inverted within
            its bits; colour is RGB.
        dims: Number of spatial axes.
        slope: Factor of the values.
        intercept: Offset of the values.
        value_range: (black, white) in values; None for floats.
        bits: Number of bits of the largest value, where it is white.
        header: The data set.
    """

    array: np.ndarray
    dims: int
    slope: float
    intercept: float
    value_range: tuple[float, float] | None
    bits: int | None
    header: Any


def dicom_pixels(path: Path) -> DicomPixels:
    """Decode one DICOM file, with or without the preamble.

    Raises:
        ValueError: It has no pixels, or an entry that they depend on is malformed.
    """
    pydicom = need("pydicom", path)
    with BoundedFile(path) as file:
        data = pydicom.dcmread(file, force=True)
    if (
        "TransferSyntaxUID" not in data.file_meta
    ):  # There was no preamble: take the encoding that pydicom detected.
        implicit, little = data.original_encoding
        uid = pydicom.uid
        explicit = uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian
        data.file_meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian if implicit else explicit
    if not any(name in data for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        raise ValueError("the DICOM file has no pixels")
    samples = int(_text(data, "SamplesPerPixel") or 1)
    kind = str(_text(data, "PhotometricInterpretation") or ("MONOCHROME2" if samples == 1 else "RGB"))
    data.SamplesPerPixel, data.PhotometricInterpretation = samples, kind
    stated = _shape(data)
    check_claim(stated, int(_text(data, "BitsAllocated") or 8) // 8, path.stat().st_size)
    array = data.pixel_array  # RGB, also where YBR is stored
    if kind == "PALETTE COLOR":
        array = need("pydicom.pixels", path).apply_color_lut(array, data)
    channels = kind == "PALETTE COLOR" or samples > 1
    if (there := array.shape[: array.ndim - int(channels)]) != stated:
        raise ValueError(f"its header states {stated}, its pixels are {there}")
    bits, table = None, not channels and array.dtype.kind in "iu" and bool(data.get("ModalityLUTSequence"))
    if table:
        array, bits = _by_table(array, data, path)
    elif array.dtype.kind in "iu":
        bits = _bits_stored(data, array.dtype, kind)
    if bits is not None and kind == "MONOCHROME1":
        low, high = (-(2**bits), 2**bits - 1) if array.dtype.kind == "i" else (0, 2**bits - 1)
        array = (low + high - array.astype(np.int64)).astype(array.dtype)
    scales, dims = [(1.0, 0.0)] if table else _rescaling(data), array.ndim - int(channels)
    if any(slope == 0 for slope, _ in scales):
        raise ValueError("its RescaleSlope is 0, which leaves no image")
    ends = [] if bits is None else [end for scale in scales for end in range_of_bits(bits, *scale)]
    value_range = (min(ends), max(ends)) if ends else None
    bits = bits if min(slope for slope, _ in scales) > 0 else None
    if len(set(scales)) == 1:
        return DicomPixels(array, dims, *scales[0], value_range, bits, data)
    if len(scales) != len(array):
        raise ValueError(f"it has {len(array)} frames, and rescales {len(scales)}")
    pairs = zip(array, scales, strict=True)  # PET and MR: a slope for every frame
    array = np.stack([rescaled(frame, *scale).astype(np.float32) for frame, scale in pairs])
    return DicomPixels(array, dims, 1.0, 0.0, value_range, bits, data)


def _by_table(array: np.ndarray, data: Any, path: Path) -> tuple[np.ndarray, int]:
    """Return stored values through the table of a header, uint8 or uint16, and how many bits that fills.

    The depth that a table states is 8 or 16, whatever its entries are.

    Raises:
        ValueError: The table is malformed.
    """
    pixels = need("pydicom.pixels", path)
    try:
        item = data.ModalityLUTSequence[0]
        count, first, depth = item.LUTDescriptor
        item.LUTDescriptor = [count, first, 8 if int(depth) <= 8 else 16]  # pydicom knows no 12
        entries = np.arange(int(first), int(first) + (int(count) or 2**16))
        highest = int(pixels.apply_modality_lut(entries, data).max())
        values = pixels.apply_modality_lut(array.astype(np.int32), data)
    except Exception as error:  # pydicom has errors of its own, for every element another
        raise ValueError(f"its ModalityLUTSequence cannot be applied ({error})") from error
    return values, max(1, highest.bit_length())


def _rescaling(data: Any) -> list[tuple[float, float]]:
    """Return slope and intercept of all frames, or of each where functional groups state them by frame.

    Raises:
        ValueError: One of them is malformed.
    """
    shared = [one for group in data.get("SharedFunctionalGroupsSequence") or () for one in _values_of(group)]
    frames = list(data.get("PerFrameFunctionalGroupsSequence") or ()) or [{}]
    found = []
    for frame in frames:
        stated = [one for one in (*_values_of(frame), *shared) if "RescaleSlope" in one] or [data]
        pair = _number(stated[0], "RescaleSlope", 1.0), _number(stated[0], "RescaleIntercept", 0.0)
        found.append(pair)
    return found[:1] if len(set(found)) == 1 else found


def _values_of(group: Any) -> list[Any]:
    """Return what a functional group says of the values of pixels."""
    return list(group.get("PixelValueTransformationSequence") or ())


def read_dicom(path: Path, fill_value: float | None) -> LoadedImage:
    """Read the image or the frames of one DICOM file; see :func:`dicom_pixels`.

    Values are in the unit of the rescale slope and intercept, or of the modality table. White is the largest
    value of BitsStored, or of the bits that the entries of the table fill, and MONOCHROME1 is inverted within
    these bits.
    """
    pixels = dicom_pixels(path)
    world, remarks = _world(pixels.header, pixels.dims)
    image = from_array(
        rescaled(pixels.array, pixels.slope, pixels.intercept),
        dims=pixels.dims,
        world_from_original=world,
        value_range=pixels.value_range,
        bits=pixels.bits,
        fill_value=fill_value,
        remarks=remarks,
    )
    return to_canonical(replace(image, window=display_window(pixels.header)))


def read_header(path: Path) -> Any:
    """Return the data set of a DICOM file without its pixels."""
    pydicom = need("pydicom", path)
    with BoundedFile(path) as file:
        return pydicom.dcmread(file, force=True, stop_before_pixels=True)


def dicom_header(path: Path) -> Stored:
    """Return size and type of a DICOM file."""
    data = read_header(path)
    try:
        shape = _shape(data)
    except Exception as error:  # pydicom has errors of its own, for every element another
        raise ValueError(f"{path}: the DICOM header has no rows and columns ({error})") from error
    return Stored(spatial_shape(shape, len(shape)), _dtype(data))


def _shape(data: Any) -> tuple[int, ...]:
    """Return the (*S) that a header states."""
    frames = int(data.get("NumberOfFrames") or 1)
    shape = (int(data.Rows), int(data.Columns))
    return (frames, *shape) if frames > 1 else shape


def _dtype(data: Any) -> np.dtype | None:
    """Return the type of the stored values by a header without its pixels; None if it does not say it."""
    bits = int(_text(data, "BitsAllocated") or 0)
    if bits not in (8, 16, 32):
        return None if bits != 64 else np.dtype(np.float64)
    return np.dtype(f"{'i' if _text(data, 'PixelRepresentation') else 'u'}{bits // 8}")


def dicom_frame(path: Path) -> np.ndarray | None:
    """Return the matrix to mm of a DICOM file from its header; None if it does not define one."""
    data = read_header(path)
    return _world(data, 3 if int(data.get("NumberOfFrames") or 1) > 1 else 2)[0]


def _bits_stored(data: Any, dtype: np.dtype, kind: str) -> int:
    """Return how many bits the largest value has, without the sign."""
    allocated = 8 * dtype.itemsize
    stored = int(data.get("BitsStored") or allocated)
    if kind == "PALETTE COLOR" or not 1 <= stored <= allocated:
        stored = allocated  # A table has colours of its own width.
    return stored - (dtype.kind == "i")


def _text(data: Any, name: str) -> Any:
    """Return the value of an element, None if it is blank or malformed."""
    try:
        value = data.get(name)
    except (ValueError, TypeError, OverflowError):
        return None
    return None if value is None or str(value).strip() == "" else value


def _number(data: Any, name: str, default: float) -> float:
    """Return a number of the header, the default if it is absent or blank.

    Raises:
        ValueError: It is malformed, and the pixels depend on it.
    """
    if name not in data:
        return default
    try:
        value = data.get(name)
        if value is None or str(value).strip() == "":
            return default
        number = float(value)
    except (ValueError, TypeError) as error:
        raise ValueError(f"its {name} is not a number ({error})") from error
    if not np.isfinite(number):
        raise ValueError(f"its {name} is {number}")
    return number


def numbers_of(data: Any, name: str, count: int) -> np.ndarray | None:
    """Return ``count`` finite numbers of the header, None if they are missing or malformed."""
    value = _text(data, name)
    try:
        numbers = np.array([float(v) for v in np.atleast_1d(value)]) if value is not None else np.empty(0)
    except (ValueError, TypeError):
        return None
    return numbers if len(numbers) == count and np.isfinite(numbers).all() else None


def display_window(data: Any) -> tuple[float, float] | None:
    """Return the first (black, white) that a data set asks to be displayed in, in rescaled values, or None.

    See the linear function of PS3.3, C.11.2.1.2.1. That of MONOCHROME1 belongs to pixels before inversion.
    """
    if str(_text(data, "PhotometricInterpretation")) == "MONOCHROME1":
        return None
    shared = data.get("SharedFunctionalGroupsSequence") or ()
    frames = data.get("PerFrameFunctionalGroupsSequence") or ()
    groups = [*shared, *list(frames)[:1]]
    for holder in (data, *(one for group in groups for one in group.get("FrameVOILUTSequence") or ())):
        values = [np.atleast_1d(_text(holder, name)) for name in ("WindowCenter", "WindowWidth")]
        try:
            center, width = (float(value[0]) for value in values)
        except (TypeError, ValueError):
            continue  # there is none, or it is malformed
        if np.isfinite([center, width]).all() and width > 1:
            return center - 0.5 - (width - 1) / 2, center - 0.5 + (width - 1) / 2
    return None


def _world(data: Any, dims: int) -> tuple[np.ndarray | None, list[Remark]]:
    """Return the (W+1, D+1) matrix to mm, None if it is not defined, and remarks on malformed values."""
    frames = list(data.get("PerFrameFunctionalGroupsSequence") or ())
    shared = list(data.get("SharedFunctionalGroupsSequence") or ())
    levels = [data, *shared, *frames[:1]]
    # Projection radiographs often carry the detector's spacing only.
    pixel = None
    for name in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        pixel = pixel if pixel is not None else _first(levels, "PixelMeasuresSequence", name, 2)
    if pixel is None or not (pixel > 0).all():
        named = next((n for n in ("PixelSpacing", "ImagerPixelSpacing") if n in data and _raw(data, n)), None)
        if named is None:
            return None, []
        message = f"its {named} {_raw(data, named)!r} is malformed: the image counts as one without spacing"
        return None, [Remark("malformed spacing", message)]
    columns_rows = [float(pixel[1]), float(pixel[0])]
    if dims == 2:
        return _slice_world(levels, columns_rows), []
    world = _volume_world(levels, frames, columns_rows)
    if world is None and frames:
        message = "its frames are not evenly spaced: the volume counts as one without spacing"
        return None, [Remark("malformed spacing", message)]
    return world, []


def _raw(data: Any, name: str) -> str:
    """Return the raw text of an element, even if it cannot be parsed; empty if it is blank."""
    value = data.get_item(name).value
    return str(
        value.decode("latin-1") if isinstance(value, bytes) else value if value is not None else ""
    ).strip()


def _first(levels: list[Any], group: str, name: str, count: int) -> np.ndarray | None:
    """Return numbers from the data set itself or from a functional group of a multi-frame file."""
    for level in levels:
        for holder in (level, *(level.get(group) or ())):
            numbers = numbers_of(holder, name, count)
            if numbers is not None:
                return numbers
    return None


def _plane(levels: list[Any]) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return the (3, 2) unit vectors of columns and rows and the (3,) origin, each None if it is missing."""
    cosines = _first(levels, "PlaneOrientationSequence", "ImageOrientationPatient", 6)
    origin = _first(levels, "PlanePositionSequence", "ImagePositionPatient", 3)
    if cosines is None:
        return None, origin
    axes = cosines.reshape(2, 3).T
    lengths = np.linalg.norm(axes, axis=0)
    return axes / np.where(lengths > 0, lengths, 1), origin


def _slice_world(levels: list[Any], columns_rows: list[float]) -> np.ndarray:
    """Return the matrix of an image: to patient axes if the file locates it, else within its own plane."""
    axes, origin = _plane(levels)
    if axes is None or origin is None or np.linalg.det(axes.T @ axes) < 1e-8:
        return world_matrix(columns_rows)
    return world_matrix(columns_rows, origin, axes)


def _volume_world(levels: list[Any], frames: list[Any], columns_rows: list[float]) -> np.ndarray | None:
    axes, origin = _plane(levels)
    depth = None
    for name in ("SpacingBetweenSlices", "SliceThickness"):
        depth = depth if depth is not None else _first(levels, "PixelMeasuresSequence", name, 1)
    step = None if depth is None or depth[0] <= 0 else float(depth[0])
    if axes is None:
        return None if step is None else world_matrix([*columns_rows, step])
    z = np.cross(*axes.T)
    places = [_first([frame], "PlanePositionSequence", "ImagePositionPatient", 3) for frame in frames]
    placed = [place for place in places if place is not None]
    if 1 < len(placed) == len(places):
        steps = np.diff(np.stack(placed), axis=0)
        mean = steps.mean(axis=0)
        if np.abs(steps - mean).max() > 0.01 * np.linalg.norm(mean):
            return None  # Frames that are not evenly spaced have no matrix.
        step = float(np.linalg.norm(mean))
        z = mean / step if step > 0 else z
    if step is None or step <= 0:
        return None
    matrix = np.eye(4)
    matrix[:3, :3] = np.column_stack([axes, z])
    return world_matrix([*columns_rows, step], origin, matrix[:3, :3]) if is_frame(matrix) else None
