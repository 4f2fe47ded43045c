"""Coarse to fine: places come back exactly, only the fine detector learns, absent stays absent."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from mmengine.config import Config
from torch import nn

from mmlandmark.engine.config import ConfigError
from mmlandmark.engine.run_checks import check_run
from mmlandmark.models.detectors import plain_config
from mmlandmark.ops import gaussian_heatmap
from mmlandmark.registry import MODELS
from mmlandmark.structures import LandmarkDataSample, rotation_matrix
from mmlandmark.testing import tiny_config

K = 3
SIZE = {2: (90, 70), 3: (44, 52, 38)}
PATCH = {2: (24, 20), 3: (16, 18, 20)}
POINTS = {
    2: [[[20.3, 40.8], [5.2, 84.1], [60.6, 6.7]], [[33.0, 33.5], [50.4, 6.2], [10.1, 70.9]]],
    3: [
        [[20.3, 30.8, 10.2], [5.2, 45.9, 38.3], [30.6, 8.7, 20.9]],
        [[9.4, 22.2, 30.5], [32.3, 5.1, 5.4], [15.5, 40.0, 22.7]],
    ],
}


class ImageAsMaps(nn.Module):
    """A backbone that returns the image: its channels are the maps."""

    def __init__(self, channels=K):
        super().__init__()
        self.out_channels = (channels,)

    def forward(self, image):
        return (image,)


def detector(window=2, decoder="dark", count=K, **head):
    head = dict(
        type="HeatmapHead",
        num_landmarks=count,
        codec=dict(type="GaussianHeatmapCodec", sigma=1.0, decoder=decoder, window=window),
        loss=dict(type="EWCLoss"),
        **head,
    )
    return dict(type="LandmarkDetector", backbone=dict(type=ImageAsMaps, channels=count), head=head)


def annotated_twice(**options):
    """Return a detector of two annotators, whose maps are the channels of an image."""
    config = detector(num_annotators=2, **options)
    return config | dict(backbone=dict(type=ImageAsMaps, channels=2 * K))


def coarse_to_fine(dims, **options):
    """Return a detector that reads off the places of bright spots, one landmark per channel."""
    options = dict(coarse=detector(decoder="argmax"), fine=detector(window=8)) | options
    if not {"shrink", "coarse_size"} & set(options):
        options["shrink"] = 4
    model = MODELS.build(dict(type="CoarseToFineDetector", patch_size=PATCH[dims], dims=dims, **options))
    for part in model.members:
        conv = part.head.convs[0]
        channels = len(conv.weight)
        conv.weight.data = torch.eye(channels).view(channels, channels, *[1] * dims)
        conv.bias.data.zero_()
    return model.eval()


def spots(dims):
    points = torch.tensor(POINTS[dims])
    return points, gaussian_heatmap(points, SIZE[dims], 3.0)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("way", ["shrink", "axes", "size"])
def test_places_are_mapped_back_exactly(dims, way):
    """In sizes that the shrinking does not divide, near borders, several patches and images at once."""
    points, images = spots(dims)
    options = dict(
        shrink=dict(shrink=4),
        axes=dict(shrink=(3.5, 5, 2)[:dims]),
        size=dict(coarse_size=(20, 17, 11)[:dims]),
    )[way]
    model = coarse_to_fine(dims, batch_size=2, **options)
    with torch.inference_mode():
        rough = model.detect_coarse(images).points[:, 0]
        found = model.detect(images, spread=True)
    assert 0.1 < (rough - points).abs().max() < 3
    torch.testing.assert_close(found.points[:, 0], points, atol=2e-2, rtol=0)
    assert found.scores.shape == (2, 1, K)
    assert (found.scores > 0.9).all()
    middle = found.spread[0, 0, 0]  # away from the borders: that of the Gaussian, in pixels of the image
    torch.testing.assert_close(middle, 9 * torch.eye(dims), atol=1.2, rtol=0)


@pytest.mark.parametrize("dims", [2, 3])
def test_places_in_one_pose_are_mapped_back_exactly(dims):
    """Images of one anatomy, turned and of several sizes; one landmark is found at another's place."""
    rng = np.random.default_rng(dims)
    shape = rng.uniform(-1, 1, (8, dims)) * 10
    middle = (np.asarray(SIZE[dims])[::-1] - 1) / 2
    cases = []
    for _ in range(12):
        turn = rotation_matrix(rng.uniform(-180, 180, 3 if dims == 3 else 1), np.zeros(dims))[:dims, :dims]
        cases.append(rng.uniform(0.8, 1.1) * (shape - shape.mean(0)) @ turn.T + middle)
    points = torch.from_numpy(np.stack(cases)).float()[:3]
    images = gaussian_heatmap(points, SIZE[dims], 2.0)
    images[0, 2] += 2 * images[0, 5]
    model = coarse_to_fine(
        dims,
        coarse=detector(decoder="argmax", count=8),
        fine=detector(window=8, count=8),
        align=dict(pixel=0.7),
        shrink=2,
    )
    model.learn_shapes(np.stack(cases), None)
    with torch.inference_mode():
        rough = model.detect_coarse(images).points[:, 0]
        found = model.detect(images)
    assert (rough[0, 2] - points[0, 5]).abs().max() < 2, "where the wrong peak is"
    known = torch.ones(3, 8, dtype=torch.bool)
    known[0, 2] = False  # its patch lies about the right place, and may show the wrong peak, too
    torch.testing.assert_close(found.points[:, 0][known], points[known], atol=5e-2, rtol=0)


