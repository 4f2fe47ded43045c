"""Elastic fields: the same on pixels and at points, and inverted where landmarks move."""

from __future__ import annotations

import numpy as np
import pytest

import mmlandmark.datasets.transforms as T
from dot_images import SHAPES, make_results, px
from mmlandmark.datasets.transforms.elastic_field import ElasticField


@pytest.mark.parametrize("dims", [2, 3])
def test_elastic_field_on_pixels_and_at_points_agree(dims):
    results = T.RandomElastic(px(3, dims), cells=2)(make_results(dims))
    (field,) = results["elastic"]
    dense = field.dense()
    assert dense.shape == (*SHAPES[dims], dims)
    pixel = (7, 11) if dims == 2 else (7, 11, 3)
    np.testing.assert_allclose(field.at(np.array([pixel[::-1]], float))[0], dense[pixel], atol=1e-5)


@pytest.mark.parametrize("dims", [2, 3])
def test_a_constant_field_is_a_shift(dims):
    shape = SHAPES[dims]
    offset = np.arange(1.0, dims + 1)
    coefficients = np.broadcast_to(offset.reshape(dims, *[1] * dims), (dims, *[5] * dims))
    field = ElasticField(coefficients, np.eye(dims + 1), shape)
    np.testing.assert_allclose(field.dense(), np.broadcast_to(offset, (*shape, dims)), atol=1e-5)
    points = np.array([[10.0] * dims, [np.nan] * dims, [1e4] * dims])  # the last is far outside
    moved = field.move(points)
    np.testing.assert_allclose(moved[[0, 2]], points[[0, 2]] - offset, atol=1e-5)
    assert np.isnan(moved[1]).all()


def test_a_field_that_folds_is_refused():
    coefficients = 80 * np.random.default_rng(0).uniform(-1, 1, (2, 7, 7))
    field = ElasticField(coefficients, np.eye(3), (60, 60))
    points = np.random.default_rng(1).uniform(0, 60, (200, 2))
    with pytest.raises(ValueError, match="folds the image: reduce its amplitude or its cells"):
        field.move(points)
