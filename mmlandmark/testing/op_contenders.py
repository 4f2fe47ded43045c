"""Implementations of the operators to compare: ours, plain PyTorch, compiled PyTorch, other packages.

Every function returns calls by name, without those of packages that are not installed.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from mmlandmark.codecs import GaussianHeatmapCodec
from mmlandmark.models.backbones import UNet
from mmlandmark.models.losses import EWCLoss
from mmlandmark.ops import ewc_loss, gaussian_heatmap, refined_peak, soft_argmax
from mmlandmark.ops.backend import using_reference
from mmlandmark.ops.gaussian_heatmap import gaussian_heatmap_reference
from mmlandmark.ops.refined_peak import refined_peak_reference

Calls = dict[str, Callable[[], object]]
OURS = "mmlandmark"
SIGMA, ALPHA, BETA = 6.0, 40.0, 10.0


def landmarks_of(shape: tuple[int, ...], device: str) -> Tensor:
    """Return points inside maps of (B, K, *S)."""
    size = torch.tensor(shape[:1:-1], dtype=torch.float32)
    generator = torch.Generator().manual_seed(0)
    return (torch.rand((*shape[:2], len(size)), generator=generator) * size).to(device)


def dense_gaussian(landmarks: Tensor, shape: tuple[int, ...], sigma: float) -> Tensor:
    """Draw Gaussians without shortcuts: one exponential per pixel."""
    axes = [torch.arange(side, dtype=torch.float32, device=landmarks.device) for side in shape[2:]]
    squared = torch.zeros((), device=landmarks.device)
    for axis, grid in enumerate(torch.meshgrid(*axes, indexing="ij")):
        center = landmarks[..., len(axes) - 1 - axis].reshape(*shape[:2], *[1] * len(axes))
        squared = squared + (grid - center) ** 2
    return torch.exp(-squared / (2 * sigma**2))


def ewc_contenders(shape: tuple[int, ...], device: str) -> Calls:
    """Return implementations of the EWC loss and its gradient."""
    pred = torch.randn(shape, device=device, requires_grad=True)
    landmarks = landmarks_of(shape, device)
    target = dense_gaussian(landmarks, shape, SIGMA)

    def given(pred, target):
        return ((pred - target) ** 2 * ALPHA**target).mean()

    def built(pred, landmarks):
        return given(pred, dense_gaussian(landmarks, shape, SIGMA))

    def both(loss: Callable, *arguments):
        return lambda: torch.autograd.grad(loss(*arguments), pred)

    return {
        OURS: both(lambda: ewc_loss(pred, landmarks, SIGMA, ALPHA)),
        "clone of the maps": lambda: pred.detach().clone(),
        "PyTorch, target given": both(given, pred, target),
        "PyTorch, target built": both(built, pred, landmarks),
        "torch.compile, target given": both(torch.compile(given), pred, target),
        "torch.compile, target built": both(torch.compile(built), pred, landmarks),
    }


def plain_soft_argmax(maps: Tensor) -> Tensor:
    """Return the expected coordinates in plain PyTorch."""
    weights = (maps.flatten(2) * BETA).softmax(-1).view(maps.shape)
    coordinates = []
    for axis in range(maps.ndim - 1, 1, -1):
        grid = torch.arange(maps.shape[axis], dtype=maps.dtype, device=maps.device)
        coordinates.append((weights.sum([a for a in range(2, maps.ndim) if a != axis]) * grid).sum(-1))
    return torch.stack(coordinates, -1)


def soft_argmax_functions(shape: tuple[int, ...], device: str) -> dict[str, Callable]:
    """Return implementations of the soft-argmax, as functions of the maps."""
    functions = {
        OURS: lambda maps: soft_argmax(maps, BETA),
        "PyTorch": plain_soft_argmax,
        "torch.compile": torch.compile(plain_soft_argmax),
    }
    kornia, dsntnn = optional("kornia"), optional("dsntnn")
    if kornia and len(shape) == 4:
        # Version 0.9 divides by its temperature.
        temperature = torch.tensor(1 / BETA, device=device)
        functions["kornia spatial_soft_argmax2d"] = lambda maps: kornia.geometry.subpix.spatial_soft_argmax2d(
            maps, temperature, normalized_coordinates=False
        )
    if dsntnn:
        functions["dsntnn flat_softmax + dsnt"] = lambda maps: dsntnn.dsnt(dsntnn.flat_softmax(maps * BETA))
    return functions


def expectation_contenders(shape: tuple[int, ...], device: str) -> Calls:
    """Return implementations of the soft-argmax."""
    maps = torch.randn(shape, device=device)
    calls = {
        name: lambda f=function: f(maps) for name, function in soft_argmax_functions(shape, device).items()
    }
    return {**calls, "amax of the maps": lambda: maps.amax(tuple(range(2, maps.ndim)))}


def expectation_backward_contenders(shape: tuple[int, ...], device: str) -> Calls:
    """Return implementations of the soft-argmax and its gradient."""
    maps = torch.randn(shape, device=device, requires_grad=True)
    return {
        name: lambda f=function: torch.autograd.grad(f(maps).sum(), maps)
        for name, function in soft_argmax_functions(shape, device).items()
    } | {"clone of the maps": lambda: maps.detach().clone()}


def heatmap_contenders(shape: tuple[int, ...], device: str) -> Calls:
    """Return implementations of the target heatmaps."""
    landmarks, ones = landmarks_of(shape, device), torch.ones(shape[:2], device=device)
    calls: Calls = {
        OURS: lambda: gaussian_heatmap(landmarks, shape[2:], SIGMA),
        "torch.full": lambda: torch.full(shape, 0.5, device=device),
        "PyTorch": lambda: dense_gaussian(landmarks, shape, SIGMA),
        "PyTorch, separable": lambda: gaussian_heatmap_reference(
            landmarks, SIGMA * ones, ones, shape[2:], "gaussian"
        ),
    }
    if len(shape) != 4:
        return calls
    for name, draw in (("windows around whole pixels", numpy_window), ("continuous centres", numpy_dense)):
        calls[f"NumPy as in MMPose, {name}"] = functools.partial(per_sample, draw, landmarks, shape)
    if kornia := optional("kornia"):
        std = torch.full((shape[0] * shape[1], 2), SIGMA, device=device)
        calls["kornia render_gaussian2d"] = lambda: kornia.geometry.subpix.render_gaussian2d(
            landmarks.flatten(0, 1), std, shape[2:], normalized_coordinates=False
        )
    if landmarker := optional("landmarker.heatmap.generator"):
        generator = landmarker.GaussianHeatmapGenerator(
            nb_landmarks=shape[1], sigmas=SIGMA, heatmap_size=shape[2:]
        )
        calls["landmarker GaussianHeatmapGenerator"] = lambda: generator(landmarks.flip(-1))
    return calls


def per_sample(draw: Callable, landmarks: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Draw heatmaps as data loaders do: landmark by landmark and sample by sample, then stacked."""
    samples = []
    for points in landmarks.cpu().numpy():
        maps = np.zeros(shape[1:], dtype=np.float32)
        for target, (x, y) in zip(maps, points.tolist(), strict=True):
            draw(target, x, y)
        samples.append(torch.from_numpy(maps))
    return torch.stack(samples).to(landmarks.device)


