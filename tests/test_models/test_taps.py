"""What modules return is heard, and nothing behind the last of them is computed."""

import pytest
import torch
from torch import nn

from mmlandmark.models.taps import check_taps, record_outputs


class Chain(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 2, 1), nn.Conv2d(2, 3, 1)
        self.last = nn.Identity()
        self.seen = []

    def forward(self, x):
        for name in ("first", "second", "last"):
            x = getattr(self, name)(x)
            self.seen.append(name)
        return x, x


def test_outputs_are_heard():
    network, image = Chain(), torch.rand(1, 1, 2, 2)
    with record_outputs(network, ["first", "last"]) as outputs:
        output = network(image)
    assert sorted(outputs) == ["first", "last"]
    assert outputs["last"] is output[0]
    assert torch.equal(outputs["first"], network.first(image))
    assert outputs["first"].grad_fn is not None
    assert not network.first._forward_hooks


def test_of_several_outputs_the_first_is_kept():
    network = nn.Sequential(Chain())
    with record_outputs(network, ["0"]) as outputs:
        output = network(torch.rand(1, 1, 2, 2))
    assert outputs["0"] is output[0]


def test_the_pass_ends_with_the_last_tap():
    network = Chain()
    with record_outputs(network, ["second"], stop=True) as outputs:
        network(torch.rand(1, 1, 2, 2))
    assert sorted(outputs) == ["second"]
    assert network.seen == ["first"], "what comes behind the last tap must not run"
    assert not network.second._forward_hooks


def test_an_error_inside_is_not_swallowed():
    network = Chain()
    with pytest.raises(RuntimeError, match="channels"), record_outputs(network, ["last"], stop=True):
        network(torch.rand(1, 3, 2, 2))
    assert not network.last._forward_hooks


def test_a_module_that_does_not_run_is_named():
    network = Chain()
    network.branch = nn.Conv2d(1, 1, 1)
    with (
        pytest.raises(ValueError, match=r"Chain has \['branch'\], but they do not run"),
        record_outputs(network, ["first", "branch"], stop=True),
    ):
        network(torch.rand(1, 1, 2, 2))
    assert not network.branch._forward_hooks


def test_close_names_are_listed():
    with pytest.raises(ValueError, match=r"the student has no module 'sekond'; close to it: second"):
        check_taps(Chain(), ["first", "sekond"], "the student")
    with pytest.raises(ValueError, match="close to it: first, second, last"):
        check_taps(Chain(), ["xyz"], "the student")
