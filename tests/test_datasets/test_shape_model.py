"""The model of shapes: places given the others, tails of a normal distribution, the typical shape."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mmlandmark.datasets import LandmarkDataset
from mmlandmark.datasets.checks import check_dataset
from mmlandmark.datasets.shape_model import ShapeModel, Tails, align, find_typical, mirror_image, normalised


def test_a_landmark_is_judged_by_the_others():
    # Two landmarks that move together in x, 0.9 of their variance shared; a third on its own.
    rng = np.random.default_rng(0)
    shared = rng.normal(0, 1, 4000)
    points = rng.normal(0, 1, (4000, 3, 2))
    points[:, :2, 0] = np.sqrt(0.9) * shared[:, None] + np.sqrt(0.1) * points[:, :2, 0]
    model = ShapeModel.fit(points, np.zeros((3, 2)))
    asked = np.zeros((3, 3, 2))
    asked[0, :2, 0] = 2.0  # both went along: usual
    asked[1, :2, 0] = 2.0, -2.0  # against each other: very unusual, though each is only 2 off
    asked[2, 0] = np.nan
    asked[2, 1, 0] = 2.0
    single, whole = model.distances(asked)
    # Given the other, the mean is 0.9 times it and the standard deviation sqrt(1 - 0.81).
    spread = np.sqrt(1 - 0.81)
    np.testing.assert_allclose(single[0, :2], 0.2 / spread, rtol=0.25)
    np.testing.assert_allclose(single[1, :2], 3.8 / spread, rtol=0.25)
    assert np.isnan(single[2, 0])
    assert single[2, 1] == pytest.approx(2.0, rel=0.1)  # nothing but itself is known
    assert whole[1] > 3 * whole[0]


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_tails_leave_a_normal_distribution_as_it_is_and_shorten_heavy_ones(dims):
    rng = np.random.default_rng(dims)
    normal = np.linalg.norm(rng.normal(size=(20000, dims)), axis=1)
    tails = Tails.match(normal, dims, 0.95)
    assert tails.power == pytest.approx(1.0, abs=0.03)
    np.testing.assert_allclose(tails.rescaled(normal), normal, rtol=0.08)
    heavy = 7.0 * normal**1.5
    np.testing.assert_allclose(Tails.match(heavy, dims, 0.95).rescaled(heavy), normal, rtol=0.12)


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


def test_faults_in_three_dimensions(tmp_path):
    rng = np.random.default_rng(0)
    points = 60 + 20 * normalised(rng.normal(size=(9, 3))) + rng.normal(0, 0.8, (40, 9, 3))
    points[4, 5] += (9, 0, 0)
    points[11, [2, 7]] = points[11, [7, 2]]
    points[20] = points[20] * [-1, 1, 1] + [119, 0, 0]
    points[30, 3] = 0
    samples = [dict(id=str(n), landmarks=p.tolist()) for n, p in enumerate(points)]
    schema = dict(name="points", landmarks=[f"p{k}" for k in range(9)], dims=3)
    (tmp_path / "a.json").write_text(json.dumps(dict(schema=schema, samples=samples)))
    report = check_dataset(dict(all=LandmarkDataset("a.json", str(tmp_path))))
    found = {(f["check"], f["sample_id"], *f["landmarks"]) for f in report["findings"]}
    assert {("landmark outlier", "4", 5), ("swapped landmarks", "11", 2, 7)} <= found
    assert {("mirrored shape", "20"), ("placeholder", "30", 3)} <= found
    assert {sample for _, sample, *_ in found} == {"4", "11", "20", "30"}


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
