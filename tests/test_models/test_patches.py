"""Shrunk images and patches: values, places, borders, and the half-pixel convention."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmlandmark.datasets.transforms.resampling import resize_array
from mmlandmark.models.detectors.patches import cut_patches, patch_corners, shrunk


@pytest.mark.parametrize(("size", "new"), [((40, 36), (10, 12)), ((24, 18, 30), (6, 9, 10))])
def test_shrunk_is_the_mean_over_areas(size, new):
    image = np.random.default_rng(0).random(size, dtype=np.float32)
    scale = [n / m for n, m in zip(size, new, strict=True)]
    found = shrunk(torch.from_numpy(image)[None, None], scale, new)[0, 0].numpy()
    blocks = [side for n, s in zip(new, scale, strict=True) for side in (n, int(s))]
    expected = image.reshape(blocks).mean(tuple(range(1, 2 * len(size), 2)))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(found, resize_array(image, new), atol=1e-5)


@pytest.mark.parametrize("scale", [0.4, 1.0, 1.7, 3.3])
def test_a_ramp_stays_a_ramp_in_the_half_pixel_convention(scale):
    """The value of a ramp is its coordinate, so a shrunk ramp says where its pixels lie."""
    ramp = torch.arange(50.0).expand(1, 1, 3, 50)
    new = int(50 / scale)
    found = shrunk(ramp, (1, scale), (3, new))[0, 0, 1]
    expected = (torch.arange(new) + 0.5) * scale - 0.5
    inner = slice(2, new - 2)  # at the border, growing repeats the last pixel
    # Where areas end inside of pixels, their parts count as much as they are large: nearly a ramp.
    tolerance = 1e-4 if scale in (0.4, 1) else 0.08
    torch.testing.assert_close(found[inner], expected[inner], atol=tolerance, rtol=0)


def test_frequencies_that_the_small_image_cannot_show_vanish():
    stripes = (torch.arange(64) % 2).float().expand(1, 1, 64, 64)
    found = shrunk(stripes, (4, 4), (16, 16))
    torch.testing.assert_close(found, torch.full_like(found, 0.5))


def test_stored_voxels_are_shrunk_slab_by_slab(monkeypatch):
    image = torch.randint(-1000, 2000, (2, 1, 21, 16, 18), dtype=torch.int16)
    whole = shrunk(image.float(), (2.5, 2, 3), (8, 8, 6))
    monkeypatch.setattr("mmlandmark.models.detectors.patches._AT_ONCE", 1)
    slabs = shrunk(image, (2.5, 2, 3), (8, 8, 6))
    assert slabs.dtype == torch.float32
    torch.testing.assert_close(slabs, whole)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(shrunk(image, (2.5, 2, 3), (8, 8, 6)), slabs)


@pytest.mark.parametrize("dims", [2, 3])
def test_patches_are_cut_where_their_points_are(dims):
    size, patch = (30, 26, 34)[:dims], (8, 10, 12)[:dims]
    # Pixel values are coordinates: one channel per axis, (x, y[, z]).
    grid = torch.meshgrid(*(torch.arange(side) for side in size), indexing="ij")
    image = torch.stack(grid[::-1]).expand(2, *[-1] * (dims + 1))
    points = torch.tensor([[0.0] * dims, [12.3, 13.6, 11.1][:dims], [99.0] * dims])
    corners = patch_corners(points, patch, size)
    patches = cut_patches(image, torch.tensor([0, 1, 1]), corners, patch, [0, 0])
    assert patches.dtype == torch.float32
    assert patches.shape == (3, dims, *patch)
    for corner, found in zip(corners, patches, strict=True):
        assert torch.equal(found[(slice(None), *[0] * dims)], corner.float())
        last = corner + torch.tensor(patch[::-1]) - 1
        assert torch.equal(found[(slice(None), *[-1] * dims)], last.float())
    middle = corners[1] + (torch.tensor(patch[::-1]) - 1) / 2
    assert ((middle - points[1]).abs() <= 0.5).all()
    assert torch.equal(corners[0], torch.zeros(dims, dtype=torch.int64))
    assert torch.equal(corners[2], torch.tensor(size[::-1]) - torch.tensor(patch[::-1]))


def test_a_small_image_lies_in_the_middle_of_its_patch():
    image = torch.ones(1, 1, 3, 20, dtype=torch.uint8)
    corners = patch_corners(torch.tensor([[10.0, 1.0]]), (8, 4), (3, 20))
    (patch,) = cut_patches(image, torch.tensor([0]), corners, (8, 4), fill=[-7.0])
    assert patch[0, :, 0].tolist() == [-7, -7, -7, 1, 1, 1, -7, -7]
