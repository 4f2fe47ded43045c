"""The figure of a mean shape and its modes."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mmlandmark.shape import PointDistributionModel
from mmlandmark.visualization.shape_modes import plot_modes

BLUE, VERMILLION, GREY = (0, 114, 178), (213, 94, 0), (85, 85, 85)


def model(dims: int) -> PointDistributionModel:
    """Return the model of a square or cube in which one corner moves."""
    corners = np.stack(np.meshgrid(*[[-50.0, 50.0]] * dims, indexing="ij"), -1).reshape(-1, dims)
    points = np.tile(corners, (30, 1, 1))
    points[:, 0, 0] += np.random.default_rng(0).normal(0, 8, 30)
    return PointDistributionModel.fit(points)


@pytest.mark.parametrize(("dims", "panels"), [(2, 1), (3, 3)])
def test_the_ends_of_a_mode_are_drawn_beside_the_mean(dims, panels, tmp_path):
    given = model(dims)
    path = plot_modes(given, tmp_path / "a.png", links=[(0, 1)], modes=1)
    picture = cv2.imread(str(path))[..., ::-1]
    dots = {}
    for color in (BLUE, VERMILLION, GREY):
        mask = (np.abs(picture.astype(int) - color) < 3).all(axis=2)
        rows = picture.shape[0]
        mask[int(rows * (1 - 0.5 / (rows / 150))) :] = False  # the legend
        dots[color] = mask.sum()
        assert cv2.connectedComponents(mask.astype(np.uint8))[0] - 1 >= panels
    # The low end is drawn below the mean, the high end above, so that is seen most.
    assert dots[VERMILLION] > dots[BLUE]


def test_more_modes_make_a_larger_figure(tmp_path):
    given = PointDistributionModel.fit(np.random.default_rng(0).normal(size=(20, 6, 3)) * 9)
    one, three = (cv2.imread(str(plot_modes(given, tmp_path / f"{n}.png", modes=n))) for n in (1, 3))
    assert three.shape[0] > 2 * one.shape[0]
    assert three.shape[1] == one.shape[1]


def test_shapes_that_do_not_differ_have_no_picture(tmp_path):
    same = PointDistributionModel.fit(np.repeat(np.random.default_rng(0).normal(size=(1, 6, 2)), 5, axis=0))
    with pytest.raises(ValueError, match=r"a\.png: the shapes do not differ"):
        plot_modes(same, tmp_path / "a.png")
