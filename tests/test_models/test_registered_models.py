"""Every class that is registered as a model is built, run and stepped, in 2D and 3D.

A new class needs one line in ``CASES``; without it a test fails and says so.
"""

from __future__ import annotations

import inspect

import pytest
import torch
from torch import Tensor, nn

from mmlandmark.codecs import BaseCodec, GaussianHeatmapCodec, HeatmapTarget, VotingCodec
from mmlandmark.models.similarity import PatchPair
from mmlandmark.registry import MODELS
from mmlandmark.structures import LandmarkDataSample

K = 3
SIZE = {2: (16, 24), 3: (8, 12, 16)}
CODEC = dict(type="GaussianHeatmapCodec", sigma=1.5)
BACKBONE = dict(type="UNet", widths=(4, 6))
HEAD = dict(type="HeatmapHead", num_landmarks=K, codec=CODEC, loss=dict(type="EWCLoss"))

# Name: the part it plays, and the arguments it needs beside its defaults.
CASES: dict[str, tuple[str, dict]] = {
    "AdditiveUNet": ("backbone", dict(width=4, levels=3)),
    "ConvStack": ("backbone", dict(widths=(4, 5), kernel_sizes=(3, 5))),
    "DenseNet": ("backbone", dict(in_channels=1, growth_rate=2, block_layers=(1, 1, 1, 1), stem_channels=4)),
    "EfficientNetLite": ("backbone", dict(in_channels=1, stage_blocks=(1, 1, 1, 1, 1, 1, 0))),
    "Hourglass": ("backbone", dict(width=8, depth=1)),
    "HRNet": ("backbone", dict(in_channels=1, width=2, modules=(1, 1, 1))),
    "ResNet": ("backbone", dict(in_channels=1, depth=18, base_channels=2)),
    "UNet": ("backbone", dict(widths=(4, 6))),
    "VGG": ("backbone", dict(in_channels=1, widths=(2, 2, 4, 4, 4))),
    "VisionTransformer": (
        "backbone",
        dict(in_channels=1, width=4, depth=2, num_heads=2, grid=4, descriptor="key", log_bins=1),
    ),
    "AdapterDecoder": (
        "landmark_neck",
        dict(in_channels=[3, 4, 5], num_landmarks=K, adapter_channels=2, embedding=4, receptive_fields=1),
    ),
    "EmbeddingDecoder": ("neck", dict(in_channels=[3, 4, 5], embedding=4, receptive_fields=1)),
    "FPN": ("neck", dict(in_channels=[3, 4, 5], channels=4)),
    "GlobalTokenEmbedding": ("token_neck", dict(in_channels=[5], channels=4)),
    "LocalTokenEmbedding": ("token_neck", dict(in_channels=[5], channels=4)),
    "MSFA": ("neck", dict(in_channels=[3, 4, 5, 6], channels=4)),
    "PyramidFusion": ("neck", dict(in_channels=[3, 4, 5], channels=4)),
    "UNetDecoder": ("neck", dict(in_channels=[3, 4, 5])),
    "NonLocalBlock": ("block", dict(in_channels=5)),
    "FeatureRefinementHead": (
        "head",
        dict(in_channels=[5, 5], num_landmarks=K, codec=CODEC, loss=dict(type="EWCLoss")),
    ),
    "ChannelAttentionHead": (
        "head",
        dict(
            in_channels=[5],
            num_landmarks=K,
            codec=dict(type="VotingCodec", radius=3.0),
            loss=[dict(type="HeatmapBCELoss"), dict(type="OffsetL1Loss")],
            hidden=4,
            upsample_to=1,
        ),
    ),
    "HeatmapHead": ("head", dict(in_channels=[5], num_landmarks=K, codec=CODEC, loss=dict(type="EWCLoss"))),
    "SpatialConfigurationHead": (
        "head",
        dict(
            in_channels=[5],
            num_landmarks=K,
            codec=dict(type="LearnedSigmaCodec", scale=10.0),
            loss=dict(type="HeatmapMSELoss"),
            channels=4,
            spatial_kernel=3,
            downsample=4,
        ),
    ),
    "TemplateHead": ("template_head", dict(in_channels=[5, 5], num_landmarks=K, codec=CODEC)),
    "LandmarkDetector": ("detector", dict(backbone=BACKBONE, head=HEAD)),
    "MultiTaskDetector": (
        "detector",
        dict(
            backbone=BACKBONE,
            head=HEAD,
            branches=dict(
                discs=dict(
                    taps=["backbone.down1", "backbone.down2"],
                    decoder=dict(type="UNetDecoder", in_channels=[4, 6]),
                    head=dict(HEAD, codec=dict(type="HeatmapCodec", sigma=1, shape="disc")),
                )
            ),
        ),
    ),
    "DistilledDetector": (
        "student",
        dict(
            backbone=BACKBONE,
            head=HEAD,
            teacher=dict(checkpoint="nowhere.pth"),
            terms=[
                dict(
                    loss=dict(type="FeatureMSELoss", student_channels=4, teacher_channels=5),
                    pairs=[("backbone.up1", "backbone.up1")],
                ),
                dict(loss=dict(type="EWCLoss")),
            ],
        ),
    ),
    "EnsembleDetector": ("detector", dict(members=2, backbone=BACKBONE, head=HEAD)),
    "MixedEnsemble": (
        "ensemble",
        dict(detectors=[dict(type="LandmarkDetector", backbone=BACKBONE, head=HEAD)] * 2),
    ),
    "LandmarkwiseDetector": (
        "ensemble",
        dict(
            detectors=[
                dict(type="LandmarkDetector", backbone=BACKBONE, head=dict(HEAD, num_landmarks=count))
                for count in (1, K - 1)
            ]
        ),
    ),
    "CoarseToFineDetector": (
        "detector",
        dict(
            coarse=dict(type="LandmarkDetector", backbone=BACKBONE, head=HEAD),
            fine=dict(type="LandmarkDetector", backbone=BACKBONE, head=HEAD),
            patch_size=8,
            shrink=2,
        ),
    ),
    "CoarseToFineTemplateDetector": (
        "template_detector",
        dict(
            coarse=dict(type="LandmarkDetector", backbone=BACKBONE, head=HEAD),
            fine=dict(
                type="TemplateDetector",
                backbone=BACKBONE,
                head=dict(
                    type="TemplateHead", num_landmarks=K, codec=CODEC, loss=dict(type="HeatmapMSELoss")
                ),
            ),
            patch_size=8,
            shrink=2,
        ),
    ),
    "TemplateDetector": (
        "template_detector",
        dict(
            backbone=dict(BACKBONE, out_indices=(0, 1)),
            head=dict(type="TemplateHead", num_landmarks=K, codec=CODEC),
            contrast=dict(type="CascadeContrastLoss"),
        ),
    ),
    "LandmarkDataPreprocessor": ("preprocessor", dict()),
    "PublishedFARNetDetector": ("detector", dict(backbone=BACKBONE, head=HEAD)),
    "PublishedFARNetPreprocessor": ("preprocessor", dict()),
    "AdaptiveWingLoss": ("loss", dict()),
    "AttentionMapLoss": ("feature_loss", dict()),
    "AttentionTransferLoss": ("feature_loss", dict()),
    "FeatureMSELoss": ("feature_loss", dict(student_channels=3, teacher_channels=4)),
    "CascadeContrastLoss": ("contrast_loss", dict()),
    "DiceLoss": ("loss", dict()),
    "EWCLoss": ("loss", dict()),
    "HeatmapBCELoss": ("loss", dict()),
    "HeatmapL1Loss": ("loss", dict()),
    "HeatmapMSELoss": ("loss", dict()),
    "IntegralL1Loss": ("loss", dict(activation="sigmoid")),
    "OffsetL1Loss": ("offset_loss", dict()),
    "RegionAttentionLoss": ("loss", dict(std=0.0, activation="sigmoid")),
    "SampledContrastLoss": ("contrast_loss", dict(random=(0, 0), hard=5)),
    "SpatialConfigurationLoss": ("loss", dict(gamma=1.0)),
    "SpatialCrossEntropyLoss": ("loss", dict()),
}


