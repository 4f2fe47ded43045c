"""Where patches lie that show every case in the pose of a typical shape."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from mmlandmark.shape import TypicalShape, fit_robustly


class PoseAlignment(nn.Module):
    """Fits the typical shape of the training data to landmarks that were found roughly.

    The shape travels with the weights; ``ShapePriorHook`` teaches it.

    Args:
        num_landmarks: K.
        dims: D.
        pixel: Length of a pixel of a patch, in the unit of the typical shape: mm if the spacing of all
            training images is known, else original pixels. That of ``AlignToTypicalShape``.

    Raises:
        ValueError: ``pixel`` is not positive.
    """

    typical: Tensor
    millimetres: Tensor

    def __init__(self, num_landmarks: int, dims: int, pixel: float) -> None:
        super().__init__()
        if not pixel > 0:
            raise ValueError(f"pixel of align must be a positive length, got {pixel!r}")
        self.pixel = float(pixel)
        self.register_buffer("typical", torch.zeros(num_landmarks, dims))
        self.register_buffer("millimetres", torch.zeros(()))

    def learn(self, points: np.ndarray, steps: np.ndarray | None) -> None:
        """Learn the typical shape, see :meth:`mmlandmark.shape.TypicalShape.of`."""
        shape = TypicalShape.of(points, steps)
        self.typical.copy_(torch.as_tensor(shape.points))
        self.millimetres.fill_(float(shape.millimetres))

    @property
    def shape(self) -> TypicalShape:
        """The typical shape that was learnt.

        Raises:
            ValueError: None was.
        """
        typical = self.typical.double().cpu().numpy()
        if not np.ptp(typical, axis=0).any():
            raise ValueError(
                "the detector has learnt no typical shape: train it with ShapePriorHook in custom_hooks, or "
                "leave align out"
            )
        return TypicalShape(typical, bool(self.millimetres > 0.5))

    def patch_frames(
        self, points: np.ndarray, steps: np.ndarray, size: Sequence[int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return where the patch about every landmark lies.

        Its axes are those of the typical shape, turned and scaled as the case is. Its centre is the point
        that was found, or, for one that disagrees with the others, where they expect it.

        Args:
            points: (B, K, D) found roughly, in pixels of the input, NaN where missing.
            steps: (B, D, D) from steps in pixels of the input to steps in the unit of the shape.
            size: (*S) of a patch.

        Returns:
            (B, K, D+1, D+1) from pixels of the patch to those of the input, and (B, K) bool: landmarks that
            have a patch. None of a case has that finds no pose, which takes more than D landmarks.

        Raises:
            ValueError: No shape was learnt.
        """
        typical = self.shape.points
        dims = typical.shape[1]
        frames = np.tile(np.eye(dims + 1), (*points.shape[:2], 1, 1))
        seen = np.isfinite(points).all(2)
        middle = (np.asarray(size, dtype=np.float64)[::-1] - 1) / 2
        for case, (found, step) in enumerate(zip(points, steps, strict=True)):
            fit = fit_robustly(found @ step.T, typical)
            if fit is None:
                seen[case] = False
                continue
            expected = np.linalg.solve(step, fit.placed.T).T
            linear = np.linalg.solve(step, fit.matrix[:dims, :dims]) * self.pixel
            frames[case, :, :dims, :dims] = linear
            frames[case, :, :dims, dims] = np.where(fit.agree[:, None], found, expected) - linear @ middle
        return frames, seen
