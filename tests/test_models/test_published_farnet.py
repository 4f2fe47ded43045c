"""What the published code of FARNet does differently, and its weights."""

from __future__ import annotations

import pytest
import torch

from mmlandmark.models.published_farnet import farnet_state_dict
from mmlandmark.registry import CODECS, MODELS
from test_models.farnet_model import NARROW, samples


def test_one_based_grid_is_one_pixel_off():
    points = torch.tensor([[[40.0, 20.0], [10.0, 30.0]]])
    mask = torch.ones(1, 2, dtype=torch.bool)
    codec = CODECS.build(dict(type="PublishedFARNetCodec", sigma=2, decoder="dark"))
    target = codec.encode(points, mask, mask.float(), (64, 96), (64, 96))
    detection = codec.decode(target.heatmaps, (64, 96))
    torch.testing.assert_close(detection.points, points - 1, atol=1e-3, rtol=0)
    half = codec.encode(points, mask, mask.float(), (64, 96), (32, 48))
    torch.testing.assert_close(half.landmarks, points / 2 - 1)


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_maps_of_a_mirrored_image_have_no_mean_with_those_of_the_image(scale):
    """They lie 1 + 1 / scale pixels of the map apart."""
    mask, size = torch.ones(1, 1, dtype=torch.bool), (64 // scale, 96 // scale)
    codec = CODECS.build(dict(type="PublishedFARNetCodec", sigma=2))
    points = torch.tensor([[[40.0, 20.0]]])
    mirrored = torch.tensor([[[95 - 40.0, 20.0]]])
    x, other = (
        codec.encode(p, mask, mask.float(), (64, 96), size).landmarks[0, 0, 0] for p in (points, mirrored)
    )
    assert float(x - (size[1] - 1 - other)) == pytest.approx(-1 - 1 / scale)
    with pytest.raises(ValueError, match=r"PublishedFARNetCodec draws a landmark .* test without flip"):
        codec.mirrored(torch.zeros(1, 1, *size), [0])
    model = dict(NARROW, head=dict(NARROW["head"], codec=dict(type="PublishedFARNetCodec", sigma=2)))
    MODELS.build(model)
    with pytest.raises(
        ValueError, match=r"PublishedFARNetCodec draws a landmark .* leave test_cfg\.flip out"
    ):
        MODELS.build(dict(model, test_cfg=dict(flip=True)))


def test_blue_first_from_0_to_255():
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    image = torch.tensor([0.1, 0.5, 0.9]).view(3, 1, 1).expand(3, 4, 4)
    inputs = MODELS.build(dict(type="PublishedFARNetPreprocessor", mean=mean, std=std))(dict(inputs=[image]))[
        "inputs"
    ]
    expected = [(255 * v - m) / s for v, m, s in zip((0.9, 0.5, 0.1), mean, std, strict=True)]
    torch.testing.assert_close(inputs[0, :, 0, 0], torch.tensor(expected))


def test_batch_statistics_at_the_test():
    torch.manual_seed(0)
    model = MODELS.build(dict(NARROW, type="PublishedFARNetDetector")).eval()
    before = {k: v.clone() for k, v in model.named_buffers()}
    image = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        first, second = model.raw_maps(image), model.raw_maps(image)
        model.train()
        learning = model.head(model.extract_features(image))[0]
    assert torch.equal(first, second)
    torch.testing.assert_close(first, learning)
    changed = {k for k, v in model.named_buffers() if not torch.equal(v, before[k])}
    assert changed, "in training the statistics are learned"
    model.eval()
    model.raw_maps(image)
    plain = MODELS.build(NARROW).eval()
    plain.load_state_dict({k: v for k, v in model.state_dict().items()})
    assert not torch.allclose(plain.raw_maps(image), first)


def test_batch_statistics_learn_nothing_that_is_frozen():
    model = MODELS.build(
        dict(
            NARROW,
            backbone=dict(NARROW["backbone"], frozen_stages=0, norm_eval=True),
            type="PublishedFARNetDetector",
        )
    ).train()
    before = {k: v.clone() for k, v in model.backbone.named_buffers()}
    model(torch.rand(2, 3, 64, 96), samples(), "loss")
    assert all(torch.equal(v, before[k]) for k, v in model.backbone.named_buffers())


def published_names() -> dict[str, str]:
    """Return the published name of each of our parameters, written out from the notes on that code."""
    pairs = {
        "head.guide": "w1_conv11_0.conv11_0 w1_conv11_0.norm11_0",
        "neck.bottom.0": "w1_conv33_01.conv11_1 w1_conv33_01.norm11_1",
        "neck.bottom.1": "w1_conv11_1.conv11_1 w1_conv11_1.norm11_1",
        "neck.up1_3.fuse": "w1_conv11_2.conv11_2 w1_conv11_2.norm11_2",
        "neck.up1_2.fuse": "w1_conv11_3.conv11_3 w1_conv11_3.norm11_3",
        "neck.up1_1.fuse": "mid_conv11_1.conv11_4 mid_conv11_1.norm11_4",
        "neck.step_2": "conv33_stride1.conv33_0 conv33_stride1.norm33_0",
        "neck.down_2.fuse": "wblock1.conv11.conv11_1 wblock1.conv11.norm11_1",
        "neck.step_3": "conv33_stride2.conv33_0 conv33_stride2.norm33_0",
        "neck.down_3.fuse": "wblock2.conv11.conv11_1 wblock2.conv11.norm11_1",
        "neck.step_4": "conv33_stride3.conv33_0 conv33_stride3.norm33_0",
        "neck.down_4.fuse": "wblock3.conv33.conv11_1 wblock3.conv33.norm11_1",
        "neck.turn": "w2_conv11_1.conv11_1 w2_conv11_1.norm11_1",
        "neck.up2_3.fuse": "w2_conv11_2.conv11_2 w2_conv11_2.norm11_2",
        "neck.up2_2.fuse": "w2_conv11_3.conv11_3 w2_conv11_3.norm11_3",
        "neck.up2_1.fuse": "w2_conv11_4.conv11_4 w2_conv11_4.norm11_4",
        "neck.up2_0.fuse": "w2_conv11_5.conv11_4 w2_conv11_5.norm11_4",
    }
    names = {}
    for ours, theirs in pairs.items():
        conv, norm = theirs.split()
        names |= {f"{ours}.conv": conv, f"{ours}.bn": norm}
    plain = {
        "head.coarse_hidden": "conv_33_refine1",
        "head.coarse_conv": "conv_11_refine",
        "head.fine_hidden": "conv_33_last1",
        "head.fine_conv": "conv_11_last",
    }
    return names | plain


def test_published_weights_are_read():
    torch.manual_seed(0)
    trained = MODELS.build(NARROW).eval()
    names = published_names()
    published = {}
    for key, value in trained.state_dict().items():
        if key.startswith("backbone."):
            published[key.removeprefix("backbone.").replace("denselayer1.norm1", "denselayer1.norm.1")] = (
                value
            )
        else:
            module, _, parameter = key.rpartition(".")
            published[f"{names[module]}.{parameter}"] = value
    published |= {  # parts that the published module holds and never uses
        "wblock1.conv33.conv11_1.weight": torch.zeros(1),
        "wblock3.conv11.norm11_1.bias": torch.zeros(1),
        "conv_33_refine2.weight": torch.zeros(1),
        "conv_33_last2.bias": torch.zeros(1),
    }
    fresh = MODELS.build(NARROW).eval()
    fresh.load_state_dict(farnet_state_dict(published))
    image = torch.rand(1, 3, 64, 96)
    assert torch.equal(fresh.raw_maps(image), trained.raw_maps(image))
    with pytest.raises(ValueError, match=r"'conv_55\.weight' is no parameter of the published FARNet"):
        farnet_state_dict({"conv_55.weight": torch.zeros(1)})
