"""The figure of single landmarks."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mmlandmark.visualization.landmark_curves import plot_landmark_curves


@pytest.mark.parametrize("landmarks", [1, 2, 5])
def test_there_is_a_panel_per_landmark_and_a_curve_per_run(tmp_path, landmarks):
    def curves(error):
        one = dict(part=[0.5, 1.0], mre=[error, error / 2])
        return {f"landmark {k}": one for k in range(landmarks)}

    picture = cv2.imread(str(plot_landmark_curves(dict(joint=curves(3.0)), tmp_path / "one.png")))
    both = plot_landmark_curves(dict(joint=curves(3.0), single=curves(2.0)), tmp_path / "two.png")
    other = cv2.imread(str(both))
    assert picture.shape[1] > 350 * min(landmarks, 3)
    assert picture.shape == other.shape
    # A second curve has a colour of its own.
    vermillion = np.abs(other.astype(int) - (0, 94, 213)).max(axis=2) < 8
    assert vermillion.sum() > 50 * landmarks
    assert not (np.abs(picture.astype(int) - (0, 94, 213)).max(axis=2) < 8).any()
