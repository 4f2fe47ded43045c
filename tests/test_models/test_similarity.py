"""Cosines of embeddings, and which pixel of a map shows a point."""

import math

import pytest
import torch

from mmlandmark.models.similarity import (
    cells_of,
    cosine_maps,
    features_at,
    flat_index,
    pixels_of,
    window_cosines,
)
from mmlandmark.ops import local_window


@pytest.mark.parametrize("dims", [2, 3])
def test_cosines_are_those_of_a_loop(dims):
    torch.manual_seed(0)
    size = (3, 4, 5)[:dims]
    features, vectors = torch.randn(2, 6, *size).double(), torch.randn(2, 7, 6).double()
    maps = cosine_maps(features, vectors)
    for b in range(2):
        for n in range(7):
            for pixel in torch.cartesian_prod(*[torch.arange(s) for s in size]).tolist():
                f, v = features[(b, slice(None), *pixel)], vectors[b, n]
                wanted = float(f @ v) / (math.sqrt(f @ f) * math.sqrt(v @ v) + 1e-3)
                assert float(maps[(b, n, *pixel)]) == pytest.approx(wanted, abs=1e-12)
    same = cosine_maps(features, vectors[:1])
    torch.testing.assert_close(same[1], cosine_maps(features[1:], vectors[:1])[0])


def test_nothing_is_like_nothing_and_gives_no_gradient():
    features = torch.zeros(1, 3, 2, 2, requires_grad=True)
    maps = cosine_maps(features, torch.ones(1, 1, 3))
    maps.sum().backward()
    assert not maps.any()
    assert torch.isfinite(features.grad).all()


def test_half_precision_is_compared_in_single():
    torch.manual_seed(0)
    features, vectors = torch.randn(1, 4, 3, 3, dtype=torch.bfloat16), torch.randn(1, 2, 4)
    maps = cosine_maps(features, vectors)
    assert maps.dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(cosine_maps(features, vectors), maps, rtol=0, atol=0)


def test_whole_pixels_lie_in_the_cells_of_the_publication():
    """Cell p // s of a pixel p, at the five strides of CC2D."""
    pixels = torch.arange(384.0)
    points = torch.stack([pixels, pixels.flip(0)], -1)
    for stride in (2, 4, 8, 16, 32):
        cells = cells_of(points, (384, 384), (384 // stride,) * 2)
        torch.testing.assert_close(cells, torch.div(points, stride, rounding_mode="floor").long())


def test_points_outside_take_the_nearest_cell():
    points = torch.tensor([[-20.0, 3.0], [63.49, 63.51], [900.0, -1.0]])
    assert cells_of(points, (64, 64), (8, 4)).tolist() == [[0, 0], [3, 7], [3, 0]]


@pytest.mark.parametrize("dims", [2, 3])
def test_features_are_read_at_pixels(dims):
    size = (3, 4, 5)[:dims]
    features = torch.arange(2.0 * 2 * math.prod(size)).view(2, 2, *size)
    cells = torch.tensor([[[1, 2, 0][:dims], [0, 0, 2][:dims]], [[2, 1, 1][:dims], [1, 0, 0][:dims]]])
    found = features_at(features, cells)
    assert found.shape == (2, 2, 2)
    for b in range(2):
        for n in range(2):
            index = cells[b, n].flip(0).tolist()
            assert found[b, n].tolist() == features[(b, slice(None), *index)].tolist()
    places = torch.arange(math.prod(size)).view(size)
    assert int(flat_index(cells[0, 0], size)) == int(places[tuple(cells[0, 0].flip(0).tolist())])


@pytest.mark.parametrize("size", [(3, 4), (2, 3, 4)])
def test_pixels_stand_where_their_index_says(size):
    pixels = pixels_of(size, torch.device("cpu"))
    assert pixels.amax(0).tolist() == [side - 1 for side in size[::-1]]
    assert torch.equal(flat_index(pixels, size), torch.arange(len(pixels)))


@pytest.mark.parametrize(("size", "count", "radius"), [((9, 12), 1, 2), ((9, 12), 3, 3), ((5, 6, 7), 2, 1)])
def test_windows_have_the_cosines_of_the_whole_map(size, count, radius):
    """Whether they are gathered before or after, with their gradients."""
    torch.manual_seed(0)
    features = torch.randn(2, 4, *size, dtype=torch.float64, requires_grad=True)
    vectors = torch.randn(2, count, 4, dtype=torch.float64, requires_grad=True)
    cells = torch.stack([torch.randint(0, side, (2, count)) for side in reversed(size)], -1)
    own, inside = window_cosines(features, vectors, cells, radius)
    expected, there = local_window(cosine_maps(features, vectors), cells, radius)
    assert torch.equal(inside, there)
    torch.testing.assert_close(own, expected)
    for one, other in zip(
        torch.autograd.grad((own * inside).square().sum(), [features, vectors]),
        torch.autograd.grad((expected * there).square().sum(), [features, vectors]),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def test_small_windows_do_not_look_at_other_pixels():
    features = torch.full((1, 2, 8, 8), float("nan"))
    features[0, :, 2:5, 3:6] = 1.0
    cosine, _ = window_cosines(features, torch.ones(1, 1, 2), torch.tensor([[[4, 3]]]), 1)
    assert torch.isfinite(cosine).all()
