"""The parts of a phantom in millimetres, a smooth random deformation, a pose."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mmlandmark.structures.coordinates import rotation_matrix, scale_matrix, translation_matrix


def send(lines: list[np.ndarray], function: Callable[[np.ndarray], np.ndarray]) -> list[np.ndarray]:
    """Apply a function of points to several (N, D) lines at once."""
    moved = function(np.concatenate(lines))
    ends = np.cumsum([len(line) for line in lines]).tolist()
    return [moved[start:end] for start, end in zip([0, *ends], ends, strict=False)]


@dataclass
class Solid:
    """Bodies with rounded edges, one attenuating material, and perhaps a cortical shell.

    Attributes:
        outlines: (N, D) closed outlines, mm; bodies that overlap in one Solid merge, they do not add up.
        amount: Attenuation of the full thickness; negative for a cavity filled with air.
        rounding: Depth below the edge at which the full thickness is reached, mm.
        cortex: Thickness of the shell, mm; 0 for none.
        rim: Attenuation that the shell adds; strongest along the edge, where rays graze it.
        bone: The body shows trabecular texture and belongs to the bone layer.
        fixed: The body belongs to the room (head holder): pose and deformation do not move it.
    """

    outlines: list[np.ndarray]
    amount: float
    rounding: float = 4.0
    cortex: float = 0.0
    rim: float = 0.0
    bone: bool = True
    fixed: bool = False

    def move(self, function: Callable[[np.ndarray], np.ndarray]) -> None:
        """Apply ``function``, from (N, D) to (N, D), to every outline."""
        self.outlines = send(self.outlines, function)


@dataclass
class Stroke:
    """Thin structures: lines of compact bone, vessels, ribs as hollow tubes.

    Attributes:
        paths: (N, D) open paths, mm.
        width: mm.
        amount: Attenuation at the edge of the stroke.
        core: Fraction of ``amount`` in the middle: 1 makes a wire, less makes a tube.
        bone: As in :class:`Solid`.
        fixed: As in :class:`Solid`.
    """

    paths: list[np.ndarray]
    width: float
    amount: float
    core: float = 1.0
    bone: bool = True
    fixed: bool = False

    def move(self, function: Callable[[np.ndarray], np.ndarray]) -> None:
        """Apply ``function``, from (N, D) to (N, D), to every path."""
        self.paths = send(self.paths, function)


Part = Solid | Stroke


@dataclass
class Anatomy:
    """One random patient in a patient-centred frame.

    Attributes:
        parts: Everything that attenuates the beam, in any order.
        landmarks: (K, D), mm.
        center: (D,) middle of the field of view, mm.
        extent: (D,) size of the usual field of view, mm.
        rotation: Largest tilt of the patient, degrees.
    """

    parts: list[Part]
    landmarks: np.ndarray
    center: np.ndarray
    extent: np.ndarray
    rotation: float = 8.0


@dataclass(kw_only=True)
class View:
    """What is known of an image before it is rendered.

    Attributes:
        landmarks: (K, D) float32 pixels of the image, NaN where absent.
        size: (*S) of the image.
        spacing: (D,) mm per pixel.
        visibility: (K,) int8, 1 or, for an absent landmark, -1; None if none is absent.
        world_from_original: (D+1, D+1) pixels to mm in LPS; None for an image in its own plane.
    """

    landmarks: np.ndarray
    size: tuple[int, ...]
    spacing: tuple[float, ...]
    visibility: np.ndarray | None = None
    world_from_original: np.ndarray | None = None


@dataclass(kw_only=True)
class Scene(View):
    """A patient in front of the detector.

    Attributes:
        parts: As in :class:`Anatomy`, deformed, still in mm.
        pixel_from_mm: (D+1, D+1), the pose: patient frame to pixels.
        room_from_mm: (D+1, D+1), the same without tilt and shift, for fixed parts.
    """

    parts: list[Part]
    pixel_from_mm: np.ndarray
    room_from_mm: np.ndarray


def spline(vertices: np.ndarray | Sequence, closed: bool = True, steps: int = 6) -> np.ndarray:
    """Return a smooth curve through all vertices (Catmull-Rom); a vertex given twice is a corner.

    Args:
        vertices: (N, D) points that the curve passes through.
        closed: Join the last vertex to the first.
        steps: Points per vertex.

    Returns:
        (N * steps, D) points, or ((N - 1) * steps + 1, D) for an open curve.
    """
    points = np.asarray(vertices, dtype=np.float64)
    if closed:
        padded = np.concatenate([points[-1:], points, points[:2]])
    else:
        padded = np.concatenate([points[:1], points, points[-1:]])
    before, start, end, after = padded[:-3], padded[1:-2], padded[2:-1], padded[3:]
    t = (np.arange(steps) / steps)[None, :, None]
    bend = 2 * before - 5 * start + 4 * end - after
    cubic = 3 * start - before - 3 * end + after
    curve = (
        start[:, None] + 0.5 * t * ((end - before)[:, None] + t * (bend[:, None] + t * cubic[:, None]))
    ).reshape(-1, points.shape[1])
    return curve if closed else np.concatenate([curve, points[-1:]])


def turn(points: np.ndarray | Sequence, degrees: float, center: Sequence[float] | np.ndarray) -> np.ndarray:
    """Rotate (N, 2) points about ``center``, from the x axis towards the y axis."""
    x, y = (np.asarray(points, dtype=np.float64) - center).T
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.stack([cosine * x - sine * y + center[0], sine * x + cosine * y + center[1]], axis=1)


def ellipse(
    center: Sequence[float] | np.ndarray,
    radii: Sequence[float] | np.ndarray,
    degrees: float = 0.0,
    count: int = 20,
) -> np.ndarray:
    """Return the (count, 2) outline of an ellipse with half axes ``radii`` turned by ``degrees``."""
    angle = np.arange(count) * (2 * np.pi / count)
    points = np.stack([np.cos(angle) * radii[0], np.sin(angle) * radii[1]], axis=1)
    return turn(points + np.asarray(center, dtype=np.float64), degrees, center)


def smooth_warp(rng: np.random.Generator, dims: int, amplitude: float, wavelength: float, waves: int = 6):
    """Return a random smooth deformation of D-dimensional space, a function from (N, D) to (N, D).

    It is a sum of plane waves: it has few degrees of freedom, and neighbours move alike.

    Args:
        rng: Draws the waves.
        dims: D.
        amplitude: Root mean square displacement per axis, mm.
        wavelength: Shortest wavelength, mm; keep it well above ``2 * pi * amplitude`` to avoid folds.
        waves: Number of waves.
    """
    direction = rng.normal(size=(waves, dims))
    direction /= np.sqrt((direction**2).sum(axis=1, keepdims=True))
    frequency = 2 * np.pi / (wavelength * rng.uniform(1.0, 2.5, size=(waves, 1)))
    phase = rng.uniform(0, 2 * np.pi, size=waves)
    push = rng.normal(size=(waves, dims)) * (amplitude * np.sqrt(2 / waves))

    def warp(points: np.ndarray) -> np.ndarray:
        return points + np.sin(points @ (direction * frequency).T + phase) @ push

    return warp


def place(anatomy: Anatomy, rng: np.random.Generator, size: Sequence[int], margin: float = 0.015) -> Scene:
    """Deform a patient and place it in front of a detector of ``size`` (*S), with all landmarks in view.

    Args:
        anatomy: The patient.
        rng: Draws deformation and pose.
        size: (*S) of the image in array order.
        margin: Least distance of a landmark to the border, as a fraction of the side.
    """
    sides = np.asarray(size[::-1], dtype=np.float64)
    dims = len(sides)
    warp = smooth_warp(
        rng, dims, amplitude=0.01 * anatomy.extent.max(), wavelength=0.7 * anatomy.extent.max()
    )
    build = rng.uniform(0.93, 1.07) * rng.normal(1, 0.025, size=dims)  # overall size and proportions

    def grow(points: np.ndarray) -> np.ndarray:
        return (warp(points) - anatomy.center) * build + anatomy.center

    landmarks = grow(anatomy.landmarks)
    scale = (sides / anatomy.extent).min() * rng.uniform(0.9, 1.03)
    tilt = rng.uniform(-1, 1, size=1 if dims == 2 else 3) * anatomy.rotation
    shift = rng.uniform(-0.04, 0.04, size=dims) * anatomy.extent * scale
    turned = rotation_matrix(tilt.tolist(), anatomy.center)
    points = landmarks @ turned[:dims, :dims].T + turned[:dims, dims] - anatomy.center
    low, high = margin * sides, (1 - margin) * sides - 1
    scale = min(scale, ((high - low) / (np.ptp(points, axis=0) + 1e-9)).min())
    middle = (sides - 1) / 2
    shift = np.clip(
        shift, low - middle - scale * points.min(axis=0), high - middle - scale * points.max(axis=0)
    )
    to_pixels = scale_matrix(scale, np.zeros(dims)) @ translation_matrix(-anatomy.center)
    room = translation_matrix(middle) @ to_pixels
    for part in anatomy.parts:
        if not part.fixed:
            part.move(grow)
    return Scene(
        parts=anatomy.parts,
        landmarks=(scale * points + middle + shift).astype(np.float32),
        pixel_from_mm=translation_matrix(middle + shift) @ to_pixels @ turned,
        room_from_mm=room,
        size=tuple(int(side) for side in size),
        spacing=(float(1 / scale),) * dims,
    )
