"""FARNet as a whole: published size, wiring, and its rivals of table 2."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from mmlandmark.registry import MODELS
from test_models.farnet_model import FARNET, NARROW, samples


def test_size_and_cost_are_those_of_the_published_network():
    model = MODELS.build(FARNET)
    assert sum(p.numel() for p in model.parameters()) == 61_218_963
    with FlopCounterMode(display=False) as counter:
        image = torch.empty(1, 3, 800, 640, device="meta")
        fine, coarse = model.to("meta").head(model.extract_features(image))
    assert fine.shape == (1, 19, 800, 640)
    assert coarse.shape == (1, 19, 400, 320)
    assert round(counter.get_total_flops() / 2 / 1e9, 2) == 155.46


@pytest.mark.parametrize(
    ("backbone", "neck"),
    [
        (dict(type="ResNet", depth=18, base_channels=4), dict(type="MSFA", channels=8)),
        (dict(type="VGG", widths=(4, 4, 8, 8, 8)), dict(type="MSFA", channels=8, guide=True)),
        (dict(type="HRNet", width=4, modules=(1, 1, 1)), dict(type="MSFA", channels=8)),
        (NARROW["backbone"], dict(type="MSFA", channels=8, fusion="add")),
    ],
    ids=lambda c: "-".join(map(str, c.values())),
)
def test_other_backbones_are_wired(backbone, neck):
    torch.manual_seed(0)
    model = MODELS.build(dict(NARROW, backbone=backbone, neck=neck))
    assert model.head.takes_image == (backbone["type"] != "VGG")
    data = dict(inputs=[torch.rand(3, 64, 96) for _ in range(2)], data_samples=samples())
    batch = model.data_preprocessor(data, training=True)
    losses = model(**batch, mode="loss")
    assert set(losses) == {"loss_ewc", "loss_ewc_level1"}
    sum(losses.values()).backward()
    assert not [k for k, p in model.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    assert model.eval().test_step(data)[0].pred_landmarks.shape == (3, 2)


@pytest.mark.parametrize("training", [True, False])
def test_losses_need_no_training_mode(training):
    losses = MODELS.build(NARROW).train(training)(torch.rand(2, 3, 64, 96), samples(), "loss")
    assert set(losses) == {"loss_ewc", "loss_ewc_level1"}


def test_initialisation_leaves_the_start_of_pytorch():
    torch.manual_seed(0)
    model = MODELS.build(dict(NARROW, head=dict(NARROW["head"], image_channels=1, guide_channels=4)))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.init_weights()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 3])
def test_autocast_and_compile(batch):
    torch.manual_seed(0)
    model = MODELS.build(NARROW)
    image = torch.rand(batch, 3, 64, 64)
    with torch.autocast("cpu", torch.bfloat16):
        losses = model.loss(image, samples(batch, size=(64, 64)))
    assert all(v.dtype == torch.float32 and torch.isfinite(v) for v in losses.values())
    model.eval()
    compiled = torch.compile(model.raw_maps, backend="aot_eager")
    with torch.no_grad():
        torch.testing.assert_close(compiled(image), model.raw_maps(image), atol=1e-4, rtol=1e-4)
