"""The figure of what is taken for wrong."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mmlandmark.visualization.abnormal_figure import plot_abnormal


def row(learnt, way, share, data="hands"):
    return dict(
        data=data, learnt=learnt, way=way, recall_by_distance=[share] * 3, alarms_beside_wrong=0.0, alarms=0.0
    )


def blue(path) -> int:
    """Return the number of pixels in the colour of the first way."""
    return int((cv2.imread(str(path))[..., ::-1] == (0, 114, 178)).all(axis=2).sum())


def test_bars_are_as_high_as_the_shares(tmp_path):
    halves = plot_abnormal(dict(rows=[row(20, "a", 0.5), row(20, "b", 1.0)]), tmp_path / "a.png", "hands")
    wholes = plot_abnormal(dict(rows=[row(20, "a", 1.0), row(20, "b", 1.0)]), tmp_path / "b.png", "hands")
    assert blue(wholes) == pytest.approx(2 * blue(halves), rel=0.1)
    two = [row(size, way, 1.0) for size in (20, 600) for way in "ab"]
    taller = plot_abnormal(dict(rows=[*two, row(9, "a", 1.0, "heads")]), tmp_path / "c.png", "hands")
    assert cv2.imread(str(taller)).shape[0] > 1.6 * cv2.imread(str(wholes)).shape[0]
    assert np.ptp([blue(taller) / blue(wholes), 2]) < 0.3


def test_other_data_were_not_measured(tmp_path):
    with pytest.raises(ValueError, match="nothing was measured of 'heads'"):
        plot_abnormal(dict(rows=[row(20, "a", 0.5)]), tmp_path / "a.png", "heads")
