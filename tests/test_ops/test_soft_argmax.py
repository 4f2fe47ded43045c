"""Decoders against references, and published values."""

import pytest
import torch

from mmlandmark.ops import gaussian_heatmap, local_centroid, local_window, peak, quadratic_peak, soft_argmax


@pytest.mark.parametrize("size", [(9, 14), (6, 7, 8)])
@pytest.mark.parametrize("mode", ["softmax", "sigmoid"])
def test_soft_argmax_is_the_expectation(size, mode):
    torch.manual_seed(1)
    maps = torch.randn(2, 3, *size, dtype=torch.float64)
    weight = (maps * 4).exp() if mode == "softmax" else (maps * 4).sigmoid()
    weight = weight / weight.flatten(2).sum(-1).view(2, 3, *[1] * len(size))
    grids = torch.meshgrid(*[torch.arange(s, dtype=torch.float64) for s in size], indexing="ij")
    expected = torch.stack([(weight * g).flatten(2).sum(-1) for g in reversed(grids)], -1)
    torch.testing.assert_close(soft_argmax(maps, 4.0, mode), expected)


def test_soft_argmax_of_a_wide_map_is_no_decoder():
    # beta = 10, L1-Laplace of decay 16 px, point (200, 300) on 640 x 800: most mass lies on the background.
    maps = gaussian_heatmap(
        torch.tensor([[[200.0, 300.0]]], dtype=torch.float64), (800, 640), 16.0, shape="laplace"
    )
    found = soft_argmax(maps, 10.0)[0, 0]
    rows, columns = torch.meshgrid(torch.arange(800.0), torch.arange(640.0), indexing="ij")
    weight = (10 * (-((columns - 200).abs() + (rows - 300).abs()).double() / 16).exp()).exp()
    expected = torch.stack([(weight * columns).sum(), (weight * rows).sum()]) / weight.sum()
    torch.testing.assert_close(found, expected)
    # Published as (270.2, 358.5): 92 px from the point it was drawn for.
    torch.testing.assert_close(found, torch.tensor([270.2, 358.5], dtype=torch.float64), atol=0.15, rtol=0)


def test_peak_is_the_first_maximum():
    maps = torch.zeros(1, 2, 3, 4)
    maps[0, 0, 1, 2] = maps[0, 0, 2, 3] = 5.0
    position, value = peak(maps)
    assert position.tolist() == [[[2, 1], [0, 0]]]
    assert value.tolist() == [[5.0, 0.0]]


def test_window_marks_what_lies_outside():
    maps = torch.arange(12.0).view(1, 1, 3, 4)
    values, inside = local_window(maps, torch.tensor([[[0, 1]]]), 1)
    assert values[0, 0].tolist() == [[0, 0, 1], [4, 4, 5], [8, 8, 9]]
    assert inside[0, 0].tolist() == [[False, True, True]] * 3


@pytest.mark.parametrize("dims", [2, 3])
def test_refinement_finds_the_centre_between_pixels(dims):
    torch.manual_seed(2)
    size = (30, 34, 38)[-dims:]
    points = torch.rand(4, 5, dims, dtype=torch.float64) * 10 + 10
    maps = gaussian_heatmap(points, size, 1.5)
    exact = quadratic_peak(maps, log=True)
    torch.testing.assert_close(exact, points, atol=1e-9, rtol=0)
    smoothed = quadratic_peak(maps, log=True, smooth=1.5)
    torch.testing.assert_close(smoothed, points, atol=0.02, rtol=0)
    plain = (points - peak(maps)[0]).norm(dim=-1).mean()
    assert (quadratic_peak(maps) - points).norm(dim=-1).mean() < 0.3 * plain
    assert (local_centroid(maps, 5) - points).norm(dim=-1).max() < 0.05


@pytest.mark.parametrize("point", [(0.0, 0.0), (9.0, 0.0), (0.0, 7.0)])
def test_a_peak_on_the_border_stays_there(point):
    maps = gaussian_heatmap(torch.tensor([[point]]), (8, 10), 1.5)
    for decoded in (quadratic_peak(maps), quadratic_peak(maps, log=True), local_centroid(maps, 3)):
        torch.testing.assert_close(decoded[0, 0], torch.tensor(point))


def test_a_flat_map_is_decoded_without_nan():
    maps = torch.zeros(1, 1, 6, 6)
    for decoded in (
        quadratic_peak(maps),
        quadratic_peak(maps, log=True),
        local_centroid(maps, 2),
        soft_argmax(maps),
    ):
        assert torch.isfinite(decoded).all()
