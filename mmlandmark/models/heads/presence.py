"""Presence: is a landmark in the image at all? Read off what was detected, all landmarks together."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmlandmark.models.shared_divisor import shared_divisor
from mmlandmark.structures import Detection, LandmarkDataSample, is_inside


class PresenceBranch(nn.Module):
    """A small network from the detection of all landmarks to how likely each is in the image.

    A landmark outside the image leaves a low and wide map, and the other landmarks show where the image ends.
    So the inputs are the places, scores and widths of all landmarks, as any codec decodes them. No gradient
    reaches the maps: they are learned as without the branch.

    A landmark is learned as present if it is annotated inside of the network's input, and as absent if it is
    known to be absent (visibility -1) or annotated outside of it, where augmentation or a crop has moved it.
    A landmark that is merely not annotated (visibility 0) teaches nothing.

    Args:
        num_landmarks: K.
        num_annotators: R.
        dims: 2 or 3.
        hidden: Width of the hidden layer.
        loss_weight: Factor of the loss.
    """

    def __init__(
        self, num_landmarks: int, num_annotators: int, dims: int, hidden: int = 64, loss_weight: float = 1.0
    ) -> None:
        super().__init__()
        self.num_annotators, self.loss_weight = num_annotators, loss_weight
        self.layers = nn.Sequential(
            nn.Linear(num_annotators * num_landmarks * (dims + 2), hidden),
            nn.ReLU(),
            nn.Linear(hidden, num_landmarks),
        )

    def forward(self, detection: Detection, input_size: Sequence[int]) -> Tensor:
        """Return logits (B, K).

        Args:
            detection: (B, R * K) landmarks in input pixels; a spread that the codec does not know counts as
                that of one pixel.
            input_size: (*S) of the network's input.
        """
        size = detection.points.new_tensor([float(side) for side in reversed(input_size)])
        places = 2 * (detection.points + 0.5) / size - 1
        scores = detection.scores.clamp(1e-6, 1e3).log() / 3
        widths = torch.zeros_like(scores)
        if detection.spread is not None:
            trace = detection.spread.diagonal(dim1=-2, dim2=-1).sum(-1)
            widths = (trace.clamp(min=1e-6) / size.prod() ** (2 / len(size))).log() / 3
        inputs = torch.cat([places, scores[..., None], widths[..., None]], -1).nan_to_num(0.0, 0.0, 0.0)
        return self.layers(inputs.flatten(1).detach())

    def chances(self, detection: Detection, input_size: Sequence[int]) -> Tensor:
        """Return the probability that every landmark is in the image, (B, R * K)."""
        return self(detection, input_size).float().sigmoid().repeat(1, self.num_annotators)

    def loss(
        self, detection: Detection, samples: Sequence[LandmarkDataSample], input_size: Sequence[int]
    ) -> Tensor:
        """Return the binary cross-entropy over the landmarks whose presence is known."""
        target, known = presence_target(samples, input_size)
        logits = self(detection, input_size)
        target, known = target.to(logits), known.to(logits)
        losses = F.binary_cross_entropy_with_logits(logits, target, weight=known, reduction="sum")
        return self.loss_weight * losses / shared_divisor(known.sum())


def presence_target(
    samples: Sequence[LandmarkDataSample], input_size: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Return whether every landmark is in the network's input, and whether that is known, (B, K) bool."""
    target, known = [], []
    for sample in samples:
        points = sample.to_input(sample.gt_landmarks)
        target.append(is_inside(points, input_size) & sample.mask)
        known.append(sample.gt_visibility != 0)
    return torch.stack(target), torch.stack(known)
