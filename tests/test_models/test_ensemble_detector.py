"""Several detectors in one model: each learns as it would alone, all predict together."""

import numpy as np
import pytest
import torch

from mmlandmark.evaluation import LandmarkMetric
from mmlandmark.registry import MODELS
from mmlandmark.structures import LandmarkDataSample

DETECTOR = dict(
    backbone=dict(type="UNet", in_channels=1, widths=(4, 6), norm_cfg=dict(type="BN")),
    head=dict(
        type="HeatmapHead",
        num_landmarks=3,
        codec=dict(type="GaussianHeatmapCodec", sigma=1.5, activation="softmax"),
        loss=dict(type="SpatialCrossEntropyLoss"),
    ),
)


def ensemble(members=3, **kwargs):
    torch.manual_seed(0)
    return MODELS.build(dict(type="EnsembleDetector", members=members, **DETECTOR, **kwargs))


def samples(batch=2):
    rng = np.random.default_rng(0)
    return [
        LandmarkDataSample.from_landmarks(rng.uniform(8, 24, (3, 2)), sample_id=f"{i}", ori_shape=(32, 40))
        for i in range(batch)
    ]


def test_members_start_apart_and_learn_as_alone():
    model, images = ensemble(), torch.rand(2, 1, 32, 40)
    first, second = (member.head.convs[0].weight for member in model.members[:2])
    assert not torch.equal(first, second)
    loss = model(images, samples(), "loss")["loss_spatialcrossentropy"]
    (together,) = torch.autograd.grad(loss, first)
    alone = model.members[0](images, samples(), "loss")["loss_spatialcrossentropy"]
    torch.testing.assert_close(together, torch.autograd.grad(alone, first)[0])


def test_members_start_from_published_weights(tmp_path):
    backbone = dict(type="ResNet", depth=18, base_channels=4, out_indices=(0,))
    published = MODELS.build(backbone).state_dict()
    torch.save(published, tmp_path / "published.pth")
    start = dict(type="Pretrained", checkpoint=str(tmp_path / "published.pth"))
    model = MODELS.build(
        dict(
            type="EnsembleDetector",
            members=2,
            backbone=dict(backbone, init_cfg=start),
            head=dict(DETECTOR["head"], in_channels=4),
        )
    )
    model.init_weights()
    for member in model.members:
        assert torch.equal(member.backbone.conv1.weight, published["conv1.weight"])


def test_the_members_mean_is_predicted():
    model, image = ensemble(test_cfg=dict(keep_heatmaps=True)).eval(), torch.rand(1, 1, 32, 40)
    with torch.no_grad():
        alone = [member(image, samples(1), "predict")[0] for member in model.members]
        maps = [member.heatmaps(image)[0] for member in model.members]
        predicted = model(image, samples(1), "predict")[0]
        assert model(image, mode="tensor").shape == (1, 3, 32, 40)
    torch.testing.assert_close(
        predicted.pred_landmarks, torch.stack([s.pred_landmarks for s in alone]).mean(0)
    )
    # One member's empty map must not hide behind the others'.
    torch.testing.assert_close(predicted.pred_scores, torch.stack([s.pred_scores for s in alone]).amin(0))
    torch.testing.assert_close(predicted.pred_heatmaps, torch.stack(maps).mean(0))


def test_the_members_median_is_predicted():
    members = [dict(DETECTOR, type="LandmarkDetector") for _ in range(3)]
    model = MODELS.build(dict(type="MixedEnsemble", detectors=members, average="median")).eval()
    image = torch.rand(1, 1, 32, 40)
    with torch.no_grad():
        alone = torch.stack([m(image, samples(1), "predict")[0].pred_landmarks for m in model.members])
        predicted = model(image, samples(1), "predict")[0].pred_landmarks
    torch.testing.assert_close(predicted, alone.median(0).values)
    assert not torch.allclose(predicted, alone.mean(0))


def test_a_mirrored_ensemble_is_equivariant():
    model = ensemble(test_cfg=dict(flip=True)).eval()
    image = torch.rand(1, 1, 32, 40)
    with torch.no_grad():
        straight, mirrored = (model.detect(x, [1, 0, 2]).maps for x in (image, image.flip(-1)))
    torch.testing.assert_close(straight, mirrored.flip(-1)[:, [1, 0, 2]])


def test_channels_last_reaches_every_member():
    model = ensemble(data_preprocessor=dict(type="LandmarkDataPreprocessor", channels_last=True))
    for member in model.members:
        weights = [p for p in member.parameters() if p.ndim == 4 and p.shape[2] > 1 and p.shape[1] > 1]
        assert weights
        assert all(p.is_contiguous(memory_format=torch.channels_last) for p in weights)


def test_too_few_members():
    with pytest.raises(ValueError, match="at least 1 member, got 0"):
        ensemble(members=0)


ALONE = dict(type="LandmarkDetector", **DETECTOR)


