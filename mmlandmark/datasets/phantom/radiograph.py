"""From a scene to a radiograph: attenuation along the beam, then film or detector.

All operations on pixels are integer arithmetic or single IEEE operations (no float filters, no transcendental
function outside a rounded table), so one seed gives the same bits on every processor.
"""

from __future__ import annotations

from functools import partial

import cv2
import numpy as np

from mmlandmark.datasets.phantom.scene import Part, Scene, Solid, Stroke, send
from mmlandmark.structures.coordinates import apply_matrix, resize_matrix

_SUBPIXEL_BITS = 4
_LEVELS = 1 << 16
_BROAD = 12.0  # mm of rounding
_FULL_SCALE = 5.0  # attenuation at the top of the 16-bit scale
# Lead letters as strokes, since fonts differ between releases of OpenCV. Unit height, y upwards.
_LETTERS: dict[str, list[list[tuple[float, float]]]] = {
    "L": [[(0, 1), (0, 0), (0.55, 0)]],
    "R": [
        [(0, 0), (0, 1), (0.4, 1), (0.55, 0.9), (0.55, 0.62), (0.4, 0.5), (0, 0.5)],
        [(0.28, 0.5), (0.58, 0)],
    ],
}


def oversampling(size: tuple[int, ...]) -> int:
    """Return the number of samples per pixel and axis that are averaged."""
    return max(1, min(4, round(640 / max(size))))


def attenuation(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Return the attenuation of all parts along the beam.

    Returns:
        Soft tissue and bone, (*S) float32 each.
    """
    # Parts that thicken slowly from their edge need one sample per pixel; fine bone needs more.
    factor = oversampling(scene.size)
    soft = _layer(scene, [part for part in scene.parts if not part.bone], 1)
    bone = _layer(scene, [part for part in scene.parts if part.bone and _is_broad(part)], 1)
    fine = _layer(scene, [part for part in scene.parts if part.bone and not _is_broad(part)], factor)
    return soft, bone + _average(fine, factor)


def _is_broad(part: Part) -> bool:
    return isinstance(part, Solid) and part.rounding >= _BROAD


def _layer(scene: Scene, parts: list[Part], factor: int) -> np.ndarray:
    """Draw parts with ``factor`` samples per pixel and axis."""
    height, width = scene.size
    shape = (height * factor, width * factor)
    finer = resize_matrix(scene.size, shape)
    scale = factor / scene.spacing[0]
    layer = np.zeros(shape, dtype=np.float32)
    for part in parts:
        matrix = finer @ (scene.room_from_mm if part.fixed else scene.pixel_from_mm)
        if isinstance(part, Solid):
            # The outline just outside the image still determines the thickness inside it.
            outlines, margin, beyond = part.outlines, 0.0, part.rounding
        else:
            outlines, margin, beyond = part.paths, part.width / 2, 0.0
        lines = send(outlines, partial(apply_matrix, matrix))
        window = _window(lines, 2 + int(margin * scale), int(beyond * scale), shape)
        if window is None:
            continue
        (top, left), (bottom, right) = window
        fixed = send(lines, partial(_fixed_point, origin=(left, top)))
        size = (bottom - top, right - left)
        if isinstance(part, Solid):
            drawn = _solid(part, fixed, size, scale)
        else:
            drawn = _stroke(part, fixed, size, scale)
        inside = drawn[max(-top, 0) : shape[0] - top, max(-left, 0) : shape[1] - left]
        layer[max(top, 0) : bottom, max(left, 0) : right] += inside
    return layer


def _fixed_point(points: np.ndarray, origin: tuple[int, int]) -> np.ndarray:
    return np.rint((points - origin) * (1 << _SUBPIXEL_BITS)).astype(np.int32)


def _window(
    lines: list[np.ndarray], margin: int, beyond: int, shape: tuple[int, int]
) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """Return the window of lines with a margin, at most ``beyond`` outside of the image; None if unseen."""
    points = np.concatenate(lines)[:, ::-1]
    low = np.floor(points.min(axis=0)).astype(int) - margin
    high = np.ceil(points.max(axis=0)).astype(int) + margin + 1
    if (high <= 0).any() or (low >= shape).any():
        return None
    low, high = np.maximum(low, -beyond), np.minimum(high, np.array(shape) + beyond)
    return tuple(low.tolist()), tuple(high.tolist())


def _chord(depth: np.ndarray, radius: float) -> np.ndarray:
    """Return the relative thickness of a body with a rounded edge: 0 at the edge, 1 from ``radius`` on."""
    reached = depth * np.float32(1 / radius)
    np.clip(reached, 0, 1, out=reached)
    chord = np.subtract(2, reached)
    chord *= reached
    return np.sqrt(chord, out=chord)


def _solid(part: Solid, lines: list[np.ndarray], shape: tuple[int, int], scale: float) -> np.ndarray:
    mask = np.zeros(shape, dtype=np.uint8)
    for line in lines:
        cv2.fillPoly(mask, [line], 1, cv2.LINE_8, _SUBPIXEL_BITS)
    depth: np.ndarray = cv2.distanceTransform(mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # Implementations round the root differently, but agree on its square, which is an integer.
    depth *= depth
    np.sqrt(np.rint(depth, out=depth), out=depth)
    depth -= np.float32(0.5)  # the transform measures from the centre of the first sample outside
    radius = max(part.rounding * scale, 1.0)
    outer = _chord(depth, radius)
    if part.cortex <= 0:
        outer *= np.float32(part.amount)
        return outer
    shell = min(part.cortex * scale, 0.8 * radius)
    depth -= np.float32(shell)
    inner = _chord(depth, radius - shell)
    # The shell is the outer body minus the inner one.
    inner *= np.float32(-part.rim * (1 - shell / radius))
    outer *= np.float32(part.rim + part.amount)
    outer += inner
    return outer


def _stroke(part: Stroke, lines: list[np.ndarray], shape: tuple[int, int], scale: float) -> np.ndarray:
    mask = np.zeros(shape, dtype=np.uint8)
    thickness = max(1, round(part.width * scale))
    # A stroke thinner than a sample is drawn one sample wide and proportionally fainter.
    fade = min(1.0, part.width * scale)
    cv2.polylines(mask, lines, False, 255, thickness, cv2.LINE_AA, _SUBPIXEL_BITS)
    if part.core < 1 and thickness > 2:
        core = int(255 * part.core)
        middle = int(255 * (0.45 + 0.55 * part.core))
        cv2.polylines(
            mask, lines, False, middle, max(1, round(0.68 * thickness)), cv2.LINE_AA, _SUBPIXEL_BITS
        )
        cv2.polylines(mask, lines, False, core, max(1, round(0.4 * thickness)), cv2.LINE_AA, _SUBPIXEL_BITS)
    return mask * np.float32(part.amount * fade / 255)


def _average(layer: np.ndarray, factor: int) -> np.ndarray:
    """Return the mean of factor x factor blocks, summed in a fixed order."""
    total = layer[::factor, ::factor].copy()
    for row in range(factor):
        for column in range(factor):
            if row or column:
                total += layer[row::factor, column::factor]
    return total * np.float32(1 / factor**2)


def _blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Blur an integer image with a Gaussian, which OpenCV computes in fixed point."""
    return cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101)


