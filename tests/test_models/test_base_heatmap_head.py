"""What heads share: targets of all annotators, their losses, the codec's arguments."""

import pytest
import torch

from mmlandmark.codecs import LearnedSigmaCodec
from mmlandmark.registry import MODELS
from test_models.detector_cases import CODEC, detector, samples, samples_of_annotators


def test_deep_supervision_at_half_resolution():
    model = detector(backbone=dict(out_indices=(0, 1)), head=dict(level_weights=(1.0, 0.5)))
    images, cases = torch.rand(2, 1, 32, 40), samples()
    losses = model(images, cases, "loss")
    assert set(losses) == {
        "loss_ewc", "loss_ewc_level1", "loss_spatialcrossentropy", "loss_spatialcrossentropy_level1"
    }  # fmt: skip
    maps = model.head(model.extract_features(images))
    target = model.head.encode(cases, (32, 40), maps[1].shape[2:], "cpu")
    # A landmark of the half-size map lies where the half-pixel convention says.
    torch.testing.assert_close(target.landmarks[0], (cases[0].gt_landmarks + 0.5) / 2 - 0.5)
    assert float(losses["loss_ewc_level1"].detach()) == pytest.approx(
        0.5 * float(model.head.losses["ewc"](maps[1], target).detach())
    )


def test_several_annotators_are_learned_separately_and_predicted_together():
    model, cases = detector(head=dict(num_annotators=2)), samples_of_annotators()
    images = torch.rand(2, 1, 32, 40)
    target = model.head.encode(cases, (32, 40), (32, 40), "cpu")
    # Annotator by annotator: the channels of the second follow those of the first.
    torch.testing.assert_close(target.landmarks[0, :3], cases[0].gt_by_annotator[0])
    torch.testing.assert_close(target.landmarks[1, 3:], cases[1].gt_by_annotator[1])
    sum(model(images, cases, "loss").values()).backward()
    assert torch.isfinite(model.head.convs[0].weight.grad).all()
    model.eval()
    model.test_cfg["keep_heatmaps"] = True
    with torch.no_grad():
        maps = model(images, mode="tensor")
        predicted = model(images, cases, "predict")
    assert maps.shape == (2, 6, 32, 40)
    detection = model.head.codec.decode(model.head.codec.activate(maps), (32, 40))
    points, scores = detection.points, detection.scores
    torch.testing.assert_close(predicted[1].pred_by_annotator, points[1].view(2, 3, 2))
    torch.testing.assert_close(predicted[1].pred_landmarks, points[1].view(2, 3, 2).mean(0))
    # An annotator's empty map must not hide behind the other's: the peak monitor sees the lowest.
    torch.testing.assert_close(predicted[1].pred_scores, scores[1].view(2, 3).amin(0))
    torch.testing.assert_close(predicted[1].pred_heatmaps, maps[1].view(2, 3, 32, 40).mean(0))


def test_only_the_annotator_who_marked_nothing_is_masked():
    model, cases = detector(head=dict(num_annotators=2)), samples_of_annotators()
    cases[0].gt_by_annotator[1, 2] = torch.nan
    cases[0].gt_landmarks[2], cases[0].gt_visibility[2] = torch.nan, 0
    cases[1].gt_visibility[0] = 0
    mask = model.head.encode(cases, (32, 40), (32, 40), "cpu").mask
    assert mask.tolist() == [[True] * 5 + [False], [False, True, True] * 2]


def test_missing_annotators_are_named():
    model = detector(head=dict(num_annotators=2))
    with pytest.raises(ValueError, match="'case0' has the landmarks of 0 annotators, the head learns 2"):
        model(torch.rand(2, 1, 32, 40), samples(), "loss")
    with pytest.raises(ValueError, match="landmarks of 3 annotators"):
        model(torch.rand(2, 1, 32, 40), samples_of_annotators(annotators=3), "loss")


def test_disagreements_are_named():
    with pytest.raises(ValueError, match="'case0' has 4 landmarks, the head predicts 3"):
        detector()(torch.rand(2, 1, 32, 40), samples(count=4), "loss")
    with pytest.raises(ValueError, match="level_weights"):
        detector(head=dict(level_weights=(1.0, 1.0)))


def test_losses_are_named_by_their_type():
    losses = [dict(type="EWCLoss"), dict(type="DiceLoss"), dict(type="EWCLoss", alpha=2.0)]
    model = detector(head=dict(loss=losses))
    assert list(model.head.losses) == ["ewc0", "dice", "ewc2"]
    kind = type(model.head.losses["dice"])  # a class stands for its name
    assert list(detector(head=dict(loss=dict(type=kind))).head.losses) == ["dice"]


def test_the_codec_gets_the_arguments_it_takes():
    from test_codecs.downstream_codecs import VoteCodec, VoteLoss

    head = dict(
        type="HeatmapHead", in_channels=4, num_landmarks=5, num_annotators=2, loss=dict(type="EWCLoss")
    )
    learned = MODELS.build(dict(head, codec=dict(type=LearnedSigmaCodec)))
    assert learned.codec.sigma.shape == (5,)
    assert learned.num_maps == 10
    votes = dict(codec=dict(type=VoteCodec, radius=3.0), loss=dict(type=VoteLoss), dims=3)
    assert MODELS.build(dict(head, **votes)).num_maps == 2 * 5 * 4
    assert MODELS.build(dict(head, codec=CODEC)).num_maps == 10