def test_members_of_an_ensemble_know_how_long_a_voxel_is():
    """Shapes in mm fit cases of thick slices; an ensemble of one is that one, also for pixels as stored."""
    rng, spacing, size = np.random.default_rng(3), np.array([1.0, 1.0, 2.5]), (20, 52, 50)
    shape = rng.uniform(-1, 1, (8, 3)) * 12
    turns = [rotation_matrix(rng.uniform(-40, 40, 3), np.zeros(3))[:3, :3] for _ in range(12)]
    middle = (np.asarray(size)[::-1] - 1) / 2
    cases = np.stack([(shape - shape.mean(0)) @ turn.T / spacing + middle for turn in turns])
    points = torch.from_numpy(cases[:2]).float()
    images = gaussian_heatmap(points, size, torch.tensor([2.0, 2.0, 0.8]).expand(2, 8, 3))
    images[0, 2] += 2 * images[0, 5]  # a wrong peak, which the shape tells from the right one
    parts = dict(coarse=detector(decoder="argmax", count=8), fine=detector(window=8, count=8))
    options = dict(parts, align=dict(pixel=0.7), shrink=(2, 2, 1))
    alone = coarse_to_fine(3, **options)
    alone.learn_shapes(cases, np.tile(np.diag(spacing), (12, 1, 1)))
    config = dict(type="CoarseToFineDetector", patch_size=PATCH[3], **options)
    ensemble = MODELS.build(dict(type="MixedEnsemble", detectors=[config], dims=3)).eval()
    ensemble.members[0].load_state_dict(alone.state_dict())
    found = []
    for model in (alone, ensemble):
        samples = [
            LandmarkDataSample.from_landmarks(
                None, sample_id=str(i), ori_shape=size, spacing=spacing, value_range=(10, 210)
            )
            for i in range(2)
        ]
        stored = [(10 + 200 * image).round().short() for image in images]
        with torch.inference_mode():
            tested = model.test_step(dict(inputs=stored, data_samples=samples))
        found.append(torch.stack([sample.pred_landmarks for sample in tested]))
    # Alone it turns voxels as they are stored, which are whole numbers.
    torch.testing.assert_close(found[1], found[0], atol=2e-2, rtol=0)
    assert (found[0] - points).norm(dim=-1).max() < 0.3


def test_predictions_come_back_to_original_pixels():
    points, images = spots(2)
    turned = torch.tensor([[0.0, -2.0, 100.0], [2.0, 0.0, 7.0], [0.0, 0.0, 1.0]]).double().numpy()
    samples = [
        LandmarkDataSample(metainfo=dict(sample_id=str(i), ori_shape=(200, 200), input_from_original=turned))
        for i in range(2)
    ]
    model = coarse_to_fine(2, test_cfg=dict(keep_heatmaps=True))
    with torch.inference_mode():
        found = model.predict(images, samples)
    for sample, expected in zip(found, points, strict=True):
        back = torch.stack([(expected[:, 1] - 7) / 2, (100 - expected[:, 0]) / 2], -1)
        torch.testing.assert_close(sample.pred_landmarks, back, atol=2e-2, rtol=0)
        assert sample.pred_heatmaps.shape == (K, 22, 18), "those of the coarse detector"
        assert sample.pad_shape == (88, 72), "what they cover"


@pytest.mark.parametrize("dims", [2, 3])
def test_mirrored_patches_count_as_much(dims):
    """Without pairs, the maps of the mirrored image are those of the image: both answers are the same."""
    points, images = spots(dims)
    model = coarse_to_fine(dims, coarse=annotated_twice(), fine=annotated_twice(window=8))
    images = images.repeat(1, 2, *[1] * dims)
    seen = []
    model.fine.backbone.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    with torch.inference_mode():
        found = model.detect(images, [0, 1, 2, 3, 4, 5])
    assert found.points.shape == (2, 2, K, dims)
    for annotator in (0, 1):
        torch.testing.assert_close(found.points[:, annotator], points, atol=2e-2, rtol=0)
    for patch, mirrored in zip(seen[::2], seen[1::2], strict=True):
        assert torch.equal(patch.flip(-1), mirrored)


