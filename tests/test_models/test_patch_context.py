"""Features of the whole image, where patches of it lie."""

import pytest
import torch
import torch.nn.functional as F

from mmlandmark.models.detectors.patch_context import PatchContext
from mmlandmark.models.detectors.patches import cut_patches, frames_of
from mmlandmark.structures import resize_matrix

SIZES = {2: ((37, 29), (9, 7), (8, 12)), 3: ((17, 13, 22), (5, 6, 7), (6, 4, 8))}
MODES = {2: "bilinear", 3: "trilinear"}


def context_of(dims):
    torch.manual_seed(dims)
    size, small, patch = SIZES[dims]
    features = torch.randn(2, 3, *small).double()
    return PatchContext(features, resize_matrix(size, small)), size, patch


@pytest.mark.parametrize("dims", [2, 3])
def test_it_is_that_of_the_enlarged_features(dims):
    context, size, patch = context_of(dims)
    enlarged = F.interpolate(context.features, size, mode=MODES[dims])
    last = [whole - side for whole, side in zip(size, patch, strict=True)][::-1]
    corners = torch.tensor([[0] * dims, last, [3, 1, 2][:dims], [1, 4, 5][:dims]])
    cases = torch.tensor([1, 0, 1, 1])
    found = context.at(cases, frames_of(corners), patch, patch)
    torch.testing.assert_close(found, cut_patches(enlarged, cases, corners, patch, [0.0] * 2))


@pytest.mark.parametrize("dims", [2, 3])
def test_beyond_the_border_are_the_nearest(dims):
    context, _, patch = context_of(dims)
    far = frames_of(torch.tensor([[-500] * dims]))
    found = context.at(torch.tensor([0]), far, patch, patch)
    first = context.features[(0, slice(None), *[0] * dims)]
    torch.testing.assert_close(found[0], first.view(-1, *[1] * dims).expand_as(found[0]))


def test_a_coarser_grid_covers_the_patch():
    context, _, _ = context_of(2)
    found = context.at(torch.tensor([0]), frames_of(torch.tensor([[4, 6]])), (8, 12), (4, 6))
    for row, column in ((0, 0), (3, 5), (2, 1)):  # the middle of every 2 x 2 pixels
        frame = torch.eye(3).double()[None]
        frame[0, :2, 2] = torch.tensor([4 + 2 * column + 0.5, 6 + 2 * row + 0.5])
        one = context.at(torch.tensor([0]), frame, (1, 1), (1, 1))
        torch.testing.assert_close(found[0, :, row, column], one[0, :, 0, 0])
