"""The head in profile: order of the landmarks, variation of the jaws."""

from __future__ import annotations

import numpy as np

from mmlandmark.datasets.phantom import ceph, sample_scene


def test_landmarks_follow_anatomy():
    for index in range(20):
        landmarks = sample_scene("ceph", 0, index).landmarks
        assert landmarks[1, 0] > landmarks[0, 0]  # nasion before sella
        # Menton below the incisors below the nasal spine.
        assert landmarks[7, 1] > landmarks[10, 1] > landmarks[17, 1]


def test_patients_vary_in_shape_not_only_in_pose():
    shapes = np.stack([sample_scene("ceph", 0, index).landmarks for index in range(30)]).astype(np.float64)
    shapes -= shapes.mean(axis=1, keepdims=True)
    shapes /= np.linalg.norm(shapes, axis=(1, 2), keepdims=True)
    reference, left = shapes[0], []
    for shape in shapes[1:]:
        u, _, vt = np.linalg.svd(shape.T @ reference)
        left.append(np.linalg.norm(shape @ u @ vt - reference))
    assert 0.03 < np.mean(left) < 0.4


def test_jaws_move_against_each_other():
    heads = np.stack([ceph.build(np.random.default_rng(seed)).landmarks for seed in range(40)])
    upper, lower = heads[:, 4], heads[:, 5]  # subspinale and supramentale
    assert (lower - upper)[:, 0].std() > 1  # mm
    nasion = heads[:, 1] - heads[:, 0]
    assert nasion.std(axis=0).max() < (lower - upper).std(axis=0).max()
