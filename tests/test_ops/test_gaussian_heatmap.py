"""Heatmaps against a slow, pixel-by-pixel reference."""

import itertools
import math

import pytest
import torch

from mmlandmark.ops import gaussian_heatmap


def slow_heatmap(point, size, sigma, shape):
    """Evaluate the definition at every pixel, one at a time."""
    out = torch.zeros(size, dtype=torch.float64)
    for index in itertools.product(*[range(s) for s in size]):
        offset = [index[len(size) - 1 - i] - float(point[i]) for i in range(len(size))]
        if shape == "gaussian":
            out[index] = math.exp(-sum(o * o for o in offset) / (2 * sigma**2))
        elif shape == "laplace":
            out[index] = math.exp(-sum(abs(o) for o in offset) / sigma)
        else:
            out[index] = float(math.sqrt(sum(o * o for o in offset)) <= sigma)
    return out


@pytest.mark.parametrize("size", [(1, 1), (7, 12), (5, 4, 6)])
@pytest.mark.parametrize("shape", ["gaussian", "laplace", "disc"])
def test_equals_definition(size, shape):
    torch.manual_seed(0)
    dims = len(size)
    points = torch.rand(2, 3, dims, dtype=torch.float64) * torch.tensor(size[::-1]) * 1.5 - 1
    sigma = torch.rand(2, 3, dtype=torch.float64) + 0.8
    maps = gaussian_heatmap(points, size, sigma, shape=shape)
    for b, k in itertools.product(range(2), range(3)):
        expected = slow_heatmap(points[b, k], size, float(sigma[b, k]), shape)
        torch.testing.assert_close(maps[b, k], expected)


def test_sum_normalisation_integrates_to_scale():
    maps = gaussian_heatmap(
        torch.tensor([[[30.3, 29.8]]], dtype=torch.float64), (60, 60), 3.0, normalize="sum", scale=100.0
    )
    assert float(maps.sum()) == pytest.approx(100.0, rel=1e-6)
    # Peak of the Gaussian of sigma 2.5 and mass 100, a published value.
    peak = gaussian_heatmap(
        torch.tensor([[[30.0, 30.0]]], dtype=torch.float64), (60, 60), 2.5, normalize="sum", scale=100.0
    ).max()
    assert float(peak) == pytest.approx(2.546, abs=5e-4)


def test_missing_landmarks_give_zero_maps_and_zero_gradients():
    points = torch.tensor([[[float("nan"), 2.0], [3.0, 2.0], [1.0, 1.0]]], requires_grad=True)
    maps = gaussian_heatmap(points, (6, 6), 1.5, mask=torch.tensor([[True, True, False]]))
    assert torch.isfinite(maps).all()
    assert maps.detach()[0, [0, 2]].abs().max() == 0
    maps.square().sum().backward()
    assert torch.isfinite(points.grad).all()
    assert float(points.grad[0, 1].abs().sum()) > 0
    assert float(points.grad[0, [0, 2]].abs().sum()) == 0


@pytest.mark.parametrize("shape", ["gaussian", "laplace"])
def test_gradients_of_landmarks_and_sigma(shape):
    points = torch.tensor([[[2.3, 1.7], [4.1, 3.6]]], dtype=torch.float64, requires_grad=True)
    sigma = torch.tensor([1.2, 2.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda p, s: gaussian_heatmap(p, (5, 6), s, shape=shape), (points, sigma))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        (dict(sigma=0.0), "sigma must be positive"),
        (dict(sigma=torch.ones(3)), "sigma must be a scalar"),
        (dict(sigma=1.0, size=(4, 4, 4)), r"landmarks must be \(B, K, 3\)"),
        (dict(sigma=1.0, mask=torch.ones(1, 5, dtype=torch.bool)), r"mask must be \(1, 2\)"),
        (dict(sigma=1.0, shape="cone"), "shape must be one of"),
    ],
)
def test_bad_arguments_are_named(kwargs, message):
    kwargs = {"size": (4, 4), **kwargs}
    size, sigma = kwargs.pop("size"), kwargs.pop("sigma")
    with pytest.raises(ValueError, match=message):
        gaussian_heatmap(torch.zeros(1, 2, 2), size, sigma, **kwargs)
