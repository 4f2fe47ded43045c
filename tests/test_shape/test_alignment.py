"""Alignment of shapes, and the typical one."""

from __future__ import annotations

import numpy as np
import pytest

from mmlandmark.shape import align, find_typical, mirror_image, normalised


@pytest.mark.parametrize("dims", [2, 3])
def test_the_typical_shape_is_found_among_faults_and_mirror_images(dims):
    rng = np.random.default_rng(dims)
    shape = normalised(rng.normal(size=(8, dims)))
    points = np.empty((60, 8, dims))
    for n in range(60):
        turn = np.linalg.qr(rng.normal(size=(dims, dims)))[0]
        turn[:, 0] *= np.sign(np.linalg.det(turn))
        points[n] = rng.uniform(1, 3) * (shape + rng.normal(0, 0.01, shape.shape)) @ turn + rng.normal(
            0, 9, dims
        )
    points[::4] = mirror_image(points[::4])
    points[:9] = rng.permuted(points[:9], axis=1)
    typical = find_typical(points)
    gap = typical[:, None] - typical[None], shape[:, None] - shape[None]
    np.testing.assert_allclose(*(np.linalg.norm(g, axis=-1) for g in gap), atol=0.02)


@pytest.mark.parametrize("dims", [2, 3])
def test_alignment_undoes_a_similarity_but_no_mirroring(dims):
    rng = np.random.default_rng(dims)
    target = rng.normal(size=(9, dims))
    turn = np.linalg.qr(rng.normal(size=(dims, dims)))[0]
    turn[:, 0] *= np.sign(np.linalg.det(turn))
    moved = 3.0 * target @ turn + rng.normal(size=dims)
    moved[2] = np.nan
    back = align(moved[None], target).shapes[0]
    assert np.isnan(back[2]).all()
    np.testing.assert_allclose(np.delete(back, 2, 0), np.delete(target, 2, 0), atol=1e-9)
    mirrored = target * ([-1] + [1] * (dims - 1))
    assert np.abs(align(mirrored[None], target).shapes[0] - target).max() > 0.1
