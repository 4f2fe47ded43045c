"""Rules on volumes: what follows from the size of their voxels in mm.

Sizes are in array order (z, y, x), spacings in the order of points (x, y, z). Like nnU-Net (Isensee et al.
2021), they resample all volumes to one spacing, and let strides and kernels follow from it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mmlandmark.planning.choice import Choice

SIDES = (32, 48, 64, 80, 96, 128, 160, 192, 256)  # voxels along the longest side of the candidates
MULTIPLE = 8  # that sides of the input are padded to
SMALLEST = 4  # voxels along a side of the deepest level
COARSE_AXIS = 2.0  # an axis whose voxels are so many times longer is neither halved nor convolved
_CUBES = 0.1  # voxels whose sides differ by less become cubes
_NARROWEST = 1.0  # voxels that a peak has to be wide, to be found between voxels
_WORTH_REDUCING = 0.5  # of the voxels, from which volumes are not reduced when they are loaded
_FINE_ENOUGH = 1.5  # voxels of the data a side: peaks are found between voxels
ENOUGH_VOLUMES = 4000  # seen by the first of two stages; docs/plan.md has what fewer gave
_FEWEST_FOR_A_POSE = 8  # landmarks, of which up to half may be wrong
_SAME_SPACING = 1.2  # longest over shortest side of a voxel that counts as a cube
_MOST_SHRUNK = 8.0  # fine voxels in a coarse one
_SMALLEST_PATCH = 32  # voxels a side
_ROUND = (1.0, 2.0, 2.5, 5.0)
_RADIOGRAPH = 100.0  # mm along the longest side, from which 2 mm are a small error
_SHARE = 0.005  # of the longest side of smaller images: the smallest radius


@dataclass(frozen=True)
class Grid:
    """Voxels of a network's input.

    Attributes:
        spacing: (x, y, z) mm per voxel.
        size: (*S) of the median volume.
    """

    spacing: tuple[float, ...]
    size: tuple[int, ...]


def choose_voxel(spacing: Sequence[float]) -> Choice:
    """Decide on the finest voxel that a network may see: (x, y, z) in mm.

    Args:
        spacing: Median of the volumes, (x, y, z) along the axes of the patient.
    """
    shown = " x ".join(f"{mm:g}" for mm in dict.fromkeys(spacing))
    if max(spacing) <= (1 + _CUBES) * min(spacing):
        side = _digits(math.prod(spacing) ** (1 / len(spacing)))
        return Choice((side,) * len(spacing), f"voxels are cubes of {side:g} mm in the median")
    ratio = max(spacing) / min(spacing)
    return Choice(
        tuple(_digits(mm) for mm in spacing),
        f"voxels of {shown} mm in the median, {ratio:.1f} times longer along one axis than along another",
    )


def input_grids(voxel: Sequence[float], extent: Sequence[float]) -> list[Grid]:
    """Return the candidates for the input, coarse to fine; the last one has the voxels of the data.

    Coarser voxels are cubes, but for an axis that is coarser already: that one keeps its spacing.

    Args:
        voxel: (x, y, z) mm, see :func:`choose_voxel`.
        extent: (x, y, z) mm of the median volume.
    """
    grids: list[Grid] = []
    for side in (*SIDES, None):
        cube = 0.0 if side is None else max(extent) / side
        if cube and cube <= (1 + _CUBES) * min(voxel):
            continue
        spacing = tuple(_digits(max(cube, mm)) for mm in voxel)
        size = tuple(
            MULTIPLE * max(2, math.ceil(round(mm / step / MULTIPLE, 3)))
            for mm, step in zip(extent[::-1], spacing[::-1], strict=True)
        )
        if not grids or size != grids[-1].size:
            grids.append(Grid(spacing, size))
        else:
            grids[-1] = Grid(spacing, size)
    return grids


def _digits(mm: float) -> float:
    return float(f"{mm:.4g}")


def choose_stages(spacing: Sequence[float], voxel: Sequence[float], seen: int) -> Choice:
    """Decide on the number of stages: 1, whole volumes; 2, then also patches of finer voxels.

    Args:
        spacing: (x, y, z) mm of the largest input that the time and the memory allow.
        voxel: (x, y, z) mm of the volumes, see :func:`choose_voxel`.
        seen: Whole volumes that are seen in half of the time, where the first stage is to see
            :data:`ENOUGH_VOLUMES`.
    """
    ratio = max(mm / own for mm, own in zip(spacing, voxel, strict=True))
    if ratio <= _FINE_ENOUGH:
        return Choice(1, f"voxels of whole volumes are {ratio:.1f} times those of the data")
    if seen < ENOUGH_VOLUMES:
        return Choice(1, f"in half of the time only {seen} volumes are seen, too few for two stages")
    return Choice(
        2,
        f"whole volumes would have voxels {ratio:.1f} times those of the data, so half of the time is for "
        "patches of finer ones",
    )


def choose_patch(coarse: Sequence[float], voxel: Sequence[float], extent: Sequence[float]) -> Grid:
    """Return the patches of a second stage: three coarse voxels in every direction from a landmark.

    Args:
        coarse: (x, y, z) mm of the first stage.
        voxel: (x, y, z) mm of the volumes, see :func:`choose_voxel`.
        extent: (x, y, z) mm of the median volume.
    """
    spacing = tuple(max(own, _digits(mm / _MOST_SHRUNK)) for own, mm in zip(voxel, coarse, strict=True))
    size = []
    for mm, rough, whole in zip(spacing[::-1], coarse[::-1], extent[::-1], strict=True):
        side = max(_SMALLEST_PATCH, MULTIPLE * math.ceil(round(6 * rough / mm / MULTIPLE, 3)))
        size.append(min(side, MULTIPLE * max(1, math.ceil(whole / mm / MULTIPLE))))
    return Grid(spacing, tuple(size))


def choose_alignment(grid: Grid, landmarks: int) -> Choice:
    """Decide whether patches are turned and scaled as the landmarks of the first stage say.

    Args:
        grid: The patches.
        landmarks: K.
    """
    if landmarks < _FEWEST_FOR_A_POSE:
        return Choice(None, f"patches as the volume lies: {landmarks} landmarks make no sure pose")
    if max(grid.spacing) > _SAME_SPACING * min(grid.spacing):
        return Choice(None, "patches as the volume lies, since its slices are thick")
    # In the frame of the typical shape, a patch about its outermost landmark has to fit.
    return Choice(
        dict(pixel=min(grid.spacing), margin=0.5),
        "patches in one pose: turned and scaled as the first stage's landmarks lie, a wrong one put right",
    )


def level_strides(
    size: Sequence[int], spacing: Sequence[float] | None, most: int
) -> tuple[tuple[int, ...], ...]:
    """Return the stride along every axis by which a level is smaller than the one above; 1s for the first.

    An axis is halved while its voxels are less than twice as long as the shortest, and at least
    :data:`SMALLEST` voxels remain.

    Args:
        size: (*S) of the input.
        spacing: (x, y[, z]) mm per pixel; None where they are squares or cubes.
        most: Levels.
    """
    here = list(size)
    steps = [1.0] * len(here) if spacing is None else [float(mm) for mm in spacing[::-1]]
    strides = [(1,) * len(here)]
    while len(strides) < most:
        large = [axis for axis, side in enumerate(here) if side >= 2 * SMALLEST]
        if not large:
            break
        shortest = min(steps[axis] for axis in large)
        halved = {axis for axis in large if steps[axis] < COARSE_AXIS * shortest}
        stride = tuple(2 if axis in halved else 1 for axis in range(len(here)))
        strides.append(stride)
        here = [side // s for side, s in zip(here, stride, strict=True)]
        steps = [mm * s for mm, s in zip(steps, stride, strict=True)]
    return tuple(strides)


def level_kernels(
    strides: Sequence[Sequence[int]], spacing: Sequence[float] | None
) -> tuple[tuple[int, ...], ...]:
    """Return the sides of the kernels of every level: 3, but 1 along axes of far longer voxels.

    Args:
        strides: Of the levels, see :func:`level_strides`.
        spacing: (x, y[, z]) mm per pixel of the input; None where they are squares or cubes.
    """
    dims = len(strides[0])
    steps = [1.0] * dims if spacing is None else [float(mm) for mm in spacing[::-1]]
    kernels: list[tuple[int, ...]] = []
    for stride in strides:
        steps = [mm * s for mm, s in zip(steps, stride, strict=True)]
        above = kernels[-1] if kernels else (1,) * dims
        kernels.append(
            tuple(
                3 if side == 3 or mm < COARSE_AXIS * min(steps) else 1
                for side, mm in zip(above, steps, strict=True)
            )
        )
    return tuple(kernels)


def choose_peak(size: Sequence[int], spacing: Sequence[float]) -> Choice:
    """Decide on the width of a peak in mm, and on what the codec takes.

    Args:
        size: (*S) of the input.
        spacing: (x, y, z) mm per voxel.

    Returns:
        ``sigma`` in voxels, one number or (x, y, z), and ``window``.
    """
    width = 1.5 if min(size) < 64 else 2.0
    wide = width * min(spacing)
    voxels = [float(f"{max(wide / mm, _NARROWEST):.3g}") for mm in spacing]
    cubes = len(set(voxels)) == 1
    shown = f"{voxels[0]:g} voxels" if cubes else f"{' x '.join(f'{v:g}' for v in voxels)} voxels"
    return Choice(
        dict(sigma=voxels[0] if cubes else tuple(voxels), window=math.ceil(2.5 * max(voxels))),
        f"{wide:.3g} mm, {shown} of the input",
    )


def choose_loaded_size(spacing: Sequence[float], stored: Sequence[float], largest: Sequence[int]) -> Choice:
    """Decide at which size volumes are loaded and kept: (*S), or None for that of their files.

    A loaded volume has twice the voxels of the input along every axis, so that turned volumes lose no detail.

    Args:
        spacing: (x, y, z) mm of the input.
        stored: (x, y, z) mm of the volumes.
        largest: (*S) of the largest volume.
    """
    factors = [min(1.0, 2 * own / mm) for own, mm in zip(stored[::-1], spacing[::-1], strict=True)]
    if math.prod(factors) > _WORTH_REDUCING:
        return Choice(None, "as stored")
    size = [max(1, math.ceil(factor * side)) for factor, side in zip(factors, largest, strict=True)]
    return Choice(size, "voxels of half the side of the input's, so that turned volumes lose no detail")


def choose_radii(voxel: Sequence[float]) -> Choice:
    """Decide within which distances in mm a landmark counts as found: about 2, 4 and 8 voxels.

    Args:
        voxel: (x, y, z) mm, see :func:`choose_voxel`.
    """
    wanted = 2 * math.prod(voxel) ** (1 / len(voxel))
    return Choice(round_radii(wanted), f"about 2, 4 and 8 voxels of {_digits(wanted / 2):g} mm")


def round_radii(smallest: float) -> tuple[float, float, float]:
    """Return the round number of mm that is nearest to ``smallest``, two times and four times that."""
    power = 10.0 ** math.floor(math.log10(smallest))
    steps = [number * p for number in _ROUND for p in (power, 10 * power)]
    base = min(steps, key=lambda step: abs(math.log(step / smallest)))
    one, two, four = (float(f"{n * base:.4g}") for n in (1, 2, 4))
    return one, two, four


def choose_image_radii(size: Sequence[int], spacing: Sequence[float] | None) -> Choice:
    """Decide within which distances in mm a landmark of an image counts as found.

    Args:
        size: (height, width) of the median image.
        spacing: (x, y) mm per pixel; None if a known distance gives the mm.
    """
    customary = (2, 2.5, 3, 4)
    if spacing is None:
        return Choice(customary, "customary for cephalograms")
    side = max(n * mm for n, mm in zip(size, spacing[::-1], strict=True))
    if side >= _RADIOGRAPH:
        return Choice(customary, "customary for cephalograms")
    return Choice(round_radii(_SHARE * side), f"about 0.5, 1 and 2 % of a side of {side:.3g} mm")
