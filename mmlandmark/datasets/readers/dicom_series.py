"""A folder of DICOM slices as one volume, ordered by the place of its slices in the patient."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from mmlandmark.datasets.readers.claimed_size import check_claim
from mmlandmark.datasets.readers.dicom import dicom_pixels, display_window, numbers_of, read_header
from mmlandmark.datasets.readers.file_format import file_format
from mmlandmark.datasets.readers.loaded_image import LoadedImage, Stored, from_array, rescaled, to_canonical
from mmlandmark.structures import world_matrix
from mmlandmark.utils.sentences import reason_of

Result = TypeVar("Result")

_TILT = 0.5  # degrees between the stack and the normal of its slices; less is exact in the matrix, too
_UNEVEN = 0.05  # of a step: positions are often rounded to 0.01 mm
_SAME = 0.01  # of a step, or of the side of a pixel where the step is unknown
_ALIKE = 1e-3  # difference of direction cosines, and of spacings relative to their size


@dataclass(frozen=True, eq=False)
class Series:
    """The slices of a volume, from the first to the last along the normal of their plane.

    Attributes:
        files: One file for every slice.
        stored: Size and type of the volume.
        world_from_original: (4, 4) voxels to mm in LPS; z counts the slices.
    """

    files: tuple[Path, ...]
    stored: Stored
    world_from_original: np.ndarray


@dataclass(frozen=True, eq=False)
class _Slice:
    file: Path
    series: str
    size: tuple[int, int]  # (H, W)
    dtype: np.dtype | None  # of the stored values, None if the header says nothing useful
    axes: np.ndarray  # (2, 3) unit vectors along which columns and rows count
    position: np.ndarray  # (3,) mm of the first pixel
    spacing: tuple[float, float]  # (x, y) mm


def is_series(folder: str | Path) -> bool:
    """Return whether a folder holds slices of one volume: its first two DICOM files are placed in one series.

    Radiographs in one folder are of different series, or state none, or have no place in the patient.
    """
    if not os.path.isdir(folder):
        return False
    try:
        first = [read_header(path) for path in _dicom_files(Path(folder), most=2)]
    except Exception:  # no header that can be read, so nothing says that it is a volume
        return False
    series = {str(header.get("SeriesInstanceUID", "")) for header in first}
    same = len(first) == 2 and len(series) == 1 and "" not in series
    return same and all("ImagePositionPatient" in header for header in first)


def has_slices(folder: str | Path) -> bool:
    """Return whether a path is a folder with a DICOM file, which :func:`find_series` looks at in full."""
    return os.path.isdir(folder) and bool(_dicom_files(Path(folder), most=1))


def find_series(folder: str | Path) -> Series:
    """Return the slices of a folder in order; the files may be called anything.

    Raises:
        ValueError: They are no volume; the message says what is wrong in one sentence, and names the slices:
            several series, sizes, orientations or spacings; a slice that is missing, twice, or without its
            place; uneven steps; or a tilted gantry.
        ImportError: pydicom is missing.
    """
    folder = Path(folder)
    files = _dicom_files(folder)
    if not files:
        raise ValueError(f"{folder}: the folder holds no DICOM slices")
    slices = [_of_slice(path, _slice) for path in files]
    _check_alike(slices, folder)
    normal = np.cross(*slices[0].axes)
    slices.sort(key=lambda one: float(one.position @ normal))
    step = _step(slices, normal, folder)
    first = slices[0]
    steps = [*first.spacing, float(np.linalg.norm(step))]
    world = world_matrix(steps, first.position, np.column_stack([*first.axes, step / steps[2]]))
    return Series(tuple(s.file for s in slices), Stored((len(slices), *first.size), first.dtype), world)


def read_series(folder: str | Path, fill_value: float | None = None) -> LoadedImage:
    """Read the volume of a folder of slices; see :func:`find_series`.

    Whole numbers stay whole where every slice has the same rescale slope and intercept.
    """
    series = find_series(folder)
    _of_slice(Path(folder), lambda _: _check_size(series))
    pixels = [_of_slice(path, dicom_pixels) for path in series.files]
    if len({one.array.shape for one in pixels}) > 1:
        raise ValueError(f"{folder}: its slices have pixels of different shapes")
    scales = {(one.slope, one.intercept) for one in pixels}
    if len(scales) == 1:
        array = rescaled(np.stack([one.array for one in pixels]), *scales.pop())
    else:  # PET: every slice has a slope of its own
        array = np.stack([rescaled(one.array, one.slope, one.intercept).astype(np.float32) for one in pixels])
    ranges = [one.value_range for one in pixels if one.value_range is not None]
    value_range = (min(low for low, _ in ranges), max(high for _, high in ranges)) if ranges else None
    image = from_array(
        array,
        dims=3,
        world_from_original=series.world_from_original,
        value_range=value_range,
        bits=pixels[0].bits,
        fill_value=fill_value,
    )
    return to_canonical(replace(image, window=display_window(pixels[0].header)))


def _check_size(series: Series) -> None:
    itemsize = 2 if series.stored.dtype is None else series.stored.dtype.itemsize
    check_claim(series.stored.shape, itemsize, sum(path.stat().st_size for path in series.files))


def _dicom_files(folder: Path, most: int | None = None) -> list[Path]:
    """Return the first DICOM files of a folder by name; a DICOMDIR, the index of a medium, is none."""
    found: list[Path] = []
    for name in sorted(os.listdir(folder)):
        path = folder / name
        if name.startswith(".") or name.upper() == "DICOMDIR" or not path.is_file():
            continue
        if file_format(path) == "dicom":
            found.append(path)
        if most is not None and len(found) >= most:
            break
    return found


def _of_slice(path: Path, read: Callable[[Path], Result]) -> Result:
    """Return what ``read`` finds in the file of a slice; ValueError names it."""
    try:
        return read(path)
    except ImportError:
        raise
    except Exception as error:  # pydicom has errors of its own, for every element another
        raise ValueError(f"{path}: {reason_of(error)}") from error


def _slice(path: Path) -> _Slice:
    header = read_header(path)
    if not all(name in header for name in ("Rows", "Columns")):
        raise ValueError("the slice has no rows and columns")
    if int(header.get("NumberOfFrames") or 1) > 1:
        raise ValueError("a volume of several frames lies among slices: give that file itself")
    cosines, position = (
        numbers_of(header, name, count)
        for name, count in (("ImageOrientationPatient", 6), ("ImagePositionPatient", 3))
    )
    if position is None:
        raise ValueError("the slice has no ImagePositionPatient, so its place in the volume is unknown")
    if cosines is None:
        raise ValueError("the slice has no ImageOrientationPatient, so its orientation is unknown")
    axes = cosines.reshape(2, 3)
    lengths = np.linalg.norm(axes, axis=1, keepdims=True)
    if (np.abs(lengths - 1) > 0.01).any() or abs(float(axes[0] @ axes[1])) > 0.01:
        raise ValueError(f"the slice has ImageOrientationPatient {cosines.tolist()}, which are no directions")
    spacing = numbers_of(header, "PixelSpacing", 2)
    if spacing is None or not (spacing > 0).all():
        raise ValueError("the slice has no PixelSpacing, so its size in mm is unknown")
    series = str(header.get("SeriesInstanceUID", ""))
    size = int(header.Rows), int(header.Columns)
    bits, signed = int(header.get("BitsAllocated") or 16), bool(header.get("PixelRepresentation"))
    dtype = np.dtype(f"{'i' if signed else 'u'}{bits // 8}") if bits in (8, 16, 32) else None
    steps = float(spacing[1]), float(spacing[0])
    return _Slice(path, series, size, dtype, axes / lengths, position, steps)


def _check_alike(slices: list[_Slice], folder: Path) -> None:
    """Raise ValueError unless all slices are of one series, size, orientation and spacing."""
    counts: dict[str, int] = {}
    for one in slices:
        counts[one.series] = counts.get(one.series, 0) + 1
    if len(counts) > 1:
        numbers = ", ".join(str(count) for count in sorted(counts.values(), reverse=True))
        least = min(counts, key=lambda series: counts[series])
        odd = next(one.file.name for one in slices if one.series == least)
        raise ValueError(
            f"{folder}: it holds {len(counts)} series, of {numbers} slices ({odd} is of the smallest): keep "
            "one in a folder"
        )
    first = slices[0]
    for one in slices[1:]:
        pair = f"{folder}: slices {first.file.name} and {one.file.name}"
        if first.size != one.size:
            raise ValueError(f"{pair} are of different sizes, {first.size} and {one.size} pixels")
        if np.abs(first.axes - one.axes).max() > _ALIKE:
            raise ValueError(
                f"{pair} have different orientations: remove what is not of the volume, such as a localizer"
            )
        if np.abs(np.divide(one.spacing, first.spacing) - 1).max() > _ALIKE:
            raise ValueError(f"{pair} have different PixelSpacing, {first.spacing} and {one.spacing} mm")


def _step(slices: list[_Slice], normal: np.ndarray, folder: Path) -> np.ndarray:
    """Return the (3,) mm from one slice to the next; ValueError if the slices are not evenly stacked."""
    if len(slices) < 2:
        raise ValueError(f"{folder}: one slice is no volume: give the file itself")
    heights = np.array([float(one.position @ normal) for one in slices])
    steps = np.diff(heights)
    apart = steps > _SAME * min(slices[0].spacing)
    usual = float(np.median(steps[apart])) if apart.any() else 0.0
    same = steps <= _SAME * usual
    if same.any() or usual == 0:
        raise ValueError(f"{folder}: {_doubled(slices, heights, same)}")
    even = heights[0] + np.arange(len(heights)) * (heights[-1] - heights[0]) / (len(heights) - 1)
    if np.abs(heights - even).max() > _UNEVEN * usual:
        raise ValueError(f"{folder}: {_gap(slices, steps, usual)}")
    step = (slices[-1].position - slices[0].position) / (len(slices) - 1)
    tilt = float(np.degrees(np.arccos(np.clip(step @ normal / np.linalg.norm(step), -1, 1))))
    if tilt > _TILT:
        raise ValueError(
            f"{folder}: the stack is tilted by {tilt:.1f} degrees against its slices (a tilted gantry): "
            "straighten it first, for example by dcm2niix"
        )
    return step


def _doubled(slices: list[_Slice], heights: np.ndarray, same: np.ndarray) -> str:
    """Return what is wrong where slices share a place."""
    places = 1 + int((~same).sum())
    if len(heights) % places == 0 and len(heights) // places > 1 and places > 1 and same.sum() > 1:
        return (
            f"every place has {len(heights) // places} slices, so it is several volumes (phases, echoes): "
            "keep one of them in a folder"
        )
    at = int(same.argmax())
    return f"slices {slices[at].file.name} and {slices[at + 1].file.name} lie in the same place: remove one"


def _gap(slices: list[_Slice], steps: np.ndarray, usual: float) -> str:
    """Return what is wrong where steps differ."""
    at = int(steps.argmax())
    between = f"between {slices[at].file.name} and {slices[at + 1].file.name}"
    missing = round(float(steps[at]) / usual) - 1
    if missing >= 1 and abs(steps[at] / usual - missing - 1) < 0.1:
        count = "a slice is" if missing == 1 else f"{missing} slices are"
        return f"{count} missing {between}, which are {steps[at]:.4g} mm apart; the others {usual:.4g} mm"
    ends = f"{steps.min():.4g} to {steps.max():.4g} mm"
    return f"its slices are not evenly spaced: {ends}, the largest step {between}"
