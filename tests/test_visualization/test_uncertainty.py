"""Figures of a calibration."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mmlandmark.visualization.uncertainty import plot_coverage, plot_flags, plot_landmark_coverage

LEVELS = [0.1, 0.5, 0.9]


def colours(path) -> set[tuple[int, ...]]:
    """Return the colours of a picture, RGB."""
    return {tuple(map(int, pixel)) for pixel in cv2.imread(str(path))[..., ::-1].reshape(-1, 3)}


@pytest.mark.slow
def test_every_curve_is_drawn(tmp_path):
    path = plot_coverage(LEVELS, dict(radii=[0.1, 0.4, 0.95], regions=[0.2, 0.5, 0.8]), tmp_path / "c.png")
    assert {(0, 114, 178), (213, 94, 0)} <= colours(path)
    path = plot_coverage(LEVELS, dict(radii=[0.1, 0.4, 0.95]), tmp_path / "c.png", title="T")
    assert (213, 94, 0) not in colours(path)


def test_levels_without_coverage_leave_a_gap(tmp_path):
    """As a report that was read from its file has them."""
    path = plot_coverage(LEVELS, dict(radii=[0.1, 0.4, None]), tmp_path / "c.png")
    assert (0, 114, 178) in colours(path)
    path = plot_landmark_coverage(["a", "b"], [None, 0.9], [9, 9], tmp_path / "l.png", level=0.9)
    assert (213, 94, 0) not in colours(path)


def test_landmarks_beyond_chance_stand_out(tmp_path):
    names = ["a", "b"]
    path = plot_landmark_coverage(names, [0.9, 0.92], [100, 100], tmp_path / "l.png", level=0.9)
    assert (213, 94, 0) not in colours(path)
    # Two standard deviations of 100 points are 6 points; with 100 scores of the calibration 8.5.
    path = plot_landmark_coverage(names, [0.9, 0.83], [100, 100], tmp_path / "l.png", level=0.9)
    assert (213, 94, 0) in colours(path)
    path = plot_landmark_coverage(
        names, [np.nan, 0.83], [0, 100], tmp_path / "l.png", level=0.9, scores=[0, 100]
    )
    assert (213, 94, 0) not in colours(path)


def test_flags(tmp_path):
    path = plot_flags(
        [0, 0.5, 1], {"doubt": [0, 0.9, 1]}, tmp_path / "f.png", what="errors > 4 mm", rate=0.05
    )
    assert (0, 114, 178) in colours(path)


def test_lengths_must_agree(tmp_path):
    with pytest.raises(ValueError, match=r"c\.png: every curve needs 3 values, got no curve"):
        plot_coverage(LEVELS, {}, tmp_path / "c.png")
    with pytest.raises(ValueError, match=r"every curve needs 2 values, got \{'x': 3\}"):
        plot_flags([0, 1], {"x": [0, 1, 2]}, tmp_path / "f.png", what="errors")
    with pytest.raises(ValueError, match="differ in number"):
        plot_landmark_coverage(["a"], [0.9, 0.9], [1, 1], tmp_path / "l.png", level=0.9)
    assert list(tmp_path.iterdir()) == []
