"""Read one image or volume of any supported format, with its frame."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np

from mmlandmark.structures.coordinates import scale_matrix

_REDUCED = {
    (2, 1): cv2.IMREAD_REDUCED_GRAYSCALE_2,
    (4, 1): cv2.IMREAD_REDUCED_GRAYSCALE_4,
    (8, 1): cv2.IMREAD_REDUCED_GRAYSCALE_8,
    (2, 3): cv2.IMREAD_REDUCED_COLOR_2,
    (4, 3): cv2.IMREAD_REDUCED_COLOR_4,
    (8, 3): cv2.IMREAD_REDUCED_COLOR_8,
}
# A JPEG is decoded at reduced scale only if that leaves this much more than the size asked for. On
# cephalograms the result then differs from a full decode by less than half a grey level on average and
# by 0.02 px in position (tools/benchmark_loader.py measures both); without headroom it is twice that.
HEADROOM = 1.5

# What OpenCV can warp. Other dtypes become the smallest of these that holds their values for certain.
_DTYPES = {"b": {1: np.uint8}, "i": {1: np.int16, 2: np.int16}, "u": {1: np.uint8, 2: np.uint16}}


@dataclass(frozen=True, eq=False)
class LoadedImage:
    """An image as it came from its file.

    Attributes:
        array: (*S) or (*S, C) pixels; uint8, uint16, int16 or float32; colour is RGB.
        ori_shape: (*S) of the image in the file, which ``array`` may be a reduction of.
        img_from_original: (D+1, D+1) maps original pixels to pixels of ``array``.
        spacing: (D,) mm per original pixel, (x, y[, z]), as far as the file says, or None.
    """

    array: np.ndarray
    ori_shape: tuple[int, ...]
    img_from_original: np.ndarray
    spacing: tuple[float, ...] | None = None


def read_image(path: str | Path, min_size: Sequence[int] | None = None) -> LoadedImage:
    """Read an image or a volume.

    Formats: png, jpg, bmp, tif and what else OpenCV reads; mha, mhd, nrrd (SimpleITK); dcm (pydicom);
    nii, nii.gz (nibabel); npy. A grey image stays grey, 8 and 16 bit stay as they are, and a colour file
    whose channels are equal becomes grey. The EXIF orientation is ignored, since annotations are made on
    the stored pixels. A NIfTI volume is turned to RAS. A volume of depth one is an image.

    Args:
        path: The file.
        min_size: (*S) in pixels. A JPEG is decoded at 1/2, 1/4 or 1/8 of its size as long as every side
            stays at least 1.5 times as long as this. Other formats are read in full, and so are all of
            them when this is None.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is empty, broken, or of an unknown format; the message names it.
        ImportError: The package that reads this format is missing; the message names the pip extra.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"image {str(path)!r} does not exist")
    if path.stat().st_size == 0:
        raise ValueError(f"image {str(path)!r} is empty (0 bytes)")
    try:
        reader = _READERS.get(_extension(path))
        image = _read_opencv(path, min_size) if reader is None else reader(path)
    except ImportError:
        raise
    except Exception as error:  # Every library has errors of its own; all of them mean an unreadable file.
        raise ValueError(f"image {str(path)!r} cannot be read: {error}") from error
    if 0 in image.array.shape:
        raise ValueError(f"image {str(path)!r} has no pixels, its shape is {image.array.shape}")
    return image


