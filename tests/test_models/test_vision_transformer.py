"""Vision transformer: published sizes and names, and the layers of PyTorch as a reference."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmlandmark.models.backbones import VisionTransformer
from mmlandmark.models.backbones.vision_transformer import TransformerBlock
from mmlandmark.models.log_bins import log_bins
from test_models.backbone_cases import check_parameters

SMALL = dict(patch_size=4, width=12, depth=3, num_heads=3, grid=6)
FM_OSD = dict(stride=4, descriptor="key", log_bins=2, out_indices=(8,))


def build(**changes):
    torch.manual_seed(0)
    model = VisionTransformer(**dict(SMALL, **changes))
    with torch.no_grad():  # what starts at zero or one is to count, too
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.double().eval()


def theirs_of(block):
    """Return a layer of PyTorch with the weights of a block."""
    width = len(block.norm1.weight)
    layer = nn.TransformerEncoderLayer(
        width, block.attn.num_heads, 4 * width, 0.0, F.gelu, 1e-6, batch_first=True, norm_first=True
    )
    names = {
        "attn.qkv.weight": "self_attn.in_proj_weight",
        "attn.qkv.bias": "self_attn.in_proj_bias",
        "attn.proj": "self_attn.out_proj",
        "mlp.fc1": "linear1",
        "mlp.fc2": "linear2",
    }
    state = {}
    for name, value in block.state_dict().items():
        for own, other in names.items():
            name = name.replace(own, other)
        state[name] = value
    layer.load_state_dict(state)
    return layer.double().eval()


def test_a_block_is_the_layer_of_pytorch():
    torch.manual_seed(0)
    block = TransformerBlock(12, 3).double()
    tokens = torch.randn(2, 7, 12).double()
    with torch.no_grad():
        torch.testing.assert_close(block(tokens), theirs_of(block)(tokens), rtol=1e-9, atol=1e-9)


def test_keys_are_those_of_the_attention_of_pytorch():
    """Attention by the keys that are returned gives what the attention of PyTorch gives."""
    torch.manual_seed(0)
    block = TransformerBlock(12, 3).double()
    tokens = torch.randn(1, 7, 12).double()
    theirs = theirs_of(block).self_attn
    with torch.no_grad():
        normed = block.norm1(tokens)
        queries = F.linear(normed, theirs.in_proj_weight[:12], theirs.in_proj_bias[:12])
        weights = theirs(normed, normed, normed, average_attn_weights=False)[1]
        keys = block.keys(tokens)
        for head in range(3):
            own = slice(4 * head, 4 * head + 4)
            wanted = (queries[..., own] @ keys[..., own].mT / 2).softmax(-1)
            torch.testing.assert_close(weights[:, head], wanted)


@pytest.mark.parametrize(("stride", "size"), [(4, (24, 24)), (2, (22, 15))])
def test_the_whole_is_the_layers_of_pytorch(stride, size):
    model = build(stride=stride)
    images = torch.randn(2, 3, *size).double()
    rows, columns = ((side - 4) // stride + 1 for side in size)
    kernel = model.patch_embed.proj
    with torch.no_grad():
        tokens = []
        for row in range(rows):
            for column in range(columns):
                patch = images[:, :, row * stride : row * stride + 4, column * stride : column * stride + 4]
                tokens.append((patch[:, None] * kernel.weight).sum((2, 3, 4)) + kernel.bias)
        places = model.pos_embed[:, 1:].mT.unflatten(2, (6, 6))
        places = F.interpolate(places, (rows, columns), mode="bicubic").flatten(2).mT
        first = (model.cls_token + model.pos_embed[:, :1]).expand(2, -1, -1)
        tokens = torch.cat([first, torch.stack(tokens, 1) + places], 1)
        for block in model.blocks:
            tokens = theirs_of(block)(tokens)
        (found,) = model(images)
    wanted = tokens[:, 1:].mT.unflatten(2, (rows, columns))
    torch.testing.assert_close(found, wanted, rtol=1e-8, atol=1e-8)


def test_descriptors_are_those_of_fm_osd():
    with torch.device("meta"):
        model = VisionTransformer(**FM_OSD)
        (level,) = model(torch.empty(1, 3, 277, 224))
    assert tuple(level.shape) == (1, 6528, 68, 55)
    assert (model.out_channels, model.strides) == ([6528], [4])
    assert len(model.blocks) == 9
    # ViT-S/8 has 21,670,272 parameters, 768 of them in the last norm.
    check_parameters(dict(type="VisionTransformer"), 21_670_272 - 768)


def test_keys_of_several_blocks_with_their_context():
    model, tokens = build(descriptor="key", log_bins=2, out_indices=(2, 0)), build(out_indices=(0, 1))
    assert model.load_state_dict(tokens.state_dict(), strict=False).missing_keys  # of the last block
    images = torch.randn(1, 3, 24, 24).double()
    with torch.no_grad():
        found, before = model(images), tokens(images)
        assert [level.shape for level in found] == [(1, 17 * 12, 6, 6)] * 2
        # Keys of a block look at what the block before gives.
        flat = before[1].flatten(2).mT
        wanted = keys_of(model.blocks[2], flat).mT.unflatten(2, (6, 6))
    torch.testing.assert_close(found[0], log_bins(wanted, 2))


def test_keys_are_counted():
    """Tokens of the second block cost what keys of the third do, and those keys."""
    images = torch.empty(1, 3, 24, 24)
    assert build(descriptor="key").uncounted_macs(images) == 37 * 12**2
    assert build().uncounted_macs(images) == 0


def keys_of(block, tokens):
    return (
        nn.functional.layer_norm(tokens, (12,), block.norm1.weight, block.norm1.bias, 1e-6)
        @ (block.attn.qkv.weight[12:24].T)
        + block.attn.qkv.bias[12:24]
    )


def published(width=12, depth=3, channels=3):
    """Return weights under the names of the file that DINO publishes, with what is not needed here."""
    model = VisionTransformer(**dict(SMALL, depth=depth, in_channels=channels))
    torch.manual_seed(1)
    state = {name: torch.randn_like(value) for name, value in model.state_dict().items()}
    more = {"norm.weight": torch.ones(width), "norm.bias": torch.zeros(width)}
    return state | more


@pytest.mark.parametrize("descriptor", ["key", "token"])
def test_it_starts_from_the_published_file(tmp_path, descriptor):
    state = published()
    torch.save(state, tmp_path / "dino.pth")
    weights = dict(type="Pretrained", checkpoint=str(tmp_path / "dino.pth"))
    model = VisionTransformer(**SMALL, descriptor=descriptor, out_indices=(1,), init_cfg=weights)
    model.init_weights()
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name]), name
    assert ("blocks.1.mlp.fc1.weight" in model.state_dict()) == (descriptor == "token")
    assert "blocks.2.norm1.weight" not in model.state_dict()
    grey = VisionTransformer(**SMALL, in_channels=1, out_indices=(1,), init_cfg=weights)
    grey.init_weights()
    image = torch.rand(1, 1, 24, 24)
    model = VisionTransformer(**SMALL, out_indices=(1,), init_cfg=weights)
    model.init_weights()
    with torch.no_grad():
        wanted = model(image.expand(-1, 3, -1, -1))[0]
        torch.testing.assert_close(grey(image)[0], wanted, rtol=1e-4, atol=1e-4)


def test_weights_of_another_network_are_refused(tmp_path):
    torch.save(published(), tmp_path / "dino.pth")
    weights = dict(type="Pretrained", checkpoint=str(tmp_path / "dino.pth"))
    with pytest.raises(
        ValueError, match=r"another model: .*pos_embed \(1, 37, 12\) instead of \(1, 50, 12\)"
    ):
        VisionTransformer(**dict(SMALL, grid=7), init_cfg=weights).init_weights()


def test_stages_can_be_frozen():
    model = VisionTransformer(**SMALL, frozen_stages=2)
    learning = {name.split(".")[1] for name, p in model.named_parameters() if p.requires_grad}
    assert learning == {"2"}
    assert not any(p.requires_grad for p in VisionTransformer(**SMALL, frozen_stages=3).parameters())


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match=r"a width that num_heads divides, got .* width=10"):
        VisionTransformer(width=10)
    with pytest.raises(ValueError, match="descriptor must be 'token' or 'key', got 'query'"):
        VisionTransformer(**SMALL, descriptor="query")
    with pytest.raises(ValueError, match=r"out_indices of VisionTransformer must lie in 0..2, got \(3,\)"):
        VisionTransformer(**SMALL, out_indices=(3,))
    with pytest.raises(ValueError, match=r"patches of 4 pixels a side, the image has \(3, 9\)"):
        VisionTransformer(**SMALL)(torch.zeros(1, 3, 3, 9))
