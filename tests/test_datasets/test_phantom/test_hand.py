"""The hand: fingers, wrist and growth plates."""

from __future__ import annotations

import numpy as np

from mmlandmark.datasets.phantom import hand, sample_scene


def test_fingers_point_up():
    for index in range(20):
        landmarks = sample_scene("hand", 0, index).landmarks
        for root in (21, 25, 29, 33):
            assert (np.diff(landmarks[root : root + 4, 1]) < 0).all()


def test_the_middle_finger_is_the_longest():
    tips = []
    for seed in range(20):
        landmarks = hand.build(np.random.default_rng(seed)).landmarks
        tips.append(
            [landmarks[first + count - 1, 1] for first, count in ((21, 4), (25, 4), (29, 4), (33, 4))]
        )
    assert np.mean(tips, axis=0).argmin() == 1


def test_landmarks_are_finite_and_different():
    landmarks = hand.build(np.random.default_rng(0)).landmarks
    assert landmarks.shape == (37, 2)
    distances = np.linalg.norm(landmarks[:, None] - landmarks, axis=2) + 1e3 * np.eye(37)
    assert distances.min() > 1  # mm
