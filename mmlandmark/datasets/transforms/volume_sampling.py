"""Volumes: which part of one a frame needs, its deformation as a lattice, and the reading of its voxels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from mmlandmark.datasets.transforms.elastic_field import ElasticField
from mmlandmark.ops import resample
from mmlandmark.structures import apply_matrix, crop_matrix, invert_matrix

Border = Literal["constant", "replicate", "reflect"]
VOLUME_INTERPOLATIONS = ("linear", "nearest")
# A lattice of displacements is linear between its nodes; its error against the splines, in pixels at most.
_LATTICE_ERROR = 0.02
_LARGEST_STEP = 16


def sample_volume(
    array: np.ndarray,
    img_from_input: np.ndarray,
    size: Sequence[int],
    nodes: Tensor | None,
    step: Sequence[int],
    interpolation: str,
    border: Border,
    border_value: float,
) -> np.ndarray:
    """Read a volume at the voxels of a frame.

    Args:
        array: (*S) or (*S, C) voxels, strided as they like.
        img_from_input: (4, 4) voxels of the frame to those of ``array``.
        size: (*S) of the frame.
        nodes: (3, *L) displacement in voxels of ``array`` at every ``step``-th voxel of the frame, or None.
        step: (*S), see ``nodes``.
        interpolation: "linear" or "nearest".
        border: Values outside the volume: "constant", "replicate" or "reflect".
        border_value: Voxel value outside if ``border`` is "constant".

    Returns:
        (*size) or (*size, C) in the dtype of ``array``.
    """
    volume, matrix = _as_tensor(array), torch.from_numpy(img_from_input)
    channels = [volume] if array.ndim == 3 else volume.unbind(-1)
    read = [
        resample(
            channel, matrix, size, displacement=nodes, step=step, interpolation=interpolation, border=border,
            value=border_value,
        ).numpy()
        for channel in channels
    ]  # fmt: skip
    return read[0] if array.ndim == 3 else np.stack(read, axis=-1)


class _Readable:
    """The memory of an array that may be read-only, as that of a cache is: PyTorch takes it to read it."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array  # keeps the memory alive
        interface = dict(array.__array_interface__)
        interface["data"] = (interface["data"][0], False)
        self.__array_interface__ = interface


def _as_tensor(array: np.ndarray) -> Tensor:
    """Return a tensor that shares the memory of an array, which must not be written to."""
    if min(array.strides) < 0:  # which tensors cannot have
        array = np.ascontiguousarray(array)
    return torch.from_numpy(np.asarray(_Readable(array)))


def source_box(img_from_input: np.ndarray, size: Sequence[int], nodes: Tensor | None) -> np.ndarray:
    """Return (2, 3) a box, in voxels of the image, from which a frame is read; it may reach beyond the image.

    Args:
        img_from_input: (4, 4) voxels of the frame to those of the image.
        size: (*S) of the frame.
        nodes: (3, *L) displacement in voxels of the image, see :func:`displacement_nodes`, or None.
    """
    ends = [(0.0, side - 1.0) for side in size[::-1]]
    corners = np.stack(np.meshgrid(*ends, indexing="ij"), -1).reshape(-1, 3)
    corners = apply_matrix(img_from_input, corners)
    box = np.stack([corners.min(0), corners.max(0)])
    if nodes is not None:  # between which no displacement exceeds theirs
        box += torch.stack(nodes.flatten(1).aminmax(dim=1)).numpy()
    return box


