"""A small data set of scans: dots in a grey box, as NIfTI with markups of 3D Slicer, in two orientations."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from image_writers import write_nifti
from mmlandmark.structures import apply_matrix, original_from_world, world_matrix

NAMES = ("left", "right", "front", "top")
_SHAPE = np.array([[4.0, 0, 0], [-4, 0, 0], [0, -5, 0], [0, 1, 6]])  # mm in LPS
MORE_NAMES = ("low_left", "low_right", "back", "middle")
_MORE = np.array([[3.0, -2, -6], [-3, -2, -6], [0, 5, -2], [0, 0, 2]])
_EXTENT = np.array([12.0, 16.0, 20.0])


def write_scans(
    folder: Path, count: int = 6, missing: bool = False, spacing: float = 0.5, more: bool = False
) -> np.ndarray:
    """Write ``images/<n>.nii.gz`` and ``points/<n>.mrk.json``; return the (N, 4 or 8, 3) points in mm of LPS.

    The first has finer voxels; every second is stored as RAS.

    Args:
        folder: It is made.
        count: Number of scans.
        missing: Leave the last point of the second scan out.
        spacing: mm.
        more: Eight points in place of four.
    """
    names = NAMES + MORE_NAMES if more else NAMES
    shape = np.concatenate([_SHAPE, _MORE]) if more else _SHAPE
    rng = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    (folder / "points").mkdir()
    world = np.empty((count, len(names), 3))
    for n in range(count):
        step = spacing if n else 0.9 * spacing
        signs = np.array([-1, -1, 1] if n % 2 else [1, 1, 1])
        size = np.round(_EXTENT / step).astype(int)
        origin = -signs * (size - 1) * step / 2
        frame = world_matrix([step] * 3, origin, np.diag(signs))
        world[n] = shape * rng.uniform(0.9, 1.1) + rng.uniform(-1, 1, 3)
        voxels = apply_matrix(original_from_world(frame), world[n])
        grid = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij"), axis=-1)
        volume = rng.normal(60, 5, size)
        for k, center in enumerate(voxels):
            distance = np.linalg.norm(grid - center, axis=-1) * step
            volume += (60 + 120 // len(names) * k) * np.exp(-0.5 * (distance / 1.0) ** 2)
        write_nifti(folder / "images" / f"{n}.nii.gz", volume.clip(0, 255).astype(np.uint8).T, None, frame)
        kept = [k for k in range(len(names)) if not (missing and (n, k) == (1, 3))]
        marks = [dict(label=names[k], position=world[n, k].tolist()) for k in kept]
        markup = dict(type="Fiducial", coordinateSystem="LPS", controlPoints=marks)
        (folder / "points" / f"{n}.mrk.json").write_text(json.dumps(dict(markups=[markup])))
    return world
