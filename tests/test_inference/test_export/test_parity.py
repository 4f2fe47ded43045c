"""Two ways to run a detector are compared."""

from __future__ import annotations

import numpy as np
import pytest

from mmlandmark.inference.export import answers, difference


def answer(points, scores=1.0):
    points = np.asarray(points, dtype=np.float32)
    return dict(points=points, scores=np.full(points.shape[:2], scores, np.float32))


def test_distances_are_those_of_the_points():
    one = answer(np.zeros((1, 3, 2)))
    other = answer([[[3.0, 4.0], [0.0, 1.0], [0.0, 0.0]]], scores=0.75)
    found = difference(one, other)
    assert (found.images, found.median, found.mean, found.largest) == (1, 1.0, 2.0, 5.0)
    assert (found.scores, found.unlike) == (0.25, 0)
    assert "1 px in the median" in str(found)


def test_a_landmark_that_one_does_not_find_is_counted():
    one, other = answer(np.zeros((1, 2, 2))), answer([[[np.nan, np.nan], [0.0, 2.0]]])
    found = difference(one, other)
    assert (found.unlike, found.largest) == (1, 2.0)
    assert "1 landmarks are found by one of the two only" in str(found)


def test_every_output_is_compared():
    one = answer(np.zeros((2, 3, 2)))
    one |= dict(spread=np.tile(4 * np.eye(2), (2, 3, 1, 1)), presence=np.full((2, 3), 0.5))
    other = dict(one, spread=1.25 * one["spread"], presence=one["presence"] + 0.125)
    found = difference(other, one)
    assert (found.largest, found.scores, found.presence) == (0, 0, 0.125)
    assert found.spread == pytest.approx(0.25)
    assert "spread by up to 0.25 of its size in 99 %; presence by 0.12 at most" in str(found)
    narrow = dict(one, spread=one["spread"] * 1e-6)  # far below a pixel, where a ratio means nothing
    assert difference(dict(narrow, spread=narrow["spread"] * 2), narrow).spread < 1e-5
    assert (difference(answer(np.zeros((1, 1, 2))), answer(np.zeros((1, 1, 2)))).spread) is None
    with pytest.raises(ValueError, match="other shapes"):
        difference(one, answer(np.zeros((2, 3, 2))))


@pytest.mark.parametrize("output", ["scores", "spread", "presence"])
def test_a_number_that_only_one_has_is_counted(output):
    one = answer(np.zeros((2, 3, 2)))
    one |= dict(spread=np.tile(np.eye(2), (2, 3, 1, 1)), presence=np.full((2, 3), 0.5))
    broken = one[output].copy()
    broken[1, 2] = np.nan
    assert difference(dict(one, **{output: broken}), one).unlike == 1
    nothing = np.full_like(broken, np.nan)
    assert difference(dict(one, **{output: nothing}), one).unlike == 6


def test_one_landmark_in_nineteen_that_is_always_wrong_moves_the_high_quantile():
    points = np.zeros((6, 19, 2))
    once, always = points.copy(), points.copy()
    once[2, 4], always[:, 4] = 7, 7
    assert difference(answer(once), answer(points)).high < 2
    assert difference(answer(always), answer(points)).high > 7


def test_what_cannot_be_compared_is_refused():
    nothing = answer(np.full((1, 2, 2), np.nan))
    with pytest.raises(ValueError, match="nothing can be compared"):
        difference(nothing, nothing)
    with pytest.raises(ValueError, match="other shapes"):
        difference(nothing, answer(np.zeros((2, 2, 2))))


def test_images_are_run_in_batches_of_several_sizes_and_keep_their_order():
    sizes = []

    def run(images):
        sizes.append(len(images))
        return dict(points=images[:, :, 0, :2], scores=images[:, :, 0, 0])

    images = [np.full((1, 2, 2), i, np.float32) for i in range(6)]
    assert answers(run, images)["scores"][:, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert sizes == [1, 3, 1, 1]
    with pytest.raises(ValueError, match="no image"):
        answers(run, [])
