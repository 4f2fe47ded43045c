"""Detections: other frames, several annotators, means."""

import math

import numpy as np
import pytest
import torch

from mmlandmark.structures import Detection, apply_matrix, rotation_matrix, scale_matrix


def covariance(*leading, dims):
    root = torch.randn(*leading, dims, dims)
    return root @ root.mT


def detection(*leading, dims=2, count=4, maps=False):
    torch.manual_seed(0)
    return Detection(
        torch.rand(*leading, count, dims) * 50,
        torch.rand(*leading, count),
        covariance(*leading, count, dims=dims),
        torch.rand(*leading, count),
        torch.rand(leading[0], 2 * count, *[6] * dims) if maps else None,
    )


def affine(dims, degrees=30.0, factor=2.0):
    angles = degrees if dims == 2 else [degrees, -10.0, 5.0]
    center = [3.0, 4.0, 5.0][:dims]
    return rotation_matrix(angles, center) @ scale_matrix([factor, 0.5, 1.5][:dims], center)


@pytest.mark.parametrize("dims", [2, 3])
def test_points_and_spread_move_together(dims):
    one, matrix = detection(3, dims=dims), affine(dims)
    moved = one.mapped(matrix)
    torch.testing.assert_close(moved.points, apply_matrix(matrix, one.points))
    # The covariance of many points about each landmark, drawn, moved and measured again.
    draws = torch.distributions.MultivariateNormal(
        one.points.double(), one.spread.double() + 1e-6 * torch.eye(dims)
    )
    cloud = apply_matrix(matrix, draws.sample((20_000,)))
    offsets = cloud - moved.points
    measured = (offsets[..., None] * offsets[..., None, :]).mean(0)
    torch.testing.assert_close(measured, moved.spread.double(), rtol=0.1, atol=0.3)
    assert torch.equal(moved.scores, one.scores)
    assert torch.equal(moved.presence, one.presence)


@pytest.mark.parametrize("dims", [2, 3])
def test_a_matrix_for_every_case_of_a_batch(dims):
    one = detection(2, 3, dims=dims, maps=True)  # of three annotators
    matrices = [affine(dims), affine(dims, degrees=-70.0, factor=0.5)]
    moved = one.mapped(np.stack(matrices))
    for case, matrix in enumerate(matrices):
        alone = one[case].mapped(matrix)
        torch.testing.assert_close(moved.points[case], alone.points)
        torch.testing.assert_close(moved.spread[case], alone.spread)
    assert torch.equal(moved.maps, one.maps)


def test_there_and_back():
    one, matrix = detection(2), affine(2)
    back = one.mapped(matrix).mapped(np.linalg.inv(matrix))
    torch.testing.assert_close(back.points, one.points)
    torch.testing.assert_close(back.spread, one.spread)


@pytest.mark.parametrize("dims", [2, 3])
def test_a_mean_is_the_mixture(dims):
    first, second = detection(2, dims=dims), detection(2, dims=dims)
    shift = torch.tensor([4.0, -2.0, 6.0])[:dims]
    second = Detection(first.points + shift, second.scores / 2, second.spread, second.presence / 2)
    mean = Detection.mean([first, second])
    torch.testing.assert_close(mean.points, first.points + shift / 2)
    torch.testing.assert_close(mean.scores, first.scores / 2)  # the lowest
    torch.testing.assert_close(mean.presence, 0.75 * first.presence)
    # Half of their distance to either side adds to the spread.
    torch.testing.assert_close(mean.spread, first.spread + torch.outer(shift, shift) / 4)
    assert (torch.linalg.eigvalsh(mean.spread) > -1e-4).all()
    averaged = Detection.mean([first, second], scores="mean")
    torch.testing.assert_close(averaged.scores, 0.75 * first.scores)


def test_one_of_three_may_be_anywhere():
    first, second, third = (detection(2) for _ in range(3))
    second = Detection(first.points + 1.0, first.scores, first.spread)
    third = Detection(first.points + torch.tensor([1000.0, -1000.0]), first.scores, first.spread)
    median = Detection.mean([first, third, second], center="median")
    torch.testing.assert_close(median.points, first.points + torch.tensor([1.0, 0.0]))
    pair = Detection.mean([first, second], center="median")
    torch.testing.assert_close(pair.points, first.points + 0.5)
    torch.testing.assert_close(pair.spread, Detection.mean([first, second]).spread)
    third.points[0, 1] = math.nan
    median = Detection.mean([first, third, second], center="median")
    assert median.points.isnan().all(-1).nonzero().tolist() == [[0, 1]]
    assert median.scores[0, 1] == 0


@pytest.mark.parametrize("scores", ["lowest", "mean"])
def test_what_one_misses_is_not_predicted(scores):
    first, second = detection(2), detection(2)
    second.points[0, 1] = math.nan
    second.scores[0, 1] = 0
    mean = Detection.mean([first, second], scores)
    assert mean.points.isnan().all(-1).nonzero().tolist() == [[0, 1]]
    assert mean.scores[0, 1] == 0
    assert mean.spread.isnan().flatten(2).any(-1).nonzero().tolist() == [[0, 1]]


def test_what_one_does_not_measure_the_mean_does_not_have():
    first, second = detection(2), detection(2)
    bare = Detection(second.points, second.scores)
    mean = Detection.mean([first, bare])
    assert mean.spread is None
    assert mean.presence is None


def test_annotators_are_split_and_averaged():
    one = detection(2, count=8, maps=True)
    split = one.with_annotators(2)
    assert split.points.shape == (2, 2, 4, 2)
    assert split.spread.shape == (2, 2, 4, 2, 2)
    assert torch.equal(split.points[1, 1], one.points[1, 4:])
    assert torch.equal(split.maps, one.maps)
    mean = split.over_annotators()
    torch.testing.assert_close(mean.points, split.points.mean(1))
    torch.testing.assert_close(mean.scores, split.scores.amin(1))
    assert torch.equal(mean.maps, one.maps)
    case = split[1].over_annotators()
    torch.testing.assert_close(case.points, mean.points[1])
    torch.testing.assert_close(case.spread, mean.spread[1])
    assert torch.equal(case.maps, one.maps[1])


def test_a_mean_of_nothing_and_unknown_scores_are_refused():
    with pytest.raises(ValueError, match="at least one"):
        Detection.mean([])
    with pytest.raises(ValueError, match=r"'lowest', 'mean'.*'highest'"):
        Detection.mean([detection(2)], scores="highest")
    with pytest.raises(ValueError, match=r"'mean', 'median'.*'middle'"):
        Detection.mean([detection(2)], center="middle")
