"""One convolution from the maps of all other landmarks."""

import pytest
import torch
import torch.nn.functional as F

from mmlandmark.models.heads.pairwise_branch import PairwiseBranch
from mmlandmark.registry import MODELS
from test_codecs.downstream_codecs import images_and_samples


def branch(maps=3, dims=2, side=3, downsample=4):
    torch.manual_seed(0)
    return PairwiseBranch(maps, (side,) * dims, (downsample,) * dims, init_std=0.3)


def test_parameters_of_the_published_network():
    model = dict(
        type="LandmarkDetector",
        backbone=dict(type="ConvStack"),
        head=dict(
            type="SpatialConfigurationHead",
            num_landmarks=37,
            kernel_size=5,
            pairwise=True,
            spatial_kernel=15,
            downsample=8,
            codec=dict(type="GaussianHeatmapCodec", sigma=3),
            loss=dict(type="HeatmapMSELoss", reduction="sum", loss_weight=0.5),
        ),
    )
    with torch.device("meta"):
        detector = MODELS.build(model)
        assert detector(torch.empty(1, 1, 256, 200, device="meta")).shape == (1, 37, 256, 200)
    assert sum(p.numel() for p in detector.head.spatial.parameters()) == 37 * 36 * 225 + 37
    assert sum(p.numel() for p in detector.head.local.parameters()) == 37 * (25 * 128 + 1)


@pytest.mark.parametrize("dims", [2, 3])
def test_every_pair_has_a_kernel_of_its_own(dims):
    one = branch(dims=dims)
    local = torch.rand(2, 3, *(8, 12, 16)[:dims])
    pool, conv = (F.avg_pool2d, F.conv2d) if dims == 2 else (F.avg_pool3d, F.conv3d)
    pooled, pairs, expected = pool(local, 4), iter(one.weight), []
    for k in range(3):
        total = one.bias[k]
        for other in (j for j in range(3) if j != k):
            total = total + conv(pooled[:, other : other + 1], next(pairs)[None, None], padding=1)
        expected.append(total)
    mode = "bilinear" if dims == 2 else "trilinear"
    expected = F.interpolate(torch.cat(expected, 1), scale_factor=4, mode=mode, align_corners=False)
    torch.testing.assert_close(one(local), expected)


def test_a_landmark_does_not_see_its_own_map():
    one, local = branch(), torch.rand(1, 3, 9, 14, requires_grad=True)  # no multiples of the blocks
    factors = one(local)
    assert factors.shape == local.shape
    (slope,) = torch.autograd.grad(factors[0, 1].sum(), local)
    assert [bool(part.any()) for part in slope[0]] == [True, False, True]


def test_it_learns():
    torch.manual_seed(0)
    images, samples = images_and_samples((32, 32), batch=2)
    head = dict(
        type="SpatialConfigurationHead",
        num_landmarks=2,
        pairwise=True,
        spatial_kernel=7,
        downsample=4,
        init_std=0.02,
        codec=dict(type="GaussianHeatmapCodec", sigma=2),
        loss=dict(type="HeatmapMSELoss", reduction="sum", loss_weight=0.5),
    )
    backbone = dict(type="ConvStack", widths=(8, 8, 8))
    model = MODELS.build(dict(type="LandmarkDetector", backbone=backbone, head=head))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(100):
        (loss,) = model(images, samples, "loss").values()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        predicted = model.eval()(images, samples, "predict")
    errors = torch.stack([(s.pred_landmarks - s.gt_landmarks).norm(dim=-1) for s in predicted])
    assert float(errors.max()) < 1.0


def test_a_single_landmark_has_no_others():
    with pytest.raises(ValueError, match=r"no others .* set pairwise=False"):
        branch(maps=1)