def from_array(
    array: np.ndarray, spacing: Sequence[float] | None = None, dims: int | None = None
) -> LoadedImage:
    """Return an array as an image in a supported shape and dtype; equal colour channels become grey.

    Args:
        array: (*S) or (*S, C) pixels of any numeric dtype.
        spacing: (D,) mm per pixel, (x, y[, z]); dropped if it is not positive.
        dims: 2 or 3; None takes a last axis of 1, 3 or 4 of three or more as channels.

    Raises:
        ValueError: The shape or dtype is none of an image.
    """
    if dims is None:
        dims = array.ndim - 1 if array.ndim > 2 and array.shape[-1] in (1, 3, 4) else array.ndim
    if dims == 3 and array.ndim >= 3 and array.shape[0] == 1:
        array, dims = array[0], 2
        spacing = None if spacing is None else spacing[:2]
    if dims not in (2, 3) or array.ndim - dims not in (0, 1):
        raise ValueError(f"an image of 2 or 3 dimensions is needed, the shape is {array.shape}")
    if array.ndim > dims:
        if array.shape[-1] not in (1, 3, 4):
            raise ValueError(f"1, 3 or 4 channels are needed, the shape is {array.shape}")
        # A fourth channel is opacity, which no radiograph needs.
        array = array[..., 0] if array.shape[-1] == 1 else to_grey_if_equal(array[..., :3])
    if array.dtype.kind not in "biuf":
        raise ValueError(f"pixels must be numbers, their dtype is {array.dtype}")
    dtype = _DTYPES.get(array.dtype.kind, {}).get(array.dtype.itemsize, np.float32)
    array = array * np.uint8(255) if array.dtype.kind == "b" else array.astype(dtype, copy=False)
    if spacing is not None and not all(np.isfinite(s) and s > 0 for s in spacing):
        spacing = None
    return LoadedImage(
        np.ascontiguousarray(array),
        tuple(array.shape[:dims]),
        np.eye(dims + 1),
        None if spacing is None else tuple(float(s) for s in spacing),
    )


def jpeg_shape(data: bytes) -> tuple[int, int, int, int] | None:
    """Return (height, width, channels, offset of the scan data) from a JPEG's headers, without decoding.

    None means that the headers do not tell, and the image has to be decoded to know.
    """
    position, frame = 2, None
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # a fill byte
            position += 1
            continue
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # start of frame, of any coding
            height = int.from_bytes(data[position + 5 : position + 7], "big")
            width = int.from_bytes(data[position + 7 : position + 9], "big")
            frame = (height, width, data[position + 9])
        if marker == 0xDA:  # start of scan
            return None if frame is None or 0 in frame else (*frame, position + 2 + length)
        position += 2 + length
    return None


