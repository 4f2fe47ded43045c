"""What detectors share: predictions in the original image, views, annotators, spread."""

import numpy as np
import pytest
import torch

from mmlandmark.models.detectors.augmented_views import view_matrix, view_of
from mmlandmark.structures import apply_matrix, invert_matrix, resize_matrix, rotation_matrix
from test_models.detector_cases import CODEC, detector, samples

VIEWS = [dict(), dict(scale=1.1), dict(rotation=5.0), dict(rotation=-8.0, scale=0.9)]


def test_predictions_return_to_the_original_image():
    # The original is 3 times as large; the network sees the resized frame.
    matrix = resize_matrix((96, 120), (32, 40))
    case = samples(batch=1, shape=(96, 120), input_from_original=matrix, input_shape=(32, 40))[0]
    model = detector().eval()
    image = torch.rand(1, 1, 32, 40)
    with torch.no_grad():
        predicted = model(image, [case], "predict")[0].pred_landmarks
        plain = model(image, mode="predict")[0].pred_landmarks
    torch.testing.assert_close(predicted, (plain + 0.5) * 3 - 0.5, atol=1e-4, rtol=0)


def test_maps_of_padded_images_say_so():
    preprocessor = dict(type="LandmarkDataPreprocessor", size_divisor=16)
    model = detector(data_preprocessor=preprocessor, test_cfg=dict(keep_heatmaps=True)).eval()
    batch = model.data_preprocessor(
        dict(inputs=[torch.rand(1, 30, 40)], data_samples=samples(batch=1, shape=(30, 40)))
    )
    with torch.no_grad():
        (predicted,) = model(**batch, mode="predict")
    assert predicted.pred_heatmaps.shape == (3, 32, 48)
    assert (predicted.input_shape, predicted.pad_shape) == ((30, 40), (32, 48))


def test_flip_needs_to_know_what_swaps():
    with pytest.raises(ValueError, match="flip_pairs"):
        detector(test_cfg=dict(flip=True)).eval()(torch.rand(1, 1, 32, 40), samples(batch=1), "predict")


def test_keep_heatmaps():
    model = detector(test_cfg=dict(keep_heatmaps=True)).eval()
    with torch.no_grad():
        case = model(torch.rand(1, 1, 32, 40), samples(batch=1), "predict")[0]
    assert case.pred_heatmaps.shape == (3, 32, 40)


@pytest.mark.parametrize(
    ("views", "shown"), [([dict(rotation=10), dict()], True), ([dict(scale=0.9)], False)]
)
def test_only_maps_that_lie_over_the_image_are_kept(views, shown):
    model = detector(test_cfg=dict(keep_heatmaps=True, views=views)).eval()
    images = torch.rand(2, 1, 32, 40)
    with torch.no_grad():
        predicted = model(images, samples(), "predict")
        maps = model.heatmaps(images)
    assert ["pred_heatmaps" in sample for sample in predicted] == [shown, shown]
    if shown:
        torch.testing.assert_close(torch.stack([sample.pred_heatmaps for sample in predicted]), maps)


def test_mirrored_annotators_swap_sides_each_for_itself():
    model = detector(head=dict(num_annotators=2), test_cfg=dict(flip=True)).eval()
    image, pairs = torch.rand(1, 1, 32, 40), ((0, 1),)
    with torch.no_grad():
        predicted = model(image, samples(batch=1, flip_pairs=pairs), "predict")[0].pred_by_annotator
        other = model(image.flip(-1), samples(batch=1, flip_pairs=pairs), "predict")[0].pred_by_annotator
    back = other[:, [1, 0, 2]] * torch.tensor([-1.0, 1.0]) + torch.tensor([39.0, 0.0])
    torch.testing.assert_close(predicted, back, atol=1e-3, rtol=0)


def test_views_are_averaged_in_the_frame_of_the_input():
    model = detector(test_cfg=dict(views=VIEWS)).eval()
    image = torch.rand(1, 1, 32, 40)
    with torch.no_grad():
        predicted = model(image, samples(batch=1), "predict")[0]
        parts = []
        for view in VIEWS:
            matrix = view_matrix(view, (32, 40))
            seen = image if matrix is None else view_of(image, matrix)
            detection = model.detect(seen)
            points = detection.points
            back = points if matrix is None else apply_matrix(invert_matrix(matrix), points)
            parts.append((back[0, 0], detection.scores[0, 0]))
    assert view_matrix(VIEWS[0], (32, 40)) is None
    torch.testing.assert_close(predicted.pred_landmarks, torch.stack([p for p, _ in parts]).mean(0))
    torch.testing.assert_close(predicted.pred_scores, torch.stack([s for _, s in parts]).mean(0))