def _texture(rng: np.random.Generator, shape: tuple[int, int], sigma: float) -> np.ndarray:
    """Return a (*S) float32 random field of mean 0 and deviation near 1, correlated over ``sigma`` pixels."""
    # Wide fields are drawn and smoothed on a coarse grid.
    step = max(1, round(sigma / 1.5))
    field: np.ndarray = rng.integers(
        0, _LEVELS, size=[-(-side // step) + 2 for side in shape], dtype=np.uint16
    )
    field = _blur(field, sigma / step)
    if step > 1:
        size = (field.shape[1] * step, field.shape[0] * step)
        field = cv2.resize(field, size, interpolation=cv2.INTER_LINEAR_EXACT)
    # Standard deviation of white noise of this range after the blur.
    deviation = _LEVELS / np.sqrt(12) / (2 * np.sqrt(np.pi) * max(sigma / step, 0.5))
    field = field[: shape[0], : shape[1]].astype(np.float32)
    return (field - np.float32(_LEVELS / 2)) * np.float32(1 / deviation)


def expose(
    scene: Scene, soft: np.ndarray, bone: np.ndarray, rng: np.random.Generator, bits: int
) -> np.ndarray:
    """Convert attenuation to the image of a detector, with bright bone.

    Args:
        scene: Gives the spacing.
        soft: (*S) attenuation of soft tissue.
        bone: (*S) attenuation of bone.
        rng: Draws texture, exposure and noise.
        bits: 8 or 16.

    Returns:
        (*S) uint8 or uint16.
    """
    height, width = soft.shape
    spacing = scene.spacing[0]
    total = soft * (1 + np.float32(0.02) * _texture(rng, soft.shape, max(1.0, 7 / spacing)))
    total += bone * (
        1 + np.float32(rng.uniform(0.04, 0.09)) * _texture(rng, soft.shape, max(0.7, 0.7 / spacing))
    )
    total += np.float32(rng.uniform(0.01, 0.04)) * _texture(rng, soft.shape, max(2.0, 0.2 * height))
    slope = rng.uniform(-0.22, 0.22, size=2)
    total += np.linspace(-slope[0], slope[0], height, dtype=np.float32)[:, None]
    total += np.linspace(-slope[1], slope[1], width, dtype=np.float32)
    _lay_mark(total, rng)
    film = np.rint(np.clip(total * np.float32(1 / _FULL_SCALE) + np.float32(0.1), 0, 1) * (_LEVELS - 1))
    film = _blur(film.astype(np.uint16), max(0.4, rng.uniform(0.3, 0.55) / spacing))
    film = _tone_table(total, rng)[film]
    noise = rng.standard_normal(film.shape, dtype=np.float32)
    # Quantum noise is larger where fewer photons arrive, where the image is bright.
    noise *= np.float32(rng.uniform(0.006, 0.02)) * (np.float32(0.4) + film)
    film += noise
    _collimate(film, rng)
    top = (1 << bits) - 1
    return np.rint(np.clip(film, 0, 1) * top).astype(np.uint8 if bits == 8 else np.uint16)


def _tone_table(total: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the characteristic curve of the film, (65536,) float32 in [0, 1], with automatic exposure."""
    sample = np.sort(total[::4, ::4].ravel())
    dark, bright = (float(sample[int(q * (len(sample) - 1))]) for q in (0.02, 0.985))
    level = dark + (bright - dark) * rng.uniform(0.44, 0.58)
    contrast = rng.uniform(4.0, 5.4) / max(bright - dark, 0.2)
    base, peak = rng.uniform(0.0, 0.07), rng.uniform(0.86, 0.99)
    values = (np.arange(_LEVELS) / (_LEVELS - 1) - 0.1) * _FULL_SCALE
    curve = base + (peak - base) / (1 + np.exp(-contrast * (values - level)))
    return (np.rint(curve * _LEVELS) / _LEVELS).astype(np.float32)


def _lay_mark(total: np.ndarray, rng: np.random.Generator) -> None:
    """Put a lead letter or a dark name plate into a corner of the detector, in some of the images."""
    corner, kind, mark = int(rng.integers(4)), rng.random(), "LR"[int(rng.integers(2))]
    if kind > 0.55:
        return
    height, width = total.shape
    size = 0.055 * min(height, width)
    y = int(0.05 * height + size) if corner < 2 else int(0.95 * height)
    mask = np.zeros(total.shape, dtype=np.uint8)
    if kind < 0.4:
        x = 0.04 * width if corner % 2 else 0.96 * width - 0.6 * size
        lines = [_fixed_point(np.array(line) * (size, -size) + (x, y), (0, 0)) for line in _LETTERS[mark]]
        cv2.polylines(mask, lines, False, 255, max(1, round(size / 6)), cv2.LINE_AA, _SUBPIXEL_BITS)
        total += mask * np.float32(2.5 / 255)
    else:
        x = int(0.04 * width) if corner % 2 else int(0.96 * width - 2.2 * size)
        cv2.rectangle(mask, (x, int(y - 0.7 * size)), (int(x + 2.2 * size), y), 1, -1)
        total -= mask * np.float32(rng.uniform(0.3, 0.6))


def _collimate(film: np.ndarray, rng: np.random.Generator) -> None:
    """Mask a strip along some borders in place, as a collimator does."""
    height, width = film.shape
    shutters = rng.random(4) < 0.22
    depth = rng.uniform(0.003, 0.013, size=4)
    value = np.float32(0.02 if rng.random() < 0.5 else 0.97)
    top, bottom = (int(d * height) if on else 0 for d, on in zip(depth[:2], shutters[:2], strict=True))
    left, right = (int(d * width) if on else 0 for d, on in zip(depth[2:], shutters[2:], strict=True))
    film[:top] = value
    film[height - bottom :] = value
    film[:, :left] = value
    film[:, width - right :] = value
