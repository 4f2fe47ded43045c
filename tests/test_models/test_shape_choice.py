"""The choice among peaks by shape, inside of detectors."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from mmlandmark.models.detectors import BaseDetector, ShapeChoice
from mmlandmark.ops import gaussian_heatmap
from mmlandmark.registry import MODELS
from mmlandmark.structures import LandmarkDataSample, canonical_matrix, resize_matrix, world_matrix
from mmlandmark.utils.checkpoint import check_state_dict

K, SIDE = 6, 64
SIZE = {2: (SIDE, SIDE), 3: (24, 32, 40)}


def shapes(dims: int, count: int, seed: int) -> np.ndarray:
    """Return shapes inside of an image."""
    base = np.random.default_rng(5).uniform(0.2, 0.8, (K, dims)) * SIZE[dims][::-1]
    return base + np.random.default_rng(seed).normal(0, 0.5, (count, K, dims))


def detector(dims: int = 2, annotators: int = 1, prior: dict | None = None, **kwargs) -> BaseDetector:
    """Return a detector whose maps are its image: K * annotators channels."""
    channels = K * annotators
    config = dict(
        type="LandmarkDetector",
        dims=dims,
        backbone=dict(type="UNet", in_channels=channels, widths=(2, 2)),
        head=dict(
            type="HeatmapHead",
            num_landmarks=K,
            num_annotators=annotators,
            codec=dict(type="GaussianHeatmapCodec", sigma=1.0),
            loss=dict(type="EWCLoss"),
        ),
        test_cfg=dict(shape_prior=dict() if prior is None else prior),
    )
    if kwargs.get("type") == "EnsembleDetector":
        config |= dict(kwargs, members=2)
        config["test_cfg"] = dict(shape_prior=dict())
    model = MODELS.build(config)
    for part in getattr(model, "members", [model]):
        part.raw_maps = lambda inputs: inputs
    if model.shape_choice is not None:
        model.shape_choice.learn(shapes(dims, 40, seed=1), None)
    return model.eval()


def maps_of(points: np.ndarray, wrong: dict[int, np.ndarray], size: tuple[int, ...]) -> torch.Tensor:
    """Return maps (1, K, *S) with a peak of 0.7 at every point, and higher ones at wrong places."""
    maps = 0.7 * gaussian_heatmap(torch.tensor(points[None], dtype=torch.float32), size, 1.0)
    for k, place in wrong.items():
        other = gaussian_heatmap(torch.tensor(place[None, None], dtype=torch.float32), size, 1.0)
        maps[:, k] = torch.maximum(maps[:, k], other[:, 0])
    return maps


@pytest.mark.parametrize("dims", [2, 3])
def test_a_second_peak_that_fits_is_chosen(dims):
    truth = shapes(dims, 1, seed=2)[0]
    wrong = {2: np.full(dims, 4.0)}
    model = detector(dims)
    model.test_cfg["spread"] = True
    (sample,) = model.predict(maps_of(truth, wrong, SIZE[dims]))
    np.testing.assert_allclose(sample.pred_landmarks, truth, atol=0.1)
    # The score is that of the peak, and whoever looks at the deviation sees that another one was higher.
    assert 0.5 < sample.pred_scores[2] < 0.75
    assert (
        sample.pred_deviation[2] > model.shape_choice.gate > np.delete(sample.pred_deviation.numpy(), 2).max()
    )
    np.testing.assert_allclose(sample.pred_spread[2].diagonal().numpy(), np.ones(dims), atol=0.2)
    plain = detector(dims)
    plain.shape_choice = None
    (sample,) = plain.predict(maps_of(truth, wrong, SIZE[dims]))
    np.testing.assert_allclose(sample.pred_landmarks[2], wrong[2], atol=0.1)
    assert "pred_deviation" not in sample


def test_a_usual_shape_is_what_it_would_be_without():
    maps = maps_of(shapes(2, 1, seed=2)[0], {}, SIZE[2])
    model, plain = detector(), detector()
    plain.shape_choice = None
    model.head.codec.candidates = None  # is not asked for
    one, other = model.predict(maps)[0], plain.predict(maps)[0]
    assert torch.equal(one.pred_landmarks, other.pred_landmarks)
    assert torch.equal(one.pred_scores, other.pred_scores)
    assert one.pred_deviation.max() < model.shape_choice.gate


def test_every_annotator_chooses():
    truth, far = shapes(2, 1, seed=2)[0], np.array([60.0, 4.0])
    maps = torch.cat([maps_of(truth, {}, SIZE[2]), maps_of(truth, {1: far}, SIZE[2])], 1)
    (sample,) = detector(annotators=2).predict(maps)
    np.testing.assert_allclose(sample.pred_landmarks, truth, atol=0.1)
    np.testing.assert_allclose(sample.pred_by_annotator[1], truth, atol=0.1)
    assert sample.pred_deviation[1] > 5


def test_members_are_judged_together():
    truth, far = shapes(2, 1, seed=2)[0], np.array([60.0, 4.0])
    model = detector(type="EnsembleDetector")
    maps = maps_of(truth, {1: far}, SIZE[2])
    model.members[0].raw_maps = lambda inputs: maps_of(truth, {}, SIZE[2])
    (sample,) = model.predict(maps)
    np.testing.assert_allclose(sample.pred_landmarks, truth, atol=0.15)
    assert all(member.shape_choice is None for member in model.members)


def test_a_member_that_pads_shows_its_candidates_in_the_frame_of_the_image():
    truth = shapes(2, 1, seed=2)[0] * 0.6
    member = dict(
        type="LandmarkDetector",
        data_preprocessor=dict(type="LandmarkDataPreprocessor", size_divisor=32),
        backbone=dict(type="UNet", in_channels=K, widths=(2, 2)),
        head=dict(
            type="HeatmapHead",
            num_landmarks=K,
            codec=dict(type="GaussianHeatmapCodec", sigma=1.0),
            loss=dict(type="EWCLoss"),
        ),
    )
    model = MODELS.build(
        dict(type="MixedEnsemble", detectors=[member], dims=2, test_cfg=dict(shape_prior=dict()))
    ).eval()
    model.members[0].raw_maps = lambda inputs: inputs
    model.shape_choice.learn(shapes(2, 40, seed=1) * 0.6, None)
    (sample,) = model.predict(maps_of(truth, {2: np.full(2, 4.0)}, (40, 40)))  # which is padded to 64 x 64
    np.testing.assert_allclose(sample.pred_landmarks, truth, atol=0.1)


def test_peaks_are_found_while_gradients_are_recorded():
    maps = maps_of(shapes(2, 1, seed=2)[0], {}, SIZE[2]).requires_grad_()
    candidates = detector().head.codec.candidates(maps, SIZE[2], 3)
    assert torch.isfinite(candidates.points[:, :, 0]).all()


def test_views_and_frames_make_no_difference():
    truth = shapes(2, 1, seed=2)[0]
    maps = maps_of(truth, {2: np.array([4.0, 4.0])}, SIZE[2])
    model = detector()
    model.test_cfg["views"] = [{}, dict(rotation=4, scale=1.05)]
    # The file is twice as wide, with pixels of half the width, and the prior is in mm.
    matrix = resize_matrix((SIDE, 2 * SIDE), (SIDE, SIDE))
    sample = LandmarkDataSample.from_landmarks(
        None, sample_id="a", ori_shape=(SIDE, 2 * SIDE), input_shape=SIZE[2], spacing=(0.25, 0.5),
        input_from_original=matrix,
    )  # fmt: skip
    wide = (shapes(2, 40, seed=1) + 0.5) * [2, 1] - 0.5
    model.shape_choice.learn(wide, np.tile(np.diag([0.25, 0.5]), (40, 1, 1)))
    model.predict(maps, [sample])
    np.testing.assert_allclose(sample.pred_landmarks, (truth + 0.5) * [2, 1] - 0.5, atol=0.3)
    assert sample.pred_deviation[2] > 5


def test_views_of_flat_voxels_keep_the_shape():
    """A view is turned in mm, so the prior expects the same places in it."""
    model = detector(3)
    model.shape_choice.learn(shapes(3, 40, seed=1), np.tile(np.diag([1.0, 1.0, 4.0]), (40, 1, 1)))
    maps = maps_of(shapes(3, 1, seed=2)[0], {}, SIZE[3])
    deviations = []
    for views in ([{}], [dict(rotation=[12, 0, 0])]):
        model.test_cfg["views"] = views
        sample = LandmarkDataSample.from_landmarks(
            None, sample_id="a", ori_shape=SIZE[3], input_shape=SIZE[3],
            world_from_original=world_matrix((1.0, 1.0, 4.0)),
        )  # fmt: skip
        model.predict(maps, [sample])
        deviations.append(sample.pred_deviation.numpy())
    np.testing.assert_allclose(*deviations, atol=1)


@pytest.mark.parametrize("letters", [(1, 1, 1), (-1, -1, 1), (1, -1, -1), (-1, 1, 1)])
def test_volumes_have_one_shape_however_they_are_stored(letters):
    """The prior is of the patient in mm: a file has its own spacing, and its axes may be mirrored."""
    model = detector(3)
    model.shape_choice.learn(shapes(3, 40, seed=1), np.tile(np.diag([1.0, 1.5, 2.0]), (40, 1, 1)))
    truth = shapes(3, 1, seed=2)[0]
    stored = LandmarkDataSample.from_landmarks(
        None,
        sample_id="a",
        ori_shape=SIZE[3],
        input_shape=SIZE[3],
        world_from_original=world_matrix((1.0, 1.5, 2.0), (5, 6, 7), np.diag(letters)),
        input_from_original=canonical_matrix(world_matrix((1, 1, 1), None, np.diag(letters)), SIZE[3]),
    )
    model.predict(maps_of(truth, {}, SIZE[3]), [stored])
    found = stored.to_input(stored.pred_landmarks).numpy()
    np.testing.assert_allclose(found, truth, atol=0.3)
    expected = model.shape_choice.prior.deviations(found[None] * [1.0, 1.5, 2.0])[0]
    np.testing.assert_allclose(stored.pred_deviation, expected, rtol=1e-3)


def test_a_landmark_that_is_not_predicted_stays_so():
    truth = shapes(2, 1, seed=2)[0]
    maps = maps_of(truth, {2: np.array([4.0, 4.0])}, SIZE[2])
    maps[:, 4] = torch.nan
    (sample,) = detector().predict(maps)
    assert torch.isnan(sample.pred_landmarks[4]).all()
    assert torch.isnan(sample.pred_deviation[4])
    np.testing.assert_allclose(
        np.delete(sample.pred_landmarks.numpy(), 4, 0), np.delete(truth, 4, 0), atol=0.1
    )


def test_the_prior_travels_with_the_weights():
    model, other = detector(), detector()
    other.shape_choice.learn(shapes(2, 40, seed=1)[:, ::-1].copy(), None)
    assert other.shape_choice.prior is not None
    other.load_state_dict(copy.deepcopy(model.state_dict()))
    for name in ("typical", "middle", "scale", "precision"):
        one, two = (getattr(m.shape_choice.prior.model, name) for m in (model, other))
        np.testing.assert_array_equal(one, two)
    # Half precision, as a small model file keeps it, changes little.
    state = {k: v.half().float() if v.ndim > 1 else v for k, v in model.state_dict().items()}
    other.load_state_dict(state)
    points = shapes(2, 20, seed=3)
    one, two = (m.shape_choice.prior.deviations(points) for m in (model, other))
    np.testing.assert_allclose(one, two, rtol=0.05, atol=0.05)
    plain = detector()
    plain.shape_choice = None
    with pytest.raises(ValueError, match=r"missing \(shape_choice\.typical"):
        check_state_dict(model, plain.state_dict(), "checkpoint a.pth")


def test_an_empty_prior_is_named():
    model = detector()
    model.shape_choice = ShapeChoice(K, 2)
    with pytest.raises(ValueError, match="has learnt no shapes: train it with ShapePriorHook"):
        model.predict(maps_of(shapes(2, 1, seed=2)[0], {}, SIZE[2]))


def test_a_damaged_prior_is_named():
    model = detector()
    model.shape_choice.correlation.zero_()
    with pytest.raises(ValueError, match="shapes that the detector has learnt are damaged"):
        model.predict(maps_of(shapes(2, 1, seed=2)[0], {}, SIZE[2]))


@pytest.mark.parametrize("prior", [dict(gate=0), dict(strength=-1.0), dict(candidates=0)], ids=str)
def test_bad_settings_are_named(prior):
    with pytest.raises(ValueError, match="candidates, gate and strength of shape_prior must be positive"):
        detector(prior=prior)
