"""A distilled student is a plain student; its teacher is no part of it."""

import copy
from contextlib import contextmanager

import pytest
import torch

from mmlandmark.models.detectors import distilled_detector
from mmlandmark.models.taps import record_outputs
from mmlandmark.registry import MODELS
from mmlandmark.structures import LandmarkDataSample
from mmlandmark.utils.checkpoint import training_keys

K = 3
HEAD = dict(
    type="HeatmapHead",
    num_landmarks=K,
    codec=dict(type="GaussianHeatmapCodec", sigma=1.5),
    loss=dict(type="HeatmapMSELoss", reduction="sum"),
)
PLAIN = dict(type="LandmarkDetector", backbone=dict(type="UNet", widths=(4, 6, 8)), head=HEAD)
TEACHER = dict(PLAIN, backbone=dict(type="UNet", widths=(4, 6, 8, 10)))
PAIRS = [("backbone.up1", "backbone.up2"), ("backbone.up2", "backbone.up3")]
FSF = dict(loss=dict(type="AttentionMapLoss"), pairs=PAIRS, weight=0.5)
MIMICRY = dict(loss=dict(type="HeatmapMSELoss", reduction="sum"), weight=0.5)


@contextmanager
def patch_log():
    logged = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distilled_detector, "print_log", lambda text, *_: logged.append(text))
        yield logged


def batch(size=16):
    torch.manual_seed(0)
    points = torch.rand(2, K, 2) * (size - 1)
    points[0, 0] = float("nan")
    samples = [
        LandmarkDataSample.from_landmarks(p.numpy(), sample_id=str(i), ori_shape=(size, size))
        for i, p in enumerate(points)
    ]
    return torch.rand(2, 1, size, size), samples


def student(terms, teacher=TEACHER, **changes):
    torch.manual_seed(1)
    config = dict(PLAIN, type="DistilledDetector", teacher=dict(checkpoint="x.pth"), terms=terms, **changes)
    detector = MODELS.build(copy.deepcopy(config))
    if teacher is not None:
        detector.attach_teacher(MODELS.build(copy.deepcopy(teacher)))
    return detector


def test_the_loss_of_fsf_ld_is_eq_10():
    detector, (inputs, samples) = student([FSF]), batch()
    losses = detector.loss(inputs, samples)
    assert sorted(losses) == ["loss_distill0_attentionmap", "loss_heatmapmse"]
    with record_outputs(detector, ["backbone.up1", "backbone.up2"]) as own:
        detector.raw_maps(inputs)
    with record_outputs(detector.teacher, ["backbone.up2", "backbone.up3"]) as features:
        detector.teacher.raw_maps(inputs)
    total = 0.0
    for mine, theirs in PAIRS:
        difference = features[theirs].square().mean(1) - own[mine].square().mean(1)
        total = total + difference.flatten(1).norm(dim=1).mean()
    torch.testing.assert_close(losses["loss_distill0_attentionmap"], 0.5 * total / 2)
    plain = MODELS.build(copy.deepcopy(PLAIN))
    plain.load_state_dict(detector.state_dict())
    torch.testing.assert_close(
        losses["loss_heatmapmse"], plain.loss(inputs, samples)["loss_heatmapmse"], rtol=0, atol=0
    )


def test_the_loss_of_fast_kd_is_half_and_half():
    head = dict(HEAD, loss=dict(HEAD["loss"], loss_weight=0.5))
    detector, (inputs, samples) = student([MIMICRY], head=head), batch()
    losses = detector.loss(inputs, samples)
    maps, wanted = detector.raw_maps(inputs), detector.teacher.raw_maps(inputs)
    mask = torch.stack([s.mask for s in samples])
    squares = (maps - wanted).square().flatten(2).sum(-1)
    torch.testing.assert_close(losses["loss_distill0_heatmapmse"], 0.5 * squares[mask].sum() / 2)
    truth = detector.head.encode(samples, (16, 16), (16, 16), "cpu").heatmaps
    squares = (maps - truth).square().flatten(2).sum(-1)
    torch.testing.assert_close(losses["loss_heatmapmse"], 0.5 * squares[mask].sum() / 2)


