"""The data sample: landmarks of one case, annotated and predicted, and the frames they are in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from mmengine.structures import BaseDataElement
from torch import Tensor

from mmlandmark.structures.coordinates import apply_matrix, invert_matrix
from mmlandmark.structures.frame import mm_steps


class LandmarkDataSample(BaseDataElement):
    """Landmarks of one case in the original image frame, with what is needed to use them.

    Data fields (tensors, optional unless a step needs them):
        gt_landmarks: (K, D) float32, original pixels, (x, y[, z]); NaN where nothing is annotated.
        gt_visibility: (K,) int8; 1 annotated, 0 not annotated, -1 known to be absent.
        gt_weights: (K,) float32, weight of every landmark in the loss.
        gt_by_annotator: (R, K, D) float32, original pixels: what each of R annotators marked; NaN where one
            marked nothing. ``gt_landmarks`` is their consensus.
        pred_landmarks: (K, D) float32, original pixels; NaN where a landmark is not predicted.
        pred_scores: (K,) float32, see the codec; 0 where a landmark is not predicted.
        pred_spread: (K, D, D) float32, covariance of the position in original pixels^2, on request.
        pred_presence: (K,) float32, probability that the landmark is in the image, if the model predicts it.
        pred_deviation: (K,) float32, how far the strongest peak lies from where the other landmarks expect
            it, in standard deviations, of a detector with a prior of shapes.
        pred_by_annotator: (R, K, D) float32, original pixels: where each annotator would mark them, of a head
            that learned several. How far they lie apart says how ambiguous a landmark is.
        pred_heatmaps: (K, *S) float32, one map of every landmark, on request.

    Meta fields:
        sample_id: name of the case, unique in its dataset.
        img_path: file the image came from, or None.
        ori_shape: (*S) of the original image.
        input_shape: (*S) of the network input.
        pad_shape: (*S) of the same with the padding of the batch, which ``pred_heatmaps`` covers too.
        input_from_original: (D+1, D+1) float64 array from original pixels to those of the input.
        spacing: (D,) mm per original pixel, (x, y[, z]), or None.
        world_from_original: (W+1, D+1) float64 array, original pixels to mm, see
            :mod:`mmlandmark.structures.frame`; None if the image file does not define it. Errors are measured
            by ``spacing``, which may come from the annotation instead.
        value_range: (black, white) in values of the packed image, see :meth:`unit_pixels`.
        flip_pairs: tuple of index pairs that a mirror swaps.
        mirrored: True if the input is a mirror image, in which they are swapped, in all fields.
    """

    @classmethod
    def from_landmarks(
        cls,
        landmarks: np.ndarray | Sequence | None,
        *,
        sample_id: str,
        ori_shape: Sequence[int],
        visibility: np.ndarray | Sequence[int] | None = None,
        weights: np.ndarray | Sequence[float] | None = None,
        by_annotator: np.ndarray | None = None,
        spacing: Sequence[float] | None = None,
        world_from_original: np.ndarray | None = None,
        input_from_original: np.ndarray | None = None,
        input_shape: Sequence[int] | None = None,
        **meta,
    ) -> LandmarkDataSample:
        """Build a sample from (K, D) landmarks in original pixels; None if nobody has annotated the image.

        Raises:
            ValueError: Shapes disagree, a point is infinite, or spacing is not positive; the message
                names ``sample_id``.
        """
        dims = len(ori_shape)
        if input_from_original is None:
            input_from_original = np.eye(dims + 1)
        sample = cls(
            metainfo=dict(
                sample_id=sample_id,
                ori_shape=tuple(int(s) for s in ori_shape),
                input_shape=tuple(int(s) for s in (input_shape or ori_shape)),
                input_from_original=np.asarray(input_from_original, np.float64),
                spacing=_spacing(spacing, dims, sample_id),
                world_from_original=world_from_original,
                **meta,
            )
        )
        if landmarks is None:
            return sample
        points = _points(landmarks, ori_shape, sample_id)
        sample.gt_landmarks = points
        sample.gt_visibility = _visibility(visibility, points, sample_id)
        sample.gt_weights = _weights(weights, len(points), sample_id)
        if by_annotator is not None:
            sample.gt_by_annotator = _by_annotator(by_annotator, points, sample_id)
        return sample

    @property
    def mask(self) -> Tensor:
        """(K,) bool: the landmark is annotated, so losses and metrics may look at it."""
        return self.gt_visibility > 0

    @property
    def input_steps(self) -> np.ndarray | None:
        """(D, D) from steps in pixels of the input to steps in mm, see :func:`mm_steps`; None if unknown."""
        if "input_from_original" not in self:
            return None
        matrix = self.input_from_original
        steps = mm_steps(self.get("world_from_original"), self.get("spacing"), len(matrix) - 1)
        return None if steps is None else steps @ invert_matrix(matrix)[:-1, :-1]

    def unit_pixels(self, image: Tensor) -> Tensor:
        """Return this sample's packed image as float32, where black is 0 and white is 1.

        Args:
            image: (C, *S) of any integer or float dtype. Without a ``value_range`` its values count as such
                pixels already.
        """
        low, high = self.get("value_range") or (0.0, 1.0)
        image = image.float()
        # The same rounding as in datasets.transforms.intensity.to_unit, whatever the device.
        if low != 0:
            image = image - low
        return image if high - low == 1 else image * (1.0 / (high - low))

    def to_input(self, points: Tensor) -> Tensor:
        """Map (K, D) original pixels to the network's input frame."""
        return apply_matrix(self.input_from_original, points)

    def to_original(self, points: Tensor) -> Tensor:
        """Map (K, D) pixels of the input frame back to the original image."""
        return apply_matrix(invert_matrix(self.input_from_original), points)

    def to_world(self, points: Tensor) -> Tensor:
        """Map (K, D) original pixels to (K, W) mm in the world of the file; W is 3 in patient axes (LPS).

        Raises:
            ValueError: The file does not define the place of its pixels.
        """
        if self.get("world_from_original") is None:
            raise ValueError(f"{self.sample_id}: the image file does not say where its pixels lie in mm")
        return apply_matrix(self.world_from_original, points)


