"""The detector: its modes, its coordinates, and mirrored images."""

import numpy as np
import pytest
import torch

from mmlandmark.models.detectors.augmented_views import view_matrix, view_of
from mmlandmark.ops import gaussian_heatmap, local_centroid
from mmlandmark.registry import MODELS
from mmlandmark.structures import LandmarkDataSample, apply_matrix, invert_matrix, resize_matrix

CODEC = dict(type="GaussianHeatmapCodec", sigma=1.5)


def detector(count=3, dims=2, **kwargs):
    torch.manual_seed(0)
    head = dict(
        type="HeatmapHead",
        num_landmarks=count,
        dims=dims,
        codec=CODEC,
        loss=[dict(type="EWCLoss"), dict(type="SpatialCrossEntropyLoss", beta=20.0)],
    )
    head.update(kwargs.pop("head", {}))
    backbone = dict(type="UNet", in_channels=1, widths=(4, 6), dims=dims, norm_cfg=dict(type="BN"))
    backbone.update(kwargs.pop("backbone", {}))
    return MODELS.build(dict(type="LandmarkDetector", backbone=backbone, head=head, **kwargs))


def samples(count=3, batch=2, shape=(32, 40), **meta):
    rng = np.random.default_rng(0)
    return [
        LandmarkDataSample.from_landmarks(
            rng.uniform(8, 24, (count, len(shape))), sample_id=f"case{i}", ori_shape=shape, **meta
        )
        for i in range(batch)
    ]


@pytest.mark.parametrize("dims", [2, 3])
def test_three_modes(dims):
    shape = (16, 32, 40)[-dims:]
    preprocessor = dict(type="LandmarkDataPreprocessor", channels_last=True)
    model, cases = detector(dims=dims, data_preprocessor=preprocessor), samples(shape=shape)
    images = torch.rand(2, 1, *shape)
    losses = model(images, cases, "loss")
    assert set(losses) == {"loss_ewc", "loss_spatialcrossentropy"}
    sum(losses.values()).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())
    model.eval()
    with torch.no_grad():
        assert model(images, mode="tensor").shape == (2, 3, *shape)
        found = model(images, cases, "predict")
    assert [s.sample_id for s in found] == ["case0", "case1"]
    assert found[0].pred_landmarks.shape == (3, dims)
    assert found[0].pred_scores.shape == (3,)
    with pytest.raises(ValueError, match="mode must be"):
        model(images, mode="guess")


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


def test_predictions_return_to_the_original_image():
    # The original is 3 times as large; the network sees the resized frame.
    matrix = resize_matrix((96, 120), (32, 40))
    case = samples(batch=1, shape=(96, 120), input_from_original=matrix, input_shape=(32, 40))[0]
    model = detector().eval()
    image = torch.rand(1, 1, 32, 40)
    with torch.no_grad():
        found = model(image, [case], "predict")[0].pred_landmarks
        plain = model(image, mode="predict")[0].pred_landmarks
    torch.testing.assert_close(found, (plain + 0.5) * 3 - 0.5, atol=1e-4, rtol=0)


@pytest.mark.parametrize("size", [(32, 40), (31, 37)])
def test_flip_averaging_is_exactly_equivariant(size):
    model = detector(test_cfg=dict(flip=True)).eval()
    pairs = ((0, 1),)
    image = torch.rand(1, 1, *size)
    with torch.no_grad():
        straight = model.heatmaps(image, [1, 0, 2])
        mirrored = model.heatmaps(image.flip(-1), [1, 0, 2])
        case = samples(batch=1, shape=size, flip_pairs=pairs)
        found = model(image, case, "predict")[0].pred_landmarks
        other = model(image.flip(-1), samples(batch=1, shape=size, flip_pairs=pairs), "predict")[
            0
        ].pred_landmarks
    assert torch.equal(straight, mirrored.flip(-1)[:, [1, 0, 2]])
    back = other[[1, 0, 2]] * torch.tensor([-1.0, 1.0]) + torch.tensor([size[1] - 1.0, 0.0])
    torch.testing.assert_close(found, back, atol=1e-3, rtol=0)