def test_it_is_the_plain_student():
    detector, plain = student([FSF, MIMICRY]), MODELS.build(copy.deepcopy(PLAIN))
    assert list(detector.state_dict()) == list(plain.state_dict())
    assert [n for n, _ in detector.named_parameters()] == [n for n, _ in plain.named_parameters()]
    assert [n for n, _ in detector.named_modules() if "teacher" in n] == []
    plain.load_state_dict(detector.state_dict())
    inputs, _ = batch()
    for one, other in zip(detector.eval().predict(inputs), plain.eval().predict(inputs), strict=True):
        assert torch.equal(one.pred_landmarks, other.pred_landmarks)


def test_a_connector_learns_and_stays_out_of_what_is_used():
    term = dict(
        loss=dict(type="FeatureMSELoss", student_channels=6, teacher_channels=8),
        pairs=[("backbone.up1", "backbone.up1")],
    )
    detector, (inputs, samples) = student([term]), batch()
    assert training_keys(detector) == {f"term_losses.0.connector.{k}" for k in ("weight", "bias")}
    detector.loss(inputs, samples)["loss_distill0_featuremse"].backward()
    assert detector.term_losses[0].connector.weight.grad.any()


def test_the_teacher_stays_as_it_is():
    bn = dict(TEACHER, backbone=dict(TEACHER["backbone"], norm_cfg=dict(type="BN")))
    detector, (inputs, samples) = student([FSF, MIMICRY], bn), batch()
    detector.train()
    before = copy.deepcopy(detector.teacher.state_dict())
    sum(detector.loss(inputs, samples).values()).backward()
    assert not any(module.training for module in detector.teacher.modules())
    assert not any(p.requires_grad or p.grad is not None for p in detector.teacher.parameters())
    assert all(torch.equal(v, before[k]) for k, v in detector.teacher.state_dict().items())
    # A copy, as the mean of weights keeps one, has no second teacher.
    assert copy.deepcopy(detector).teacher is detector.teacher


def test_the_teacher_runs_no_deeper_than_its_last_tap():
    shallow = dict(FSF, pairs=[("backbone.up1", "backbone.up1")])
    detector, (inputs, samples) = student([shallow]), batch()
    ran, recorded = [], []
    for name in ("up1", "up2", "up3"):
        module = getattr(detector.teacher.backbone, name)
        module.register_forward_pre_hook(lambda *_, name=name: ran.append(name))
        module.register_forward_pre_hook(lambda *_: recorded.append(torch.is_grad_enabled()))
    detector.loss(inputs, samples)
    assert ran == ["up1"]
    assert recorded == [False]


def test_a_dry_run_names_a_module_that_does_not_run_in_the_teacher():
    branch = dict(
        taps=["backbone.down1", "backbone.down2"],
        decoder=dict(type="UNetDecoder", in_channels=(4, 6)),
        head=dict(HEAD, loss=dict(type="DiceLoss")),
    )
    several = dict(TEACHER, type="MultiTaskDetector", branches=dict(discs=branch))
    detector = student([dict(FSF, pairs=[("backbone.up1", "branches.discs.decoder.up1")])], several)
    with pytest.raises(
        ValueError, match=r"the teacher has \['branches.discs.decoder.up1'\], but they do not run"
    ):
        detector.dry_run((1, 16, 16))
    student([FSF], several).dry_run((1, 16, 16))


def test_weights_follow_the_epoch_alone():
    ramp = dict(FSF, weight=[(0, 0.0), (4, 0.5), (8, 0.5), (10, 0.0)])
    detector, (inputs, samples) = student([ramp]), batch()
    weights = []
    for epoch in (0, 1, 4, 7, 9, 10, 50):
        detector.epoch = epoch
        weights.append(detector.terms[0].weight(epoch))
        losses = detector.loss(inputs, samples)
        assert float(losses["loss_distill0_attentionmap"] > 0) == float(weights[-1] > 0)
    assert weights == [0.0, 0.125, 0.5, 0.5, 0.25, 0.0, 0.0]


