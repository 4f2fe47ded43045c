"""The figure of memory against the size of volumes."""

from __future__ import annotations

import cv2
import pytest

from mmlandmark.visualization.memory_figure import plot_memory


def row(part, way, side, peak):
    return dict(part=part, way=way, size=[side] * 3, peak_gigabytes=peak)


def colours(path) -> set[tuple[int, ...]]:
    """Return the colours of a picture, RGB."""
    return {tuple(map(int, pixel)) for pixel in cv2.imread(str(path))[..., ::-1].reshape(-1, 3)}


@pytest.mark.slow
def test_every_way_is_a_curve(tmp_path):
    rows = [row("predict", "windows", side, side / 64) for side in (64, 96, 128)]
    rows += [row("predict", "whole", 64, 2.0), row("train", "patches", 96, None)]
    path = plot_memory(dict(rows=rows, landmarks=50), tmp_path / "a.png")
    blue, orange_red, green = (0, 114, 178), (213, 94, 0), (0, 158, 115)
    assert {blue, orange_red} <= colours(path)
    assert green not in colours(path)


def test_without_any_measurement(tmp_path):
    with pytest.raises(ValueError, match="no memory was measured"):
        plot_memory(dict(rows=[row("train", "patches", 96, None)], landmarks=50), tmp_path / "a.png")
