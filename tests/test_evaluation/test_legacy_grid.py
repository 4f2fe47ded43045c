"""Errors as CC2D's published code measures them."""

import numpy as np
import pytest

from mmlandmark.evaluation import radial_errors
from mmlandmark.evaluation.legacy_grid import on_legacy_grid
from mmlandmark.structures import apply_matrix, invert_matrix, resize_matrix

SIZE, GRID = (2400, 1935), (384, 384)


def published_error(cell, first, second):
    """Return the error in mm of a predicted cell (x, y), step by step as the publication does."""
    true = [int(0.5 * (a + b)) for a, b in zip(first, second, strict=True)]
    x, y = int(true[0] * 384 / 1935), int(true[1] * 384 / 2400)
    return float(np.hypot((cell[0] - x) * 0.1 * 1935 / 384, (cell[1] - y) * 0.1 * 2400 / 384))


def test_errors_are_those_of_the_publication():
    rng = np.random.default_rng(0)
    cells = rng.integers(0, 384, (200, 2))
    first, second = (rng.integers(0, SIZE[::-1], (200, 2)) for _ in range(2))
    first[0], second[0] = (645, 300), (645, 301)  # of which 645 * 384 / 1935 is a whole number
    # What the network predicts is a cell; the detector takes it to original pixels by the pixel convention.
    pred = apply_matrix(invert_matrix(resize_matrix(SIZE, GRID)), cells.astype(np.float64))
    pred = pred.astype(np.float32).astype(np.float64)
    gt = (first + second) / 2
    points = on_legacy_grid(pred[:, None], gt[:, None], [SIZE] * 200, GRID)
    errors = radial_errors(*points, 0.1)[:, 0]
    expected = [published_error(*case) for case in zip(cells, first, second, strict=True)]
    np.testing.assert_allclose(errors, expected, atol=1e-9)
    # The truncation is no detail: it moves the annotation by up to a cell.
    true = radial_errors(pred[:, None], gt[:, None], 0.1)[:, 0]
    assert 0.2 < np.abs(true - errors).max() < 0.9


def test_missing_points_stay_missing():
    points = np.full((1, 2, 3), np.nan)
    points[0, 1] = 5
    found, true = on_legacy_grid(points, points, [(8, 8, 8)], (4, 4, 4))
    assert np.isnan(found[0, 0]).all()
    assert true[0, 1].tolist() == [4, 4, 4]


def test_another_number_of_sides_is_refused():
    with pytest.raises(ValueError, match=r"legacy_grid \(384,\) needs 2 sides"):
        on_legacy_grid(np.zeros((1, 1, 2)), np.zeros((1, 1, 2)), [SIZE], (384,))