# What is published for images and has no third dimension.
FLAT = {
    "DenseNet",
    "EfficientNetLite",
    "HRNet",
    "ResNet",
    "VGG",
    "VisionTransformer",
    "MSFA",
    "FeatureRefinementHead",
}
# A deep network needs an image as large as its deepest stride, twice.
SIDE = 64


def registered() -> list[str]:
    """Return what this package registers as models; others may share the process."""
    MODELS.import_from_location()
    return sorted(n for n, c in MODELS.module_dict.items() if c.__module__.startswith("mmlandmark."))


def samples(dims: int, batch: int = 2) -> list[LandmarkDataSample]:
    torch.manual_seed(1)
    sides = torch.tensor(SIZE[dims][::-1])
    points = torch.rand(batch, K, dims) * (sides - 1)
    points[0, 0] = float("nan")  # missing landmarks are part of daily life
    return [
        LandmarkDataSample.from_landmarks(p.numpy(), sample_id=f"case{i}", ori_shape=SIZE[dims])
        for i, p in enumerate(points)
    ]


def target(dims: int, codec: BaseCodec) -> HeatmapTarget:
    cases = samples(dims)
    points, mask = torch.stack([s.gt_landmarks for s in cases]), torch.stack([s.mask for s in cases])
    return codec.encode(points, mask, mask.float(), SIZE[dims], SIZE[dims])


