"""Figures of losses."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mmlandmark.visualization import plot_configuration, plot_loss_weights


def row(seed, count=5, dims=4):
    rng = np.random.default_rng(seed)
    embedding = rng.normal(size=(count, dims))
    return rng.integers(255, size=(40, 32, 3), dtype=np.uint8), embedding, embedding @ embedding.T


def test_more_losses_and_rows_make_more_lines(tmp_path):
    heights = np.linspace(0, 1, 11)
    curve = heights, 40**heights
    one = cv2.imread(str(plot_loss_weights({"a": curve}, {"a": curve}, tmp_path / "one.png")))
    half = heights, 20**heights
    two = plot_loss_weights({"a": curve, "b": half}, {"a": curve, "b": half}, tmp_path / "two.png")
    assert (cv2.imread(str(two)) != one).any()
    with pytest.raises(ValueError, match="no loss"):
        plot_loss_weights({}, {}, tmp_path / "none.png")


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(40, 32), (6, 40, 32)])
@pytest.mark.parametrize("dims", [1, 4, 6])
def test_every_run_has_a_row(tmp_path, shape, dims):
    features = np.random.default_rng(0).normal(size=(dims, *shape))
    names = [f"map {i}" for i in range(dims)]
    heights = []
    for count in (0, 1, 3):
        rows = {f"run {i}": row(i, dims=dims) for i in range(count)}
        picture = cv2.imread(str(plot_configuration(features, names, rows, tmp_path / "c.png")))
        heights.append(picture.shape[0])
    assert heights[0] < heights[1] < heights[2]
    assert abs((heights[2] - heights[1]) - 2 * (heights[1] - heights[0])) <= 2


def test_names_must_fit(tmp_path):
    with pytest.raises(ValueError, match="3 names for 2 maps"):
        plot_configuration(np.zeros((2, 4, 4)), ["x", "y", "z"], {}, tmp_path / "c.png")
