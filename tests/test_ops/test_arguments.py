"""Checks of the operators' arguments: what passes, in which shape, and what an error names."""

from __future__ import annotations

import pytest
import torch

from mmlandmark.ops.arguments import (
    check_maps,
    checked_mask,
    checked_sigma,
    result_like,
    sum_type,
    width_along,
)

LANDMARKS = torch.zeros(2, 3, 2)


@pytest.mark.parametrize(
    ("dtype", "sums"),
    [
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_results_have_the_type_of_their_sums(dtype, sums):
    maps = torch.zeros(1, 2, 3, 4, dtype=dtype)
    assert sum_type(dtype) == result_like(maps, (1, 2)).dtype == sums
    assert result_like(maps, (1, 2), torch.int64).dtype == torch.int64


@pytest.mark.parametrize("maps", [torch.zeros(2, 3, 4), torch.zeros(1, 1, 2, 2).long(), torch.zeros([1] * 6)])
def test_maps_have_two_or_three_axes_of_pixels(maps):
    with pytest.raises(ValueError, match=r"target must be a floating point \(B, K, \*S\) tensor"):
        check_maps(maps, "target")


def test_a_landmark_counts_where_it_is_finite_and_not_masked():
    landmarks = LANDMARKS.clone()
    landmarks[0, 1, 0], landmarks[1, 2, 1] = float("nan"), float("inf")
    assert checked_mask(None, landmarks).tolist() == [[True, False, True], [True, True, False]]
    mask = torch.tensor([[0, 1, 1], [1, 0, 1]])
    assert checked_mask(mask, landmarks).tolist() == [[False, False, True], [True, False, False]]
    with pytest.raises(ValueError, match=r"mask must be \(2, 3\), got \(3,\)"):
        checked_mask(mask[0], landmarks)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 3, 2)])
def test_widths_of_every_shape(shape):
    sigma = torch.full(shape, 2.0, requires_grad=True)
    width = checked_sigma(sigma, LANDMARKS, torch.float64)
    assert width.shape == ((2, 3, 2) if len(shape) == 3 else (2, 3))
    assert width.dtype == torch.float64
    width.sum().backward()
    assert sigma.grad.sum() == width.numel()


def test_the_width_along_an_axis():
    each = torch.arange(12.0).view(2, 3, 2)
    assert width_along(each, 1).tolist() == [[1, 3, 5], [7, 9, 11]]
    one = torch.ones(2, 3)
    assert width_along(one, 1) is one


@pytest.mark.parametrize("sigma", [0.0, -1, float("nan"), torch.tensor([1.0, 0.0, 2.0])])
def test_a_width_is_positive(sigma):
    with pytest.raises(ValueError, match="sigma must be positive, got"):
        checked_sigma(sigma, LANDMARKS, torch.float32)


@pytest.mark.parametrize("shape", [(2,), (3, 2), (1, 3), (3, 2, 2), (2, 3, 1), (2, 3, 2, 1)])
def test_a_width_of_another_shape_is_named(shape):
    with pytest.raises(ValueError, match=r"sigma must be a scalar, \(3,\), \(2, 3\) or per axis \(2, 3, 2\)"):
        checked_sigma(torch.ones(shape), LANDMARKS, torch.float32)
