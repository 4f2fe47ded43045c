"""Sizes, spacing and points as images are loaded: volumes along the axes of the patient."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmlandmark.datasets.check_cases import Cases
from mmlandmark.datasets.image_files import image_frame
from mmlandmark.planning.upright import upright
from mmlandmark.structures import apply_matrix, canonical_matrix, orientation_code, spacing_of


@dataclass(frozen=True, eq=False)
class LoadedAxes:
    """Images as they are shown, and volumes as ``LoadImage`` reorders them.

    Attributes:
        sizes: (N, D) pixels (x, y[, z]), NaN if unknown.
        spacing: (N, D) mm per pixel, (x, y[, z]), NaN if unknown.
        points: (N, K, D) pixels.
        stored: Of volumes, N orders of the voxels in the file, such as ``"LPS"``: the directions in which x,
            y and z grow; ``""`` where the file does not say it. None of images.
    """

    sizes: np.ndarray
    spacing: np.ndarray
    points: np.ndarray
    stored: list[str]

    @property
    def orientations(self) -> dict[str, int]:
        """Number of volumes by the order in which they are stored, the most frequent first."""
        return dict(Counter(self.stored).most_common())


def loaded_axes(cases: Cases) -> LoadedAxes:
    """Return the records as images are loaded.

    A spacing of the record precedes that of a volume's file. A volume without directions keeps its axes.
    """
    sizes, spacing = cases.sizes.copy(), cases.spacing.copy()
    points, stored = cases.points.copy(), list[str]()
    if cases.schema.dims == 2:
        shown = upright(cases)
        return LoadedAxes(shown.sizes, shown.spacing, shown.points, stored)
    for n, record in enumerate(cases.records):
        frame = _frame(record)
        if frame is None or not np.isfinite(sizes[n]).all():
            stored.append("")
            continue
        if not np.isfinite(spacing[n]).all():
            spacing[n] = spacing_of(frame)
        stored.append(orientation_code(frame))
        turn = canonical_matrix(frame, sizes[n, ::-1].astype(int).tolist())
        order = np.abs(turn[:3, :3])
        sizes[n], spacing[n] = order @ sizes[n], order @ spacing[n]
        points[n] = apply_matrix(turn, points[n])
    return LoadedAxes(sizes, spacing, points, stored)


def _frame(record: dict[str, Any]) -> np.ndarray | None:
    """Return the (4, 4) frame of a volume's file; None if it has none or cannot be read."""
    if record["img_path"] is None:
        return None
    try:
        frame = image_frame(record["img_path"])
    except (FileNotFoundError, ValueError):  # the check of the data reports it
        return None
    return frame if frame is not None and frame.shape == (4, 4) else None


def pose_angles(rotations: np.ndarray) -> np.ndarray:
    """Return the (N, 3) angles in degrees about x, y and z by which rotations differ from their mean.

    They are the vector along the axis of each rotation (N, 3, 3) from the mean whose length is its angle.
    """
    from scipy.spatial.transform import Rotation

    turns = Rotation.from_matrix(rotations)
    return np.degrees((turns * turns.mean().inv()).as_rotvec())