def test_without_weight_the_teacher_is_not_asked():
    detector, (inputs, samples) = student([dict(FSF, weight=[(0, 0.0), (1, 1.0)])]), batch()
    asked = []
    detector.teacher.backbone.register_forward_pre_hook(lambda *_: asked.append(1))
    detector.loss(inputs, samples)
    assert not asked
    detector.epoch = 1
    detector.loss(inputs, samples)
    assert asked


@pytest.mark.parametrize(
    ("teacher", "pairs", "size"),
    [
        (dict(type="HRNet", width=2, modules=(1, 1, 1), in_channels=1, out_indices=(0,)), "backbone", 64),
        (dict(type="ResNet", depth=18, base_channels=2, in_channels=1, out_indices=(0,)), "backbone", 64),
        (dict(type="UNet", widths=(2, 3, 4), stem_stride=2), "backbone.up2", 16),
    ],
)
def test_any_teacher_teaches(teacher, pairs, size):
    terms = [dict(FSF, pairs=[("backbone.up2", pairs)]), MIMICRY]
    detector, (inputs, samples) = student(terms, dict(PLAIN, backbone=teacher)), batch(size)
    losses = detector.loss(inputs, samples)
    sum(losses.values()).backward()
    assert all(torch.isfinite(value) and value > 0 for value in losses.values())


def test_a_farnet_teaches():
    farnet = dict(
        type="LandmarkDetector",
        backbone=dict(type="VGG", in_channels=1, widths=(2, 2, 4, 4, 4), out_indices=(0, 1, 2, 3)),
        neck=dict(type="MSFA", channels=4),
        head=dict(HEAD, type="FeatureRefinementHead", image_channels=1, loss=dict(type="EWCLoss")),
    )
    detector, (inputs, samples) = student([MIMICRY], farnet), batch(64)
    losses = detector.loss(inputs, samples)
    assert losses["loss_distill0_heatmapmse"] > 0


def test_a_distribution_teaches_by_cross_entropy():
    softmax = dict(HEAD, codec=dict(HEAD["codec"], activation="softmax"))
    term = dict(loss=dict(type="SpatialCrossEntropyLoss"))
    detector = student([term], dict(TEACHER, head=softmax), head=softmax)
    inputs, samples = batch()
    loss = detector.loss(inputs, samples)["loss_distill0_spatialcrossentropy"]
    log_p = detector.raw_maps(inputs).flatten(2).log_softmax(-1)
    q = detector.teacher.raw_maps(inputs).flatten(2).softmax(-1)
    mask = torch.stack([s.mask for s in samples])
    torch.testing.assert_close(loss, -(q * log_p).sum(-1)[mask].mean())


def test_a_distribution_of_another_size_stays_one():
    softmax = dict(HEAD, codec=dict(HEAD["codec"], activation="softmax"))
    coarse = dict(PLAIN, head=softmax, backbone=dict(type="UNet", widths=(4, 6, 8), stem_stride=2))
    detector = student([MIMICRY], dict(TEACHER, head=softmax), backbone=coarse["backbone"], head=softmax)
    inputs, samples = batch()
    maps = detector.teacher_outputs(inputs)[1]
    target = detector._given_target(maps, samples, inputs.shape[2:], torch.Size((8, 8)))
    torch.testing.assert_close(target.heatmaps.flatten(2).sum(-1), torch.ones(2, K))


