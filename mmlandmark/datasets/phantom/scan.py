"""A head in a CT scanner: its pose, the stored volume and its frame, and the values of the voxels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmlandmark.datasets.phantom.bodies import Body, fill
from mmlandmark.datasets.phantom.head import AIR, EXTREMES, Head
from mmlandmark.datasets.phantom.head_shape import HeadShape
from mmlandmark.datasets.phantom.scene import View
from mmlandmark.structures.coordinates import (
    apply_matrix,
    invert_matrix,
    is_inside,
    rotation_matrix,
    translation_matrix,
)
from mmlandmark.structures.frame import spacing_of, world_matrix

_POSE = (9.0, 6.0, 7.0)  # largest turn of the patient about x, y and z, degrees
_OBLIQUE = 10.0  # largest turn of the volume against the patient's axes, degrees
_CUT_SHORT = 0.2  # of the scans end before the chin or the vertex
# Columns grow to the right and rows to the front, as NIfTI files usually have them.
_RAS = np.diag([-1.0, -1.0, 1.0])
_LOW, _HIGH = -1024, 3071  # of 12 bits


@dataclass(kw_only=True)
class Scan(View):
    """A head and the volume that a scanner stores of it.

    Attributes:
        bodies: In the frame of the mean head, mm.
        shape: Leads from the patient's frame to that of the mean head.
        patient_from_voxel: (4, 4), from stored voxels.
    """

    bodies: list[Body]
    shape: HeadShape
    patient_from_voxel: np.ndarray


def scan(head: Head, shape: HeadShape, rng: np.random.Generator, size: Sequence[int]) -> Scan:
    """Lay a patient into the scanner, and choose a volume of ``size`` (*S) about the head.

    Slices are thicker than the voxels within them, unless there are many. A landmark is absent if its tooth
    is lost, or if it lies outside: some scans end before the chin or the vertex.

    Args:
        head: Bodies and landmarks in the frame of the mean head.
        shape: Of this patient.
        rng: Draws pose and volume.
        size: (*S) of the volume.
    """
    middle = EXTREMES.mean(axis=0)
    turn = rotation_matrix((rng.uniform(-1, 1, size=3) * _POSE).tolist(), middle)
    world_from_patient = translation_matrix(rng.uniform(-60, 60, size=3)) @ turn
    direction = rotation_matrix((rng.uniform(-1, 1, size=3) * _OBLIQUE).tolist(), np.zeros(3))[:3, :3] @ _RAS
    # Along the axes of the volume, mm from the origin of the world.
    skin = apply_matrix(world_from_patient, shape.from_mean(EXTREMES)) @ direction
    low, high = skin.min(axis=0), skin.max(axis=0)
    room = (high - low) * rng.uniform(1.03, 1.15, size=3)
    room[:2] = (room[:2] / size[:0:-1]).max() * np.array(size[:0:-1])  # square voxels within a slice
    start = (low + high - room) / 2 + rng.uniform(-0.3, 0.3, size=3) * (room - (high - low))
    if rng.random() < _CUT_SHORT:
        lost = rng.uniform(0.1, 0.3) * room[2]
        start[2] += lost * (rng.random() < 0.7)  # more often at the chin
        room[2] -= lost
    spacing = room / np.array(size[::-1])
    world = world_matrix(spacing, direction @ (start + spacing / 2), direction)
    places = apply_matrix(world_from_patient, shape.from_mean(head.landmarks))
    landmarks = apply_matrix(invert_matrix(world), places)
    seen = is_inside(landmarks, size) & head.present
    return Scan(
        bodies=head.bodies,
        shape=shape,
        patient_from_voxel=invert_matrix(world_from_patient) @ world,
        world_from_original=world,
        landmarks=np.where(seen[:, None], landmarks, np.nan).astype(np.float32),
        visibility=np.where(seen, 1, -1).astype(np.int8),
        size=tuple(int(side) for side in size),
        spacing=spacing_of(world),
    )


def acquire(scanned: Scan, rng: np.random.Generator) -> np.ndarray:
    """Return the volume (*S) int16, HU, with noise.

    Args:
        scanned: The scan.
        rng: Draws the noise.
    """
    volume = np.full(scanned.size, np.float32(AIR))
    places = scanned.shape.to_mean(_grid(scanned.patient_from_voxel, scanned.size))
    edge = float(np.prod(scanned.spacing)) ** (1 / 3)
    fill(volume, places, scanned.bodies, _boxes(scanned, edge), edge)
    # The sum of four bytes is nearly normal, and the same everywhere.
    bytes_ = rng.integers(0, 256, size=(4, volume.size), dtype=np.uint8)
    noise = bytes_.sum(axis=0, dtype=np.int16).reshape(volume.shape) - np.int16(510)
    level = rng.uniform(12, 30)  # HU; a byte has a standard deviation of 73.9
    volume += noise * np.float32(level / (2 * 73.9))
    return np.rint(np.clip(volume, _LOW, _HIGH)).astype(np.int16)


def _grid(matrix: np.ndarray, size: Sequence[int]) -> list[np.ndarray]:
    """Return where a (4, 4) matrix leads the voxels of a volume: x, y and z, (*S) float32 each."""
    steps = [np.arange(side, dtype=np.float32) for side in size]
    z, y, x = steps[0][:, None, None], steps[1][:, None], steps[2]
    rows = matrix[:3].astype(np.float32)
    return [(x * row[0] + y * row[1]) + (z * row[2] + row[3]) for row in rows]


def _boxes(scanned: Scan, edge: float) -> np.ndarray:
    """Return (N, 2, 3) the first voxel that each body may reach and the one after the last, (z, y, x)."""
    bounds = np.stack([body.bounds() for body in scanned.bodies]) + np.array([[-edge], [edge]])
    # Corners, middles of edges and sides: the image of a box has bent sides.
    steps = np.stack(np.meshgrid(*[[0.0, 0.5, 1.0]] * 3, indexing="ij"), axis=-1).reshape(1, -1, 3)
    points = bounds[:, :1] + steps * (bounds[:, 1:] - bounds[:, :1])
    patient = scanned.shape.from_mean(points.reshape(-1, 3))
    voxels = apply_matrix(invert_matrix(scanned.patient_from_voxel), patient)
    voxels = voxels.reshape(len(bounds), -1, 3)[..., ::-1]
    first = np.floor(voxels.min(axis=1)).astype(int) - 1
    last = np.ceil(voxels.max(axis=1)).astype(int) + 2
    limits = np.array(scanned.size)
    return np.stack([np.clip(first, 0, limits), np.clip(last, 0, limits)], axis=1)
