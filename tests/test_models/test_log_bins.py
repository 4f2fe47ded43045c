"""Log bins against plain loops, in double precision."""

from itertools import product

import numpy as np
import pytest
import torch

from mmlandmark.models.log_bins import log_bins, num_log_bins


def mean_about(features, center, side):
    """Return the mean (C,) over a window of the pixels that exist."""
    sizes = features.shape[1:]
    inside = [
        p
        for p in product(*[range(c - side // 2, c + side // 2 + 1) for c in center])
        if all(0 <= i < n for i, n in zip(p, sizes, strict=True))
    ]
    return np.mean([features[(slice(None), *p)] for p in inside], axis=0)


def slow(features, hierarchy):
    """Return the bins of one array (C, *S) pixel by pixel."""
    sizes = features.shape[1:]
    result = []
    for scale in range(hierarchy):
        side = 3**scale
        for steps in product((-1, 0, 1), repeat=len(sizes)):
            if scale > 0 and not any(steps):
                continue
            part = np.empty_like(features)
            for pixel in product(*map(range, sizes)):
                place = [p + side * s for p, s in zip(pixel, steps, strict=True)]
                place = [min(max(p, 0), n - 1) for p, n in zip(place, sizes, strict=True)]
                part[(slice(None), *pixel)] = mean_about(features, place, side)
            result.append(part)
    return np.concatenate(result)


@pytest.mark.parametrize(("size", "hierarchy"), [((7, 5), 2), ((2, 11), 3), ((3, 4, 5), 2)])
def test_they_are_those_of_the_loops(size, hierarchy):
    torch.manual_seed(0)
    features = torch.randn(2, 3, *size).double()
    found = log_bins(features, hierarchy)
    assert found.shape == (2, 3 * num_log_bins(hierarchy, len(size)), *size)
    for one, wanted in zip(found, features, strict=True):
        np.testing.assert_allclose(one.numpy(), slow(wanted.numpy(), hierarchy), atol=1e-12)


def test_the_pixel_itself_lies_in_the_middle_of_the_first_scale():
    features = torch.rand(1, 2, 6, 6)
    assert torch.equal(log_bins(features, 1)[:, 8:10], features)
    assert log_bins(features, 0) is features
