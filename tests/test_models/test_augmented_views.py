"""Views of an image: what they show, and where."""

import numpy as np
import pytest
import torch

from mmlandmark.models.detectors.augmented_views import checked_views, view_matrix, view_of
from mmlandmark.ops import gaussian_heatmap, local_centroid
from mmlandmark.structures import apply_matrix, crop_matrix, invert_matrix


@pytest.mark.parametrize("dims", [2, 3])
def test_a_view_shows_the_image_where_its_matrix_says(dims):
    size = (40, 48, 36)[:dims]
    view = dict(rotation=[5.0, -7.0, 10.0] if dims == 3 else 12.0, scale=0.9)
    point = torch.tensor([[[20.0, 17.0, 22.0][:dims]]])
    image = gaussian_heatmap(point, size, 2.0)
    matrix = view_matrix(view, size)
    seen = local_centroid(view_of(image, matrix), 6)
    torch.testing.assert_close(seen, apply_matrix(matrix, point), atol=0.02, rtol=0)
    # What comes from outside is as dark as the image's darkest pixel, image by image.
    images = torch.rand(2, 1, *size) + torch.tensor([3.0, -5.0]).reshape(2, *[1] * (dims + 1))
    small = view_of(images, view_matrix(dict(scale=0.5), size))
    for before, after in zip(images, small, strict=True):
        assert float(after.flatten()[0]) == pytest.approx(float(before.min()), abs=1e-5)


def test_volumes_are_turned_in_mm():
    """Of flat voxels, distances in mm stay, image by image; of cubes the matrix is the plain one."""
    size, view = (20, 40, 36), dict(rotation=[20.0, -15.0, 10.0])
    spacing = np.array([[1.0, 1.0, 3.0], [2.0, 2.0, 2.0]])
    matrices = view_matrix(view, size, spacing)
    np.testing.assert_allclose(matrices[1], view_matrix(view, size), atol=1e-12)
    points = np.random.default_rng(0).uniform(5, 15, (2, 6, 3))
    for matrix, own, mm in zip(matrices, points, spacing, strict=True):
        before, after = own * mm, apply_matrix(matrix, own) * mm
        lengths = [np.linalg.norm(p[1:] - p[:-1], axis=1) for p in (before, after)]
        np.testing.assert_allclose(*lengths, rtol=1e-9)
    centers = torch.tensor([[[18.0, 28.0, 9.0]], [[16.0, 14.0, 11.0]]])
    seen = local_centroid(view_of(gaussian_heatmap(centers, size, 2.5), matrices), 5)
    expected = np.stack([apply_matrix(m, p) for m, p in zip(matrices, centers.numpy(), strict=True)])
    np.testing.assert_allclose(seen, expected, atol=0.3)
    np.testing.assert_allclose(invert_matrix(matrices) @ matrices, np.tile(np.eye(4), (2, 1, 1)), atol=1e-12)


@pytest.mark.parametrize("interpolation", ["linear", "cubic"])
def test_a_view_may_have_another_size(interpolation):
    torch.manual_seed(0)
    images = torch.rand(2, 3, 20, 30)
    crops = np.stack([crop_matrix((4, 3)), crop_matrix((0, 9))])
    seen = view_of(images, crops, (8, 12), interpolation)
    torch.testing.assert_close(seen[0], images[0, :, 3:11, 4:16], atol=1e-5, rtol=0)
    torch.testing.assert_close(seen[1], images[1, :, 9:17, 0:12], atol=1e-5, rtol=0)
    half = view_of(images, crop_matrix((0.5, 0)), (4, 4), interpolation)
    between = (images[..., :4, :4] + images[..., :4, 1:5]) / 2
    assert torch.allclose(half, between, atol=1e-5) == (interpolation == "linear")


def test_the_image_itself_needs_no_matrix():
    assert checked_views(None) == [{}]
    for view in (dict(), dict(scale=1.0), dict(rotation=0.0), dict(scale=(1, 1))):
        assert view_matrix(view, (32, 40)) is None


def test_wrong_views_are_named():
    with pytest.raises(ValueError, match="unknown keys \\['shift'\\]"):
        checked_views([dict(shift=3)])
    with pytest.raises(ValueError, match="scale must be positive"):
        checked_views([dict(scale=0)])
