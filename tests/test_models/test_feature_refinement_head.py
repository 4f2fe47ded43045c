"""The head of FARNet: a coarse map, and a fine one from it."""

from __future__ import annotations

import pytest
import torch

from mmlandmark.registry import MODELS
from test_models.farnet_model import HEAD, NARROW, samples


@pytest.mark.parametrize(("landmarks", "width"), [(19, 115), (37, 133), (68, 164)])
def test_what_is_refined(landmarks, width):
    with torch.device("meta"):
        head = MODELS.build(dict(HEAD, in_channels=[64], num_landmarks=landmarks))
    assert head.fine_hidden.weight.shape == (width, width, 3, 3)
    assert head.guide.conv.weight.shape == (32, 3, 1, 1)


def test_a_guide_smaller_than_the_features_is_refused():
    head = MODELS.build(dict(NARROW["head"], in_channels=[4, 8]))
    with pytest.raises(ValueError, match="guide must be larger"):
        head([torch.rand(1, 4, 16, 16), torch.rand(1, 8, 8, 8)])


def test_gradients_reach_the_guide_and_both_maps():
    torch.manual_seed(0)
    model = MODELS.build(NARROW)
    features = model.extract_features(torch.rand(2, 3, 64, 96))
    losses = model.head.loss(features, samples(), (64, 96))
    for name, reached, not_reached in (
        ("loss_ewc", ("guide.conv", "fine_conv", "fine_hidden", "coarse_conv"), ()),
        ("loss_ewc_level1", ("coarse_conv", "coarse_hidden"), ("guide.conv", "fine_conv")),
    ):
        model.zero_grad()
        losses[name].backward(retain_graph=True)
        for part in (*reached, *not_reached):
            gradient = model.head.get_submodule(part).weight.grad
            assert (gradient is not None and bool(gradient.any())) == (part in reached), (name, part)


def test_without_the_coarse_map():
    head = MODELS.build(dict(HEAD, in_channels=[8], num_landmarks=3, coarse=False))
    assert head.fine_hidden.in_channels == 8 + 32
    maps = head([torch.rand(1, 8, 16, 24), torch.rand(1, 3, 32, 48)])
    assert [tuple(m.shape) for m in maps] == [(1, 3, 32, 48)]


def test_targets_of_both_sizes_have_one_sigma():
    head = MODELS.build(dict(HEAD, in_channels=[8], num_landmarks=3))
    case = samples(1)
    for size in ((64, 96), (32, 48)):
        target = head.encode(case, (64, 96), size, "cpu")
        assert target.sigma == 10
        # The coarse landmark is where the resized image shows it.
        expected = (case[0].gt_landmarks + 0.5) * size[0] / 64 - 0.5
        torch.testing.assert_close(target.landmarks[0], expected.float())


def test_more_than_one_guide_is_refused():
    with pytest.raises(ValueError, match="at most one guide"):
        MODELS.build(dict(HEAD, in_channels=[4, 4, 4]))
