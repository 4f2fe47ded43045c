"""Points whose numbers are something else than their file says."""

from __future__ import annotations

import numpy as np
import pytest

from mmlandmark.datasets.frame_fit import inside_by_reading, likely_reading, misfit, to_pixels
from mmlandmark.structures import apply_matrix, world_matrix

SHAPE = (20, 60, 90)
# An image off the origin, so that no two readings of a point are both inside.
FRAME = world_matrix((0.5, 0.5, 3), (100, 200, 700), np.diag([-1, 1, 1]))
PIXELS = np.random.default_rng(0).uniform((40, 25, 8), (89, 59, 19), (45, 3))
LPS = apply_matrix(FRAME, PIXELS)
RAS = LPS * [-1, -1, 1]


def test_points_where_they_belong_are_no_misfit():
    assert misfit(PIXELS, SHAPE, FRAME, "pixels") == ""
    assert misfit(LPS, SHAPE, FRAME, "LPS") == ""
    assert misfit(RAS, SHAPE, FRAME, "RAS") == ""
    assert misfit(PIXELS, SHAPE, None, "pixels") == ""
    np.testing.assert_allclose(to_pixels(RAS, FRAME, "RAS"), PIXELS)


@pytest.mark.parametrize(
    ("points", "said", "message"),
    [
        (RAS, "LPS", "negating x and y puts them inside: RAS?"),
        (LPS, "RAS", "negating x and y puts them inside: LPS?"),
        (PIXELS, "LPS", "taking them as pixels puts them inside: pixels rather than mm?"),
        (PIXELS, "RAS", "taking them as pixels puts them inside: pixels rather than mm?"),
        (LPS, "pixels", "taking them as mm puts them inside: LPS?"),
        (RAS, "pixels", "taking them as mm with x and y negated puts them inside: RAS?"),
        (PIXELS * [0.5, 0.5, 3], "LPS", "counting mm from the first pixel puts them inside: mm without"),
        (PIXELS[:, ::-1], "pixels", "reading them as z, y, x puts them inside: array order?"),
        (LPS[:, ::-1], "LPS", "reading them as mm in the order z, y, x puts them inside: array order?"),
    ],
)  # fmt: skip
def test_every_other_frame_is_named(points, said, message):
    points = points.copy()
    assert misfit(points, SHAPE, FRAME, said).startswith(f"all 45 points lie outside of the image; {message}")
    points[3] = np.nan
    assert misfit(points, SHAPE, FRAME, said).startswith("all 44 points")


def test_a_few_points_outside_change_nothing():
    points = RAS.copy()
    points[:4] += 1000
    assert misfit(points, SHAPE, FRAME, "LPS") == (
        "all 45 points lie outside of the image; negating x and y puts 41 of 45 inside: RAS?"
    )
    points = LPS.copy()
    points[:22] += 1000
    assert misfit(points, SHAPE, FRAME, "LPS") == ""
    points[22] += 1000
    assert misfit(points, SHAPE, FRAME, "LPS") == "23 of 45 points lie outside of the image"


def test_an_image_without_a_frame():
    sentence = misfit(PIXELS[:, ::-1], SHAPE, None, "pixels")
    assert sentence.endswith("; reading them as z, y, x puts them inside: array order?")
    with pytest.raises(
        ValueError, match="the image does not say where its pixels lie in mm, so points in mm"
    ):
        to_pixels(LPS, None, "LPS")
    assert inside_by_reading(PIXELS, SHAPE, None) == {"pixels": 45}
    assert inside_by_reading(PIXELS, SHAPE, FRAME) == {"pixels": 45, "LPS": 0, "RAS": 0}


def test_a_flat_image():
    frame = world_matrix((0.1, 0.1))
    points = np.array([[90.0, 10], [80, 15], [20, 5]])
    assert misfit(points / 10, (20, 100), frame, "LPS") == ""
    assert misfit(points[:, ::-1], (20, 100), None, "pixels") == (
        "all 3 points lie outside of the image; reading them as y, x puts them inside: array order?"
    )
    assert likely_reading(points, (20, 100), frame, "LPS").startswith(
        "; taking them as pixels puts them inside"
    )
    with pytest.raises(ValueError, match="points of 2 coordinates have no place in a world of 3"):
        to_pixels(points, FRAME, "LPS")


def test_no_point_is_no_misfit():
    nothing = np.full((3, 3), np.nan)
    assert misfit(nothing, SHAPE, FRAME, "LPS") == likely_reading(nothing, SHAPE, FRAME, "LPS") == ""
