"""Fusion of levels, and what replaces the batch norms of the publication."""

import pytest
import torch
import torch.nn.functional as F

from mmlandmark.models.necks import PyramidFusion


def levels(batch=1, channels=(3, 4, 5), dims=2):
    torch.manual_seed(1)
    return [torch.randn(batch, c, *(s // 2**i for s in (16, 24, 8)[:dims])) for i, c in enumerate(channels)]


@pytest.mark.parametrize("dims", [2, 3])
def test_all_levels_at_the_size_of_the_finest(dims):
    neck = PyramidFusion([3, 4, 5], channels=4, dims=dims)
    (features,) = neck(levels(2, dims=dims))
    assert features.shape == (2, 12, *(16, 24, 8)[:dims])
    assert neck.out_channels == [12]


def test_it_equals_its_definition():
    torch.manual_seed(0)
    neck, given = PyramidFusion([3, 4, 5], channels=4, norm_cfg=None, act_cfg=None), levels()
    parts = [
        F.interpolate(
            F.conv2d(level, lateral.conv.weight, lateral.conv.bias),
            size=(16, 24),
            mode="bilinear",
            align_corners=False,
        )
        for level, lateral in zip(given, neck.laterals, strict=True)
    ]
    joined, branches = torch.cat(parts, 1), neck.fusion.branches
    expected = [F.conv2d(joined, branches[0].conv.weight, branches[0].conv.bias)]
    for branch, dilation in zip(branches[1:], (1, 2, 4), strict=True):
        conv = branch.conv
        expected.append(F.conv2d(joined, conv.weight, conv.bias, padding=dilation, dilation=dilation))
    torch.testing.assert_close(neck(given)[0], torch.cat(expected, 1))


def test_one_image_is_normalised_as_published_and_batches_do_not_mix():
    torch.manual_seed(0)
    ours = PyramidFusion([3, 4, 5], channels=4)
    published = PyramidFusion([3, 4, 5], channels=4, norm_cfg=dict(type="BN", track_running_stats=False))
    state = {name.replace("instance_norm", "bn"): value for name, value in ours.state_dict().items()}
    published.load_state_dict(state)
    given = levels(2)
    together = ours(given)[0]
    for i in range(2):
        alone = [level[i : i + 1] for level in given]
        torch.testing.assert_close(ours(alone)[0][0], together[i])
        torch.testing.assert_close(published(alone)[0][0], together[i])
    assert not torch.allclose(published(given)[0], together, atol=1e-2)


def test_bad_arguments():
    with pytest.raises(ValueError, match="multiple of 4 channels, got 15"):
        PyramidFusion([3, 4, 5], channels=5)
    with pytest.raises(ValueError, match="PyramidFusion has 3 levels, the backbone returns 2"):
        PyramidFusion([3, 4, 5], channels=4)(levels()[:2])