def test_mistakes_are_named():
    with pytest.raises(
        ValueError, match=r"the student has no module 'backbone.up9'; close to it: backbone.up"
    ):
        student([dict(FSF, pairs=[("backbone.up9", "backbone.up1")])])
    with pytest.raises(
        ValueError, match=r"the teacher has no module 'backbone.up9'; close to it: backbone.up"
    ):
        student([dict(FSF, pairs=[("backbone.up1", "backbone.up9")])])
    with pytest.raises(ValueError, match="AttentionMapLoss compares features: give pairs"):
        student([dict(loss=dict(type="AttentionMapLoss"))])
    with pytest.raises(ValueError, match="leave pairs out"):
        student([dict(MIMICRY, pairs=PAIRS)])
    with pytest.raises(ValueError, match="growing epochs"):
        student([dict(FSF, weight=[(4, 0.0), (0, 0.5)])])
    with pytest.raises(ValueError, match=r"path in the teacher\), got"):
        student([dict(FSF, pairs=["backbone.up1"])])
    with pytest.raises(ValueError, match="at least one distillation term"):
        student([])
    with pytest.raises(ValueError, match="term 1 takes loss, pairs and weight, not strength"):
        student([FSF, dict(FSF, strength=0.1)])
    with pytest.raises(ValueError, match=r"term 0 needs a loss; it has \['pairs'\]"):
        student([dict(pairs=PAIRS)])
    with pytest.raises(ValueError, match=r"must not be negative, got \[\(0, 1.0\), \(4, -0.5\)\]"):
        student([dict(FSF, weight=[(0, 1.0), (4, -0.5)])])
    with pytest.raises(ValueError, match=r"a number or \(epoch, weight\) .*got \(0.1, 0.5\)"):
        student([dict(FSF, weight=(0.1, 0.5))])
    with pytest.raises(ValueError, match=r"teacher must be a dict\(checkpoint=...\), got 'x.pth'"):
        MODELS.build(dict(PLAIN, type="DistilledDetector", terms=[FSF], teacher="x.pth"))
    with pytest.raises(ValueError, match="NonLocalBlock cannot be a distillation term"):
        student([dict(loss=dict(type="NonLocalBlock", in_channels=4))])
    with pytest.raises(ValueError, match="the teacher predicts 5 landmarks, the student 3"):
        student([FSF], dict(TEACHER, head=dict(HEAD, num_landmarks=5)))
    softmax = dict(HEAD, codec=dict(HEAD["codec"], activation="softmax"))
    with pytest.raises(
        ValueError, match=r"codec.activation is 'softmax' in the teacher, None in the student"
    ):
        student([MIMICRY], dict(TEACHER, head=softmax))
    higher = dict(HEAD, codec=dict(HEAD["codec"], scale=100.0))
    with pytest.raises(ValueError, match=r"codec.scale is 100.0 in the teacher, 1.0 in the student"):
        student([MIMICRY], dict(TEACHER, head=higher))
    student([FSF], dict(TEACHER, head=higher))  # features may be compared
    inputs, samples = batch()
    for weight in (0.5, [(0, 0.0), (9, 0.5)]):  # also where it would not be asked for a while
        with pytest.raises(RuntimeError, match="TeacherHook"):
            student([dict(FSF, weight=weight)], None).loss(inputs, samples)


def test_wider_peaks_of_a_teacher_are_warned_of_once():
    wide = dict(TEACHER, head=dict(HEAD, codec=dict(HEAD["codec"], sigma=3.0)))
    inputs, samples = batch()
    for teacher, times in ((TEACHER, 0), (wide, 1)):
        detector = student([MIMICRY], teacher)
        with patch_log() as logged:
            detector.loss(inputs, samples)
            detector.loss(inputs, samples)
        assert len(logged) == times


def test_several_networks_teach():
    several = dict(TEACHER, type="EnsembleDetector", members=2)
    pairs = [("backbone.up1", "members.0.backbone.up2")]
    detector, (inputs, samples) = student([dict(FSF, pairs=pairs), MIMICRY], several), batch()
    losses = detector.loss(inputs, samples)
    assert losses["loss_distill0_attentionmap"] > 0
    wanted = sum(member.raw_maps(inputs) for member in detector.teacher.members) / 2
    mask = torch.stack([s.mask for s in samples])
    squares = (detector.raw_maps(inputs) - wanted).square().flatten(2).sum(-1)
    torch.testing.assert_close(losses["loss_distill1_heatmapmse"], 0.5 * squares[mask].sum() / 2)
