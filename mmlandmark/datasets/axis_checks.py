"""Checks of shapes in volumes: axes that are exchanged or mirrored, and where a shape lies in its volume."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations, product
from typing import TYPE_CHECKING

import numpy as np

from mmlandmark.datasets.check_cases import Cases, Finding
from mmlandmark.shape import align, angles_between, mean_rotation
from mmlandmark.structures import apply_matrix, canonical_matrix, original_from_world

if TYPE_CHECKING:
    from mmlandmark.datasets.shape_checks import Judge

_STABLE = 0.35  # radians: poses vary so little that a turn means something
_UNFIT, _FIT = 3.0, 1.5  # times the usual residual: a shape that does not fit, and one that does


def exchanged_axes(cases: Cases, judge: Judge) -> Iterator[Finding]:
    """Shapes in volumes that fit the others, and lie like them, when axes are exchanged or mirrored.

    Axes are those of the voxels, as stored. Nothing is said where volumes show the patient in any pose, or
    from either side.
    """
    rows = judge.rows
    if not len(rows) or judge.sides:
        return
    plain = align(judge.points, judge.typical)
    usual = mean_rotation(plain.rotations[rows])
    angles, residuals = angles_between(plain.rotations, usual), plain.residuals
    usually, residual = float(np.median(angles[rows])), float(np.median(residuals[rows]))
    if usually > _STABLE:
        return
    turned = max(3 * usually, _STABLE)
    for n in rows[(residuals[rows] > _UNFIT * residual) | (angles[rows] > 2 * turned)]:
        change = _change(cases, judge, int(n), usual, (_FIT * residual, turned))
        if change is not None:
            message = f"fits the others when {in_words(change)}"
            yield cases.finding(int(n), "axes of a volume", message, score=float(angles[n]))


def _change(
    cases: Cases, judge: Judge, n: int, usual: np.ndarray, limits: tuple[float, float]
) -> np.ndarray | None:
    """Return the simplest change of the stored axes that makes a shape fit, (3, 3), or None."""
    linear = cases.to_mm[n, :3, :3]
    tried = np.stack([cases.clean[n] @ (linear @ change).T for change in AXIS_CHANGES])
    poses = align(tried, judge.typical)
    fits = (poses.residuals < limits[0]) & (angles_between(poses.rotations, usual) < limits[1])
    return AXIS_CHANGES[int(np.argmax(fits))] if fits.any() else None


def _signed_permutations() -> list[np.ndarray]:
    """Return the (3, 3) matrices that exchange and mirror axes; those that change least come first."""
    matrices = []
    for order in permutations(range(3)):
        for signs in product((1.0, -1.0), repeat=3):
            matrix = np.zeros((3, 3))
            matrix[range(3), order] = signs
            matrices.append(matrix)
    changed = [m for m in matrices if not np.array_equal(m, np.eye(3))]
    return sorted(changed, key=lambda m: (int((np.diag(m) == 0).sum()), int((m < 0).sum())))


AXIS_CHANGES = _signed_permutations()


def in_words(change: np.ndarray) -> str:
    """Return what a signed permutation (3, 3) does to axes, after "when"."""
    order = np.abs(change).argmax(axis=1)
    parts = []
    if (order != np.arange(3)).any():
        parts.append(f"its axes are taken in the order {', '.join('xyz'[i] for i in order)}")
    flipped = ["xyz"[i] for i in range(3) if change[i].sum() < 0]
    if flipped:
        parts.append(f"{' and '.join(flipped)} {'are' if len(flipped) > 1 else 'is'} mirrored")
    text = " and ".join(parts)
    return (
        f"{text}: are they in RAS, and count as LPS?" if flipped == ["x", "y"] and len(parts) == 1 else text
    )


def upright_fractions(cases: Cases, n: int, places: np.ndarray) -> np.ndarray:
    """Return where places (M, 3) in mm lie in the volume of a record, from 0 to 1 along the patient's axes.

    These are the axes of the volume as the reader orders them.
    """
    matrix, size = cases.to_mm[n], cases.sizes[n]
    upright = canonical_matrix(matrix, size[::-1].astype(int).tolist())
    if cases.frames[n] is None:
        upright = np.eye(4)  # the reader leaves axes without directions as they are
    voxels = apply_matrix(upright @ original_from_world(matrix), places)
    return (voxels + 0.5) / (np.abs(upright[:3, :3]) @ size)
