"""Pixels: resizing by area, and the single resampling from the loaded image to the final frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import cv2
import numpy as np

from mmlandmark.datasets.transforms.elastic_field import ElasticField
from mmlandmark.datasets.transforms.volume_sampling import (
    VOLUME_INTERPOLATIONS,
    Border,
    displacement_nodes,
    sample_volume,
    source_box,
    source_part,
    turned,
)
from mmlandmark.structures import invert_matrix, scale_matrix

Interpolation = Literal["linear", "nearest", "cubic"]

INTERPOLATIONS = {"linear": cv2.INTER_LINEAR, "nearest": cv2.INTER_NEAREST, "cubic": cv2.INTER_CUBIC}
BORDERS = {"constant": cv2.BORDER_CONSTANT, "replicate": cv2.BORDER_REPLICATE, "reflect": cv2.BORDER_REFLECT}
# OpenCV indexes the pixels that it remaps with 16 bits.
_REMAP_LIMIT = 32766
_TILE = 8192


def resize_array(array: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Resize by the mean over areas along axes that shrink, linearly along axes that grow.

    Args:
        array: (*S) or (*S, C) pixels.
        size: (*S) of the result; its length tells spatial axes from the colour axis.

    Returns:
        The resized array in the dtype of ``array``; the same object if it already has that size.
    """
    if array.shape[: len(size)] == tuple(size):
        return array
    if len(size) == 2:
        return _resize_plane(array, size)
    # Plane by plane, so that no float copy of the whole volume is made.
    planes = np.stack([_resize_plane(plane.astype(np.float32, copy=False), size[1:]) for plane in array])
    # Flattened planes become rows, so a resize of the rows is a resize of the depth.
    flat = planes.reshape(len(planes), -1)
    volume = _resize_plane(flat, (size[0], flat.shape[1])).reshape(*size, *array.shape[3:])
    return cast_like(volume, array.dtype)


