"""The figure of pseudo labels."""

from __future__ import annotations

import cv2

from mmlandmark.visualization.label_figure import plot_rounds


def test_errors_are_drawn_where_they_are_known(tmp_path):
    rows = [dict(epoch=n, landmarks=50, adjusted=10 * n, masked=20 - n) for n in range(3)]
    heights = [cv2.imread(str(plot_rounds(rows, tmp_path / "a.png"))).shape[0]]
    for row in rows:
        row.update(error_predicted=3.0, error_kept=2.0, error_masked=None, unit="mm")
    heights.append(cv2.imread(str(plot_rounds(rows, tmp_path / "b.png"))).shape[0])
    assert heights[1] > heights[0] > 100
