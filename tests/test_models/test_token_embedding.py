"""The heads of FM-OSD: published sizes, and their functions step by step."""

import pytest
import torch
import torch.nn.functional as F

from mmlandmark.models.necks import GlobalTokenEmbedding, LocalTokenEmbedding
from mmlandmark.registry import MODELS

SIZES = {2: ((5, 4), (21, 16)), 3: ((3, 2, 4), (13, 9, 16))}
MODES = {2: "bilinear", 3: "trilinear"}


def parts(kind, dims):
    torch.manual_seed(0)
    tokens, size = SIZES[dims]
    neck = kind(6, channels=5, dims=dims).double().eval()
    features = torch.randn(2, 6, *tokens).double().requires_grad_()
    return neck, features, torch.zeros(2, 1, *size), size


@pytest.mark.parametrize(
    ("kind", "count"), [("GlobalTokenEmbedding", 15_040_768), ("LocalTokenEmbedding", 8_586_496)]
)
def test_published_numbers_of_parameters(kind, count):
    with torch.device("meta"):
        neck = MODELS.build(dict(type=kind, in_channels=6528))
        (level,) = neck([torch.empty(1, 6528, 68, 55), torch.empty(1, 3, 277, 224)])
    assert sum(p.numel() for p in neck.parameters()) == count
    assert tuple(level.shape) == (1, 256, 277, 224)


@pytest.mark.parametrize("dims", [2, 3])
def test_the_global_head_is_a_convolution_of_enlarged_tokens(dims):
    """Tap by tap is another order of the same sums, also for gradients and at the border."""
    neck, features, image, size = parts(GlobalTokenEmbedding, dims)
    (found,) = neck([features, image])
    wanted = neck.conv_out(F.interpolate(features, size, mode=MODES[dims]))
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)
    weights = torch.randn_like(found)
    own = [features, *neck.parameters()]
    pairs = zip(*[torch.autograd.grad((maps * weights).sum(), own) for maps in (found, wanted)], strict=True)
    for one, other in pairs:
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dims", [2, 3])
def test_the_local_head_is_its_steps(dims):
    neck, features, image, size = parts(LocalTokenEmbedding, dims)
    first, norm, _, second, _ = neck.up
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    up = F.conv_transpose2d if dims == 2 else F.conv_transpose3d
    wanted = up(features, first.weight, first.bias, stride=2)
    shape = (-1, *[1] * dims)
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    wanted = (wanted - norm.running_mean.view(shape)) * scale.view(shape) + norm.bias.view(shape)
    wanted = up(wanted.relu(), second.weight, second.bias, stride=2).relu()
    wanted = neck.conv_out2(F.interpolate(wanted, size, mode=MODES[dims]))
    torch.testing.assert_close(neck([features, image])[0], wanted, rtol=1e-10, atol=1e-10)


def test_files_under_the_published_names_fit(tmp_path):
    """The file of the local head also holds a global one that is not its own."""
    whole, local = GlobalTokenEmbedding(6, 5), LocalTokenEmbedding(6, 5)
    assert set(whole.state_dict()) == {"conv_out.weight", "conv_out.bias"}
    files = {
        "global.pth": whole.state_dict(),
        "fine.pth": local.state_dict() | {"conv_out1.weight": torch.zeros(5, 6, 3, 3)},
    }
    for (name, state), kind in zip(files.items(), (GlobalTokenEmbedding, LocalTokenEmbedding), strict=True):
        torch.save(state, tmp_path / name)
        neck = kind(6, 5, init_cfg=dict(type="Pretrained", checkpoint=str(tmp_path / name)))
        neck.init_weights()
        for key, value in neck.state_dict().items():
            assert torch.equal(value, state[key]), key


@pytest.mark.parametrize("kind", [GlobalTokenEmbedding, LocalTokenEmbedding])
def test_wrong_arguments_are_named(kind):
    with pytest.raises(ValueError, match=f"kernel_size of {kind.__name__} must be odd, got 4"):
        kind(6, kernel_size=4)
    with pytest.raises(ValueError, match=f"{kind.__name__} works on one level, got in_channels"):
        kind([6, 6])


def test_taps_are_counted():
    """As those of the convolution on the tokens: the published network convolves 277 x 224 pixels."""
    with torch.device("meta"):
        neck = GlobalTokenEmbedding(6528)
    tokens = torch.empty(1, 6528, 68, 55, device="meta")
    assert neck.uncounted_macs([tokens]) == 9 * 6528 * 256 * 68 * 55