def _resize_plane(array: np.ndarray, size: Sequence[int]) -> np.ndarray:
    (height, width), (new_height, new_width) = array.shape[:2], size
    if (new_height - height) * (
        new_width - width
    ) < 0:  # One axis grows and one shrinks: OpenCV has no mode for it.
        return _resize_plane(_resize_plane(array, (new_height, width)), size)
    shrinks = new_height < height or new_width < width
    return cv2.resize(
        array, (new_width, new_height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    )


def cast_like(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return a float array in ``dtype``, rounded and clipped to its range for integers."""
    if dtype.kind == "f":
        return array.astype(dtype, copy=False)
    limits = np.iinfo(dtype)
    return np.clip(np.rint(array), limits.min, limits.max).astype(dtype)


def render(
    array: np.ndarray,
    img_from_original: np.ndarray,
    input_from_original: np.ndarray,
    size: Sequence[int],
    *,
    elastic: Sequence[ElasticField] = (),
    interpolation: Interpolation = "linear",
    border: Border = "constant",
    border_value: float = 0.0,
) -> np.ndarray:
    """Sample an image once at the pixels of a frame.

    Where the frame shrinks an axis by more than 2, blocks of pixels are averaged first, so that the remaining
    scale is 2 at most.

    Args:
        array: (*S) or (*S, C) pixels.
        img_from_original: (D+1, D+1) original to pixels of ``array``.
        input_from_original: (D+1, D+1) original to pixels of the frame.
        size: (*S) of the frame.
        elastic: Deformations of the original frame, in the order of the pipeline.
        interpolation: "linear", "nearest", or "cubic" (2D only).
        border: Values outside the image: "constant", "replicate" or "reflect".
        border_value: Pixel value outside if ``border`` is "constant".

    Returns:
        (*S) or (*S, C) in the dtype of ``array``.
    """
    if len(size) == 3:
        return _render_volume(
            array, img_from_original, input_from_original, size, elastic, interpolation, border, border_value
        )
    if interpolation != "nearest":
        blocks = _blocks(input_from_original @ invert_matrix(img_from_original))
        array, img_from_original = _average_blocks(array, img_from_original, blocks)
    frame_from_img = input_from_original @ invert_matrix(img_from_original)
    if not elastic and _is_same(array, frame_from_img, size):
        return array
    if not elastic:
        return cv2.warpAffine(
            array,
            frame_from_img[:2],
            tuple(size[::-1]),
            flags=INTERPOLATIONS[interpolation],
            borderMode=BORDERS[border],
            borderValue=(border_value,) * 4,
        )
    coordinates = source_coordinates(img_from_original, input_from_original, size, elastic)
    return sample(array, coordinates, interpolation, border, border_value)


def _render_volume(
    array: np.ndarray,
    img_from_original: np.ndarray,
    input_from_original: np.ndarray,
    size: Sequence[int],
    elastic: Sequence[ElasticField],
    interpolation: Interpolation,
    border: Border,
    border_value: float,
) -> np.ndarray:
    if interpolation not in VOLUME_INTERPOLATIONS:
        raise ValueError(f"{interpolation!r} interpolation works in 2D only; use 'linear' or 'nearest'")
    original_from_input = invert_matrix(input_from_original)
    frame_from_img = input_from_original @ invert_matrix(img_from_original)
    if not elastic and _is_same(array, frame_from_img, size):
        return array
    moved, step = displacement_nodes(input_from_original, size, elastic)
    nodes = None if moved is None else turned(img_from_original, moved)
    box = source_box(img_from_original @ original_from_input, size, nodes)
    blocks = [1, 1, 1] if interpolation == "nearest" else _blocks(frame_from_img)
    array, img_from_original = source_part(array, img_from_original, box, blocks, border)
    array, img_from_original = _average_blocks(array, img_from_original, blocks)
    nodes = None if moved is None else turned(img_from_original, moved)
    matrix = img_from_original @ original_from_input
    return sample_volume(array, matrix, size, nodes, step, interpolation, border, border_value)


def _is_same(array: np.ndarray, frame_from_img: np.ndarray, size: Sequence[int]) -> bool:
    """Return whether the frame is the image itself."""
    same = np.allclose(frame_from_img, np.eye(len(size) + 1), rtol=0, atol=1e-9)
    return array.shape[: len(size)] == tuple(size) and same


def _blocks(frame_from_img: np.ndarray) -> list[int]:
    """Return (D,) how many pixels of the image are averaged along each of its axes, (x, y[, z])."""
    steps = np.linalg.norm(frame_from_img[:-1, :-1], axis=0)  # length of one pixel of the image in the frame
    return [max(1, math.ceil(0.5 / step - 1e-6)) for step in steps]


def _average_blocks(
    array: np.ndarray, img_from_original: np.ndarray, blocks: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    if max(blocks) == 1:
        return array, img_from_original
    dims, blocks_s = len(blocks), blocks[::-1]
    # Whole blocks only, so that the scale is exactly 1 / block.
    missing = [-n % block for n, block in zip(array.shape, blocks_s, strict=False)]
    padding = [(0, m) for m in missing] + [(0, 0)] * (array.ndim - dims)
    padded = np.pad(array, padding, mode="edge") if any(missing) else array
    size = [n // block for n, block in zip(padded.shape, blocks_s, strict=False)]
    factor = 1.0 / np.asarray(blocks, dtype=np.float64)
    return resize_array(padded, size), scale_matrix(factor.tolist(), (-0.5,) * dims) @ img_from_original


def affine_grid(matrix: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Return (*S, D) float32: all pixels of a frame of ``size``, mapped by ``matrix``."""
    dims = len(size)
    grid = np.empty((*size, dims), dtype=np.float32)
    for row in range(dims):
        total: np.ndarray | float = matrix[row, dims]
        for column in range(dims):
            axis = dims - 1 - column
            shape = [1] * dims
            shape[axis] = size[axis]
            total = total + (matrix[row, column] * np.arange(size[axis])).reshape(shape)
        grid[..., row] = total
    return grid


def source_coordinates(
    img_from_original: np.ndarray,
    input_from_original: np.ndarray,
    size: Sequence[int],
    elastic: Sequence[ElasticField],
) -> np.ndarray:
    """Return the position in an image (D = 2) that each pixel of a frame is read from.

    Args:
        img_from_original: (3, 3) original to pixels of the image.
        input_from_original: (3, 3) original to pixels of the frame.
        size: (*S) of the frame.
        elastic: Deformations of the original frame, in the order of the pipeline.

    Returns:
        (*S, 2) float32 pixels of the image, (x, y).
    """
    matrix, coordinates = invert_matrix(input_from_original), None
    for field in reversed(elastic):
        matrix = field.frame_from_original @ matrix
        if (
            coordinates is None
            and field.shape == tuple(size)
            and np.allclose(matrix, np.eye(len(matrix)), atol=1e-9)
        ):
            coordinates = affine_grid(matrix, size) + field.dense()  # described in this frame
        else:
            coordinates = affine_grid(matrix, size) if coordinates is None else _map(matrix, coordinates)
            coordinates += sample(field.dense(), coordinates, "linear", "replicate")
        matrix = invert_matrix(field.frame_from_original)
    matrix = img_from_original @ matrix
    return affine_grid(matrix, size) if coordinates is None else _map(matrix, coordinates)


def _map(matrix: np.ndarray, coordinates: np.ndarray) -> np.ndarray:
    dims = coordinates.shape[-1]
    return coordinates @ matrix[:dims, :dims].T.astype(np.float32) + matrix[:dims, dims].astype(np.float32)


def sample(
    array: np.ndarray,
    coordinates: np.ndarray,
    interpolation: Interpolation,
    border: Border,
    border_value: float = 0.0,
) -> np.ndarray:
    """Interpolate an image at given positions, in tiles where it is too large for one OpenCV remap.

    Args:
        array: (H, W) or (H, W, C) pixels.
        coordinates: (*S', 2) float32 positions in pixels, (x, y).
        interpolation: "linear", "nearest", or "cubic".
        border: Values outside the image: "constant", "replicate" or "reflect".
        border_value: Pixel value outside if ``border`` is "constant".

    Returns:
        (*S') or (*S', C) in the dtype of ``array``.
    """
    size, value = coordinates.shape[:2], (border_value,) * 4
    if max(*array.shape[:2], *size) <= _REMAP_LIMIT:
        return _read(array, coordinates, interpolation, border, value)
    result = np.empty((*size, *array.shape[2:]), dtype=array.dtype)
    for top in range(0, size[0], _TILE):
        for left in range(0, size[1], _TILE):
            tile = np.s_[top : top + _TILE, left : left + _TILE]
            part, shifted = _source_part(array, coordinates[tile], border)
            if max(part.shape[:2]) > _REMAP_LIMIT:
                raise ValueError(
                    f"a tile of {shifted.shape[1]} x {shifted.shape[0]} pixels needs {part.shape[1]} x "
                    f"{part.shape[0]} of the image: shrink it first, with LoadImage(size=...)"
                )
            result[tile] = _read(part, shifted, interpolation, border, value)
    return result


def _read(
    array: np.ndarray,
    coordinates: np.ndarray,
    interpolation: Interpolation,
    border: Border,
    value: Sequence[float],
) -> np.ndarray:
    return cv2.remap(  # type: ignore[call-overload]  # its stubs do not know that the second map may be None
        array, coordinates, None, INTERPOLATIONS[interpolation], None, BORDERS[border], value
    )


def _source_part(array: np.ndarray, coordinates: np.ndarray, border: Border) -> tuple[np.ndarray, np.ndarray]:
    """Return the part of an array that the coordinates need, and the coordinates within it."""
    margin = 4  # more than the radius of cubic interpolation
    shifted, slices = np.empty_like(coordinates), []
    for axis in (0, 1):
        side, places = array.shape[1 - axis], coordinates[..., axis].astype(np.float64)
        if border == "reflect":  # Reading a mirrored position equals reading a mirrored array.
            places = np.mod(places + 0.5, 2 * side)
            places = np.minimum(places, 2 * side - places) - 0.5
        else:
            places = np.clip(
                places, -margin, side - 1 + margin
            )  # Beyond this, every value is that of the border.
        start = int(np.clip(np.floor(places.min()) - margin, 0, side - 1))
        stop = int(np.clip(np.ceil(places.max()) + margin + 1, start + 1, side))
        shifted[..., axis] = places - start
        slices.append(slice(start, stop))
    return np.ascontiguousarray(array[slices[1], slices[0]]), shifted
