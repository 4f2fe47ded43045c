"""The two frames of a case: the file's own pixels or voxels, and the world in millimetres.

The world is that of DICOM: patient axes, x towards the left, y towards the back, z towards the head (LPS).
``world_from_original`` is a homogeneous matrix that maps a stored pixel or voxel (x, y[, z]) to mm. It is
(4, 4) for a volume; (4, 3) for a slice, where the file says where in the patient it lies; and (3, 3) for any
other image with a spacing, whose world is its own plane. Spacing is derived from the matrix.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import numpy as np

_TO, _FROM = "LPS", "RAI"  # where the patient's x, y and z grow to, and where they come from
_OBLIQUE = 0.35  # a second letter from 20 degrees on


def world_matrix(
    spacing: Sequence[float] | np.ndarray,
    origin: Sequence[float] | np.ndarray | None = None,
    direction: Sequence | np.ndarray | None = None,
) -> np.ndarray:
    """Return the (W+1, D+1) matrix that maps pixels to mm.

    Args:
        spacing: (D,) mm per pixel, (x, y[, z]).
        origin: (W,) mm, the centre of the first pixel; 0 by default.
        direction: (W, D), or its W * D entries row by row; column i is the unit vector along which pixel
            coordinate i grows. W is D, or 3 for an image (D = 2) in patient axes. The identity by default.

    Raises:
        ValueError: A size does not fit, a number is not finite, a spacing is not positive, or the directions
            are linearly dependent.

    Example:
        >>> world_matrix((0.5, 2.0), origin=(10, 20)).tolist()
        [[0.5, 0.0, 10.0], [0.0, 2.0, 20.0], [0.0, 0.0, 1.0]]
        >>> world_matrix((0.5, 2.0), (1, 2, 3), [[0, 0], [1, 0], [0, 1]]).tolist()  # a sagittal slice
        [[0.0, 0.0, 1.0], [0.5, 0.0, 2.0], [0.0, 2.0, 3.0], [0.0, 0.0, 1.0]]
    """
    steps = np.asarray(spacing, dtype=np.float64)
    dims = len(steps)
    axes = np.eye(dims) if direction is None else np.asarray(direction, dtype=np.float64).reshape(-1, dims)
    matrix = np.zeros((len(axes) + 1, dims + 1))
    matrix[:-1, :-1] = axes * steps
    matrix[:-1, -1] = 0.0 if origin is None else origin
    matrix[-1, -1] = 1.0
    if len(axes) not in (dims, 3) or not (steps > 0).all() or not is_frame(matrix):
        raise ValueError(
            f"no frame: spacing {steps.tolist()}, direction {axes.tolist()}, "
            f"origin {matrix[:-1, -1].tolist()}"
        )
    return matrix


def is_frame(matrix: np.ndarray) -> bool:
    """Return whether a (W+1, D+1) matrix is finite and of full rank."""
    linear = matrix[:-1, :-1]
    if not np.isfinite(matrix).all():
        return False
    steps = np.linalg.norm(linear, axis=0)
    axes = linear / np.where(steps > 0, steps, 1)
    return bool((steps > 0).all() and np.linalg.det(axes.T @ axes) > 1e-8)


def spacing_of(world_from_original: np.ndarray) -> tuple[float, ...]:
    """Return the (D,) mm per pixel, (x, y[, z]), of a (W+1, D+1) matrix.

    Example:
        >>> spacing_of(world_matrix((0.5, 2.0), direction=[[0, -1], [1, 0]]))
        (0.5, 2.0)
    """
    return tuple(np.linalg.norm(np.asarray(world_from_original)[:-1, :-1], axis=0).tolist())


def mm_steps(
    world_from_original: np.ndarray | None, spacing: Sequence[float] | None, dims: int
) -> np.ndarray | None:
    """Return the (D, D) matrix from steps in stored pixels to steps in mm; None if it is unknown.

    Column i is the step along pixel coordinate i, in mm along the axes of the patient for a volume with known
    directions, else along the axes of the stored image.

    Args:
        world_from_original: (W+1, D+1) stored pixels to mm by the file, or None.
        spacing: (D,) mm per pixel by the annotation, or None: where both are known, its lengths count, since
            errors are measured by it. An image needs it.
        dims: 2 or 3.

    Example:
        >>> mm_steps(world_matrix((1, 2), direction=[[0, 1], [-1, 0], [0, 0]]), (0.5, 0.5), 2).tolist()
        [[0.5, 0.0], [0.0, 0.5]]
        >>> mm_steps(world_matrix((1, 1, 2), direction=np.diag([-1, -1, 1])), (1, 1, 3), 3).tolist()
        [[-1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, 3.0]]
    """
    if world_from_original is not None and dims == 3:
        steps = np.asarray(world_from_original, dtype=np.float64)[:3, :3]
        if spacing is None:
            return steps
        return steps / spacing_of(world_from_original) * np.asarray(spacing, dtype=np.float64)
    return None if spacing is None else np.diag(np.asarray(spacing, dtype=np.float64))


def world_from_image(
    world_from_original: np.ndarray | None, image_from_original: np.ndarray
) -> np.ndarray | None:
    """Return the (W+1, D+1) matrix to mm of an image that was made from the original; None if it is unknown.

    Args:
        world_from_original: (W+1, D+1) stored pixels to mm, or None.
        image_from_original: (D+1, D+1) stored pixels to those of the image.

    Example:
        >>> from mmlandmark.structures import crop_matrix
        >>> world_from_image(world_matrix((0.5, 2.0)), crop_matrix((2, 1))).tolist()
        [[0.5, 0.0, 1.0], [0.0, 2.0, 2.0], [0.0, 0.0, 1.0]]
    """
    if world_from_original is None:
        return None
    return np.asarray(world_from_original) @ np.linalg.inv(image_from_original)


def original_from_world(world_from_original: np.ndarray) -> np.ndarray:
    """Return the (D+1, W+1) matrix that maps mm back to pixels; for a slice, to the nearest place in it.

    Example:
        >>> slice_in_patient = world_matrix((0.5, 2.0), (1, 2, 3), [[0, 0], [1, 0], [0, 1]])
        >>> (original_from_world(slice_in_patient) @ [99, 2.5, 5, 1]).round(6).tolist()
        [1.0, 1.0, 1.0]
    """
    linear, offset = world_from_original[:-1, :-1], world_from_original[:-1, -1]
    back = np.linalg.inv(linear) if len(linear) == len(linear.T) else np.linalg.pinv(linear)
    matrix = np.zeros(world_from_original.shape[::-1])
    matrix[:-1, :-1], matrix[:-1, -1], matrix[-1, -1] = back, -back @ offset, 1.0
    return matrix


def swap_lps_ras(world_from_original: np.ndarray) -> np.ndarray:
    """Convert a (4, D+1) matrix between LPS and RAS (right, anterior, superior: the world of NIfTI)."""
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ world_from_original


def first_slice(world_from_original: np.ndarray) -> np.ndarray:
    """Return the (4, 3) matrix of the first slice, z = 0, of a volume with a (4, 4) matrix."""
    return world_from_original[:, [0, 1, 3]]


def canonical_matrix(world_from_original: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Return the matrix that orders and mirrors the axes of an array to come closest to the world's.

    The result leads from stored pixels to those of the reordered array: x grows to the left, y to the back
    and z to the head, as nearly as the axes of the array allow. Every pixel is moved onto a pixel.

    Args:
        world_from_original: (D+1, D+1) stored pixels to mm in LPS.
        size: (*S) of the stored array.

    Returns:
        (D+1, D+1) with one entry of 1 or -1 in each of its first D rows and columns, and an offset.

    Example:
        >>> canonical_matrix(world_matrix((1, 1), direction=[[0, -1], [1, 0]]), (4, 8)).astype(int).tolist()
        [[0, -1, 3], [1, 0, 0], [0, 0, 1]]
    """
    dims = len(size)
    axes = world_from_original[:dims, :dims] / spacing_of(world_from_original)
    best, order = -1.0, tuple(range(dims))
    for candidate in permutations(range(dims)):  # candidate[i] is the stored axis that becomes axis i
        score = float(np.abs(axes[range(dims), candidate]).sum())
        if score > best + 1e-6:  # Of equally good orders the first, which is nearest to the stored one.
            best, order = score, candidate
    matrix = np.zeros((dims + 1, dims + 1))
    matrix[dims, dims] = 1.0
    for new, old in enumerate(order):
        backwards = axes[new, old] < 0
        matrix[new, old] = -1.0 if backwards else 1.0
        matrix[new, dims] = size[dims - 1 - old] - 1 if backwards else 0.0
    return matrix