def with_dims(config: dict, dims: int) -> dict:
    """Return a config with ``dims`` wherever a model's class takes it."""

    def inside(value: object) -> object:
        if isinstance(value, list):
            return [inside(v) for v in value]
        if isinstance(value, dict) and "type" not in value:
            return {key: inside(part) for key, part in value.items()}
        return with_dims(value, dims) if isinstance(value, dict) and value["type"] in CASES else value

    config = {key: inside(value) for key, value in config.items()}
    if "dims" in inspect.signature(MODELS.get(config["type"]).__init__).parameters:
        config["dims"] = dims
    return config


def assert_learns(module: nn.Module, total: Tensor) -> None:
    """Every parameter gets a finite gradient, and not all of them are zero."""
    assert torch.isfinite(total)
    total.backward()
    gradients = {name: p.grad for name, p in module.named_parameters() if p.requires_grad}
    assert not [name for name, g in gradients.items() if g is None], "parameters that get no gradient"
    assert all(bool(torch.isfinite(g).all()) for g in gradients.values())
    assert any(bool(g.any()) for g in gradients.values())


def run_backbone(module: nn.Module, dims: int) -> None:
    outputs = module(torch.rand(2, 1, *([SIDE] * 2 if type(module).__name__ in FLAT else SIZE[dims])))
    assert isinstance(outputs, tuple)
    assert [o.shape[1] for o in outputs] == list(module.out_channels)
    assert all(o.ndim == dims + 2 and len(o) == 2 for o in outputs)
    assert_learns(module, sum(o.square().mean() for o in outputs))


