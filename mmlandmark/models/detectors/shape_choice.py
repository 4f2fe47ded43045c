"""The choice among several peaks of a landmark, by where the other landmarks are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from mmlandmark.codecs import Candidates
from mmlandmark.shape import ShapeModel, ShapePrior, Tails
from mmlandmark.structures import Detection, LandmarkDataSample, invert_matrix


class ShapeChoice(nn.Module):
    """Chooses among the strongest peaks of every landmark by a prior of shapes.

    The prior travels with the weights. A detector has one if its ``test_cfg.shape_prior`` is a dict of the
    arguments below. ``ShapePriorHook`` teaches it the shapes of the training data.

    Args:
        num_landmarks: K.
        dims: D.
        candidates: Peaks of a map to choose from.
        gate: Standard deviations from where the other landmarks expect a landmark; one that lies closer stays
            where it was detected.
        strength: Weight of the maps against the prior, see :meth:`mmlandmark.shape.ShapePrior.choose`.

    Raises:
        ValueError: An argument is not positive.
    """

    def __init__(
        self, num_landmarks: int, dims: int, candidates: int = 4, gate: float = 5.0, strength: float = 3.0
    ) -> None:
        super().__init__()
        if candidates < 1 or not gate > 0 or not strength > 0:
            raise ValueError(
                f"candidates, gate and strength of shape_prior must be positive, got {candidates}, {gate} "
                f"and {strength}"
            )
        self.candidates, self.gate, self.strength, self.dims = candidates, gate, strength, dims
        size = num_landmarks * dims
        shapes: dict[str, tuple[int, ...]] = dict(
            typical=(num_landmarks, dims), middle=(size,), scale=(size,), correlation=(size, size)
        )
        # power, mirrored and millimetres are numbers.
        shapes |= dict(median=(num_landmarks,), power=(), mirrored=(), millimetres=())
        for name, shape in shapes.items():
            self.register_buffer(name, torch.zeros(shape))
        self._prior: ShapePrior | None = None

    def learn(self, points: np.ndarray, steps: np.ndarray | None) -> None:
        """Learn from annotated shapes.

        Args:
            points: (N, K, D) original pixels, NaN where missing.
            steps: (N, D, D) from steps in pixels to steps in mm, see :func:`mmlandmark.structures.mm_steps`,
                or None if they are not known of all of them.

        Raises:
            ValueError: They are too few, see :meth:`mmlandmark.shape.ShapePrior.fit`.
        """
        prior = ShapePrior.fit(points if steps is None else np.einsum("nij,nkj->nki", steps, points))
        model, tails = prior.model, prior.tails
        values = dict(typical=model.typical, middle=model.middle, scale=model.scale, median=tails.median)
        values |= dict(correlation=np.linalg.inv(model.precision), power=np.array(tails.power))
        values |= dict(mirrored=np.array(prior.mirrored), millimetres=np.array(steps is not None))
        for name, value in values.items():
            own = getattr(self, name)
            own.copy_(torch.as_tensor(value, dtype=own.dtype))
        self._prior = None

    def _load_from_state_dict(self, *args, **kwargs) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._prior = None

    @property
    def prior(self) -> ShapePrior:
        """The prior that was learnt.

        Raises:
            ValueError: None was, or it is damaged.
        """
        if self._prior is None:
            held = {name: value.double().cpu().numpy() for name, value in self.named_buffers()}
            if not (held["scale"] > 0).all():
                raise ValueError(
                    "the detector has learnt no shapes: train it with ShapePriorHook in custom_hooks, or "
                    "leave test_cfg.shape_prior out"
                )
            try:
                precision = np.linalg.inv(held["correlation"])
            except np.linalg.LinAlgError as error:
                raise ValueError(
                    "the shapes that the detector has learnt are damaged: teach it anew"
                ) from error
            model = ShapeModel(held["typical"], held["middle"], held["scale"], precision)
            tails = Tails(held["median"], Tails.normal_median(model.typical.shape[1]), float(held["power"]))
            self._prior = ShapePrior(model, tails, bool(held["mirrored"] > 0.5))
        return self._prior

    def forward(
        self, detection: Detection, frames: np.ndarray, candidates: Callable[[Tensor], Candidates]
    ) -> Detection:
        """Return the detection with the chosen peaks, their weights as scores, and the deviations.

        Args:
            detection: (B, R, K) input pixels, with maps.
            frames: See :meth:`frames`.
            candidates: Returns the candidates of maps (B, C, *S), in input pixels.
        """
        points = detection.points[..., None, :]  # (B, R, K, 1, D)
        deviation = self.prior.deviations(_placed(points, frames)[:, :, 0])
        if not (np.nan_to_num(deviation) > self.gate).any():
            return replace(detection, deviation=_like(deviation, detection.scores))
        assert detection.maps is not None, "detect() returns maps"
        found = _of_annotators(candidates(detection.maps), *detection.points.shape[1:3])
        # The first candidate is what was detected: of an ensemble that need not be a peak of its maps.
        points = torch.cat([points, found.points.to(points.dtype)], -2)
        points = torch.where(torch.isfinite(points[..., :1, :]), points, torch.nan)
        scores = torch.cat([detection.scores[..., None], found.weights.to(detection.scores.dtype)], -1)
        weights = scores.detach().flatten(0, 1).double().cpu().numpy()
        choice = self.prior.choose(_placed(points, frames), weights, self.gate, self.strength)
        picked = torch.as_tensor(choice.picked, device=points.device).view(detection.scores.shape)
        spread = detection.spread
        if spread is not None and found.spread is not None:
            spreads = torch.cat([spread[..., None, :, :], found.spread.to(spread.dtype)], -3)
            spread = _taken(spreads, picked)
        return replace(
            detection,
            points=_taken(points, picked),
            scores=_taken(scores, picked),
            spread=spread,
            deviation=_like(choice.deviation, detection.scores),
        )


def _placed(points: Tensor, frames: np.ndarray) -> np.ndarray:
    """Return points (B, R, K, C, D) of the input in the units of the prior, (B * R, K, C, D)."""
    placed = np.einsum("bij,brkcj->brkci", frames, points.detach().double().cpu().numpy())
    return placed.reshape(-1, *placed.shape[2:])


def _like(values: np.ndarray, scores: Tensor) -> Tensor:
    """Return values (B * R, K) as a tensor like scores (B, R, K)."""
    return torch.as_tensor(values, dtype=scores.dtype, device=scores.device).view(scores.shape)


def _taken(values: Tensor, picked: Tensor) -> Tensor:
    """Return the entries of (B, R, K, C, ...) that (B, R, K) picks."""
    index = picked.view(*picked.shape, *[1] * (values.ndim - 3)).expand(*picked.shape, 1, *values.shape[4:])
    return values.gather(3, index)[:, :, :, 0]


def _of_annotators(found: Candidates, annotators: int, landmarks: int) -> Candidates:
    """Return (B, R, K, C) candidates; where maps have other annotators than points, those of the first."""

    def arranged(value: Tensor) -> Tensor:
        value = value.unflatten(1, (-1, landmarks))
        same = value.shape[1] == annotators
        return value if same else value[:, :1].expand(-1, annotators, *value.shape[2:])

    spread = None if found.spread is None else arranged(found.spread)
    return Candidates(arranged(found.points), arranged(found.weights), spread)


def steps_to_shape(samples: Sequence[LandmarkDataSample], millimetres: bool, dims: int) -> np.ndarray:
    """Return (B, D, D) matrices from steps in input pixels to steps in the unit of learnt shapes.

    Args:
        samples: B cases. One without a spacing counts in original pixels.
        millimetres: Whether shapes are in mm; else they are in original pixels.
        dims: D.
    """
    matrices = []
    for sample in samples:
        matrix = sample.input_steps if millimetres else None
        if matrix is None:
            known = "input_from_original" in sample
            matrix = invert_matrix(sample.input_from_original)[:-1, :-1] if known else np.eye(dims)
        matrices.append(matrix)
    return np.stack(matrices)
