"""Geometry: every step multiplies one matrix, and ``Resample`` reads the pixels once.

The current frame is the frame of the pipeline at the position of the step. Sizes are in its pixels, (*S),
array order. Shifts, margins and amplitudes are fractions of its shorter side, the same along all axes, so one
pipeline fits every input size. In a volume whose spacing is known, angles and lengths are those of the
patient, in mm, whatever the voxels; in images they are those of pixels. Points outside the final frame are
kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform

from mmlandmark.datasets.transforms.elastic_field import ElasticField
from mmlandmark.datasets.transforms.frame import (
    check_fraction,
    checked_dims,
    checked_prob,
    checked_size,
    frame_size,
    happens,
    mm_from_pixels,
    move_frame,
    per_axis,
    to_pixels,
    value_range,
)
from mmlandmark.datasets.transforms.resampling import (
    BORDERS,
    INTERPOLATIONS,
    Border,
    Interpolation,
    render,
)
from mmlandmark.registry import TRANSFORMS
from mmlandmark.structures import (
    crop_matrix,
    flip_matrix,
    frame_center,
    resize_matrix,
    rotation_matrix,
    scale_matrix,
    translation_matrix,
)

_MOST_PIXELS = 2**33  # of a frame, beyond which a spacing is surely in a wrong unit


@TRANSFORMS.register_module()
class Resize(BaseTransform):
    """Scale the frame to a size.

    Args:
        size: (*S) of the new frame.
        keep_aspect: Scale all axes by one factor, so that the old frame fits into the new one, and centre it:
            a whole number of pixels of padding before, the rest after. Otherwise each axis is scaled to its
            side.
    """

    def __init__(self, size: Sequence[int], keep_aspect: bool = False) -> None:
        self.size, self.keep_aspect = checked_size(size), keep_aspect

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Scale the frame."""
        old = frame_size(results, self)
        checked_dims(self.size, old, self)
        if not self.keep_aspect:
            return move_frame(results, resize_matrix(old, self.size), self.size)
        factor = min(new / n for new, n in zip(self.size, old, strict=True))
        # The tolerance protects a side that fits exactly from rounding errors.
        padding = [np.floor((new - factor * n) / 2 + 1e-6) for new, n in zip(self.size, old, strict=True)]
        scale = scale_matrix(factor, (-0.5,) * len(old))
        return move_frame(results, crop_matrix(-np.asarray(padding)[::-1]) @ scale, self.size)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(size={self.size}, keep_aspect={self.keep_aspect})"


