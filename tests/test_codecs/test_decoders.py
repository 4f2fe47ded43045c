"""Decoders: by name or by config, every one on a drawn peak."""

import pytest
import torch

from mmlandmark.codecs import BaseDecoder, HeatmapCodec, Peaks
from mmlandmark.ops import gaussian_heatmap, soft_argmax
from mmlandmark.registry import DECODERS, NotRegisteredError


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("name", sorted(DECODERS.module_dict))
def test_a_peak_is_decoded(name, dims):
    points = torch.tensor([[[14.3, 11.6, 12.2][:dims], [9.0, 15.5, 13.0][:dims]]])
    maps = gaussian_heatmap(points, (24, 25, 26)[-dims:], 2.0)
    peaks = DECODERS.build(dict(type=name))(maps, width=2.0, window=6)
    tolerance = {"argmax": 0.51, "soft_argmax": 0.2, "blob_centroid": 0.51}.get(name, 0.1)
    assert (peaks.points - points).abs().max() < tolerance
    assert (peaks.pixels - points).abs().max() <= 0.5
    assert peaks.pixels.dtype == torch.int64
    torch.testing.assert_close(peaks.heights, maps.flatten(2).amax(-1))


@pytest.mark.parametrize("name", sorted(DECODERS.module_dict))
def test_no_map_has_no_peak(name):
    peaks = DECODERS.build(dict(type=name))(torch.zeros(0, 2, 24, 25), width=2.0, window=6)
    assert (peaks.points.shape, peaks.pixels.shape, peaks.heights.shape) == ((0, 2, 2), (0, 2, 2), (0, 2))


SIZE = (24, 28, 32)


def drawn(points, sigma, size=SIZE):
    """Return a Gaussian for every one of (N, 3) points, (1, N, *S); ``sigma`` one or (3,)."""
    points = torch.as_tensor(points, dtype=torch.float32)[None]
    width = torch.as_tensor(sigma, dtype=torch.float32).expand(1, points.shape[1], 3)
    return gaussian_heatmap(points, size, width)


def off_grid(count, low, high, seed=0):
    """Return (count, 3) points with x, y and z between ``low`` and ``high`` (3,)."""
    low, high = torch.tensor(low), torch.tensor(high)
    return low + torch.rand(count, 3, generator=torch.Generator().manual_seed(seed)) * (high - low)


def distances(name, points, maps, sigma, **codec):
    """Return the (N,) distance from points to what a codec decodes, in voxels of the map."""
    found = HeatmapCodec(sigma, decoder=name, **codec).decode(maps, tuple(maps.shape[2:])).points
    return (found[0] - points).norm(dim=-1)


# Mean and largest distance in voxels on exact Gaussians; an integer voxel is 0.48 away on average.
EXACT = {"argmax": (0.55, 0.87), "blob_centroid": (0.45, 0.66), "soft_argmax": (0.3, 0.4),
         "integral": (0.01, 0.05), "local_centroid": (0.2, 0.3), "quadratic": (0.05, 0.08),
         "dark": (0.001, 0.005)}  # fmt: skip


@pytest.mark.parametrize("sigma", [1.5, 2.0, (2.0, 2.0, 1.0), (1.2, 2.5, 2.5)], ids=str)
@pytest.mark.parametrize("name", sorted(EXACT))
def test_gaussians_off_the_grid_of_a_volume(name, sigma):
    points = off_grid(48, (9.0, 9.0, 9.0), (22.0, 18.0, 14.0))
    found = distances(name, points, drawn(points, sigma), sigma)
    mean, most = EXACT[name]
    assert found.mean() < mean
    assert found.max() < most
    if name == "argmax":  # to the integer: what the others are compared with
        assert found.mean() > 0.4
    else:
        assert found.mean() < 0.9 * distances("argmax", points, drawn(points, sigma), sigma).mean()


def test_a_wider_window_takes_the_pull_to_the_voxel_out_of_the_centroid():
    points = off_grid(48, (9.0, 9.0, 9.0), (22.0, 18.0, 14.0))
    maps = drawn(points, 2.0)
    errors = [distances("local_centroid", points, maps, 2.0, window=w).mean() for w in (3, 5, 7)]
    assert errors[1] < 0.2 * errors[0]
    assert errors[2] < 0.01


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("far", [False, True])
@pytest.mark.parametrize("name", ["argmax", "quadratic", "dark", "local_centroid"])
def test_next_to_the_border(name, axis, far):
    points = off_grid(32, (9.0, 9.0, 9.0), (22.0, 18.0, 14.0))
    points[:, axis] = torch.linspace(0.0, 3.0, 32)
    if far:
        points[:, axis] = SIZE[2 - axis] - 1 - points[:, axis]
    sigma = (2.0, 2.0, 1.2)
    maps = drawn(points, sigma)
    found = HeatmapCodec(sigma, decoder=name).decode(maps, SIZE).points[0]
    # The voxel of the border has no neighbour beyond: there the maximum stays in its voxel.
    assert (found - points)[:, axis].abs().max() <= 0.5 + 1e-4
    others = [i for i in range(3) if i != axis]
    inner = distances(name, points, maps, sigma)[points[:, axis].sub(1.5).abs() < 1] if not far else None
    if name in ("quadratic", "dark"):
        assert (found - points)[:, others].abs().max() < (0.07 if name == "quadratic" else 0.01)
        if inner is not None:
            assert inner.max() < 0.1


