"""The centroid of the largest blob against scipy's labelling, map by map."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from mmlandmark.ops import blob_centroid, gaussian_heatmap, peak
from test_ops.op_testing import DEVICES


def slow_blob_centroid(maps: np.ndarray, threshold: float) -> np.ndarray:
    """Return (B, K, D) centroids, one map and one blob after the other."""
    batch, count, *size = maps.shape
    points = np.empty((batch, count, len(size)))
    for place in np.ndindex(batch, count):
        one = maps[place]
        labels, actual = ndimage.label(one > threshold * one.max(), np.ones((3,) * len(size)))
        if one.max() <= 0 or not actual:
            points[place] = np.unravel_index(one.argmax(), one.shape)[::-1]
            continue
        blobs = [np.argwhere(labels == label) for label in range(1, actual + 1)]
        largest = max(len(blob) for blob in blobs)
        first = min((b for b in blobs if len(b) == largest), key=lambda b: tuple(b[0]))
        points[place] = first.mean(0)[::-1]
    return points


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.6, 0.95])
@pytest.mark.parametrize("size", [(1, 1), (9, 13), (40, 31), (6, 7, 5)])
def test_equals_a_labelling_map_by_map(size, threshold, device):
    maps = torch.rand((3, 4, *size), generator=torch.Generator().manual_seed(7))
    maps[1] -= 0.5  # some of it negative
    maps[2, 1] = 0.0
    maps[2, 2] = -maps[2, 2]
    actual = blob_centroid(maps.to(device), threshold).cpu()
    assert actual.dtype == torch.float32
    expected = torch.from_numpy(slow_blob_centroid(maps.numpy(), max(threshold, 0.0)))
    # At threshold 0 the slow one looks at what is above 0 as well.
    torch.testing.assert_close(actual.double(), expected, rtol=0, atol=1e-4)


def test_a_snake_is_one_blob():
    """The longest way inside a blob: many steps of joining, still one label."""
    maps = torch.zeros(1, 1, 31, 31)
    maps[..., ::2, :] = 1
    for row in range(1, 31, 2):
        maps[..., row, -1 if row % 4 == 1 else 0] = 1
    maps[..., 0, :3] = torch.tensor([1.0, 0, 1])  # cut off at the start: a blob of one pixel
    expected = slow_blob_centroid(maps.numpy(), 0.95)
    np.testing.assert_allclose(blob_centroid(maps).numpy(), expected, atol=1e-5)


def test_a_row_does_not_touch_the_next_one():
    maps = torch.zeros(1, 2, 2, 6)
    maps[0, 0, 0, 5] = maps[0, 0, 1, 0] = 1  # end of one line, start of the next
    maps[0, 1, 1, 4:] = 1
    assert blob_centroid(maps).tolist() == [[[5.0, 0.0], [4.5, 1.0]]]


def test_the_larger_blob_wins_over_the_higher_one():
    maps = torch.zeros(1, 1, 5, 9)
    maps[0, 0, 1, 1] = 1.0
    maps[0, 0, 3, 5:8] = 0.97
    assert blob_centroid(maps).tolist() == [[[6.0, 3.0]]]
    assert blob_centroid(maps, 0.98).tolist() == [[[1.0, 1.0]]]


def test_finds_a_laplace_peak_to_a_fraction_of_a_pixel():
    points = torch.rand(2, 5, 2, generator=torch.Generator().manual_seed(0)) * 60 + 20
    maps = gaussian_heatmap(points, (100, 100), 16.0, shape="laplace")
    error = (blob_centroid(maps) - points).norm(dim=-1)
    assert error.max() < 0.6
    assert error.mean() < 0.85 * (peak(maps)[0] - points).norm(dim=-1).mean()


def test_nan_and_infinity_stay_where_they_are():
    maps = torch.zeros(1, 3, 4, 4)
    maps[0, 0, 1, 2] = float("nan")
    maps[0, 1, 2, 1] = float("inf")
    maps[0, 2, 3, 3] = 1.0
    actual = blob_centroid(maps)
    assert actual[0, 1:].tolist() == [[1.0, 2.0], [3.0, 3.0]]
    assert torch.isfinite(actual).all()


@pytest.mark.parametrize("threshold", [1.0, -0.1, float("nan")])
def test_says_which_threshold_is_wrong(threshold):
    with pytest.raises(ValueError, match="threshold must be at least 0 and below 1"):
        blob_centroid(torch.zeros(1, 1, 2, 2), threshold)