@pytest.mark.parametrize(
    "config",
    [
        ALONE,
        dict(ALONE, test_cfg=dict(flip=True)),
        dict(ALONE, test_cfg=dict(views=[dict(), dict(rotation=10)])),
        dict(ALONE, head=dict(DETECTOR["head"], num_annotators=2)),
        dict(type="EnsembleDetector", members=2, **DETECTOR),
        dict(type="MixedEnsemble", detectors=[ALONE, ALONE]),
        dict(type="MixedEnsemble", detectors=[ALONE, ALONE], average="heatmaps"),
    ],
    ids=["alone", "flip", "views", "annotators", "ensemble", "points", "heatmaps"],
)
def test_a_weight_that_is_not_a_number_is_no_prediction(config):
    torch.manual_seed(0)
    model = MODELS.build(config).eval()
    with torch.no_grad():
        # The last convolution's bias of one landmark, of the last member where there are several.
        last = [value for name, value in model.named_parameters() if name.endswith("convs.0.bias")][-1]
        last[1] = torch.nan
    predicted = samples(3)
    for sample in predicted:
        sample.set_metainfo(dict(flip_pairs=((0, 2),)))
    with torch.no_grad():
        predicted = model(torch.rand(3, 1, 32, 40), predicted, "predict")
    metric = LandmarkMetric(unit="px")
    metric.process(None, [sample.to_dict() for sample in predicted])
    values = metric.evaluate(3)
    for sample in predicted:
        assert sample.pred_landmarks.isnan().all(1).tolist() == [False, True, False]
        assert sample.pred_scores[1] == 0
        assert (sample.pred_scores[[0, 2]] > 0).all()
    assert values["num_missing_pred"] == 3
    assert values["num_annotated"] == 9


def test_the_mean_map_of_padded_images_is_decoded_in_the_frame_of_its_members():
    padded = dict(ALONE, data_preprocessor=dict(type="LandmarkDataPreprocessor", size_divisor=16))
    torch.manual_seed(0)
    alone = dict(type="MixedEnsemble", detectors=[padded])
    by_points = MODELS.build(alone).eval()
    by_maps = MODELS.build(dict(alone, average="heatmaps")).eval()
    by_maps.load_state_dict(by_points.state_dict())
    image = torch.rand(1, 1, 34, 42)  # padded to 48 x 48
    with torch.no_grad():
        expected, detected = (model.detect(image, spread=True) for model in (by_points, by_maps))
    torch.testing.assert_close(detected.points, expected.points)
    torch.testing.assert_close(detected.spread, expected.spread)


def test_maps_of_different_paddings_have_no_mean():
    own = [dict(type="LandmarkDataPreprocessor", size_divisor=divisor) for divisor in (2, 16)]
    members = [dict(ALONE, data_preprocessor=preprocessor) for preprocessor in own]
    model = MODELS.build(dict(type="MixedEnsemble", detectors=members, average="heatmaps")).eval()
    with torch.no_grad(), pytest.raises(ValueError, match="average points instead"):
        model.detect(torch.rand(1, 1, 34, 42))


def test_maps_of_padded_members_say_what_they_cover():
    padded = dict(ALONE, data_preprocessor=dict(type="LandmarkDataPreprocessor", size_divisor=16))
    model = MODELS.build(dict(type="MixedEnsemble", detectors=[padded], test_cfg=dict(keep_heatmaps=True)))
    batch = model.data_preprocessor(dict(inputs=torch.rand(1, 1, 34, 42), data_samples=samples(1)))
    with torch.no_grad():
        (predicted,) = model.eval()(**batch, mode="predict")
    assert predicted.pred_heatmaps.shape == (3, 48, 48)
    assert predicted.pad_shape == (48, 48)


def test_maps_of_other_codecs_have_no_mean():
    codecs = [DETECTOR["head"]["codec"], dict(type="LaplaceHeatmapCodec", sigma=1.5, activation="softmax")]
    members = [dict(ALONE, head=dict(DETECTOR["head"], codec=codec)) for codec in codecs]
    assert len(MODELS.build(dict(type="MixedEnsemble", detectors=members)).members) == 2
    with pytest.raises(ValueError, match=r"their codecs differ.*average points instead"):
        MODELS.build(dict(type="MixedEnsemble", detectors=members, average="heatmaps"))
    wider = [dict(ALONE, head=dict(DETECTOR["head"], codec=dict(codecs[0], sigma=s))) for s in (1, 2)]
    assert len(MODELS.build(dict(type="MixedEnsemble", detectors=wider, average="heatmaps")).members) == 2


def test_a_member_with_a_test_cfg_that_has_no_effect_is_refused():
    member = dict(type="LandmarkDetector", **DETECTOR)
    flipped = dict(member, test_cfg=dict(flip=True, views=None))
    with pytest.raises(ValueError, match=r"detectors\[1\]\.test_cfg has {'flip': True}, which has no effect"):
        MODELS.build(dict(type="MixedEnsemble", detectors=[member, flipped]))
    whole = dict(flip=True, spread=True)
    model = MODELS.build(dict(type="MixedEnsemble", detectors=[member, flipped], test_cfg=whole))
    assert model.test_cfg["flip"]