def run_neck(module: nn.Module, dims: int) -> None:
    channels = CASES[type(module).__name__][1]["in_channels"]
    features = [torch.rand(2, c, *[SIDE // 2**i] * dims, requires_grad=True) for i, c in enumerate(channels)]
    outputs = module(features)
    assert [o.shape[1] for o in outputs] == list(module.out_channels)
    assert outputs[0].shape[2:] == features[0].shape[2:]
    assert_learns(module, sum(o.square().mean() for o in outputs))
    assert all(f.grad.any() for f in features)


def run_token_neck(module: nn.Module, dims: int) -> None:
    tokens = torch.rand(2, 5, *[3] * dims, requires_grad=True)
    (output,) = module([tokens, torch.rand(2, 1, *SIZE[dims])])
    assert output.shape == (2, *module.out_channels, *SIZE[dims])
    assert_learns(module, output.square().mean())
    assert tokens.grad.any()


def run_landmark_neck(module: nn.Module, dims: int) -> None:
    features = [torch.rand(2, c, *[8 // 2**i] * dims) for i, c in enumerate((3, 4, 5))]
    outputs = module(features)
    assert [o.shape[2] for o in outputs] == list(module.out_channels)
    assert [tuple(o.shape) for o in outputs] == [(2, K, 4, *[8 // 2**i] * dims) for i in range(3)]
    assert_learns(module, sum(o.square().mean() for o in outputs))
    assert [o.shape[1] for o in module(features, torch.tensor([0, 2]))] == list(module.out_channels)


def run_head(module: nn.Module, dims: int) -> None:
    levels = len(CASES[type(module).__name__][1]["in_channels"])
    features = [torch.rand(2, 5, *SIZE[dims], requires_grad=True) for _ in range(levels)]
    losses = module.loss(features, samples(dims), SIZE[dims])
    assert all(name.startswith("loss_") for name in losses)
    assert_learns(module, sum(losses.values()))
    assert features[0].grad.any()
    module.eval()
    detection = module.predict(module.codec.activate(module(features)[0]), SIZE[dims])
    assert detection.points.shape == (2, 1, K, dims)
    assert detection.scores.shape == (2, 1, K)


def run_loss(module: nn.Module, dims: int, codec: BaseCodec | None = None) -> None:
    codec = codec or GaussianHeatmapCodec(sigma=1.5)
    truth = target(dims, codec)
    pred = torch.randn(2, K * codec.maps_per_landmark, *SIZE[dims]).requires_grad_()
    value = module(pred, truth)
    assert value.ndim == 0
    assert torch.isfinite(value)
    value.backward()
    assert torch.isfinite(pred.grad).all()
    learned = pred.grad.unflatten(1, (K, -1))
    assert not learned[0, 0].any(), "a missing landmark must not be learned from"
    assert learned[truth.mask].any()
    with torch.no_grad():  # a small step down the gradient lowers the loss
        step = 1e-3 / pred.grad.norm()
        assert module(pred - step * pred.grad, truth) < value
    with pytest.raises(ValueError, match="differ in shape"):
        module(pred[..., :-1], truth)


def run_offset_loss(module: nn.Module, dims: int) -> None:
    run_loss(module, dims, VotingCodec(radius=3.0, dims=dims))
    with pytest.raises(ValueError, match=f"needs {1 + dims} maps per landmark, the codec has 1"):
        run_loss(module, dims)


def run_detector(module: nn.Module, dims: int) -> None:
    data = dict(inputs=[torch.rand(1, *SIZE[dims]) for _ in range(2)], data_samples=samples(dims))
    # As MMEngine's loops do: preprocess, losses, step; then predict.
    batch = module.data_preprocessor(data, training=True)
    losses = module(**batch, mode="loss")
    total, log = module.parse_losses(losses)
    assert "loss" in log
    assert_learns(module, total)
    module.eval()
    predicted = module.test_step(data)
    assert [s.sample_id for s in predicted] == ["case0", "case1"]
    for sample in predicted:
        assert sample.pred_landmarks.shape == (K, dims)
        assert torch.isfinite(sample.pred_landmarks).all()
        assert sample.pred_scores.shape == (K,)


def run_template_head(module: nn.Module, dims: int) -> None:
    features = [torch.rand(2, 5, *SIZE[dims], requires_grad=True) for _ in range(2)]
    points = torch.tensor([[[1.0, 2.0, 3.0][:dims]] * K])
    module.learn(0, [f[:1] for f in features], points, SIZE[dims], torch.ones(K, dtype=torch.bool))
    (maps,) = module([*features, torch.zeros(2, 1, *SIZE[dims])])
    maps.sum().backward()
    assert all(f.grad.any() for f in features)
    detection = module.predict(module.codec.activate(maps), SIZE[dims])
    assert detection.points.shape == (2, 1, K, dims)


def run_template_detector(module: nn.Module, dims: int) -> None:
    template = samples(dims, 1)[0]
    template.gt_landmarks.nan_to_num_(1.0)  # a landmark that the template lacks would not be predicted
    template.gt_visibility.fill_(1)
    module.eval().learn_templates([dict(inputs=[torch.rand(1, *SIZE[dims])], data_samples=[template])])
    run_detector(module.train(), dims)


def run_contrast_loss(module: nn.Module, dims: int) -> None:
    def levels() -> list[Tensor]:
        return [torch.randn(2, 3, *[side // s for side in SIZE[dims]], requires_grad=True) for s in (2, 4)]

    points, mask = torch.full((2, 1, dims), 3.0), torch.ones(2, 1, dtype=torch.bool)
    pair = PatchPair(levels(), levels(), points, points, mask, SIZE[dims], SIZE[dims])
    value = module(pair)
    value.backward()
    features = [*pair.features, *pair.patch_features]
    assert all(bool(torch.isfinite(f.grad).all()) and f.grad.any() for f in features)
    with torch.no_grad():  # a small step down the gradient lowers the loss
        for f in features:
            f -= 1e-3 * f.grad / f.grad.norm()
        assert module(pair) < value


def run_student(module: nn.Module, dims: int) -> None:
    teacher = dict(
        type="LandmarkDetector", backbone=with_dims(dict(BACKBONE, widths=(5, 6)), dims), head=HEAD
    )
    module.attach_teacher(MODELS.build(with_dims(teacher, dims)))
    before = [p.clone() for p in module.teacher.parameters()]
    run_detector(module, dims)
    assert all(torch.equal(a, b) for a, b in zip(before, module.teacher.parameters(), strict=True))


def run_block(module: nn.Module, dims: int) -> None:
    features = torch.rand(2, 5, *SIZE[dims], requires_grad=True)
    nn.init.ones_(module.norm.weight)  # it starts as identity, from which nothing flows into it
    output = module(features)
    assert output.shape == features.shape
    assert_learns(module, output.square().mean())
    assert features.grad.any()


def run_feature_loss(module: nn.Module, dims: int) -> None:
    student = torch.rand(2, 3, *SIZE[dims], requires_grad=True)
    teacher = torch.rand(2, 4, *[2 * side for side in SIZE[dims]])
    value = module(student, teacher)
    assert value.ndim == 0
    if list(module.parameters()):
        assert_learns(module, value)
    else:
        value.backward()
    assert torch.isfinite(student.grad).all()
    with torch.no_grad():  # a small step down the gradient lowers the loss
        step = 1e-3 / student.grad.norm()
        assert module(student - step * student.grad, teacher) < value


def run_ensemble(module: nn.Module, dims: int) -> None:
    data = dict(inputs=[torch.rand(1, *SIZE[dims]) for _ in range(2)], data_samples=samples(dims))
    with pytest.raises(NotImplementedError, match="one by one"):
        module(**module.data_preprocessor(data, training=True), mode="loss")
    assert [s.pred_landmarks.shape for s in module.eval().test_step(data)] == [(K, dims)] * 2


def run_preprocessor(module: nn.Module, dims: int) -> None:
    cases = samples(dims)
    batch = module(dict(inputs=[torch.rand(1, *SIZE[dims]) for _ in cases], data_samples=cases))
    assert batch["inputs"].shape == (2, 1, *SIZE[dims])
    assert batch["inputs"].dtype == torch.float32
    assert [s.sample_id for s in batch["data_samples"]] == ["case0", "case1"]


RUN = dict(
    backbone=run_backbone,
    neck=run_neck,
    token_neck=run_token_neck,
    landmark_neck=run_landmark_neck,
    head=run_head,
    loss=run_loss,
    offset_loss=run_offset_loss,
    detector=run_detector,
    student=run_student,
    template_head=run_template_head,
    template_detector=run_template_detector,
    contrast_loss=run_contrast_loss,
    block=run_block,
    feature_loss=run_feature_loss,
    ensemble=run_ensemble,
    preprocessor=run_preprocessor,
)


def test_the_table_is_complete():
    assert registered() == sorted(CASES), "give every registered class a line in CASES, and no other"


@pytest.mark.parametrize(
    ("name", "dims"), [(n, d) for n in sorted(CASES) for d in (2, 3) if d == 2 or n not in FLAT]
)
def test_it_runs_and_learns(name, dims):
    part, arguments = CASES[name]
    torch.manual_seed(0)
    module = MODELS.build(with_dims(dict(type=name, **arguments), dims))
    RUN[part](module, dims)


@pytest.mark.parametrize("name", sorted(n for n, (part, _) in CASES.items() if "loss" not in part))
def test_its_weights_are_found_again(name):
    config = with_dims(dict(type=name, **CASES[name][1]), 2)
    first, second = MODELS.build(config), MODELS.build(config)
    missing, unexpected = second.load_state_dict(first.state_dict())
    assert not missing
    assert not unexpected
    assert config == with_dims(dict(type=name, **CASES[name][1]), 2), "building must not change the config"


@pytest.mark.parametrize("name", sorted(CASES))
def test_it_can_be_built_without_memory(name):
    """A model file from anybody is compared with its config before memory is reserved for it."""
    config = with_dims(dict(type=name, **CASES[name][1]), 2)
    with torch.device("meta"):
        built = MODELS.build(config)
    assert {p.device.type for p in built.parameters()} <= {"meta"}


@pytest.mark.parametrize("name", sorted(CASES))
def test_an_unknown_argument_is_named(name):
    with pytest.raises(TypeError, match="no_such_argument"):
        MODELS.build(dict(type=name, **CASES[name][1], no_such_argument=1))
