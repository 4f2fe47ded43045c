"""The spine: 17 vertebrae of four corners each, straight or scoliotic."""

from __future__ import annotations

import numpy as np

from mmlandmark.datasets.phantom import sample_scene, spine


def test_corners_lie_as_the_schema_orders_them():
    for index in range(20):
        corners = sample_scene("spine", 0, index).landmarks.reshape(17, 4, 2)
        assert (corners[:, 0, 0] < corners[:, 1, 0]).all()
        assert (corners[:, 2, 0] < corners[:, 3, 0]).all()
        assert (corners[:, :2, 1].mean(axis=1) < corners[:, 2:, 1].mean(axis=1)).all()
        assert (np.diff(corners.mean(axis=1)[:, 1]) > 0).all()


def test_some_patients_are_scoliotic():
    bends = []
    for seed in range(30):
        centers = spine.build(np.random.default_rng(seed)).landmarks.reshape(17, 4, 2).mean(axis=1)
        chord = np.linspace(centers[0], centers[-1], 17)
        bends.append(np.abs(centers - chord)[:, 0].max())
    assert min(bends) < 6 < 25 < max(bends)  # mm beside the line from the first to the last vertebra


def test_vertebrae_grow_downwards():
    corners = spine.build(np.random.default_rng(3)).landmarks.reshape(17, 4, 2)
    widths = np.linalg.norm(corners[:, 1] - corners[:, 0], axis=1)
    assert np.polyfit(np.arange(17), widths, 1)[0] > 0.5
