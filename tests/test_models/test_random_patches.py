"""Random patches: image and point go through one matrix."""

import numpy as np
import pytest
import torch

from mmlandmark.models.detectors.random_patches import RandomPatches
from mmlandmark.ops import gaussian_heatmap, local_centroid
from mmlandmark.structures import LandmarkDataSample, apply_matrix

SIZE = {2: (64, 96), 3: (32, 32, 48)}
LEVELS = {2: [(16, 24), (4, 6)], 3: [(16, 16, 24), (8, 8, 12)]}
STILL = dict(rotation=0.0, scale=0.0, brightness=0.0, contrast=0.0)


def patches_of(images, dims=2, samples=(), seed=0, **kwargs):
    torch.manual_seed(seed)
    taker = RandomPatches(**kwargs)
    size = taker.size_of(images.shape[2:], LEVELS[dims])
    return size, taker(images, size, samples)


def samples(points, size):
    return [
        LandmarkDataSample.from_landmarks(p, sample_id=str(i), ori_shape=size) for i, p in enumerate(points)
    ]


@pytest.mark.parametrize("dims", [2, 3])
def test_the_point_is_where_the_patch_shows_it(dims):
    """A blob about every point, drawn after the draw: the same seed gives the same patches."""
    moves = dict(scale=0.2, brightness=0.0, contrast=0.0)
    size, empty = patches_of(torch.zeros(40, 1, *SIZE[dims]), dims, **moves)
    assert size == tuple(side // 2 for side in SIZE[dims])
    blobs = gaussian_heatmap(empty.points.float(), SIZE[dims], 1.5)
    _, seen = patches_of(blobs, dims, **moves)
    assert torch.equal(seen.points, empty.points)
    assert seen.images.shape == (40, 1, *size)
    found = local_centroid(seen.images, 3)
    inner = ((seen.patch_points > 4) & (seen.patch_points < torch.tensor(size[::-1]) - 5)).all(2)
    assert inner.sum() > 4
    torch.testing.assert_close(found[inner].double(), seen.patch_points[inner], atol=0.15, rtol=0)
    moved = apply_matrix(torch.from_numpy(seen.matrices), seen.points)
    torch.testing.assert_close(moved, seen.patch_points)


def test_without_augmentation_it_is_a_crop():
    torch.manual_seed(1)
    images = torch.rand(5, 2, *SIZE[2])
    size, seen = patches_of(images, **STILL)
    for image, patch, matrix in zip(images, seen.images, seen.matrices, strict=True):
        x, y = (-matrix[:2, 2]).astype(int)
        assert np.array_equal(matrix[:2, :2], np.eye(2))
        torch.testing.assert_close(patch, image[:, y : y + size[0], x : x + size[1]], atol=1e-5, rtol=0)


def test_draws_are_those_of_the_publication():
    """Any corner at which the patch fits, and a whole pixel in its inner four fifths."""
    size, seen = patches_of(torch.zeros(800, 1, *SIZE[2]), **STILL)
    corners = torch.from_numpy(-seen.matrices[:, :2, 2])
    inside = seen.points[:, 0] - corners
    assert corners.amin(0).tolist() == [0, 0]
    assert corners.amax(0).tolist() == [SIZE[2][1] - size[1], SIZE[2][0] - size[0]]
    assert inside.amin(0).tolist() == [int(0.1 * size[1]), int(0.1 * size[0])]
    assert inside.amax(0).tolist() == [int(0.9 * size[1] - 1e-9), int(0.9 * size[0] - 1e-9)]
    assert seen.mask.all()
    _, turned = patches_of(torch.zeros(800, 1, *SIZE[2]))
    angles = np.rad2deg(np.arctan2(turned.matrices[:, 1, 0], turned.matrices[:, 0, 0]))
    assert 19 < np.abs(angles).max() <= 20
    assert abs(angles.mean()) < 2
    # A point near a corner may be turned out of the patch; then it does not count.
    lost = ~turned.mask
    assert 0 < lost.sum() < 24
    ends = torch.tensor(size[::-1]) - 0.5
    assert ((turned.patch_points[lost] < -0.5) | (turned.patch_points[lost] >= ends)).any(-1).all()


def test_many_points_lie_in_one_patch_and_begin_with_that_of_one():
    size, one = patches_of(torch.zeros(50, 1, *SIZE[2]))
    _, many = patches_of(torch.zeros(50, 1, *SIZE[2]), points=20)
    assert many.points.shape == (50, 20, 2)
    assert np.array_equal(many.matrices, one.matrices)
    assert torch.equal(many.points[:, :1], one.points)
    assert len(many.points[0].unique(dim=0)) > 15
    inside = (many.patch_points >= -0.5) & (many.patch_points < torch.tensor(size[::-1]) - 0.5)
    assert torch.equal(many.mask, inside.all(2))
    assert 0.9 < many.mask.double().mean() < 1


def test_intensities_change_about_black_and_the_mean():
    images = torch.rand(100, 1, *SIZE[2]) + 3
    _, seen = patches_of(images, **(STILL | dict(brightness=0.15, contrast=0.25)))
    _, plain = patches_of(images, **STILL)
    dark = [patches.images.flatten(1).amin(1) for patches in (seen, plain)]
    spread = seen.images.flatten(1).std(1) / plain.images.flatten(1).std(1)
    assert 0.85 * 0.75 - 1e-3 < float(spread.min()) < 0.75
    assert 1.15 * 1.25 + 1e-3 > float(spread.max()) > 1.3
    mean = [
        patches.images.flatten(1).mean(1) - least for patches, least in zip((seen, plain), dark, strict=True)
    ]
    # Brightness scales the distance from the darkest pixel, contrast that from the mean.
    assert 0.85 * 0.75 < float((mean[0] / mean[1]).min()) < 0.75
    assert 1.3 < float((mean[0] / mean[1]).max()) < 1.15 * 1.25


def test_patches_lie_about_landmarks():
    points = np.array([[[50.0, 30.0], [np.nan, np.nan]], [[2.0, 1.0], [500.0, 3.0]], [[np.nan] * 2] * 2])
    images = torch.zeros(3, 1, *SIZE[2])
    _, seen = patches_of(images, samples=samples(points, SIZE[2]), around="landmarks", **STILL)
    assert seen.mask.tolist() == [[True], [True], [False]]
    assert seen.points[:2, 0].tolist() == [[50, 30], [2, 1]]
    # In the middle, or as near to it as the patch stays inside.
    assert (-seen.matrices[:2, :2, 2]).tolist() == [[50 - 23, 30 - 15], [0, 0]]
    both = samples([[[20.0, 30.0], [70.0, 30.0]]] * 40, SIZE[2])
    _, many = patches_of(torch.zeros(40, 1, *SIZE[2]), samples=both, around="landmarks")
    assert set(many.points[:, 0, 0].tolist()) == {20.0, 70.0}
    assert many.landmarks.tolist() == [int(x == 70) for x in many.points[:, 0, 0]]
    # One without any is given the number of another, and does not count.
    assert seen.landmarks.tolist() == [0, 0, 0]
    _, random = patches_of(images)
    assert random.landmarks.tolist() == [-1] * 3


def test_a_batch_may_be_of_one_landmark():
    """Any that an image shows, each as often; images that do not show it do not count."""
    points = np.full((5, 4, 2), np.nan)
    points[:, :3] = np.arange(30).reshape(5, 3, 2)
    points[1, 2] = np.nan
    torch.manual_seed(0)
    taker = RandomPatches(around="landmarks", one_landmark=True, **STILL)
    cases, count = samples(points, SIZE[2]), np.zeros(4, int)
    for _ in range(300):
        seen = taker(torch.zeros(5, 1, *SIZE[2]), (32, 48), cases)
        (landmark,) = set(seen.landmarks.tolist())
        count[landmark] += 1
        assert seen.mask[:, 0].tolist() == [True, landmark != 2, True, True, True]
        known = seen.mask[:, 0].numpy()
        np.testing.assert_array_equal(seen.points[known, 0], points[known, landmark])
    assert count[3] == 0
    assert count.min(initial=300, where=[True, True, True, False]) > 75
    nothing = taker(torch.zeros(5, 1, *SIZE[2]), (32, 48), samples(points * np.nan, SIZE[2]))
    assert not nothing.mask.any()
    assert nothing.landmarks.tolist() == [0] * 5


def test_a_grid_that_does_not_fit_is_refused():
    with pytest.raises(
        ValueError, match=r"an image of \(80, 64\) has features of .* multiple of the coarsest"
    ):
        RandomPatches().size_of((80, 64), [(40, 32), (20, 16), (10, 8), (5, 4), (2, 2)])
    assert RandomPatches().size_of((384, 384), [(192, 192), (12, 12)]) == (192, 192)
    assert RandomPatches(share=0.1).size_of((64, 64), [(2, 2)]) == (32, 32)


@pytest.mark.parametrize("dims", [2, 3])
def test_two_patches_show_the_same_points(dims):
    """A blob about every point, drawn after the draw: the same seed gives the same patches."""
    options = dict(share=0.75, views=2, multiple=4, scale=0.1, brightness=0.0, contrast=0.0)
    torch.manual_seed(0)
    empty, _ = RandomPatches(**options).pair(torch.zeros(20, 1, *SIZE[dims]))
    blobs = gaussian_heatmap(empty.points.float(), SIZE[dims], 1.5)
    torch.manual_seed(0)
    two = RandomPatches(**options).pair(blobs)
    size = tuple(3 * side // 4 for side in SIZE[dims])
    assert torch.equal(two[0].points, two[1].points)
    assert not np.allclose(two[0].matrices, two[1].matrices)
    for seen in two:
        assert seen.images.shape == (20, 1, *size)
        assert seen.mask.float().mean() > 0.9
        found = local_centroid(seen.images, 3)
        inner = ((seen.patch_points > 4) & (seen.patch_points < torch.tensor(size[::-1]) - 5)).all(2)
        assert inner.sum() > 4
        torch.testing.assert_close(found[inner].double(), seen.patch_points[inner], atol=0.15, rtol=0)


def test_two_patches_lie_anywhere():
    options = dict(share=0.75, views=2, multiple=16, points=3, border=0.1, **STILL)
    two = RandomPatches(**options).pair(torch.zeros(400, 1, *SIZE[2]))
    size, room = torch.tensor([80, 48]), [16, 16]  # 0.75 * 96 is no multiple of 16
    for seen in two:
        corners = torch.from_numpy(-seen.matrices[:, :2, 2])
        assert seen.images.shape[2:] == (48, 80)
        assert corners.amin(0).tolist() == [0, 0]
        assert corners.amax(0).tolist() == room
        assert seen.points.shape == (400, 3, 2)
        assert ((seen.patch_points >= torch.floor(0.1 * size)) & (seen.patch_points <= 0.9 * size)).all()
        assert seen.mask.all()
    assert (two[0].matrices != two[1].matrices).any()


def test_wrong_arguments_are_refused():
    with pytest.raises(
        ValueError, match=r"overlap with share above .* = 0.556, got around='anywhere', share=0.5"
    ):
        RandomPatches(views=2)
    with pytest.raises(ValueError, match="two patches lie anywhere"):
        RandomPatches(views=2, share=0.8, around="landmarks")
    with pytest.raises(ValueError, match="views 1 or 2"):
        RandomPatches(views=3)
    with pytest.raises(ValueError, match="share in"):
        RandomPatches(share=0)
    with pytest.raises(ValueError, match="got 'corners', 'cubic'"):
        RandomPatches(around="corners")
    with pytest.raises(ValueError, match="points=1 around landmarks"):
        RandomPatches(around="landmarks", points=2)
    with pytest.raises(ValueError, match="at least one anywhere, got 0"):
        RandomPatches(points=0)
    with pytest.raises(ValueError, match="one_landmark=True needs around='landmarks'"):
        RandomPatches(one_landmark=True)
    with pytest.raises(ValueError, match="negative amount"):
        RandomPatches(contrast=-1)


def test_landmarks_of_no_weight_are_not_drawn_and_others_have_theirs():
    cases = samples([[[20.0, 30.0], [70.0, 30.0]]] * 30, SIZE[2])
    for case in cases[:20]:
        case.gt_weights = torch.tensor([0.0, 0.25])
    for case in cases[20:25]:
        case.gt_weights = torch.zeros(2)
    _, seen = patches_of(torch.zeros(30, 1, *SIZE[2]), samples=cases, around="landmarks", **STILL)
    assert seen.landmarks[:20].tolist() == [1] * 20
    assert seen.weights[:, 0].tolist() == [0.25] * 20 + [0.0] * 5 + [1.0] * 5
    assert seen.mask[:, 0].tolist() == [True] * 20 + [False] * 5 + [True] * 5
    _, anywhere = patches_of(torch.zeros(3, 1, *SIZE[2]), points=2)
    assert anywhere.weights.tolist() == [[1.0, 1.0]] * 3
