"""Detectors of different landmarks as one."""

import copy
from pathlib import Path

import pytest
import torch

from mmlandmark.engine import load_config
from mmlandmark.models.detectors import LandmarkwiseDetector, plain_config
from mmlandmark.registry import MODELS
from mmlandmark.utils.shipped import config_root
from test_models.detector_cases import CODEC, samples

BACKBONE = dict(type="UNet", in_channels=1, widths=(4, 6), norm_cfg=dict(type="BN"))


def member(count=1, **head):
    own = dict(type="HeatmapHead", num_landmarks=count, codec=CODEC, loss=dict(type="EWCLoss"))
    return dict(type="LandmarkDetector", backbone=copy.deepcopy(BACKBONE), head=own | head)


def joined(counts=(1, 1, 1), **kwargs):
    torch.manual_seed(0)
    detectors = [member(count) for count in counts]
    return MODELS.build(dict(type="LandmarkwiseDetector", detectors=detectors, **kwargs)).eval()


def images(batch=2):
    return torch.rand(batch, 1, 32, 40, generator=torch.Generator().manual_seed(1))


def test_it_finds_what_its_members_find():
    model = joined((1, 2), landmarks=[[1], [2, 0]])
    assert model.head.num_landmarks == 3
    alone = [one.detect(images()) for one in model.members]
    found = model.detect(images())
    for k, (index, place) in enumerate([(1, 1), (0, 0), (1, 0)]):
        torch.testing.assert_close(found.points[:, 0, k], alone[index].points[:, 0, place])
        torch.testing.assert_close(found.scores[:, 0, k], alone[index].scores[:, 0, place])
        torch.testing.assert_close(found.maps[:, k], alone[index].maps[:, place])
    predicted = model.predict(images(), samples())
    torch.testing.assert_close(predicted[0].pred_landmarks, found.points[0, 0])
    assert joined((2, 1)).head.order == [0, 1, 2]


def test_in_a_mirror_image_partners_take_each_others_place():
    model = joined()
    mean = model.heatmaps(images(), [0, 2, 1])
    torch.testing.assert_close(mean, model.heatmaps(images().flip(-1), [0, 2, 1]).flip(-1)[:, [0, 2, 1]])
    one, two = (m.head.codec.activate(m.raw_maps(images())) for m in list(model.members)[:2])
    assert not torch.allclose(one, two)


def test_a_shared_backbone_is_there_once_and_sees_an_image_once(monkeypatch):
    alone, shared = joined(), joined(shared_backbone=True)
    state = alone.state_dict()
    one = {key.removeprefix("members.0."): value for key, value in state.items() if "0.backbone." in key}
    for index in (1, 2):
        state |= {f"members.{index}.{key}": value for key, value in one.items()}
    alone.load_state_dict(state)
    kept = {key: value for key, value in state.items() if not key.startswith(("members.1.b", "members.2.b"))}
    shared.load_state_dict(kept)
    assert set(shared.state_dict()) == set(kept)
    seen = []
    backbone = shared.members[0].backbone
    backbone.register_forward_hook(lambda *_: seen.append(1))
    torch.testing.assert_close(shared.raw_maps(images()), alone.raw_maps(images()), rtol=0, atol=0)
    assert seen == [1]
    copied = copy.deepcopy(shared)
    torch.testing.assert_close(copied.raw_maps(images()), alone.raw_maps(images()), rtol=0, atol=0)


def test_templates_of_landmarks_come_together():
    one = dict(
        type="TemplateDetector",
        backbone=dict(BACKBONE, out_indices=(0, 1)),
        head=dict(type="TemplateHead", num_landmarks=1, codec=CODEC),
        contrast=dict(type="CascadeContrastLoss"),
        patches=dict(around="landmarks"),
    )
    plain = plain_config(dict(type="LandmarkwiseDetector", detectors=[one, one]))
    assert "contrast" not in plain["detectors"][1]
    torch.manual_seed(0)
    model = MODELS.build(dict(plain, shared_backbone=True)).eval()
    first = MODELS.build(dict(plain["detectors"][0])).eval()
    first.load_state_dict(model.members[0].state_dict())
    for k, own in enumerate(model.members):
        levels = list(own.features_of(model.members[0].backbone(images(1)), images(1)))[:-1]
        points = torch.tensor([[[20.0, 8.0 + 12 * k]]], dtype=torch.float64)
        shown = torch.tensor([k == 0])
        for one in (own, first) if k == 0 else (own,):
            one.head.learn(0, levels, points, (32, 40), shown)
    # The template of the second does not show its landmark.
    (found,) = model.predict(images(2)[1:], samples(count=2, batch=1))
    (alone,) = first.predict(images(2)[1:], samples(count=1, batch=1))
    assert torch.isfinite(found.pred_landmarks).all(1).tolist() == [True, False]
    torch.testing.assert_close(found.pred_landmarks[:1], alone.pred_landmarks)
    torch.testing.assert_close(found.pred_scores, torch.cat([alone.pred_scores, torch.zeros(1)]))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (dict(detectors=[]), "at least one detector"),
        (dict(detectors=[dict(member(), test_cfg=dict(flip=True))]), "has test_cfg of its own"),
        (
            dict(detectors=[dict(type="MixedEnsemble", detectors=[member()], head=dict(codec=CODEC))]),
            "unexpected keyword argument 'head'",
        ),
        (dict(detectors=[member(), member(codec=dict(CODEC, sigma=2.0))]), "must have equal codecs"),
        (
            dict(detectors=[member(codec=dict(type="LearnedSigmaCodec"))]),
            "LearnedSigmaCodec of a member",
        ),
        (dict(detectors=[member(presence=dict())]), "presence of a member has learnt"),
        (dict(detectors=[member(num_annotators=2)]), "set head.num_annotators=1"),
        (dict(detectors=[member()] * 2, landmarks=[[0], [0]]), "must name 0 to 1 once each"),
        (dict(detectors=[member(2)], landmarks=[[0], [1]]), "must name 0 to 1 once each"),
    ],
)
def test_what_does_not_come_together_is_refused(config, message):
    with pytest.raises((ValueError, TypeError), match=message):
        MODELS.build(dict(type="LandmarkwiseDetector", **config))


def test_only_detectors_of_backbone_and_head_come_together():
    coarse = dict(type="CoarseToFineDetector", coarse=member(), fine=member(), patch_size=8, shrink=2)
    with pytest.raises(ValueError, match="not CoarseToFineDetector"):
        LandmarkwiseDetector([coarse])


def test_it_is_not_trained():
    with pytest.raises(NotImplementedError, match="per_landmark=True"):
        joined().loss(images(), samples())


def test_the_published_network_has_one_encoder():
    """CC2D's, of which the parameters are known: an encoder and, for each landmark, all that follows it."""
    config = load_config(Path(config_root(), "one_shot", "sla_vgg19_isbi2015_384x384.py"))
    model = dict(config.model, head=dict(config.model.head, num_landmarks=1))
    one = {key: part for key, part in plain_config(model).items() if key != "data_preprocessor"}
    with torch.device("meta"):
        pair = LandmarkwiseDetector([one, one], shared_backbone=True)
    assert sum(weight.numel() for weight in pair.parameters()) == 20_024_384 + 2 * 37_984_192
    assert 20_024_384 + 19 * 37_984_192 == 741_724_032
    assert not any(weight.requires_grad for weight in pair.members[0].backbone.parameters())
