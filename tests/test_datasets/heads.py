"""Annotations of generated heads in volumes of any orientation, to plant faults in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mmlandmark.datasets.checks import check_dataset
from mmlandmark.testing.planted_faults import Annotations, phantom_annotations


def heads(count=24):
    """Return the annotations of generated heads, stored nearly as LPS."""
    return phantom_annotations("head", count)


def stored_as(given: Annotations, change: np.ndarray, rows=slice(None)) -> Annotations:
    """Return the same volumes with their stored axes exchanged and mirrored by a signed permutation (3, 3).

    Points stay where they are in the patient.
    """
    points, sizes, frames = given.points.copy(), given.sizes.copy(), given.frames.copy()
    for n in np.arange(len(points))[rows]:
        new_size = np.abs(change) @ sizes[n]
        matrix = np.eye(4)
        matrix[:3, :3] = change
        matrix[:3, 3] = np.where(change.sum(axis=1) < 0, new_size - 1, 0)
        points[n] = points[n] @ change.T + matrix[:3, 3]
        frames[n], sizes[n] = frames[n] @ np.linalg.inv(matrix), new_size
    return replace(given, points=points, sizes=sizes, frames=frames)


def findings(given: Annotations, check: str | None = None, **more):
    """Return the findings of a check of these volumes, all or of one kind."""
    found = check_dataset(dict(train=given.dataset()), **more)["findings"]
    return [finding for finding in found if check in (None, finding["check"])]
