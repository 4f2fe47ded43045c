"""Geometry that brings all cases into one pose."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform

from mmlandmark.datasets.transforms.frame import (
    check_fraction,
    frame_size,
    landmarks_in_frame,
    mm_from_pixels,
    move_frame,
)
from mmlandmark.registry import TRANSFORMS
from mmlandmark.shape import TypicalShape, fit_robustly, mirror_image
from mmlandmark.structures import invert_matrix


@TRANSFORMS.register_module()
class AlignToTypicalShape(BaseTransform):
    """Turn, move and scale the frame so that the annotated landmarks lie on the typical shape.

    The new frame shows the typical shape of the training data, in its own size and orientation, with space
    around it: all heads look the same way. For training only, since it uses the annotation. A
    :class:`~mmlandmark.models.detectors.CoarseToFineDetector` with ``align`` cuts its patches in that frame,
    from the pose that the coarse landmarks have; ``RandomAffine`` after this step makes up for the error of
    that pose. A case that ``RandomFlip`` has mirrored before comes into the same pose as all others.

    The dataset brings the typical shape of its landmarks; in a training ``ShapePriorHook`` brings that of all
    training data.

    Args:
        pixel: Length of a pixel of the new frame: mm if the spacing of all images is known, else original
            pixels; that of ``align``.
        margin: Space around the landmarks, as a fraction of the typical shape's shortest side. It has to be
            half of a patch at least.

    Raises:
        ValueError: A sample has too few landmarks to be aligned, or no spacing where others have one.
    """

    needs_typical_shape = True

    def __init__(self, pixel: float, margin: float = 0.3) -> None:
        if not pixel > 0:
            raise ValueError(f"AlignToTypicalShape: pixel must be a positive length, got {pixel!r}")
        check_fraction(margin, "AlignToTypicalShape: margin")
        self.pixel, self.margin = float(pixel), float(margin)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Move the frame."""
        frame_size(results, self)
        shape: TypicalShape | None = results.get("typical_shape")
        if shape is None:
            raise KeyError(
                "AlignToTypicalShape needs the typical shape of a data set: use it in the pipeline of one"
            )
        dims = len(results["input_from_original"]) - 1
        steps = mm_from_pixels(results) if shape.millimetres else None
        if shape.millimetres and steps is None:
            raise ValueError(
                f"{results.get('sample_id')}: AlignToTypicalShape needs the spacing of every image, since it "
                "is known of the others"
            )
        if steps is None:
            steps = invert_matrix(results["input_from_original"])[:dims, :dims]
        if results.get("mirrored"):  # the landmarks have changed sides: their shape is usual in a mirror
            steps = mirror_image(steps.T).T
        fit = fit_robustly(landmarks_in_frame(results) @ steps.T, shape.points)
        if fit is None:
            raise ValueError(
                f"{results.get('sample_id')}: AlignToTypicalShape needs more than {dims} annotated landmarks "
                "in more than one place; leave this case out of the training"
            )
        lengths = np.eye(dims + 1)
        lengths[:dims, :dims] = steps
        into_frame, size = shape.frame(self.pixel, self.margin)
        return move_frame(results, into_frame @ invert_matrix(fit.matrix) @ lengths, size)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(pixel={self.pixel}, margin={self.margin})"
