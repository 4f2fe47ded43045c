"""Recomputed activations: the same numbers for less memory."""

from __future__ import annotations

import pytest
import torch

from mmlandmark.models.backbones import UNet
from test_models.backbone_cases import SMALL, build, name

OTHERS = [
    dict(type="UNet", in_channels=3, widths=(4, 8), norm_cfg=dict(type="BN")),
    dict(type="VisionTransformer", stride=16, width=4, depth=2, num_heads=2, grid=4),
]


@pytest.mark.parametrize("config", [*SMALL, *OTHERS], ids=name)
def test_recomputing_changes_nothing(config):
    torch.manual_seed(2)
    plain, spared = build(config).train(), build(config, with_checkpoint=True).train()
    spared.load_state_dict(plain.state_dict())
    image = torch.rand(2, 3, 64, 64)
    for model in (plain, spared):
        kinds = (torch.nn.Conv2d, torch.nn.Linear)
        calls, layers = [], [m for m in model.modules() if isinstance(m, kinds)]
        for layer in layers:
            layer.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        loss = sum(level.square().mean() for level in model(image))
        loss.backward(retain_graph=True)
        assert (len(calls) > len(layers)) == (model is spared)
        before = next(model.parameters()).grad.clone()
        loss.backward()  # over the same graph once more
        torch.testing.assert_close(next(model.parameters()).grad, 2 * before)
    for (key, one), other in zip(plain.named_parameters(), spared.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, msg=key)
    for (key, one), other in zip(plain.named_buffers(), spared.buffers(), strict=True):
        assert torch.equal(one, other), f"{key}: a batch must be counted once"


def test_checkpointing_changes_memory_not_numbers():
    torch.manual_seed(0)
    plain = UNet(1, (4, 8), norm_cfg=None)
    recomputing = UNet(1, (4, 8), norm_cfg=None, with_checkpoint=True)
    recomputing.load_state_dict(plain.state_dict())
    image = torch.rand(1, 1, 16, 16)
    for model in (plain, recomputing):
        model(image)[0].square().sum().backward()
    for a, b in zip(plain.parameters(), recomputing.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)