def _points(landmarks: np.ndarray | Sequence, ori_shape: Sequence[int], sample_id: str) -> Tensor:
    points, dims = torch.as_tensor(np.asarray(landmarks, dtype=np.float32)), len(ori_shape)
    if points.ndim != 2 or points.shape[1] != dims:
        raise ValueError(
            f"{sample_id}: landmarks must be (K, {dims}) for an image of shape {tuple(ori_shape)}, "
            f"got {tuple(points.shape)}"
        )
    infinite = torch.isinf(points).any(1)
    if infinite.any():
        raise ValueError(f"{sample_id}: landmark {int(infinite.nonzero()[0])} is infinite")
    return points


def _visibility(visibility: np.ndarray | Sequence[int] | None, points: Tensor, sample_id: str) -> Tensor:
    """Return (K,) int8: what is given, but never visible where a point is missing."""
    finite = torch.isfinite(points).all(1)
    if visibility is None:
        return finite.to(torch.int8)
    seen = torch.as_tensor(np.asarray(visibility, dtype=np.int8))
    if seen.shape != finite.shape:
        raise ValueError(f"{sample_id}: visibility must be ({len(points)},), got {tuple(seen.shape)}")
    return torch.where(finite, seen, seen.clamp(max=0))


def _weights(weights: np.ndarray | Sequence[float] | None, count: int, sample_id: str) -> Tensor:
    weight = torch.ones(count) if weights is None else torch.as_tensor(np.asarray(weights, np.float32))
    if weight.shape != (count,):
        raise ValueError(f"{sample_id}: weights must be ({count},), got {tuple(weight.shape)}")
    return weight


def _spacing(spacing: Sequence[float] | None, dims: int, sample_id: str) -> tuple[float, ...] | None:
    if spacing is None:
        return None
    values = tuple(float(s) for s in spacing)
    if len(values) != dims or not all(np.isfinite(s) and s > 0 for s in values):
        raise ValueError(f"{sample_id}: spacing must be {dims} positive numbers (mm per pixel), got {values}")
    return values


def _by_annotator(by_annotator: np.ndarray, points: Tensor, sample_id: str) -> Tensor:
    marked = torch.as_tensor(np.asarray(by_annotator, dtype=np.float32))
    if marked.ndim != 3 or marked.shape[1:] != points.shape:
        raise ValueError(
            f"{sample_id}: by_annotator must be (R, {len(points)}, {points.shape[1]}), got "
            f"{tuple(marked.shape)}"
        )
    return marked
