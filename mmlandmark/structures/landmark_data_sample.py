"""The one object that carries a case through the house."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from mmengine.structures import BaseDataElement
from torch import Tensor

from mmlandmark.structures.coordinates import apply_matrix, invert_matrix


class LandmarkDataSample(BaseDataElement):
    """Landmarks of one case in the original image frame, with all that is needed to use them.

    Data fields (tensors, optional unless a step needs them):
        gt_landmarks: (K, D) float32, original pixels, (x, y[, z]); NaN where nothing is annotated.
        gt_visibility: (K,) int8; 1 annotated, 0 not annotated, -1 known to be absent.
        gt_weights: (K,) float32, weight of every landmark in the loss.
        gt_by_annotator: (R, K, D) float32, original pixels: what each of R annotators marked, where
            several did; NaN where an annotator marked nothing. ``gt_landmarks`` is their consensus.
        pred_landmarks: (K, D) float32, original pixels.
        pred_scores: (K,) float32, height of the decoded peak.
        pred_by_annotator: (R, K, D) float32, original pixels: where each annotator would mark them, of a head
            that learnt several. How far they lie apart says how ambiguous a landmark is.
        pred_heatmaps: (K, *S) float32, only on request.

    Meta fields:
        sample_id: name of the case, unique in its dataset.
        img_path: file the image came from, or None.
        ori_shape: (*S) of the original image.
        input_shape: (*S) of the network input.
        pad_shape: (*S) of the same with the padding of the batch, which ``pred_heatmaps`` covers too.
        input_from_original: (D+1, D+1) float64 array, THE matrix.
        spacing: (D,) mm per original pixel, (x, y[, z]), or None.
        world_from_original: (D+1, D+1) float64 array, original pixels to mm in patient axes (LPS), as the
            image file says it, or None. ``spacing`` is what errors are measured by, and may come from the
            annotation instead.
        flip_pairs: tuple of index pairs that a mirror swaps.
    """

    @classmethod
    def from_landmarks(
        cls,
        landmarks: np.ndarray | Sequence,
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
        """Build a sample from (K, D) landmarks in original pixels.

        Raises:
            ValueError: Shapes disagree, a point is infinite, or spacing is not positive; the message
                names ``sample_id``.
        """
        points = torch.as_tensor(np.asarray(landmarks, dtype=np.float32))
        dims = len(ori_shape)
        if points.ndim != 2 or points.shape[1] != dims:
            raise ValueError(
                f"{sample_id}: landmarks must be (K, {dims}) for an image of shape {tuple(ori_shape)}, "
                f"got {tuple(points.shape)}"
            )
        if torch.isinf(points).any():
            raise ValueError(
                f"{sample_id}: landmark {int(torch.isinf(points).any(1).nonzero()[0])} is infinite"
            )
        finite = torch.isfinite(points).all(1)
        if visibility is None:
            seen = finite.to(torch.int8)
        else:
            seen = torch.as_tensor(np.asarray(visibility, dtype=np.int8))
            if seen.shape != finite.shape:
                raise ValueError(f"{sample_id}: visibility must be ({len(points)},), got {tuple(seen.shape)}")
            seen = torch.where(finite, seen, seen.clamp(max=0))
        weight = (
            torch.ones(len(points)) if weights is None else torch.as_tensor(np.asarray(weights, np.float32))
        )
        if weight.shape != finite.shape:
            raise ValueError(f"{sample_id}: weights must be ({len(points)},), got {tuple(weight.shape)}")
        if spacing is not None:
            spacing = tuple(float(s) for s in spacing)
            if len(spacing) != dims or not all(np.isfinite(s) and s > 0 for s in spacing):
                raise ValueError(
                    f"{sample_id}: spacing must be {dims} positive numbers (mm per pixel), got {spacing}"
                )
        matrix = (
            np.eye(dims + 1) if input_from_original is None else np.asarray(input_from_original, np.float64)
        )
        sample = cls(
            metainfo=dict(
                sample_id=sample_id,
                ori_shape=tuple(int(s) for s in ori_shape),
                input_shape=tuple(int(s) for s in (input_shape or ori_shape)),
                input_from_original=matrix,
                spacing=spacing,
                world_from_original=world_from_original,
                **meta,
            )
        )
        sample.gt_landmarks, sample.gt_visibility, sample.gt_weights = points, seen, weight
        if by_annotator is not None:
            sample.gt_by_annotator = torch.as_tensor(np.asarray(by_annotator, dtype=np.float32))
            if sample.gt_by_annotator.ndim != 3 or sample.gt_by_annotator.shape[1:] != points.shape:
                raise ValueError(
                    f"{sample_id}: by_annotator must be (R, {len(points)}, {dims}), got "
                    f"{tuple(sample.gt_by_annotator.shape)}"
                )
        return sample

    @property
    def mask(self) -> Tensor:
        """(K,) bool: the landmark is annotated, so losses and metrics may look at it."""
        return self.gt_visibility > 0

    def to_input(self, points: Tensor) -> Tensor:
        """Map (K, D) original pixels to the network's input frame."""
        return apply_matrix(self.input_from_original, points)

    def to_original(self, points: Tensor) -> Tensor:
        """Map (K, D) pixels of the input frame back to the original image."""
        return apply_matrix(invert_matrix(self.input_from_original), points)

    def to_world(self, points: Tensor) -> Tensor:
        """Map (K, D) original pixels to mm in the frame of the file.

        Raises:
            ValueError: The file does not say where its pixels lie.
        """
        if self.get("world_from_original") is None:
            raise ValueError(f"{self.sample_id}: the image file does not say where its pixels lie in mm")
        return apply_matrix(self.world_from_original, points)