@TRANSFORMS.register_module()
class ResampleSpacing(BaseTransform):
    """Scale the frame to pixels of a given size in mm; its size in pixels follows, and its centre stays.

    Args:
        spacing: mm per pixel of the new frame: one number for all axes, or (D,), (x, y[, z]).

    Raises:
        ValueError: The spacing of the image is unknown, or the new frame would be extremely large.
    """

    def __init__(self, spacing: float | Sequence[float]) -> None:
        values = np.atleast_1d(np.asarray(spacing, dtype=np.float64))
        if values.ndim != 1 or len(values) not in (1, 2, 3) or not (np.isfinite(values) & (values > 0)).all():
            raise ValueError(
                f"ResampleSpacing: spacing must be one positive number or one per axis in mm, got {spacing!r}"
            )
        self.spacing = spacing

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Scale the frame."""
        old = frame_size(results, self)
        wanted = per_axis(self.spacing, len(old), "ResampleSpacing: spacing")
        steps = mm_from_pixels(results)
        if steps is None:
            raise ValueError(
                f"{results.get('sample_id')}: ResampleSpacing needs the spacing of the image, which neither "
                "its record nor its file states: give it in the annotation or, to predict, by --spacing; "
                "for an image whose file states it use LoadImage(file_spacing=True)"
            )
        factor = np.linalg.norm(steps, axis=0) / wanted
        # The tolerance makes a side of N + 1/2 pixels independent of rounding errors in the header.
        size = np.maximum(np.floor(np.asarray(old) * factor[::-1] + 0.5 - 1e-6), 1).astype(int)
        if np.prod(size, dtype=np.float64) > _MOST_PIXELS:
            raise ValueError(
                f"{results.get('sample_id')}: ResampleSpacing({self.spacing}) makes {size.tolist()} pixels "
                f"of {list(old)}, which are {(factor * wanted).round(4).tolist()} mm each: one of the two "
                "is in another unit"
            )
        scale = scale_matrix(factor, frame_center(old))
        shift = translation_matrix(frame_center(size) - frame_center(old))
        return move_frame(results, shift @ scale, size)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(spacing={self.spacing})"


@TRANSFORMS.register_module()
class RandomFlip(BaseTransform):
    """Mirror the frame and swap the landmarks of the schema's ``flip_pairs``.

    Args:
        prob: Probability.
        axis: Coordinate that is mirrored; 0 is x.

    Raises:
        ValueError: There are several landmarks and the schema has no flip_pairs.
    """

    swaps_partners = True

    def __init__(self, prob: float = 0.5, axis: int = 0) -> None:
        if axis not in (0, 1, 2):
            raise ValueError(f"RandomFlip: axis must be 0 (x), 1 (y) or 2 (z), got {axis!r}")
        self.prob, self.axis = checked_prob(prob), axis

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Mirror the frame with probability ``prob``."""
        size, count = frame_size(results, self), len(results["landmarks"])
        pairs = results.get("flip_pairs") or ()
        if not pairs and count > 1:
            raise ValueError(
                f"RandomFlip: the schema of these {count} landmarks has no flip_pairs, so it is unknown "
                "which of them swap; add them to the schema or remove RandomFlip from the pipeline"
            )
        if self.axis >= len(size):
            raise ValueError(f"RandomFlip: axis {self.axis} does not exist in an image of shape {size}")
        if not happens(results, self.prob):
            return results
        order = np.arange(count)
        for a, b in pairs:
            order[[a, b]] = b, a
        for key in ("landmarks", "visibility", "weights", "by_annotator"):
            if results.get(key) is not None:
                results[key] = np.asarray(results[key]).take(order, axis=1 if key == "by_annotator" else 0)
        results["mirrored"] = not results.get("mirrored", False)
        return move_frame(results, flip_matrix(size, self.axis))