def to_grey_if_equal(array: np.ndarray) -> np.ndarray:
    """Return channel 0 of an (*S, 3) image whose channels are all equal, else the image as it is."""
    some = array[:: max(1, len(array) // 8)]
    if any(not np.array_equal(some[..., 0], some[..., c]) for c in (1, 2)):
        return array  # A few lines tell most colour images apart, before all pixels are compared.
    # OpenCV takes channels apart several times faster than comparing strided views would be.
    first, second, third = cv2.split(np.ascontiguousarray(array).reshape(len(array), -1, 3))
    equal = np.array_equal(first, second) and np.array_equal(first, third)
    return first.reshape(array.shape[:-1]) if equal else array


def _extension(path: Path) -> str:
    return ".nii.gz" if path.name.lower().endswith(".nii.gz") else path.suffix.lower()


def _read_opencv(path: Path, min_size: Sequence[int] | None) -> LoadedImage:
    data = path.read_bytes()
    if data[:2] == b"\xff\xd8":
        return _read_jpeg(data, min_size)
    array = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if array is None:
        raise ValueError(
            f"it is broken, or {_extension(path) or 'a file without extension'} is not a known format"
        )
    return from_array(_to_rgb(array), dims=2)


def _to_rgb(array: np.ndarray) -> np.ndarray:
    """Reverse OpenCV's order of channels and drop opacity; grey stays grey."""
    if array.ndim == 2 or array.shape[2] < 3:
        return array
    return cv2.cvtColor(array, cv2.COLOR_BGR2RGB if array.shape[2] == 3 else cv2.COLOR_BGRA2RGB)


def _read_jpeg(data: bytes, min_size: Sequence[int] | None) -> LoadedImage:
    header = jpeg_shape(data)
    # Inside scan data FF is always followed by 00 or a restart, so the end marker cannot occur by chance.
    if data.rfind(b"\xff\xd9") < (header[3] if header else 2):
        raise ValueError("the JPEG is cut off, its end is missing")
    factor, flag = 1, cv2.IMREAD_COLOR
    if header is not None:
        channels = 1 if header[2] == 1 else 3
        factor = reduction(header[:2], min_size)
        flag = _REDUCED.get((factor, channels), cv2.IMREAD_GRAYSCALE if channels == 1 else cv2.IMREAD_COLOR)
    array = cv2.imdecode(np.frombuffer(data, np.uint8), flag | cv2.IMREAD_IGNORE_ORIENTATION)
    if array is None:
        raise ValueError("it is no valid JPEG")
    image = from_array(_to_rgb(array), dims=2)
    if header is None:
        return image
    # The last row and column of a reduced image may reach beyond the original, by less than one of their
    # pixels. The scale is 1 / factor all the same, never new size over old size.
    return LoadedImage(image.array, header[:2], scale_matrix(1 / factor, (-0.5, -0.5)))


def reduction(shape: Sequence[int], min_size: Sequence[int] | None) -> int:
    """Return the largest of 1, 2, 4, 8 by which ``shape`` can shrink and keep headroom above ``min_size``."""
    if min_size is None:
        return 1
    if len(min_size) != 2:
        raise ValueError(f"a JPEG has two dimensions, but a size of {tuple(min_size)} is asked for")
    room = min(side / (HEADROOM * wanted) for side, wanted in zip(shape, min_size, strict=True))
    return max((f for f in (2, 4, 8) if f <= room), default=1)


def _need(module: str, path: Path, extra: str = "medical") -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"reading {str(path)!r} needs {module.split('.')[0]}: pip install 'mmlandmark[{extra}]'"
        ) from error


def _read_sitk(path: Path) -> LoadedImage:
    sitk = _need("SimpleITK", path)
    image = sitk.ReadImage(str(path))
    return from_array(sitk.GetArrayFromImage(image), image.GetSpacing(), dims=image.GetDimension())


def _read_nifti(path: Path) -> LoadedImage:
    nibabel = _need("nibabel", path)
    image = nibabel.as_closest_canonical(nibabel.load(str(path)))
    array = np.asanyarray(image.dataobj)
    while array.ndim > 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3:
        raise ValueError(f"one volume of three dimensions is needed, the shape is {array.shape}")
    return from_array(array.transpose(2, 1, 0), image.header.get_zooms()[:3], dims=3)


def _read_npy(path: Path) -> LoadedImage:
    return from_array(np.load(path, allow_pickle=False))


def _read_dicom(path: Path) -> LoadedImage:
    pydicom = _need("pydicom", path)
    data = pydicom.dcmread(path)
    array, kind = data.pixel_array, str(data.get("PhotometricInterpretation", "MONOCHROME2"))
    if kind == "PALETTE COLOR":
        array = _need("pydicom.pixels", path).apply_color_lut(array, data)
    channels = (array.ndim > 2 and int(data.get("SamplesPerPixel", 1)) > 1) or kind == "PALETTE COLOR"
    if kind == "MONOCHROME1":
        low, high = (0, 2 ** int(data.BitsStored) - 1)
        if int(data.get("PixelRepresentation", 0)):
            low, high = -(high + 1) // 2, high // 2
        array = (low + high - array.astype(np.int32)).astype(array.dtype)
    slope, intercept = float(data.get("RescaleSlope", 1)), float(data.get("RescaleIntercept", 0))
    if (slope, intercept) != (1.0, 0.0):
        array = array.astype(np.float32) * np.float32(slope) + np.float32(intercept)
    dims = array.ndim - int(channels)
    return from_array(array, _dicom_spacing(data, dims), dims=dims)


def _dicom_spacing(data, dims: int) -> list[float] | None:
    # Projection radiographs often carry the detector's spacing only.
    rows_columns = data.get("PixelSpacing") or data.get("ImagerPixelSpacing")
    if not rows_columns:
        return None
    spacing = [float(rows_columns[1]), float(rows_columns[0])]
    if dims == 3:
        depth = data.get("SpacingBetweenSlices") or data.get("SliceThickness")
        if not depth:
            return None
        spacing.append(float(depth))
    return spacing


_READERS: dict[str, Callable[[Path], LoadedImage]] = {
    **dict.fromkeys((".mha", ".mhd", ".nrrd"), _read_sitk),
    **dict.fromkeys((".dcm", ".dicom"), _read_dicom),
    **dict.fromkeys((".nii", ".nii.gz"), _read_nifti),
    ".npy": _read_npy,
}