def test_a_turned_view_of_a_volume_does_not_depend_on_the_volume_beside_it():
    model = detector(dims=3, test_cfg=dict(views=[dict(rotation=[10.0, 20.0, 5.0])])).eval()
    images, shape = torch.rand(2, 1, 12, 16, 20), (12, 16, 20)
    known, unknown = samples(shape=shape, input_from_original=np.eye(4), input_shape=shape)
    known.set_metainfo(dict(spacing=(1.0, 1.0, 3.0)))
    with torch.no_grad():
        model(images, [known, unknown], "predict")
        alone = [
            samples(batch=1, shape=shape, input_from_original=np.eye(4), input_shape=shape)[0] for _ in "ab"
        ]
        alone[0].set_metainfo(dict(spacing=(1.0, 1.0, 3.0)))
        for image, one, together in zip(images, alone, [known, unknown], strict=True):
            model(image[None], [one], "predict")
            torch.testing.assert_close(one.pred_landmarks, together.pred_landmarks, atol=1e-4, rtol=0)


@pytest.mark.parametrize("dims", [2, 3])
def test_the_spread_is_that_of_the_original_image(dims):
    shape = (12, 16, 20)[-dims:]
    large = tuple(3 * side for side in shape)
    degrees = 20.0 if dims == 2 else [20.0, -10.0, 5.0]
    matrix = resize_matrix(large, shape) @ rotation_matrix(degrees, np.full(dims, 20.0))
    (case,) = samples(batch=1, shape=large, input_from_original=matrix, input_shape=shape)
    model = detector(dims=dims, test_cfg=dict(spread=True)).eval()
    image = torch.rand(1, 1, *shape)
    with torch.no_grad():
        model(image, [case], "predict")
        (plain,) = model(image, mode="predict")
    linear = torch.as_tensor(invert_matrix(matrix)[:-1, :-1]).float()
    torch.testing.assert_close(case.pred_spread, linear @ plain.pred_spread @ linear.mT)
    assert case.pred_spread.shape == (3, dims, dims)
    assert (torch.linalg.eigvalsh(case.pred_spread) > 0).all()
    assert "pred_presence" not in case


def test_spread_is_measured_on_request_only():
    model = detector().eval()
    with torch.no_grad():
        (predicted,) = model(torch.rand(1, 1, 32, 40), samples(batch=1), "predict")
    assert "pred_spread" not in predicted


def test_annotators_that_disagree_widen_the_spread():
    model = detector(head=dict(num_annotators=2), test_cfg=dict(spread=True)).eval()
    image = torch.rand(1, 1, 32, 40)
    with torch.no_grad():
        (predicted,) = model(image, samples(batch=1), "predict")
        each = model.detect(image, spread=True)
    apart = predicted.pred_by_annotator[0] - predicted.pred_by_annotator[1]
    wanted = each.spread[0].mean(0) + apart[:, :, None] * apart[:, None] / 4
    torch.testing.assert_close(predicted.pred_spread, wanted)


def test_views_share_one_spread():
    views = [dict(), dict(scale=1.2), dict(rotation=10.0)]
    model = detector(test_cfg=dict(spread=True, views=views), head=dict(codec=dict(CODEC, window=4))).eval()
    with torch.no_grad():
        (predicted,) = model(torch.rand(1, 1, 32, 40), samples(batch=1), "predict")
    assert (torch.linalg.eigvalsh(predicted.pred_spread) > 0).all()


def test_unknown_settings_and_modes_are_named():
    with pytest.raises(ValueError, match=r"unknown keys \['flipp'\]"):
        detector(test_cfg=dict(flipp=True))
    with pytest.raises(ValueError, match="scale must be positive"):
        detector(test_cfg=dict(views=[dict(scale=0)]))
    with pytest.raises(ValueError, match="mode must be"):
        detector()(torch.rand(1, 1, 32, 40), mode="guess")
