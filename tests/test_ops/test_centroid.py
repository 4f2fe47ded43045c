"""Centre of mass of whole maps, against a loop over pixels."""

import itertools

import pytest
import torch

from mmlandmark.ops import centroid, gaussian_heatmap, marginals


def slow_centroid(heatmap):
    """Return the mean position of a map's positive values, x first, pixel by pixel."""
    total, moment = 0.0, torch.zeros(heatmap.ndim, dtype=heatmap.dtype)
    for place in itertools.product(*map(range, heatmap.shape)):
        value = max(float(heatmap[place]), 0.0)
        total += value
        moment += value * torch.tensor(place[::-1], dtype=heatmap.dtype)
    return moment / total


@pytest.mark.parametrize("size", [(4, 6), (3, 4, 5)])
def test_it_equals_a_loop_over_pixels(size):
    torch.manual_seed(0)
    maps = torch.randn(2, 3, *size, dtype=torch.float64)
    expected = torch.stack([slow_centroid(m) for m in maps.flatten(0, 1)]).view(2, 3, -1)
    torch.testing.assert_close(centroid(maps), expected)


@pytest.mark.parametrize("dims", [2, 3])
def test_a_peak_between_pixels(dims):
    points = torch.tensor([[[8.3, 10.6, 9.2][:dims]]])
    torch.testing.assert_close(
        centroid(gaussian_heatmap(points, (18, 20, 19)[:dims], 1.5)), points, atol=1e-3, rtol=0
    )


def test_gradients():
    torch.manual_seed(0)
    maps = torch.rand(1, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(centroid, maps)
    assert torch.autograd.gradcheck(lambda m: tuple(marginals(m)), maps)


def test_sums_are_made_in_32_bits():
    maps = torch.full((1, 1, 64, 96), 0.5, dtype=torch.bfloat16)
    assert centroid(maps).tolist() == [[[47.5, 31.5]]]
    assert [line.dtype for line in marginals(maps)] == [torch.float32] * 2


def test_an_empty_map_has_no_centre():
    assert centroid(torch.tensor([[[[0.0, -1.0, 0.0]]]])).isnan().all()


@pytest.mark.parametrize("function", [centroid, marginals])
def test_other_shapes_are_refused(function):
    with pytest.raises(ValueError, match=r"heatmaps must be a floating point \(B, K, \*S\) tensor"):
        function(torch.zeros(3, 4, 5))