def test_voxels_stay_as_they_are_stored():
    """Images of 16 bits, each with its own black and white, give what their floats give."""
    points, images = spots(3)
    model = coarse_to_fine(3)
    ranges = [(-1000, 2000), (50, 1250)]
    stored = [
        (low + image * (high - low)).round().short()
        for image, (low, high) in zip(images, ranges, strict=True)
    ]
    samples = [
        LandmarkDataSample(metainfo=dict(sample_id=str(i), ori_shape=SIZE[3], value_range=ends))
        for i, ends in enumerate(ranges)
    ]
    kinds = []
    model.fine.backbone.register_forward_hook(lambda module, inputs, output: kinds.append(inputs[0].dtype))
    data = dict(inputs=stored, data_samples=samples)
    with torch.inference_mode():
        assert model.data_preprocessor(data)["inputs"].dtype == torch.int16
        found = [sample.clone() for sample in model.test_step(data)]
        model.test_cfg["views"] = [{}, dict(rotation=(0, 0, 5))]
        in_views = model.test_step(data)
    assert set(kinds) == {torch.float32}
    for sample, expected, viewed in zip(found, points, in_views, strict=True):
        torch.testing.assert_close(sample.pred_landmarks, expected, atol=3e-2, rtol=0)
        torch.testing.assert_close(sample.pred_scores, torch.full((K,), 0.96), atol=0.05, rtol=0)
        torch.testing.assert_close(viewed.pred_landmarks, expected, atol=0.2, rtol=0)


def test_a_landmark_is_read_from_its_own_patch():
    """The fine detector sees every landmark in every patch; a brighter spot elsewhere must not count."""
    points, images = spots(2)
    images[0, 0] += 0.3 * gaussian_heatmap(points[:1, 1:2], SIZE[2], 3.0)[0, 0]
    with torch.inference_mode():
        found = coarse_to_fine(2).detect(images).points[:, 0]
    torch.testing.assert_close(found, points, atol=2e-2, rtol=0)


def test_absent_for_the_coarse_detector_stays_absent():
    points, images = spots(2)
    model = coarse_to_fine(2, coarse=detector(presence=dict()))
    model.coarse.head.presence.layers[-1].weight.data.zero_()
    model.coarse.head.presence.layers[-1].bias.data = torch.tensor([3.0, -3.0, 3.0])
    seen = []
    model.fine.backbone.register_forward_hook(lambda module, inputs, output: seen.append(len(inputs[0])))
    with torch.inference_mode():
        found = model.detect(images, spread=True)
    assert sum(seen) == 4, "no patch for a landmark that is not there"
    assert found.points[:, 0, 1].isnan().all()
    assert (found.scores[:, 0, 1] == 0).all()
    torch.testing.assert_close(found.presence[0, 0], torch.tensor([3.0, -3.0, 3.0]).sigmoid())
    torch.testing.assert_close(found.points[:, 0, ::2], points[:, ::2], atol=2e-2, rtol=0)
    images[1, 2] = torch.nan  # a broken map is no place, either
    with torch.inference_mode():
        found = coarse_to_fine(2).detect(images)
    assert found.points[1, 0].isnan().all(-1).tolist() == [True, True, True], "one filter sees all channels"
    assert found.points[0].isfinite().all()


def test_presence_is_that_of_the_fine_detector():
    _, images = spots(2)
    model = coarse_to_fine(2, fine=detector(presence=dict()))
    model.fine.head.presence.layers[-1].weight.data.zero_()
    model.fine.head.presence.layers[-1].bias.data = torch.tensor([0.5, 1.0, -2.0])
    with torch.inference_mode():
        found = model.detect(images)
        nothing = model.detect(torch.full_like(images, torch.nan), spread=True)
    torch.testing.assert_close(found.presence[1, 0], torch.tensor([0.5, 1.0, -2.0]).sigmoid())
    assert nothing.points.isnan().all()
    assert nothing.spread.shape == (2, 1, K, 2, 2)
    assert (nothing.presence == 0).all()


def test_only_the_fine_detector_learns():
    part = tiny_config("unused").model
    model = MODELS.build(
        dict(type="CoarseToFineDetector", coarse=part, fine=part, patch_size=(32, 32), shrink=2)
    )
    before = copy.deepcopy(model.state_dict())
    model.train()
    assert not model.coarse.training
    assert model.fine.training
    points = torch.rand(19, 2).mul(30).numpy()
    samples = [LandmarkDataSample.from_landmarks(points, sample_id="0", ori_shape=(32, 32))]
    patch = torch.rand(1, 1, 32, 32)
    stored = (3000 * patch - 1000).round()
    for sample in samples:
        sample.set_metainfo(dict(value_range=(-1000, 2000)))
    losses = model(stored.short(), samples, "loss")
    patch = (stored + 1000) / 3000
    model.fine.train()
    mean, std = 0.4, 0.25
    expected = copy.deepcopy(model.fine).loss((patch - mean) / std, samples)
    torch.testing.assert_close(losses, expected)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.1)
    sum(losses.values()).backward()
    optimizer.step()
    changed = {key.split(".")[0] for key, value in model.state_dict().items() if not value.equal(before[key])}
    assert changed == {"fine"}


