"""The model of heads: it can be inverted, and its modes are those of a population."""

from __future__ import annotations

import numpy as np

from mmlandmark.datasets.phantom.head import EXTREMES
from mmlandmark.datasets.phantom.head_shape import MODES, HeadShape

BOX = np.stack(np.meshgrid(*[np.linspace(-130, 130, 9)] * 3, indexing="ij"), -1).reshape(-1, 3)


def test_there_and_back_is_nothing():
    for seed in range(30):
        shape = HeadShape(np.random.default_rng(seed))
        own = shape.from_mean(BOX)
        np.testing.assert_allclose(np.stack(shape.to_mean(list(own.T)), -1), BOX, atol=1e-6)


def test_the_map_never_folds():
    for seed in range(60):
        shape = HeadShape(np.random.default_rng(seed))
        rows = [np.stack(shape.to_mean(list((BOX + step).T)), -1) for step in (*np.eye(3), np.zeros(3))]
        jacobians = np.stack([row - rows[3] for row in rows[:3]], -1)
        assert np.linalg.det(jacobians).min() > 0.3


def test_float32_is_enough_for_voxels():
    shape = HeadShape(np.random.default_rng(1))
    exact = np.stack(shape.to_mean(list(BOX.T)))
    voxels = np.stack(shape.to_mean(list(BOX.T.astype(np.float32))))
    assert voxels.dtype == np.float32
    np.testing.assert_allclose(voxels, exact, atol=1e-4)


def test_heads_differ_in_size_and_shape_but_not_wildly():
    heads = np.stack([HeadShape(np.random.default_rng(seed)).from_mean(EXTREMES) for seed in range(200)])
    sizes = np.sqrt(((heads - heads.mean(1, keepdims=True)) ** 2).sum((1, 2)))
    assert 0.04 < sizes.std() / sizes.mean() < 0.08
    assert sizes.max() / sizes.min() < 1.6
    np.testing.assert_allclose(heads.mean(0), EXTREMES, atol=4)
    chin = heads[:, 5]
    assert chin.std(0).min() > 2
    assert chin.std(0).max() < 14


def test_every_mode_bends_the_head():
    shape, places = HeadShape(np.random.default_rng(0)), BOX * 0.6
    for index in range(len(MODES)):
        shape.coefficients = np.zeros(len(MODES), dtype=np.float32)
        plain = shape.from_mean(places)
        shape.coefficients[index] = 4
        moved = np.abs(shape.from_mean(places) - plain)
        axis = list(MODES.values())[index][0]
        assert 1 < moved.max() < 12
        assert moved.max() == moved[:, axis].max()
