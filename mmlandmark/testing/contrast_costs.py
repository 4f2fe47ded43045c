"""What a step of CC2D takes outside of its network: the whole batch at once, against one image at a time.

``python -m mmlandmark.testing.contrast_costs RECORD.json`` measures patches of images in memory, the loss of
their embeddings at five levels, and its gradient, at the published sizes. The other way is that of the
publication: each image by itself, its patch cut out on the CPU and turned with a map of one bright pixel,
whose brightest one is the point, and a loop over levels. Both take turns in one process.
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmlandmark.evaluation.record import git_commit, machine, versions
from mmlandmark.models.detectors.random_patches import RandomPatches
from mmlandmark.models.losses import CascadeContrastLoss
from mmlandmark.models.similarity import PatchPair
from mmlandmark.testing.measure import median_ratio, paired_times
from mmlandmark.utils.files import atomic_write_json

STRIDES = (2, 4, 8, 16, 32)
SIZE, CHANNELS, BATCH = 384, 64, 8
WINDOW, TEMPERATURE, MARGIN, MOST = 11, 10.0, 0.07, 0.8
TOGETHER, ONE_BY_ONE = "whole batch at once", "one image at a time"


def embeddings(batch: int, size: int, channels: int) -> list[Tensor]:
    """Return random embeddings of five levels, as a network would make them."""
    return [torch.randn(batch, channels, size // s, size // s).requires_grad_() for s in STRIDES]


def together(images: Tensor, features: Sequence[Tensor], patch_features: Sequence[Tensor]) -> Tensor:
    """Return the loss of a batch (B, C, H, W), its patches taken at random."""
    whole = tuple(images.shape[2:])
    maker = RandomPatches()
    size = maker.size_of(whole, [level.shape[2:] for level in features])
    patches = maker(images, size)
    pair = PatchPair(
        features, patch_features, patches.points, patches.patch_points, patches.mask, whole, size
    )
    return CascadeContrastLoss()(pair)


def one_by_one(images: Tensor, features: Sequence[Tensor], patch_features: Sequence[Tensor]) -> Tensor:
    """Return the loss as :func:`together` does, image by image and level by level."""
    losses = []
    for b, image in enumerate(images):
        point, inside = _point_in_patch(image.permute(1, 2, 0).numpy())
        losses += [
            _level_loss(level[b], patch[b], point // stride, inside // stride, stride == STRIDES[-1])
            for stride, level, patch in zip(STRIDES, features, patch_features, strict=True)
        ]
    return torch.stack(losses).sum() / len(images)


def _point_in_patch(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cut a patch out of an image (H, W, C), change and turn it; return a point (x, y) of both."""
    side = image.shape[0] // 2
    corner = np.random.randint(0, side, 2)
    place = (np.random.uniform(0.1, 0.9, 2) * side).astype(int)
    patch = image[corner[1] : corner[1] + side, corner[0] : corner[0] + side]
    bright, contrast = np.random.uniform(0.85, 1.15), np.random.uniform(0.75, 1.25)
    patch = np.clip(bright * (patch.mean() + contrast * (patch - patch.mean())), 0, 1)
    turn = cv2.getRotationMatrix2D((side / 2, side / 2), float(np.random.uniform(-20, 20)), 1)
    mark = np.zeros((side, side), dtype=np.float32)
    mark[place[1], place[0]] = 1
    cv2.warpAffine(patch, turn, (side, side), flags=cv2.INTER_CUBIC)
    moved = cv2.warpAffine(mark, turn, (side, side), flags=cv2.INTER_CUBIC)
    y, x = np.unravel_index(int(moved.argmax()), moved.shape)
    return corner + place, np.array([x, y])


def _level_loss(level: Tensor, patch: Tensor, own: np.ndarray, place: np.ndarray, whole: bool) -> Tensor:
    """Return the cross-entropy of the true pixel (x, y) of a level (C, H, W)."""
    height, width = level.shape[1:]
    (x, y), (px, py) = own, place
    anchor = patch[:, py, px]
    lengths = anchor.norm() * level.norm(dim=0)
    cosine = (anchor[:, None, None] * level).sum(0) / (lengths + 1e-3)
    rows, columns = torch.arange(height)[:, None], torch.arange(width)
    distance = ((rows - y) ** 2 + (columns - x) ** 2).float().sqrt()
    logits = TEMPERATURE * (cosine + (MARGIN * distance).clamp(max=MOST))
    top, left = (0, 0) if whole else (max(0, y - WINDOW), max(0, x - WINDOW))
    if not whole:
        logits = logits[top : y + WINDOW, left : x + WINDOW]
    target = torch.tensor([(y - top) * logits.shape[1] + x - left])
    return F.cross_entropy(logits.reshape(1, -1), target)


def ways(batch: int = BATCH, size: int = SIZE, channels: int = CHANNELS) -> dict[str, Callable[[], object]]:
    """Return both ways, each with the gradient of the embeddings, on equal random input."""
    torch.manual_seed(0)
    images = torch.rand(batch, 1, size, size)
    features, patch_features = embeddings(batch, size, channels), embeddings(batch, size // 2, channels)

    def step(function: Callable) -> Callable[[], object]:
        def call() -> object:
            loss = function(images, features, patch_features)
            return torch.autograd.grad(loss, [*features, *patch_features])

        return call

    return {TOGETHER: step(together), ONE_BY_ONE: step(one_by_one)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write the record."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("record", type=Path, help="JSON file for the result")
    parser.add_argument("--batch", type=int, default=BATCH, help=f"images; default {BATCH}")
    parser.add_argument("--size", type=int, default=SIZE, help=f"side of an image; default {SIZE}")
    parser.add_argument("--rounds", type=int, default=9, help="turns of both ways; default 9")
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch; default 1")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    np.random.seed(0)
    made_by: dict[str, Any] = dict(
        machine=machine(), versions=versions(), commit=git_commit(), load=os.getloadavg()
    )
    seconds = paired_times(ways(options.batch, options.size), options.rounds)
    ratio = round(median_ratio(seconds[ONE_BY_ONE], seconds[TOGETHER]), 2)
    medians = {name: round(statistics.median(times), 4) for name, times in seconds.items()}
    print(medians, f"{ratio} times")
    sizes = dict(batch=options.batch, size=options.size, channels=CHANNELS, threads=options.threads)
    atomic_write_json(
        options.record, dict(**sizes, rounds=options.rounds, **made_by, seconds=medians, ratio=ratio)
    )


if __name__ == "__main__":
    main()
