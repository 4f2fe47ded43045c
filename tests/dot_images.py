"""Images of one dot whose centroid is the landmark: what geometry tests measure."""

from __future__ import annotations

import numpy as np
import torch

import mmlandmark.datasets.transforms as T
from mmlandmark.datasets.transforms.resampling import source_coordinates
from mmlandmark.datasets.transforms.volume_sampling import displacement_nodes
from mmlandmark.ops.resample import _positions

SHAPES = {2: (200, 180), 3: (44, 52, 48)}


def px(count, dims=2):
    """Return a number of pixels as a fraction of the shorter side of the image that most tests use."""
    return count / min(SHAPES[dims])


def draw_dot(shape, point, sigma, dtype=np.float32):
    """Return an image of a Gaussian dot, whose centroid is the point to within 1e-3 px."""
    axes = np.meshgrid(*[np.arange(n) for n in shape], indexing="ij")[::-1]
    distance = sum((axis - p) ** 2 for axis, p in zip(axes, point, strict=True))
    dot = np.exp(-distance / (2 * sigma**2))
    return (
        dot.astype(np.float32) if dtype == np.float32 else (dot * np.iinfo(dtype).max).round().astype(dtype)
    )


def centroid(array):
    weights = np.where(array > 0.02 * array.max(), array, 0).astype(np.float64)
    axes = np.meshgrid(*[np.arange(n) for n in array.shape], indexing="ij")[::-1]
    return np.array([(axis * weights).sum() for axis in axes]) / weights.sum()


def make_results(dims=2, point=None, seed=0, dtype=np.float32, load=None, sigma=None):
    shape = SHAPES[dims]
    if point is None:
        spread = np.random.default_rng(seed + 1000).uniform(-0.1, 0.1, dims)
        point = (np.array(shape[::-1]) - 1) * (0.5 + spread)
    image = draw_dot(shape, point, sigma or (4.0 if dims == 2 else 2.5), dtype)
    record = dict(
        sample_id="dot",
        img_path=None,
        img=image,
        landmarks=np.array([point], np.float32),
        spacing=None,
        rng=np.random.default_rng(seed),
        flip_pairs=(),
    )
    return (load or T.LoadImage())(record)


def read_positions(matrix, size, elastic):
    """Return (*S, D) where the pixels of a frame are read, as ``Resample`` does."""
    if len(size) == 2:
        return source_coordinates(np.eye(3), matrix, size, elastic)
    nodes, step = displacement_nodes(matrix, size, elastic)
    return _positions(torch.from_numpy(np.linalg.inv(matrix)), size, nodes, step).numpy()


def run(results, *steps):
    for step in steps:
        results = step(results)
    return results
