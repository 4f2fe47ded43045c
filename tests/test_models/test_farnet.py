"""FARNet: published size and wiring, its rivals of table 2, and what the published code does differently."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from mmlandmark.models.necks import FPN, MSFA
from mmlandmark.models.published_farnet import farnet_state_dict
from mmlandmark.registry import CODECS, MODELS
from mmlandmark.structures import LandmarkDataSample

HEAD = dict(
    type="FeatureRefinementHead",
    num_landmarks=19,
    codec=dict(type="GaussianHeatmapCodec", sigma=10, decoder="argmax"),
    loss=dict(type="EWCLoss"),
)
FARNET = dict(
    type="LandmarkDetector",
    data_preprocessor=dict(type="LandmarkDataPreprocessor", channels=3),
    backbone=dict(type="DenseNet", depth=121),
    neck=dict(type="MSFA"),
    head=HEAD,
)
NARROW = dict(
    FARNET,
    backbone=dict(type="DenseNet", growth_rate=4, block_layers=(2, 2, 2, 2), stem_channels=8),
    neck=dict(type="MSFA", channels=16),
    head=dict(HEAD, num_landmarks=3, codec=dict(type="GaussianHeatmapCodec", sigma=2)),
)


def samples(count: int = 2, landmarks: int = 3, size: tuple[int, int] = (64, 96)) -> list[LandmarkDataSample]:
    torch.manual_seed(1)
    points = torch.rand(count, landmarks, 2) * torch.tensor(size[::-1])
    return [
        LandmarkDataSample.from_landmarks(p.numpy(), sample_id=str(i), ori_shape=size)
        for i, p in enumerate(points)
    ]


def test_size_and_cost_are_those_of_the_published_network():
    model = MODELS.build(FARNET)
    assert sum(p.numel() for p in model.parameters()) == 61_218_963
    with FlopCounterMode(display=False) as counter:
        image = torch.empty(1, 3, 800, 640, device="meta")
        fine, coarse = model.to("meta").head(model.extract_features(image))
    assert fine.shape == (1, 19, 800, 640)
    assert coarse.shape == (1, 19, 400, 320)
    assert round(counter.get_total_flops() / 2 / 1e9, 2) == 155.46


@pytest.mark.parametrize(("landmarks", "width"), [(19, 115), (37, 133), (68, 164)])
def test_what_is_refined(landmarks, width):
    with torch.device("meta"):
        head = MODELS.build(dict(HEAD, in_channels=[64], num_landmarks=landmarks))
    assert head.fine_hidden.weight.shape == (width, width, 3, 3)
    assert head.guide.conv.weight.shape == (32, 3, 1, 1)


def test_aggregation_step_by_step():
    # What goes in and comes out of every step of the published module, finest level 0.
    neck = MSFA([64, 256, 512, 1024, 1024])
    convs = {
        k: (m.in_channels, m.out_channels, m.kernel_size[0], m.stride[0])
        for k, m in neck.named_modules()
        if isinstance(m, torch.nn.Conv2d)
    }
    assert convs == {
        "bottom.0.conv": (1024, 512, 3, 1),
        "bottom.1.conv": (512, 256, 1, 1),
        "up1_3.fuse.conv": (1280, 256, 1, 1),
        "up1_2.fuse.conv": (768, 256, 1, 1),
        "up1_1.fuse.conv": (512, 256, 1, 1),
        "step_2.conv": (256, 512, 3, 2),
        "down_2.fuse.conv": (768, 512, 1, 1),
        "step_3.conv": (512, 1024, 3, 2),
        "down_3.fuse.conv": (1280, 1024, 1, 1),
        "step_4.conv": (1024, 2048, 3, 2),
        "down_4.fuse.conv": (2304, 1024, 3, 1),
        "turn.conv": (1024, 256, 1, 1),
        "up2_3.fuse.conv": (1280, 256, 1, 1),
        "up2_2.fuse.conv": (768, 256, 1, 1),
        "up2_1.fuse.conv": (512, 128, 1, 1),
        "up2_0.fuse.conv": (192, 64, 1, 1),
    }
    assert all(m.bias is not None for m in neck.modules() if isinstance(m, torch.nn.Conv2d))


def test_aggregation_equals_its_steps_written_out():
    torch.manual_seed(0)
    neck = MSFA([4, 8, 8, 12, 12], channels=8).eval()
    f1, f2, f3, f4, f5 = levels = [
        torch.rand(1, c, 64 // 2**i, 32 // 2**i) for i, c in enumerate([4, 8, 8, 12, 12])
    ]

    def up(x):
        return torch.nn.functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)

    def cat(x, y):
        return torch.cat([x, y], 1)

    a5 = neck.bottom(f5)
    a4 = neck.up1_3.fuse(cat(up(a5), f4))
    a3 = neck.up1_2.fuse(cat(up(a4), f3))
    a2 = neck.up1_1.fuse(cat(up(a3), f2))
    b3 = neck.down_2.fuse(cat(neck.step_2(a2), a3))
    b4 = neck.down_3.fuse(cat(neck.step_3(b3), a4))
    b5 = neck.turn(neck.down_4.fuse(cat(neck.step_4(b4), a5)))
    c = neck.up2_3.fuse(cat(up(b5), b4))
    c = neck.up2_2.fuse(cat(up(c), b3))
    c = neck.up2_1.fuse(cat(up(c), a2))
    torch.testing.assert_close(neck(levels)[0], neck.up2_0.fuse(cat(up(c), f1)))


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


def test_sides_that_do_not_halve_are_named():
    model = MODELS.build(dict(NARROW, data_preprocessor=None))
    with pytest.raises(ValueError, match=r"got \[\(50, 50\), .* data_preprocessor\.size_divisor=32"):
        model(torch.rand(1, 3, 100, 100))


def test_a_guide_smaller_than_the_features_is_refused():
    head = MODELS.build(dict(NARROW["head"], in_channels=[4, 8]))
    with pytest.raises(ValueError, match="guide must be larger"):
        head([torch.rand(1, 4, 16, 16), torch.rand(1, 8, 8, 8)])


@pytest.mark.parametrize("training", [True, False])
def test_losses_need_no_training_mode(training):
    losses = MODELS.build(NARROW).train(training)(torch.rand(2, 3, 64, 96), samples(), "loss")
    assert set(losses) == {"loss_ewc", "loss_ewc_level1"}


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


def test_initialisation_leaves_the_start_of_pytorch():
    torch.manual_seed(0)
    model = MODELS.build(dict(NARROW, head=dict(NARROW["head"], image_channels=1, guide_channels=4)))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.init_weights()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_gradients_reach_the_guide_and_both_maps():
    torch.manual_seed(0)
    model = MODELS.build(NARROW)
    features = model.extract_features(torch.rand(2, 3, 64, 96))
    losses = model.head.loss(features, samples(), (64, 96))
    for name, reached, not_reached in (
        ("loss_ewc", ("guide.conv", "fine_conv", "fine_hidden", "coarse_conv"), ()),
        ("loss_ewc_level1", ("coarse_conv", "coarse_hidden"), ("guide.conv", "fine_conv")),
    ):
        model.zero_grad()
        losses[name].backward(retain_graph=True)
        for part in (*reached, *not_reached):
            gradient = model.head.get_submodule(part).weight.grad
            assert (gradient is not None and bool(gradient.any())) == (part in reached), (name, part)


def test_without_the_coarse_map():
    head = MODELS.build(dict(HEAD, in_channels=[8], num_landmarks=3, coarse=False))
    assert head.fine_hidden.in_channels == 8 + 32
    maps = head([torch.rand(1, 8, 16, 24), torch.rand(1, 3, 32, 48)])
    assert [tuple(m.shape) for m in maps] == [(1, 3, 32, 48)]


def test_targets_of_both_sizes_have_one_sigma():
    head = MODELS.build(dict(HEAD, in_channels=[8], num_landmarks=3))
    case = samples(1)
    for size in ((64, 96), (32, 48)):
        target = head.encode(case, (64, 96), size, "cpu")
        assert target.sigma == 10
        # The coarse landmark is where the resized image shows it.
        expected = (case[0].gt_landmarks + 0.5) * size[0] / 64 - 0.5
        torch.testing.assert_close(target.landmarks[0], expected.float())


def test_pyramid():
    pyramid = FPN([4, 8, 8], channels=6, upsample_to=2)
    (found,) = pyramid([torch.rand(1, c, 16 // 2**i, 24 // 2**i) for i, c in enumerate([4, 8, 8])])
    assert found.shape == (1, 6, 32, 48)
    assert pyramid.out_channels == [6]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(in_channels=[4, 4, 4]), "four or five levels"),
        (dict(in_channels=[4] * 5, channels=6), "multiple of 4"),
        (dict(in_channels=[4] * 5, fusion="mean"), "fusion"),
    ],
)
def test_bad_arguments_of_the_aggregation(arguments, message):
    with pytest.raises(ValueError, match=message):
        MSFA(**arguments)
    with pytest.raises(ValueError, match="at most one guide"):
        MODELS.build(dict(HEAD, in_channels=[4, 4, 4]))


# ---- what the published code does differently ----------------------------------------------------------


def test_one_based_grid_is_one_pixel_off():
    points = torch.tensor([[[40.0, 20.0], [10.0, 30.0]]])
    mask = torch.ones(1, 2, dtype=torch.bool)
    codec = CODECS.build(dict(type="PublishedFARNetCodec", sigma=2, decoder="dark"))
    target = codec.encode(points, mask, mask.float(), (64, 96), (64, 96))
    detection = codec.decode(target.heatmaps, (64, 96))
    torch.testing.assert_close(detection.points, points - 1, atol=1e-3, rtol=0)
    half = codec.encode(points, mask, mask.float(), (64, 96), (32, 48))
    torch.testing.assert_close(half.landmarks, points / 2 - 1)


def test_blue_first_from_0_to_255():
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    image = torch.tensor([0.1, 0.5, 0.9]).view(3, 1, 1).expand(3, 4, 4)
    found = MODELS.build(dict(type="PublishedFARNetPreprocessor", mean=mean, std=std))(dict(inputs=[image]))[
        "inputs"
    ]
    expected = [(255 * v - m) / s for v, m, s in zip((0.9, 0.5, 0.1), mean, std, strict=True)]
    torch.testing.assert_close(found[0, :, 0, 0], torch.tensor(expected))


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
