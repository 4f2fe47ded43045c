"""An image as it was read: pixels, frame and value range."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import cv2
import numpy as np

from mmlandmark.structures import canonical_matrix, first_slice, spacing_of, world_matrix

# Types that OpenCV can warp. Others become the smallest of these that holds all of their values.
_DTYPES = {"b": {1: np.uint8}, "i": {1: np.int16, 2: np.int16}, "u": {1: np.uint8, 2: np.uint16}}


class Remark(NamedTuple):
    """A property of a file that its reader ignores or cannot use.

    Attributes:
        check: The subject in a few words: "orientation tag", "misnamed file", ...
        message: The property, and how the reader treats it.
    """

    check: str
    message: str


class Stored(NamedTuple):
    """What the header of a file says about its pixels.

    Attributes:
        shape: (*S) as stored.
        dtype: Type of one stored value, before any rescaling; None if the header does not say it.
    """

    shape: tuple[int, ...]
    dtype: np.dtype | None


class UnsupportedShape(ValueError):
    """An array is neither an image nor one volume."""


class NonFinitePixels(ValueError):
    """An image has pixels that are NaN or infinite."""


class Pixels(np.ndarray):
    """Pixels that know their value range, for code that takes only the array of a ``LoadedImage``.

    Views and copies keep it; results of a computation are plain arrays, since their values differ.

    Attributes:
        value_range: (black, white) in values of the array.
    """

    value_range: tuple[float, float] | None = None

    @classmethod
    def of(cls, array: np.ndarray, value_range: tuple[float, float]) -> Pixels:
        """Return a view of ``array`` with its value range."""
        pixels = array.view(cls)
        pixels.value_range = value_range
        return pixels

    def __array_finalize__(self, source: np.ndarray | None) -> None:
        self.value_range = getattr(source, "value_range", None)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        plain = [x.view(np.ndarray) if isinstance(x, Pixels) else x for x in inputs]
        return getattr(ufunc, method)(*plain, **kwargs)


@dataclass(frozen=True, eq=False)
class LoadedImage:
    """An image as it was read.

    Attributes:
        array: (*S) or (*S, C) pixels; uint8, uint16, int16, float32 or, in volumes, float16; colour is RGB.
            The axes of a volume with known directions are reordered to LPS, an image is turned as its
            orientation tag says.
        ori_shape: (*S) of the image in the file; ``array`` may be reduced or reordered.
        img_from_original: (D+1, D+1) maps original pixels, as stored, to pixels of ``array``.
        world_from_original: Maps original pixels to mm, see :mod:`mmlandmark.structures.frame`; None if the
            file does not define it.
        value_range: (black, white) in values of ``array``; None takes 0 and the largest value of an integer
            dtype, for floats 0 and 1.
        bits: Number of bits of the largest value, which defines ``value_range``; None for floats.
        remarks: Properties of the file that the reader ignored.
        window: (black, white) that the file asks to be displayed in; None if it does not.
    """

    array: np.ndarray
    ori_shape: tuple[int, ...]
    img_from_original: np.ndarray
    world_from_original: np.ndarray | None = None
    value_range: tuple[float, float] = None  # type: ignore[assignment]
    bits: int | None = None
    remarks: tuple[Remark, ...] = ()
    window: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.value_range is None:
            bits = white_bits(self.array.dtype) if self.bits is None else self.bits
            object.__setattr__(self, "value_range", range_of_bits(bits))
            object.__setattr__(self, "bits", bits)

    @property
    def spacing(self) -> tuple[float, ...] | None:
        """(D,) mm per original pixel, (x, y[, z]); None if the file does not define it."""
        return None if self.world_from_original is None else spacing_of(self.world_from_original)


def white_bits(dtype: np.dtype) -> int | None:
    """Return the bits of the largest value of an integer dtype, without the sign; None for floats."""
    if dtype.kind == "b":
        return 8  # True becomes 255
    return {"u": 8 * dtype.itemsize, "i": 8 * dtype.itemsize - 1}.get(dtype.kind)


def range_of_bits(bits: int | None, slope: float = 1.0, intercept: float = 0.0) -> tuple[float, float]:
    """Return (black, white) of values rescaled by ``slope`` and ``intercept``.

    Black is a stored 0; white is the largest stored value of so many ``bits``, or 1 where they are None.
    """
    ends = (intercept, intercept + slope * (1.0 if bits is None else 2.0**bits - 1))
    return min(ends), max(ends)


def rescaled(array: np.ndarray, slope: float, intercept: float) -> np.ndarray:
    """Return stored values times ``slope`` plus ``intercept``.

    Whole numbers that fit into 16 bits stay whole, int16: a CT then takes half the memory of float32.

    Example:
        >>> rescaled(np.array([0, 3000], np.uint16), 1.0, -1024.0)
        array([-1024,  1976], dtype=int16)
        >>> rescaled(np.array([0, 3], np.uint16), 0.5, 0.0)
        array([0. , 1.5], dtype=float32)
    """
    if (slope, intercept) == (1.0, 0.0):
        return array
    if (
        array.dtype.kind in "iu"
        and array.dtype.itemsize <= 2
        and slope.is_integer()
        and intercept.is_integer()
    ):
        ends = [int(end) * slope + intercept for end in (array.min(initial=0), array.max(initial=0))]
        if min(ends) >= -(2**15) and max(ends) < 2**15:
            values = array.astype(np.int16)  # what wraps around here wraps back below
            values *= np.array(int(slope)).astype(np.int16)
            values += np.array(int(intercept)).astype(np.int16)
            return values
    return array.astype(np.float32) * np.float32(slope) + np.float32(intercept)


def guess_dims(shape: Sequence[int]) -> int:
    """Return the number of spatial axes of an array: of three or more, a last one of 1, 3 or 4 is colour."""
    return len(shape) - 1 if len(shape) > 2 and shape[-1] in (1, 3, 4) else len(shape)


def spatial_shape(shape: Sequence[int], dims: int | None = None) -> tuple[int, ...]:
    """Return the (*S) of an array of ``shape``; a volume of depth one becomes an image.

    Raises:
        UnsupportedShape: It is not the shape of an image or volume.
    """
    dims = guess_dims(shape) if dims is None else dims
    if dims == 3 and len(shape) >= 3 and shape[0] == 1:
        shape, dims = shape[1:], 2
    if dims not in (2, 3) or len(shape) - dims not in (0, 1):
        more = "; take one volume out of a series over time" if dims > 3 else ""
        raise UnsupportedShape(f"an image of 2 or 3 dimensions is needed, the shape is {tuple(shape)}{more}")
    return tuple(int(n) for n in shape[:dims])


def from_array(
    array: np.ndarray,
    spacing: Sequence[float] | None = None,
    dims: int | None = None,
    *,
    world_from_original: np.ndarray | None = None,
    value_range: tuple[float, float] | None = None,
    bits: int | None = None,
    fill_value: float | None = None,
    remarks: Sequence[Remark] = (),
) -> LoadedImage:
    """Return an array as an image in a supported shape and dtype; equal colour channels become grey.

    Args:
        array: (*S) or (*S, C) pixels of any numeric dtype.
        spacing: (D,) mm per pixel, (x, y[, z]); dropped if it is not positive.
        dims: 2 or 3; None takes a last axis of 1, 3 or 4 of three or more as channels.
        world_from_original: (W+1, D+1) pixels to mm, in place of ``spacing``.
        value_range: (black, white); None takes 0 and the largest value of the dtype, for floats 0 and 1.
        bits: Number of bits of the largest value, if fewer than the dtype holds.
        fill_value: Replaces NaN and infinite pixels; None refuses an image that has any.
        remarks: Properties of the file that the reader ignored.

    Raises:
        ValueError: The shape or dtype is not that of an image, or pixels are not finite.
    """
    dims = guess_dims(array.shape) if dims is None else dims
    shape = spatial_shape(array.shape, dims)
    if len(shape) < dims:
        array = array[0]
        if world_from_original is not None:
            world_from_original = first_slice(world_from_original)
    if spacing is not None and world_from_original is None and _positive(spacing):
        # Without directions, a volume of depth one is an image, whose world is its own plane.
        world_from_original = world_matrix([float(s) for s in spacing][: len(shape)])
    if array.ndim > len(shape):
        if array.shape[-1] not in (1, 3, 4):
            raise ValueError(f"1, 3 or 4 channels are needed, the shape is {array.shape}")
        # A fourth channel is opacity, which is dropped.
        array = array[..., 0] if array.shape[-1] == 1 else to_grey_if_equal(array[..., :3])
    if array.dtype.kind not in "biuf":
        raise ValueError(f"pixels must be numbers, their dtype is {array.dtype}")
    if bits is None and value_range is None:
        bits = white_bits(array.dtype)
    return LoadedImage(
        np.ascontiguousarray(_supported(array, fill_value, len(shape))),
        shape,
        np.eye(len(shape) + 1),
        world_from_original,
        range_of_bits(bits) if value_range is None else value_range,
        bits,
        tuple(remarks),
    )


def _positive(spacing: Sequence[float]) -> bool:
    return all(np.isfinite(s) and s > 0 for s in spacing)


def _supported(array: np.ndarray, fill_value: float | None, dims: int) -> np.ndarray:
    """Return pixels in a dtype that can be resampled, all of them finite."""
    if array.dtype.kind == "b":
        return array * np.uint8(255)
    dtype = _DTYPES.get(array.dtype.kind, {}).get(array.dtype.itemsize, np.float32)
    if array.dtype == np.float16 and dims == 3:  # OpenCV, which resamples images, does not know it.
        dtype = np.float16
    with np.errstate(over="ignore"):  # Values beyond float32 become infinite, which is refused below.
        cast = array.astype(dtype, copy=False)
    if array.dtype.kind != "f":
        return cast
    good = np.isfinite(cast)
    if good.all():
        return cast
    if fill_value is None:
        raise NonFinitePixels(
            f"{good.size - int(good.sum())} of {good.size} pixels are NaN or infinite; repair the image, or "
            "give LoadImage(fill_value=...) to replace them"
        )
    return np.where(good, cast, cast.dtype.type(fill_value))


def to_grey_if_equal(array: np.ndarray) -> np.ndarray:
    """Return channel 0 of an (*S, 3) image if all channels are equal, else the image."""
    some = array[:: max(1, len(array) // 8)]
    if any(not np.array_equal(some[..., 0], some[..., c]) for c in (1, 2)):
        return array  # A few lines are enough for most colour images.
    # Splitting channels in OpenCV is several times faster than comparing strided views.
    first, second, third = cv2.split(np.ascontiguousarray(array).reshape(len(array), -1, 3))
    equal = np.array_equal(first, second) and np.array_equal(first, third)
    return first.reshape(array.shape[:-1]) if equal else array


def to_canonical(image: LoadedImage) -> LoadedImage:
    """Return a volume with its axes reordered to LPS; ``img_from_original`` holds the reordering.

    Images and volumes of unknown directions stay as they are stored.
    """
    dims = len(image.ori_shape)
    if dims == 2 or image.world_from_original is None:
        return image
    matrix = canonical_matrix(image.world_from_original, image.ori_shape)
    array = reorder(image.array, matrix, dims)
    return replace(image, array=array, img_from_original=matrix @ image.img_from_original)


def reorder(array: np.ndarray, matrix: np.ndarray, dims: int) -> np.ndarray:
    """Return an array with its axes permuted and mirrored by a matrix.

    Args:
        array: (*S) or (*S, C) pixels.
        matrix: (D+1, D+1) from :func:`~mmlandmark.structures.canonical_matrix`.
        dims: D.
    """
    old = np.abs(matrix[:dims, :dims]).argmax(axis=1)  # stored axis of every new one, (x, y[, z])
    signs = matrix[range(dims), old]
    axes = [dims - 1 - int(old[dims - 1 - axis]) for axis in range(dims)]
    array = array.transpose(*axes, *range(dims, array.ndim))
    backwards = tuple(axis for axis in range(dims) if signs[dims - 1 - axis] < 0)
    return np.ascontiguousarray(np.flip(array, backwards))
