"""The figure of pseudo labels."""

from __future__ import annotations

import cv2
import numpy as np

from mmlandmark.visualization.label_figure import plot_labels, plot_rounds


def test_errors_are_drawn_where_they_are_known(tmp_path):
    rows = [dict(epoch=n, landmarks=50, adjusted=10 * n, masked=20 - n) for n in range(3)]
    heights = [cv2.imread(str(plot_rounds(rows, tmp_path / "a.png"))).shape[0]]
    for row in rows:
        row.update(error_predicted=3.0, error_kept=2.0, error_masked=None, unit="mm")
    heights.append(cv2.imread(str(plot_rounds(rows, tmp_path / "b.png"))).shape[0])
    assert heights[1] > heights[0] > 100


def test_labels_and_hidden_annotations_are_drawn_where_they_are_known(tmp_path):
    image = np.zeros((60, 80, 3), dtype=np.uint8)
    image[20, 30] = 255
    points = np.array([[30.0, 20.0], [40.0, 20.0]])
    row = dict(name="a", image=image, predicted=points, labels=points, kept=[True, False], truth=points[0])
    picture = cv2.imread(str(plot_labels([row], ["one", "two"], tmp_path / "a.png")))
    blue = np.argwhere(np.abs(picture.astype(int) - (233, 180, 86)).sum(axis=2) < 30)
    assert len(blue) > 20, "what is learnt from is drawn"
    row["truth"] = np.full(2, np.nan)
    row["kept"] = [False, False]
    other = cv2.imread(str(plot_labels([row], ["one", "two"], tmp_path / "b.png")))
    green = (np.abs(picture.astype(int) - (115, 158, 0)).sum(axis=2) < 30).sum()
    assert green > 10
    assert (np.abs(other.astype(int) - (115, 158, 0)).sum(axis=2) < 30).sum() == 0