def direction_letters(direction: np.ndarray) -> str:
    """Return where in the patient a direction (3,) in LPS leads: R, L, A, P, S, I, or two of them.

    Example:
        >>> direction_letters(np.array([0.0, -2.0, 0.1])), direction_letters(np.array([1.0, 0.0, 0.7]))
        ('A', 'LS')
    """
    direction = np.asarray(direction, dtype=np.float64) / np.linalg.norm(direction)
    order = np.argsort(-np.abs(direction), kind="stable")
    named = [i for i in order[:2] if abs(direction[i]) > _OBLIQUE]
    return "".join((_TO if direction[i] > 0 else _FROM)[i] for i in named)


def orientation_code(world_from_original: np.ndarray) -> str:
    """Return three letters that say where x, y and z of a stored volume lead in the patient, nearly.

    Args:
        world_from_original: (4, 4) voxels to mm in LPS.

    Example:
        >>> orientation_code(world_matrix((1, 1, 1), direction=np.diag([-1, -1, 1])))  # as NIfTI likes it
        'RAS'
    """
    order = canonical_matrix(world_from_original, (1, 1, 1))[:3, :3]
    worlds = np.abs(order).argmax(axis=0)  # the axis of the world of every stored one
    return "".join((_TO if order[w, i] > 0 else _FROM)[w] for i, w in enumerate(worlds))
