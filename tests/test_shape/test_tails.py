"""Distances with the tails of a normal distribution."""

from __future__ import annotations

import numpy as np
import pytest

from mmlandmark.shape import Tails


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_tails_leave_a_normal_distribution_as_it_is_and_shorten_heavy_ones(dims):
    rng = np.random.default_rng(dims)
    normal = np.linalg.norm(rng.normal(size=(20000, dims)), axis=1)
    tails = Tails.match(normal, dims, 0.95)
    assert tails.power == pytest.approx(1.0, abs=0.03)
    np.testing.assert_allclose(tails.rescaled(normal), normal, rtol=0.08)
    heavy = 7.0 * normal**1.5
    np.testing.assert_allclose(Tails.match(heavy, dims, 0.95).rescaled(heavy), normal, rtol=0.12)
