"""Marks, lines and text on a canvas."""

from __future__ import annotations

import numpy as np
import pytest

from mmlandmark.visualization import style
from mmlandmark.visualization.pen import MANY, Pen, median_gap


def canvas(side=100):
    return np.zeros((side, side, 3), np.uint8)


def test_the_median_gap_is_that_to_the_nearest_point():
    points = np.array([[0.0, 0], [3, 4], [3, 5], [np.nan, 0]])
    assert median_gap(points) == 1
    assert np.isnan(median_gap(points[:1]))
    assert np.isnan(median_gap(points[2:]))


@pytest.mark.parametrize(("count", "shrinks"), [(MANY, False), (MANY + 1, True)])
def test_marks_of_many_close_points_shrink(count, shrinks):
    pen = Pen(canvas(1000))
    before = pen.radius
    pen.make_room(np.stack([10.0 * np.arange(count), np.zeros(count)], axis=1))
    assert pen.radius == (4.0 if shrinks else before)


@pytest.mark.parametrize("draw", [Pen.ring, Pen.cross, Pen.question, Pen.region])
def test_a_mark_lies_around_its_point_and_a_missing_one_nowhere(draw):
    pen = Pen(canvas())
    draw(pen, np.array([np.nan, 50]))
    assert pen.canvas.max() == 0
    draw(pen, np.array([30.0, 60]))
    y, x = np.nonzero(pen.canvas.max(axis=2))
    assert (x.mean(), y.mean()) == pytest.approx((30, 60), abs=0.5)
    assert np.ptp(x) <= 2 * pen.radius + 2 * pen.width + 2


def test_a_line_joins_two_points_and_needs_both():
    pen = Pen(canvas())
    pen.line(np.array([10.0, 50]), np.array([np.nan, 50]), style.ERROR_COLOR)
    assert pen.canvas.max() == 0
    pen.line(np.array([10.0, 50]), np.array([1e12, 50]), style.ERROR_COLOR)  # far outside: cut off
    assert pen.canvas[50, 12:].max(axis=1).all()


def test_an_ellipse_is_where_its_matrix_says():
    pen = Pen(canvas(200))
    turn = np.array([[np.cos(0.5), -np.sin(0.5)], [np.sin(0.5), np.cos(0.5)]])
    matrix = turn @ np.diag([60.0**2, 20.0**2]) @ turn.T
    for center, shape in ((np.array([np.nan, 50]), matrix), (np.array([90.0, 100]), matrix * np.nan)):
        pen.ellipse(center, shape, style.REGION_COLOR)
    assert pen.canvas.max() == 0
    pen.ellipse(np.array([90.0, 100]), matrix, style.REGION_COLOR)
    y, x = np.nonzero(pen.canvas.max(axis=2))
    offsets = np.stack([x - 90.0, y - 100.0], axis=1)
    distance = np.sqrt(np.einsum("ni,ij,nj->n", offsets, np.linalg.inv(matrix), offsets))
    assert len(x) > 150
    np.testing.assert_allclose(distance, 1, atol=0.12)
    pen.ellipse(np.array([90.0, 100]), 1e18 * np.eye(2), style.REGION_COLOR)  # far outside: cut off


def test_text_takes_as_much_room_as_it_says():
    pen = Pen(np.full((200, 300, 3), 200, np.uint8))
    width, height = pen.text_size("sella")
    pen.text("sella", 40, 60)
    y, x = np.nonzero((pen.canvas != 200).any(axis=2))
    margin = 6
    assert 40 - margin <= x.min()
    assert x.max() <= 40 + width + margin
    assert 60 - margin <= y.min()
    assert y.max() <= 60 + height + margin