@TRANSFORMS.register_module()
class RandomAffine(BaseTransform):
    """Rotate and scale the frame about its centre and shift it, at random, in 2D or 3D.

    Args:
        rotation: Largest angle in degrees, in both directions. In 3D one number for all axes, or three for
            the patient's axes x, y and z, which a volume without spacing takes from its voxels. In 2D the
            rotation is in pixels: with non-square pixels it shears the anatomy.
        scale: Largest relative change of size: the factor is drawn from [1 - scale, 1 + scale].
        shift: Largest shift as a fraction of the shorter side of the current frame, one number for all axes
            or (D,), (x, y[, z]).
        prob: Probability.
    """

    def __init__(
        self,
        rotation: float | Sequence[float] = 0.0,
        scale: float = 0.0,
        shift: float | Sequence[float] = 0.0,
        prob: float = 1.0,
    ) -> None:
        if not 0 <= scale < 1:
            raise ValueError(f"RandomAffine: scale must lie in [0, 1), got {scale!r}")
        if np.min(rotation) < 0:
            raise ValueError(f"RandomAffine: rotation must not be negative, got {rotation!r}")
        check_fraction(shift, "RandomAffine: shift")
        self.rotation, self.scale, self.shift, self.prob = rotation, scale, shift, checked_prob(prob)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Move the frame with probability ``prob``."""
        size = frame_size(results, self)
        dims, rng = len(size), results["rng"]
        limit = to_pixels(per_axis(self.shift, dims, "RandomAffine: shift"), results)
        limit_angle = per_axis(self.rotation, 3 if dims == 3 else 1, "RandomAffine: rotation")
        if not happens(results, self.prob):
            return results
        angles = rng.uniform(-1, 1, len(limit_angle)) * limit_angle
        factor = 1 + rng.uniform(-1, 1) * self.scale
        shift = rng.uniform(-1, 1, dims) * limit
        center = frame_center(size)
        rotation = rotation_matrix(angles, center)
        steps = mm_from_pixels(results) if dims == 3 else None
        if steps is not None:  # rotate in mm, and come back to voxels
            rotation[:3, :3] = np.linalg.solve(steps, rotation[:3, :3] @ steps)
            rotation[:3, 3] = center - rotation[:3, :3] @ center
        return move_frame(results, translation_matrix(shift) @ scale_matrix(factor, center) @ rotation)

    def __repr__(self) -> str:
        values = f"rotation={self.rotation}, scale={self.scale}, shift={self.shift}, prob={self.prob}"
        return f"{type(self).__name__}({values})"


@TRANSFORMS.register_module()
class RandomElastic(BaseTransform):
    """Deform the image smoothly by random cubic B-splines, in 2D or 3D.

    The landmarks move with the image, in the original frame, so the matrix stays valid. For training only:
    errors against moved landmarks are not errors in the patient.

    Args:
        amplitude: Largest displacement of a lattice point along each axis, as a fraction of the shorter side
            of the current frame. At most 1 / (2 D * cells), so that the image is never folded.
        cells: Number of lattice cells along each axis; fewer make the deformation smoother.
        prob: Probability.

    Raises:
        ValueError: The amplitude is too large for the cells.
    """

    def __init__(self, amplitude: float, cells: int = 4, prob: float = 1.0) -> None:
        if cells != int(cells) or cells < 1:
            raise ValueError(f"RandomElastic: cells must be a positive integer, got {cells!r}")
        check_fraction(amplitude, "RandomElastic: amplitude")
        self.amplitude, self.cells, self.prob = amplitude, int(cells), checked_prob(prob)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Deform the frame with probability ``prob``."""
        size = frame_size(results, self)
        dims = len(size)
        limit = 1 / (2 * dims * self.cells)
        if self.amplitude > limit:
            raise ValueError(
                f"RandomElastic: amplitude {self.amplitude} with {self.cells} cells can fold an image of "
                f"{dims} dimensions; give at most {limit:.4g}, or fewer cells"
            )
        if not happens(results, self.prob):
            return results
        lattice = (dims, *[self.cells + 3] * dims)
        amplitude = to_pixels(self.amplitude, results).reshape(-1, *[1] * dims)
        coefficients = results["rng"].uniform(-amplitude, amplitude, lattice)
        field = ElasticField(coefficients, results["input_from_original"], size)
        results["landmarks"] = field.move(np.asarray(results["landmarks"]))
        if results.get("by_annotator") is not None:
            results["by_annotator"] = np.stack([field.move(points) for points in results["by_annotator"]])
        results["elastic"] = (*results.get("elastic", ()), field)
        return results


@TRANSFORMS.register_module()
class Resample(BaseTransform):
    """Read the pixels of the current frame from the loaded image: the only step that moves pixels.

    Where the frame shrinks the image by more than 2, blocks of pixels are averaged first, to avoid aliasing.

    Args:
        interpolation: "linear", "nearest" or "cubic" (2D only).
        border: Values outside the image: "constant", "replicate" or "reflect".
        border_value: Pixel value outside if ``border`` is "constant", in the unit of the loaded image; None
            is black.
    """

    def __init__(
        self,
        interpolation: Interpolation = "linear",
        border: Border = "constant",
        border_value: float | None = None,
    ) -> None:
        if interpolation not in INTERPOLATIONS:
            raise ValueError(
                f"Resample: interpolation must be one of {list(INTERPOLATIONS)}, got {interpolation!r}"
            )
        if border not in BORDERS:
            raise ValueError(f"Resample: border must be one of {list(BORDERS)}, got {border!r}")
        self.interpolation, self.border, self.border_value = interpolation, border, border_value

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Read the pixels."""
        size = frame_size(results, self)
        black = (value_range(results) or (0.0, 1.0))[0]
        results["img"] = render(
            results["img"],
            results["img_from_original"],
            results["input_from_original"],
            size,
            elastic=results.pop("elastic", ()),
            interpolation=self.interpolation,
            border=self.border,
            border_value=black if self.border_value is None else self.border_value,
        )
        results["img_from_original"] = results["input_from_original"]
        return results

    def __repr__(self) -> str:
        return f"{type(self).__name__}(interpolation={self.interpolation!r}, border={self.border!r})"
