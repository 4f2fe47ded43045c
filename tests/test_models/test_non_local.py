"""The non-local block against the pairs written out."""

import pytest
import torch
from torch import nn

from mmlandmark.models import NonLocalBlock
from mmlandmark.models.backbones import UNet


def written_out(block, features):
    """Return the block's output pair by pair, as published: a projection of every concatenation."""
    g, phi = block.pool(block.g(features)).flatten(2), block.pool(block.phi(features)).flatten(2)
    theta = block.theta(features).flatten(2)
    output = torch.zeros_like(theta)
    for b in range(len(features)):
        for i in range(theta.shape[2]):
            for j in range(phi.shape[2]):
                pair = torch.cat([theta[b, :, i], phi[b, :, j]])
                output[b, :, i] += torch.relu(block.pair(pair)) * g[b, :, j] / phi.shape[2]
    return features + block.norm(block.output(output.reshape(*output.shape[:2], *features.shape[2:])))


@pytest.mark.parametrize(("dims", "size"), [(2, (4, 6)), (2, (5, 3)), (3, (2, 3, 4))])
def test_it_equals_the_pairs_written_out(dims, size):
    torch.manual_seed(0)
    block = NonLocalBlock(6, dims=dims).double()
    nn.init.normal_(block.norm.weight)
    features = torch.randn(2, 6, *size, dtype=torch.float64, requires_grad=True)
    expected, output = written_out(block, features), block(features)
    torch.testing.assert_close(output, expected)
    parts = [features, *block.parameters()]
    weight = torch.randn_like(output)
    for one, other in zip(
        torch.autograd.grad((output * weight).sum(), parts),
        torch.autograd.grad((expected * weight).sum(), parts),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def test_it_starts_as_identity():
    features = torch.randn(2, 8, 4, 4)
    assert torch.equal(NonLocalBlock(8)(features), features)


def test_its_parameters_are_those_of_the_publication():
    block = NonLocalBlock(1024)
    assert sum(p.numel() for p in block.parameters()) == 2_102_784
    assert block.uncounted_macs(torch.empty(1, 1024, 32, 16, device="meta")) == 2**26


def test_a_map_too_small_to_halve():
    with pytest.raises(ValueError, match="larger images"):
        NonLocalBlock(4)(torch.rand(1, 4, 1, 8))


def test_a_unet_passes_its_deepest_features_through_it():
    model = UNet(1, (4, 8), bottleneck=dict(type="NonLocalBlock"))
    image = torch.rand(1, 1, 16, 16)
    with torch.no_grad():
        before = model(image)[0]
        nn.init.ones_(model.bottleneck.norm.weight)
        assert not torch.equal(model(image)[0], before)
