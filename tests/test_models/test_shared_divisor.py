"""Several processes learn what one learns from all their images, whichever landmarks are missing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmengine.model import MMDistributedDataParallel
from torch import nn

from mmlandmark.models.losses import CascadeContrastLoss, SampledContrastLoss
from mmlandmark.models.shared_divisor import share_batches, shared_divisor
from mmlandmark.models.similarity import PatchPair
from mmlandmark.registry import MODELS
from mmlandmark.structures import LandmarkDataSample
from two_processes import in_two

K, SIZE = 5, (32, 32)
# Landmarks that are annotated in four images; the second process has less than half of them, or none.
SHOWN = {
    "some": [[1, 1, 1, 1, 1], [1, 1, 1, 1, 0], [1, 0, 0, 0, 1], [0, 0, 1, 0, 0]],
    "none in one": [[1, 1, 1, 1, 1], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]],
}
LOSSES = {
    "EWC": dict(type="EWCLoss"),
    "EWC, sum": dict(type="EWCLoss", reduction="sum"),
    "top": dict(type="HeatmapMSELoss", top=0.2),
    "L1": dict(type="HeatmapL1Loss"),
    "BCE": dict(type="HeatmapBCELoss"),
    "cross-entropy": dict(type="SpatialCrossEntropyLoss"),
    "Dice": dict(type="DiceLoss"),
    "integral": dict(type="IntegralL1Loss", activation="softmax"),
    "configuration": dict(type="SpatialConfigurationLoss", gamma=0.1),
}


def detector(loss, **backbone):
    torch.manual_seed(0)
    norm = dict(type="GN", num_groups=2)
    return MODELS.build(
        dict(
            type="LandmarkDetector",
            data_preprocessor=dict(type="LandmarkDataPreprocessor", channels=1),
            backbone=dict(type="UNet", in_channels=1, widths=(4, 8), norm_cfg=norm, **backbone),
            head=dict(
                type="HeatmapHead",
                num_landmarks=K,
                codec=dict(type="GaussianHeatmapCodec", sigma=2.0),
                loss=loss,
                presence=dict(hidden=4),
            ),
        )
    ).train()


def batch(shown):
    """Return four images and their samples; a landmark that is not shown is not annotated, or absent."""
    rng = np.random.default_rng(0)
    images = torch.tensor(rng.normal(size=(4, 1, *SIZE)), dtype=torch.float32)
    samples = []
    for number, row in enumerate(shown):
        points = rng.uniform(4, 28, (K, 2))
        points[~np.array(row, bool)] = np.nan
        given = dict(sample_id=str(number), ori_shape=SIZE)
        samples.append(LandmarkDataSample.from_landmarks(points, **given))
    return images, samples


def gradients(model, images, samples, distributed=False):
    """Return the gradient of all parameters as one vector."""
    wrapped = model
    if distributed:
        wrapped = MMDistributedDataParallel(model, broadcast_buffers=False)
        share_batches(wrapped)
    sum(wrapped(images, samples, mode="loss").values()).backward()
    return torch.cat([p.grad.flatten() for p in model.parameters()]).numpy()


def share_of_a_process():
    """Return the gradients of one of two processes, which has two of the four images."""
    own = slice(2 * torch.distributed.get_rank(), 2 * torch.distributed.get_rank() + 2)
    found = {}
    for case, shown in SHOWN.items():
        images, samples = batch(shown)
        for name, loss in LOSSES.items():
            found[case, name] = gradients(detector(loss), images[own], samples[own], True)
    images, samples = batch(SHOWN["some"])
    recomputing = detector(LOSSES["EWC"], with_checkpoint=True)
    found["recomputed", "EWC"] = gradients(recomputing, images[own], samples[own], True)
    for name, loss in contrasts().items():
        found["contrast", name] = contrast_gradients(loss, own, torch.distributed.get_world_size())
    return found


def contrasts():
    return dict(cascade=CascadeContrastLoss(window=2), sampled=SampledContrastLoss((9,), radius=(None,)))


def contrast_gradients(loss, own, processes):
    """Return the gradient of a contrast of some of four images with respect to a weight that all share."""
    rng = torch.Generator().manual_seed(0)
    maps, patches = torch.rand(4, 3, 8, 8, generator=rng), torch.rand(4, 3, 4, 4, generator=rng)
    points = 4 + 8 * torch.rand(4, 2, 2, generator=rng)
    mask = torch.tensor([[True, True], [True, True], [True, False], [False, False]])
    weight = nn.Parameter(torch.ones(3, 1, 1))
    pair = PatchPair(
        [(weight * maps)[own]], [(weight.square() * patches)[own]], points[own], points[own] / 2, mask[own],
        (16, 16), (8, 8),
    )  # fmt: skip
    loss.others = _same_others if hasattr(loss, "others") else None
    step = _Step(loss)
    if processes > 1:
        share_batches(step)
    step(pair).backward()
    if processes > 1:
        torch.distributed.all_reduce(weight.grad)
    return (weight.grad / processes).flatten().numpy()


class _Step(nn.Module):
    """Stands for a wrapped model."""

    def __init__(self, loss):
        super().__init__()
        self.loss = loss

    def forward(self, pair):
        return self.loss(pair)


def _same_others(own, size, level, stride):
    """Stand in for random pixels, which every process draws for itself."""
    pixels = torch.stack(torch.meshgrid(torch.arange(3), torch.arange(3), indexing="ij"), -1).flatten(0, 1)
    return pixels.expand(*own.shape[:2], -1, -1)


def assert_same(found, wanted):
    """Compare up to a millionth of the length of the gradient."""
    assert np.linalg.norm(found - wanted) <= 1e-6 * np.linalg.norm(wanted)


@pytest.fixture(scope="module")
def of_two():
    return in_two(share_of_a_process)


def test_both_processes_have_the_same_gradients(of_two):
    first, second = of_two
    assert all(np.array_equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("case", SHOWN)
@pytest.mark.parametrize("name", LOSSES)
def test_two_processes_have_the_gradient_of_one(of_two, case, name):
    alone = gradients(detector(LOSSES[name]), *batch(SHOWN[case]))
    assert np.abs(alone).max() > 1e-3
    assert_same(of_two[0][case, name], alone)


def test_recomputed_activations_change_no_gradient(of_two):
    alone = gradients(detector(LOSSES["EWC"]), *batch(SHOWN["some"]))
    assert_same(of_two[0]["recomputed", "EWC"], alone)


@pytest.mark.parametrize("name", contrasts())
def test_contrasts_are_means_over_all_points_too(of_two, name):
    alone = contrast_gradients(contrasts()[name], slice(0, 4), 1)
    assert_same(of_two[0]["contrast", name], alone)


def test_the_test_would_see_a_mean_of_means():
    """Two processes that each divided by their own number would differ by far more than rounding."""
    images, samples = batch(SHOWN["some"])
    alone = gradients(detector(LOSSES["EWC"]), images, samples)
    halves = [gradients(detector(LOSSES["EWC"]), images[own], samples[own]) for own in np.s_[:2, 2:]]
    assert np.abs(np.mean(halves, 0) - alone).max() > 1e-2


def test_only_steps_of_a_wrapped_model_are_shared(monkeypatch):
    """What a process computes for itself must not wait for others, also after a step has failed."""
    asked = []
    monkeypatch.setattr("mmlandmark.models.shared_divisor.all_reduce", lambda *_, **__: asked.append(1))

    def divide(fails=False):
        if fails:
            raise ValueError("fails")
        return shared_divisor(torch.tensor(3))

    step = _Step(divide)
    assert step(False) == 3
    share_batches(step)
    with pytest.raises(ValueError, match="fails"):
        step(True)
    assert divide() == 3
    assert not asked
    assert step(False) == 3
    assert len(asked) == 1
    assert shared_divisor(torch.tensor(0.0)) > 0
