"""Heatmaps over images, and grids."""

from __future__ import annotations

import numpy as np
import pytest

from mmlandmark.structures import crop_matrix
from mmlandmark.visualization import style
from mmlandmark.visualization.heatmaps import blend_heatmap, feature_grid, feature_rows, heatmap_grid


def gaussian(height, width, x, y, sigma=2.0):
    rows, columns = np.mgrid[:height, :width]
    return np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2)).astype(np.float32)


def test_zero_heat_leaves_the_image():
    image = np.random.default_rng(0).integers(0, 255, (20, 30), dtype=np.uint8)
    np.testing.assert_array_equal(blend_heatmap(image, np.zeros((20, 30))), style.to_rgb(image))
    np.testing.assert_array_equal(blend_heatmap(image, np.full((3, 5, 5), np.nan)), style.to_rgb(image))


def test_heat_lies_where_the_peak_is():
    image = np.zeros((80, 120), np.uint8)
    low = np.stack([gaussian(40, 60, 10, 20), -gaussian(40, 60, 40, 20)])
    heat = blend_heatmap(image, low).sum(axis=2)
    y, x = np.unravel_index(heat.argmax(), heat.shape)
    assert (x, y) == (pytest.approx(20.5, abs=1.6), pytest.approx(40.5, abs=1.6))
    assert heat[41, 80] == 0
    shifted = blend_heatmap(image, gaussian(40, 60, 10, 20), heatmap_from_image=crop_matrix((50, 30))).sum(
        axis=2
    )
    assert np.unravel_index(shifted.argmax(), shifted.shape) == (50, 60)
    with pytest.raises(ValueError, match="heatmaps must be"):
        blend_heatmap(image, np.zeros(3))


def test_heatmap_grid_has_one_scale_and_marks_a_dead_channel():
    maps = np.stack([gaussian(30, 40, 20, 15), 0.01 * gaussian(30, 40, 20, 15), gaussian(30, 40, 5, 5)])
    grid = heatmap_grid(maps, ["alive", "dead", "edge"], columns=3, tile=80)
    assert grid.shape == (60, 3 * 80 + 2 * 2, 3)
    alive, dead = grid[:, :80], grid[:, 82:162]
    assert alive[30, 40].max() > 150
    assert dead[30, 40].max() < 40

    def orange(tile):
        return (np.abs(tile[:14].astype(int) - style.ORANGE).max(axis=2) < 60).any()

    assert orange(dead)
    assert not orange(alive)
    with pytest.raises(ValueError, match="2 names for 3 heatmaps"):
        heatmap_grid(maps, ["a", "b"])


def test_grids_of_volumes():
    volume = np.random.default_rng(0).random((5, 6, 8, 10))
    assert heatmap_grid(volume, image=volume[0], tile=100, columns=2).shape == (3 * 80 + 4, 202, 3)
    assert feature_grid(volume, limit=4, tile=50).shape == (82, 102, 3)


def test_feature_grid_survives_flat_and_broken_channels():
    features = np.stack(
        [np.zeros((8, 8)), np.full((8, 8), np.nan), np.random.default_rng(0).normal(size=(8, 8))]
    )
    grid = feature_grid(features, columns=3, tile=64)
    assert grid.shape == (64, 3 * 64 + 4, 3)
    with pytest.raises(ValueError, match="no channel"):
        feature_grid(features[:0])


def test_rows_of_features_show_where_they_are_strong():
    strong = np.zeros((3, 8, 8), np.float32)
    strong[1, 2, 5] = -4.0  # strength has no sign
    heatmaps = np.zeros((2, 16, 16), np.float32)
    heatmaps[1, 12, 3] = 1.0
    rows = {
        "teacher": [("up1", strong), ("maps", heatmaps)],
        "student": [("up1", strong[:, :7]), ("maps", heatmaps)],
    }
    picture = feature_rows(rows, heatmaps=["maps"], tile=64)
    assert picture.shape == (2 * 64 + 2, 2 * 64 + 2, 3)
    brightness = picture.astype(int).sum(-1)
    tiles = brightness[40:64, 8:64], brightness[16:64, 66:]
    assert brightness[20, 44] > brightness[50, 20], "the third row and sixth column of eight"
    assert np.unravel_index(tiles[1].argmax(), tiles[1].shape)[0] >= 48 - 16 - 4
    with pytest.raises(ValueError, match="of one length"):
        feature_rows(dict(rows, student=[("up1", strong)]))