def test_several_levels_are_supervised_on_request_only():
    with pytest.raises(ValueError, match=r"2 levels of \[4, 6\] channels: .* level_weights"):
        detector(backbone=dict(out_indices=(0, 1)))


def test_a_backbone_without_channels_is_named():
    head = dict(type="HeatmapHead", num_landmarks=1, codec=CODEC, loss=dict(type="EWCLoss"))
    plain = dict(type="LandmarkDetector", backbone=dict(type=torch.nn.Identity))
    with pytest.raises(ValueError, match="Identity does not say its out_channels: give in_channels of He"):
        MODELS.build(dict(plain, head=head))
    assert MODELS.build(dict(plain, head=dict(head, in_channels=3)))(torch.rand(1, 3, 8, 8)[None]).ndim == 4


def test_maps_of_padded_images_say_so():
    preprocessor = dict(type="LandmarkDataPreprocessor", size_divisor=16)
    model = detector(data_preprocessor=preprocessor, test_cfg=dict(keep_heatmaps=True)).eval()
    batch = model.data_preprocessor(
        dict(inputs=[torch.rand(1, 30, 40)], data_samples=samples(batch=1, shape=(30, 40)))
    )
    with torch.no_grad():
        (found,) = model(**batch, mode="predict")
    assert found.pred_heatmaps.shape == (3, 32, 48)
    assert (found.input_shape, found.pad_shape) == ((30, 40), (32, 48))


def test_flip_needs_to_know_what_swaps():
    with pytest.raises(ValueError, match="flip_pairs"):
        detector(test_cfg=dict(flip=True)).eval()(torch.rand(1, 1, 32, 40), samples(batch=1), "predict")


def test_disagreements_are_named():
    with pytest.raises(ValueError, match="'case0' has 4 landmarks, the head predicts 3"):
        detector()(torch.rand(2, 1, 32, 40), samples(count=4), "loss")
    with pytest.raises(ValueError, match=r"unknown keys \['flipp'\]"):
        detector(test_cfg=dict(flipp=True))
    with pytest.raises(ValueError, match="level_weights"):
        detector(head=dict(level_weights=(1.0, 1.0)))


def test_keep_heatmaps():
    model = detector(test_cfg=dict(keep_heatmaps=True)).eval()
    with torch.no_grad():
        case = model(torch.rand(1, 1, 32, 40), samples(batch=1), "predict")[0]
    assert case.pred_heatmaps.shape == (3, 32, 40)


def read_samples(annotators=2, **kwargs):
    cases = samples(**kwargs)
    for case in cases:
        moves = torch.arange(annotators)[:, None, None] * torch.tensor([2.0, -1.0])
        case.gt_by_annotator = case.gt_landmarks + moves
        case.gt_landmarks = case.gt_by_annotator.mean(0)
    return cases


def test_several_annotators_are_learnt_apart_and_predicted_together():
    model, cases = detector(head=dict(num_annotators=2)), read_samples()
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
        found = model(images, cases, "predict")
    assert maps.shape == (2, 6, 32, 40)
    detection = model.head.codec.decode(model.head.codec.activate(maps), (32, 40))
    points, scores = detection.points, detection.scores
    torch.testing.assert_close(found[1].pred_by_annotator, points[1].view(2, 3, 2))
    torch.testing.assert_close(found[1].pred_landmarks, points[1].view(2, 3, 2).mean(0))
    # An annotator's empty map must not hide behind the other's: the peak monitor sees the lowest.
    torch.testing.assert_close(found[1].pred_scores, scores[1].view(2, 3).amin(0))
    torch.testing.assert_close(found[1].pred_heatmaps, maps[1].view(2, 3, 32, 40).mean(0))