def numpy_window(target: np.ndarray, x: float, y: float) -> None:
    """Draw in a window of three sigma, around the nearest pixel."""
    height, width = target.shape
    radius, column, row = int(3 * SIGMA), int(x + 0.5), int(y + 0.5)
    steps = np.arange(-radius, radius + 1, dtype=np.float32)
    patch = np.exp(-(steps**2 + steps[:, None] ** 2) / (2 * SIGMA**2))
    left, top = max(0, column - radius), max(0, row - radius)
    right, bottom = min(width, column + radius + 1), min(height, row + radius + 1)
    if left < right and top < bottom:
        target[top:bottom, left:right] = patch[
            top - row + radius : bottom - row + radius, left - column + radius : right - column + radius
        ]


def numpy_dense(target: np.ndarray, x: float, y: float) -> None:
    """Draw every pixel, around the landmark itself."""
    rows, columns = (np.arange(side, dtype=np.float32) for side in target.shape)
    target[:] = np.exp(-((columns - x) ** 2 + (rows[:, None] - y) ** 2) / (2 * SIGMA**2))


def peak_contenders(shape: tuple[int, ...], device: str) -> Calls:
    """Return implementations of the refined peaks."""
    maps = gaussian_heatmap(landmarks_of(shape, device), shape[2:], SIGMA)
    return {
        OURS: lambda: refined_peak(maps, "centroid", 4),
        "PyTorch": lambda: refined_peak_reference(maps, "centroid", 4, 0.0),
        "amax of the maps": lambda: maps.amax(tuple(range(2, maps.ndim))),
    }


def step_contenders(size: tuple[int, ...], device: str) -> Calls:
    """Return a training step with the native operators and one with their twins."""
    torch.manual_seed(0)
    network = UNet(in_channels=1, widths=(16, 32, 64, 128)).to(device)
    head = torch.nn.Conv2d(network.out_channels[0], 19, 1).to(device)
    optimizer = torch.optim.AdamW([*network.parameters(), *head.parameters()])
    image, landmarks = torch.randn(1, 1, *size, device=device), landmarks_of((1, 19, *size), device)
    codec, loss = GaussianHeatmapCodec(sigma=SIGMA), EWCLoss(alpha=ALPHA)
    ones = torch.ones(1, 19, device=device)

    def step() -> None:
        target = codec.encode(landmarks, ones > 0, ones, size, size)
        optimizer.zero_grad(set_to_none=True)
        loss(head(network(image)[0]), target).backward()
        optimizer.step()

    def twins() -> None:
        with using_reference():
            step()

    return {OURS: step, "PyTorch": twins}


def optional(name: str) -> ModuleType | None:
    """Return a module, or None where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


FAMILIES: dict[str, Callable[[tuple[int, ...], str], Calls]] = {
    "ewc": ewc_contenders,
    "expectation": expectation_contenders,
    "expectation_backward": expectation_backward_contenders,
    "heatmap": heatmap_contenders,
    "peak": peak_contenders,
    "step": step_contenders,
}
