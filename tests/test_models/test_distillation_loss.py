"""Losses between features, against the equations written out in float64."""

import pytest
import torch

from mmlandmark.models.losses import AttentionMapLoss, AttentionTransferLoss, FeatureMSELoss
from mmlandmark.models.losses.distillation_loss import resized


def features(channels, size, seed):
    torch.manual_seed(seed)
    return torch.randn(2, channels, *size, dtype=torch.float64)


def attention(maps):
    """Return F(A) = 1/C sum |A_c|^2 of (C, *S) (Huang et al. 2022, eq. 12)."""
    total = torch.zeros_like(maps[0])
    for channel in maps:
        total += channel.abs() ** 2
    return total / len(maps)


@pytest.mark.parametrize("size", [(5, 4), (3, 4, 2)])
def test_attention_maps(size):
    student, teacher = features(3, size, 0).requires_grad_(), features(7, size, 1)
    expected = sum(
        (attention(t) - attention(s)).square().sum().sqrt() for s, t in zip(student, teacher, strict=True)
    )
    loss = AttentionMapLoss()(student, teacher)
    torch.testing.assert_close(loss, expected / 2)
    assert torch.autograd.gradcheck(lambda s: AttentionMapLoss()(s, teacher), student)


def test_equal_attention_maps_have_no_slope():
    student = features(3, (4, 4), 0).requires_grad_()
    AttentionMapLoss()(student, student.detach()).backward()
    assert torch.equal(student.grad, torch.zeros_like(student))


def test_attention_transfer():
    student, teacher = features(3, (5, 4), 0).requires_grad_(), features(7, (5, 4), 1)
    expected = 0
    for s, t in zip(student, teacher, strict=True):
        s, t = attention(s), attention(t)
        expected = (
            expected + (s / s.square().sum().sqrt() - t / t.square().sum().sqrt()).square().sum().sqrt()
        )
    torch.testing.assert_close(AttentionTransferLoss()(student, teacher), expected / 2)
    # Only the shape counts: features three times as strong say the same.
    torch.testing.assert_close(AttentionTransferLoss()(student, 3 * teacher), expected / 2)
    assert torch.autograd.gradcheck(lambda s: AttentionTransferLoss()(s, teacher), student)


def test_features():
    student, teacher = features(3, (5, 4), 0).requires_grad_(), features(3, (5, 4), 1)
    torch.testing.assert_close(FeatureMSELoss()(student, teacher), (student - teacher).square().mean())
    loss = FeatureMSELoss(student_channels=3, teacher_channels=7).double()
    wider = features(7, (5, 4), 1)
    weight, bias = loss.connector.weight[:, :, 0, 0], loss.connector.bias
    made = torch.einsum("oc,bchw->bohw", weight, student) + bias[:, None, None]
    torch.testing.assert_close(loss(student, wider), (made - wider).square().mean())
    assert FeatureMSELoss(student_channels=3, teacher_channels=3).connector is None


def test_features_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match="student_channels=3, teacher_channels=7"):
        FeatureMSELoss()(features(3, (4, 4), 0), features(7, (4, 4), 1))
    with pytest.raises(ValueError, match="have 4 channels"):
        FeatureMSELoss(student_channels=3, teacher_channels=7)(torch.rand(1, 4, 4, 4), torch.rand(1, 7, 4, 4))
    with pytest.raises(ValueError, match=r"teacher's features have 5 channels, .* teacher_channels=7"):
        FeatureMSELoss(student_channels=3, teacher_channels=7)(torch.rand(1, 3, 4, 4), torch.rand(1, 5, 4, 4))
    with pytest.raises(ValueError, match="both"):
        FeatureMSELoss(student_channels=3)


@pytest.mark.parametrize("dims", [2, 3])
def test_maps_of_another_size(dims):
    maps = torch.arange(4.0**dims).reshape(1, 1, *[4] * dims)
    smaller = resized(maps, torch.Size([2] * dims))
    corner = (0, 0, *[slice(0, 2)] * dims)
    torch.testing.assert_close(smaller[(0, 0, *[0] * dims)], maps[corner].mean())
    assert resized(smaller, maps.shape[2:]).shape == maps.shape
    assert resized(maps, maps.shape[2:]) is maps
    # The teacher's attention is reduced before it is shrunk: squares of means are not means of squares.
    student, teacher = features(3, [2] * dims, 0), features(5, [4] * dims, 1)
    expected = torch.stack(
        [
            (resized(attention(t)[None, None], s.shape[1:])[0, 0] - attention(s)).square().sum().sqrt()
            for s, t in zip(student, teacher, strict=True)
        ]
    ).mean()
    torch.testing.assert_close(AttentionMapLoss()(student, teacher), expected)


def test_the_teacher_learns_nothing():
    student, teacher = features(3, (4, 4), 0).requires_grad_(), features(3, (4, 4), 1).requires_grad_()
    for loss in (AttentionMapLoss(), AttentionTransferLoss(), FeatureMSELoss()):
        loss(student, teacher).backward()
        assert teacher.grad is None