def source_part(
    array: np.ndarray, img_from_original: np.ndarray, box: np.ndarray, blocks: Sequence[int], border: Border
) -> tuple[np.ndarray, np.ndarray]:
    """Return the part of an image that is needed to read a box, in whole blocks, and its matrix.

    The part is a view: what is not needed is neither copied nor converted, nor read from a mapped file.
    """
    dims, start, slices = box.shape[1], np.zeros(box.shape[1]), []
    for axis in range(dims):
        side, block = array.shape[dims - 1 - axis], blocks[axis]
        first, last = box[:, axis] + (-2.0 * block, 2.0 * block)  # linear interpolation, after averaging
        if border == "reflect" and (first < 0 or last > side - 1):
            first, last = 0, side - 1  # it reads the image in a mirror
        first = int(np.clip(np.floor(first), 0, side - 1)) // block * block
        last = int(np.clip(np.ceil(last), first, side - 1))
        start[axis] = first
        slices.append(slice(first, min(-(-(last + 1) // block) * block, side)))
    part = array[tuple(slices[::-1])]
    return (
        (array, img_from_original)
        if part.shape == array.shape
        else (part, crop_matrix(start) @ img_from_original)
    )


def displacement_nodes(
    input_from_original: np.ndarray, size: Sequence[int], elastic: Sequence[ElasticField]
) -> tuple[Tensor | None, list[int]]:
    """Return by how much deformations displace what a frame is read from, as a lattice over the frame.

    The voxel q of the frame is read at ``inverse(input_from_original) @ q + u(q)``, where u is linear between
    the nodes of the lattice, which lie so densely that its error is below a fiftieth of a voxel.

    Args:
        input_from_original: (4, 4) original to voxels of the frame.
        size: (*S) of the frame.
        elastic: Deformations of the original frame, in the order of the pipeline.

    Returns:
        (3, *L) float32 u at the nodes in original voxels, (x, y, z), None without deformation; (*S) voxels of
        the frame between two nodes.
    """
    original_from_input = invert_matrix(input_from_original)
    step = _node_step(original_from_input, size, elastic)
    counts = [-(-(side - 1) // s) + 1 for side, s in zip(size, step, strict=True)]
    input_from_node = np.diag([*map(float, step[::-1]), 1.0])
    moved: Tensor | None = None  # displacement of the original position of every node
    for field in reversed(elastic):
        lattice, lattice_from_frame = field.lattice(_subdivisions(field))
        into_lattice = lattice_from_frame @ field.frame_from_original
        read = [
            resample(
                torch.from_numpy(component),
                torch.from_numpy(into_lattice @ original_from_input @ input_from_node),
                counts,
                displacement=None if moved is None else turned(into_lattice, moved),
                border="replicate",
            )
            for component in lattice
        ]
        here = turned(invert_matrix(field.frame_from_original), torch.stack(read))
        moved = here if moved is None else moved + here
    return moved, step


def turned(matrix: np.ndarray, displacement: Tensor) -> Tensor:
    """Return (3, *L) displacements in another frame, to which ``matrix`` (4, 4) leads."""
    linear = torch.from_numpy(matrix[:-1, :-1]).to(displacement.dtype)
    return torch.tensordot(linear, displacement, dims=1)


def _subdivisions(field: ElasticField) -> int:
    """Return into how many parts every cell of a field is split, to be linear within them.

    The second derivative of a cubic B-spline of coefficients a on cells of length c is 4 a / c^2 at most, the
    error of linear interpolation over a length h along each of D axes D h^2 / 8 times that.
    """
    dims, largest = len(field.shape), float(np.abs(field.coefficients).max())
    return max(1, int(np.ceil(np.sqrt(dims * largest / (2 * _LATTICE_ERROR)))))


def _node_step(
    original_from_input: np.ndarray, size: Sequence[int], elastic: Sequence[ElasticField]
) -> list[int]:
    """Return (*S) voxels of the frame between two nodes: at most one part of a cell of every field."""
    steps = [float(_LARGEST_STEP)] * len(size)
    for field in elastic:
        linear = (field.frame_from_original @ original_from_input)[:-1, :-1]
        cells = np.asarray(field.coefficients.shape[:0:-1]) - 3
        part = np.asarray(field.shape[::-1]) / cells / _subdivisions(field)
        longest = (np.abs(linear) / part[:, None]).max(0)[::-1]  # parts per voxel of the frame, (*S)
        steps = [min(s, 1 / max(n, 1e-6)) for s, n in zip(steps, longest, strict=True)]
    return [max(1, int(s)) for s in steps]