def test_an_untrained_coarse_detector_is_refused_before_the_first_batch(tmp_path):
    part = tiny_config("unused").model.to_dict()
    config = tiny_config(tmp_path).to_dict()
    config["model"] = dict(
        type="CoarseToFineDetector", coarse=part, fine=part, patch_size=(32, 32), coarse_size=(32, 32)
    )
    with pytest.raises(ConfigError, match="the coarse detector would stay untrained"):
        check_run(Config(config), "here")
    config["model"]["coarse"] = dict(part, init_cfg=dict(type="Pretrained", checkpoint="run:coarse:best"))
    check_run(Config(config), "here")


def test_patches_of_training_and_test_have_one_pose():
    config = tiny_config("unused")
    part = config.model.to_dict()
    coarse = dict(part, init_cfg=dict(type="Pretrained", checkpoint="run:coarse:best"))
    config.model = dict(
        type="CoarseToFineDetector", coarse=coarse, fine=part, patch_size=(32, 32), coarse_size=(32, 32)
    )
    check_run(config, "here")
    config.model.align = dict(pixel=0.5)
    with pytest.raises(ConfigError, match=r"add dict.type='ShapePriorHook'. to custom_hooks"):
        check_run(Config(dict(config.to_dict(), load_from="of_other_data.pth")), "here")
    config.custom_hooks = [dict(type="ShapePriorHook")]
    with pytest.raises(ConfigError, match=r"align has pixel 0.5, AlignToTypicalShape .* has None"):
        check_run(config, "here")
    pipeline = config.train_dataloader.dataset.pipeline
    config.train_dataloader.dataset.pipeline = [*pipeline, dict(type="AlignToTypicalShape", pixel=1)]
    with pytest.raises(ConfigError, match=r"align has pixel 0.5, AlignToTypicalShape .* has 1.0"):
        check_run(config, "here")
    config.model.align.pixel = 1
    check_run(config, "here")


def test_the_coarse_detector_starts_from_its_own_run(tmp_path):
    part = tiny_config("unused").model.to_dict()
    trained = MODELS.build(part)
    torch.save(dict(state_dict=trained.state_dict()), tmp_path / "coarse.pth")
    start = dict(type="Pretrained", checkpoint=str(tmp_path / "coarse.pth"))
    config = dict(
        type="CoarseToFineDetector", coarse=dict(part, init_cfg=start), fine=part, patch_size=(8, 8), shrink=2
    )
    model = MODELS.build(config)
    model.init_weights()
    for key, value in trained.state_dict().items():
        assert torch.equal(model.coarse.state_dict()[key], value)
    assert plain_config(config)["type"] == "CoarseToFineDetector"


def test_parts_that_only_training_uses_are_left_out():
    part = detector()
    branch = dict(part, type="MultiTaskDetector", branches=dict(more=dict()))
    config = dict(type="CoarseToFineDetector", coarse=branch, fine=branch, patch_size=(8, 8), shrink=2)
    plain = plain_config(config)
    assert plain["coarse"] == plain["fine"] == part
    assert plain["patch_size"] == (8, 8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(coarse_size=(8, 8), shrink=2), "either coarse_size.*or shrink"),
        (dict(shrink=-1), "shrink must be 2 positive numbers"),
        (dict(coarse_size=(8, 8, 8)), "coarse_size must be 2 positive numbers"),
        (dict(batch_size=0), "batch_size must be at least 1"),
        (dict(test_cfg=dict(shape_prior=dict())), "no choice by shape"),
        (dict(fine=dict(detector(), head=dict(detector()["head"], num_landmarks=4))), "3 landmarks.*4"),
        (
            dict(coarse=dict(detector(), test_cfg=dict(flip=True, spread=True)), test_cfg=dict(spread=True)),
            r"coarse\.test_cfg has {'flip': True}, without effect",
        ),
        (dict(fine=dict(detector(), test_cfg=dict(views=[{}]))), r"fine\.test_cfg has {'views': \[{}\]}"),
    ],
)
def test_wrong_arguments_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        coarse_to_fine(2, **options)
    with pytest.raises(ValueError, match="patch_size must be 3"):
        MODELS.build(
            dict(
                type="CoarseToFineDetector",
                coarse=detector(),
                fine=detector(),
                patch_size=(8, 8),
                shrink=2,
                dims=3,
            )
        )