def test_slices_may_be_few():
    # Smoothing by three voxels would reach over both ends of nine slices.
    sigma, size = (3.0, 3.0, 1.0), (9, 40, 40)
    points = off_grid(32, (13.0, 13.0, 1.6), (26.0, 26.0, 6.4))
    assert distances("dark", points, drawn(points, sigma, size), sigma).max() < 0.01


@pytest.mark.parametrize("name", ["argmax", "quadratic", "dark", "local_centroid", "blob_centroid"])
def test_a_lower_peak_elsewhere_moves_nothing(name):
    points, others = (
        off_grid(16, (6.0, 6.0, 6.0), (9.0, 9.0, 9.0)),
        off_grid(16, (22.0, 19.0, 16.0), (25.0, 21.0, 17.0)),
    )
    alone, both = drawn(points, 1.5), drawn(points, 1.5) + 0.7 * drawn(others, 1.5)
    moved = distances(name, HeatmapCodec(1.5, decoder=name).decode(alone, SIZE).points[0], both, 1.5)
    assert moved.max() < 1e-3


def test_noise_costs_the_smoothed_fit_least():
    points = off_grid(64, (9.0, 9.0, 9.0), (22.0, 18.0, 14.0))
    maps = drawn(points, 2.0)
    maps = maps + 0.05 * torch.randn(maps.shape, generator=torch.Generator().manual_seed(1))
    errors = {
        name: distances(name, points, maps, 2.0).mean().item()
        for name in ("argmax", "quadratic", "local_centroid", "dark")
    }
    assert errors["dark"] < 0.06
    assert errors["dark"] < 0.3 * min(errors["quadratic"], errors["local_centroid"])
    assert max(errors["quadratic"], errors["local_centroid"]) < errors["argmax"]


@pytest.mark.parametrize("name", sorted(DECODERS.module_dict))
def test_a_map_of_another_size_is_decoded_in_voxels_of_the_input(name):
    # A map of half the size along x and y, and of a quarter along z.
    points = torch.tensor([[[30.3, 25.6, 41.2], [22.9, 37.5, 62.0]]])
    codec = HeatmapCodec(2.0, decoder=name)
    one = torch.ones(1, 2)
    target = codec.encode(points, one.bool(), one, (96, 64, 64), (24, 32, 32))
    found = codec.decode(target.heatmaps, (96, 64, 64)).points
    tolerance = {"argmax": 0.5, "blob_centroid": 0.5, "soft_argmax": 0.12, "local_centroid": 0.2}.get(
        name, 0.03
    )
    assert ((found - points).abs() <= tolerance * torch.tensor([2.0, 2.0, 4.0]) + 1e-3).all()


def test_arguments_of_a_decoder_are_given_in_its_config():
    maps = torch.rand(1, 2, 9, 8)
    codec = HeatmapCodec(sigma=1, decoder=dict(type="soft_argmax", beta=3.0))
    torch.testing.assert_close(codec.decode(maps, (9, 8)).points, soft_argmax(maps, 3.0))
    with pytest.raises(ValueError, match="threshold of blob_centroid must be at least 0 and below 1, got 1"):
        HeatmapCodec(sigma=1, decoder=dict(type="blob_centroid", threshold=1.0))
    with pytest.raises(ValueError, match="beta of soft_argmax must be positive, got 0"):
        HeatmapCodec(sigma=1, decoder=dict(type="soft_argmax", beta=0.0))


def test_an_unknown_decoder_lists_those_that_are_near():
    with pytest.raises(NotRegisteredError, match=r"'quadratik' is not in .*Did you mean quadratic"):
        HeatmapCodec(sigma=1, decoder="quadratik")


class FirstPixel(BaseDecoder):
    """Whatever is shown, the first pixel."""

    def forward(self, maps, width, window):
        corner = torch.zeros(*maps.shape[:2], maps.ndim - 2)
        return Peaks(corner, corner.long(), maps.flatten(2)[..., 0])


def test_a_decoder_of_another_package():
    codec = HeatmapCodec(sigma=1, decoder=dict(type=FirstPixel))
    assert codec.decode(torch.rand(1, 2, 4, 4), (8, 8)).points.tolist() == [[[0.5, 0.5], [0.5, 0.5]]]
