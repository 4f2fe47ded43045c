"""Networks of one shape run as one, over maps that they share or do not share."""

import pytest
import torch
from torch import nn

from mmlandmark.models.blocks import conv_block
from mmlandmark.models.receptive_field_block import ReceptiveFieldBlock
from mmlandmark.models.side_by_side import folded, for_all, run_joined, side_by_side

K = 3


def sequences(dims, channels, **options):
    torch.manual_seed(0)
    options = dict(conv_cfg=dict(type=f"Conv{dims}d"), act_cfg=dict(type="ReLU")) | options
    made = []
    for _ in range(K):
        convs = [conv_block(channels, 4, 3, **options), conv_block(4, 5, 1, **options)]
        made.append(nn.Sequential(*convs).double().eval())
    for norm in (
        m for module in made for m in module.modules() if getattr(m, "running_var", None) is not None
    ):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    return made


def parts_of(dims, kinds):
    """Return maps of 2 channels each, shared (s) or not (o)."""
    torch.manual_seed(1)
    size = (6, 5, 4)[:dims]
    return [torch.randn(2, *([K] if kind == "o" else []), 2, *size).double() for kind in kinds]


def of_one(parts, k, dims):
    return torch.cat([p[:, k] if p.ndim == dims + 3 else p for p in parts], 1)


@pytest.mark.parametrize("norm", ["BN", "IN", None])
@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("kinds", ["ss", "oo", "so", "os", "sos"])
def test_they_are_what_each_is_alone(dims, kinds, norm):
    norm_cfg = norm and dict(type=f"{norm}{dims}d", affine=True)
    modules, parts = sequences(dims, 2 * len(kinds), norm_cfg=norm_cfg), parts_of(dims, kinds)
    with torch.no_grad():
        own = run_joined(side_by_side(modules), parts, dims)
        assert own.shape == (2, K, 5, *parts[0].shape[-dims:])
        shared = run_joined(for_all(modules[0]), parts, dims)
        assert shared.ndim == dims + 2 + ("o" in kinds)
        for k in range(K):
            torch.testing.assert_close(own[:, k], modules[k](of_one(parts, k, dims)))
            one = shared[:, k] if "o" in kinds else shared
            torch.testing.assert_close(one, modules[0](of_one(parts, k, dims)))


@pytest.mark.parametrize("kinds", ["s", "o", "so"])
@pytest.mark.parametrize("dims", [2, 3])
def test_also_of_modules_that_are_no_sequence(dims, kinds):
    torch.manual_seed(0)
    modules = [ReceptiveFieldBlock(2 * len(kinds), 3, dims=dims).double().eval() for _ in range(K)]
    parts = parts_of(dims, kinds)
    with torch.no_grad():
        own, shared = (run_joined(m, parts, dims) for m in (side_by_side(modules), for_all(modules[0])))
        for k in range(K):
            torch.testing.assert_close(own[:, k], modules[k](of_one(parts, k, dims)))
            one = shared[:, k] if "o" in kinds else shared
            torch.testing.assert_close(one, modules[0](of_one(parts, k, dims)))


def test_a_plain_convolution_and_its_gradient():
    modules, parts = [nn.Conv2d(4, 5, 3, padding=1).double() for _ in range(K)], parts_of(2, "so")
    run_joined(side_by_side(modules), parts, 2).square().sum().backward()
    together = [m.weight.grad.clone() for m in modules]
    for k, module in enumerate(modules):
        module.zero_grad()
        module(of_one(parts, k, 2)).square().sum().backward()
        torch.testing.assert_close(module.weight.grad, together[k])


def test_shared_maps_are_convolved_once(monkeypatch):
    from mmlandmark.models import side_by_side as module

    sizes, convolve = [], module._convolve
    monkeypatch.setattr(
        module,
        "_convolve",
        lambda conv, maps, *args: sizes.append(tuple(maps.shape[:2])) or convolve(conv, maps, *args),
    )
    modules = sequences(2, 4, norm_cfg=None)
    run_joined(for_all(modules[0][:1]), parts_of(2, "so"), 2)
    run_joined(side_by_side([m[:1] for m in modules]), parts_of(2, "so"), 2)
    assert sizes == [(2, 2), (2 * K, 2), (2, 2), (2, 2 * K)]


def test_maps_of_each_are_folded_into_the_batch():
    maps = torch.rand(2, K, 4, 3, 3)
    shapes = []
    result = folded(lambda one: shapes.append(one.shape) or one[:, :1], maps, 2)
    assert shapes == [(2 * K, 4, 3, 3)]
    assert torch.equal(result, maps[:, :, :1])
    assert torch.equal(folded(torch.neg, maps[:, 0], 2), -maps[:, 0])