def test_a_annotator_who_marked_nothing_is_masked_alone():
    model, cases = detector(head=dict(num_annotators=2)), read_samples()
    cases[0].gt_by_annotator[1, 2] = torch.nan
    cases[0].gt_landmarks[2], cases[0].gt_visibility[2] = torch.nan, 0
    cases[1].gt_visibility[0] = 0
    mask = model.head.encode(cases, (32, 40), (32, 40), "cpu").mask
    assert mask.tolist() == [[True] * 5 + [False], [False, True, True] * 2]


def test_mirrored_annotators_swap_sides_each_for_itself():
    model = detector(head=dict(num_annotators=2), test_cfg=dict(flip=True)).eval()
    image, pairs = torch.rand(1, 1, 32, 40), ((0, 1),)
    with torch.no_grad():
        found = model(image, samples(batch=1, flip_pairs=pairs), "predict")[0].pred_by_annotator
        other = model(image.flip(-1), samples(batch=1, flip_pairs=pairs), "predict")[0].pred_by_annotator
    back = other[:, [1, 0, 2]] * torch.tensor([-1.0, 1.0]) + torch.tensor([39.0, 0.0])
    torch.testing.assert_close(found, back, atol=1e-3, rtol=0)


def test_missing_annotators_are_named():
    model = detector(head=dict(num_annotators=2))
    with pytest.raises(ValueError, match="'case0' has the landmarks of 0 annotators, the head learns 2"):
        model(torch.rand(2, 1, 32, 40), samples(), "loss")
    with pytest.raises(ValueError, match="landmarks of 3 annotators"):
        model(torch.rand(2, 1, 32, 40), read_samples(annotators=3), "loss")


VIEWS = [dict(), dict(scale=1.1), dict(rotation=5.0), dict(rotation=-8.0, scale=0.9)]


@pytest.mark.parametrize("dims", [2, 3])
def test_a_view_shows_the_image_where_its_matrix_says(dims):
    size = (40, 48, 36)[:dims]
    view = dict(rotation=[5.0, -7.0, 10.0] if dims == 3 else 12.0, scale=0.9)
    point = torch.tensor([[[20.0, 17.0, 22.0][:dims]]])
    image = gaussian_heatmap(point, size, 2.0)
    matrix = view_matrix(view, size)
    seen = local_centroid(view_of(image, matrix), 6)
    torch.testing.assert_close(seen, apply_matrix(matrix, point), atol=0.02, rtol=0)
    # What comes from outside is as dark as the image's darkest pixel, image by image.
    images = torch.rand(2, 1, *size) + torch.tensor([3.0, -5.0]).reshape(2, *[1] * (dims + 1))
    small = view_of(images, view_matrix(dict(scale=0.5), size))
    for before, after in zip(images, small, strict=True):
        assert float(after.flatten()[0]) == pytest.approx(float(before.min()), abs=1e-5)


def test_views_are_averaged_in_the_frame_of_the_input():
    model = detector(test_cfg=dict(views=VIEWS)).eval()
    image = torch.rand(1, 1, 32, 40)
    with torch.no_grad():
        found = model(image, samples(batch=1), "predict")[0]
        parts = []
        for view in VIEWS:
            matrix = view_matrix(view, (32, 40))
            seen = image if matrix is None else view_of(image, matrix)
            detection = model.detect(seen)
            points = detection.points
            back = points if matrix is None else apply_matrix(invert_matrix(matrix), points)
            parts.append((back[0, 0], detection.scores[0, 0]))
    assert view_matrix(VIEWS[0], (32, 40)) is None
    torch.testing.assert_close(found.pred_landmarks, torch.stack([p for p, _ in parts]).mean(0))
    torch.testing.assert_close(found.pred_scores, torch.stack([s for _, s in parts]).mean(0))


def test_wrong_views_are_named():
    with pytest.raises(ValueError, match="unknown keys \\['shift'\\]"):
        detector(test_cfg=dict(views=[dict(shift=3)]))
    with pytest.raises(ValueError, match="scale must be positive"):
        detector(test_cfg=dict(views=[dict(scale=0)]))
