"""Which pseudo labels are learnt from, and how the time is divided."""

from __future__ import annotations

import numpy as np
import pytest

from mmlandmark.engine import ShapeRegulator
from mmlandmark.planning import self_training_rules as rules
from mmlandmark.planning.budget_rules import Speed

SPEED = Speed(iteration=0.4, first_read=0.01, start=6.0, batch=4)
NAMES = [f"point {k}" for k in range(8)]


def shapes(count, dims=2, missing=()):
    rng = np.random.default_rng(0)
    mean, modes = rng.uniform(20, 180, (8, dims)), rng.normal(0, 1, (12, 8, dims))
    points = mean + np.einsum("nm,mkd->nkd", rng.normal(0, 1.5, (count, 12)), modes)
    for n in missing:
        points[n, n % 8] = np.nan
    return points


@pytest.mark.parametrize(
    ("count", "missing", "way"),
    [(10, (), "agreement"), (12, range(12), "agreement"), (9, (), "masking"), (6, (0, 1, 2), "masking")],
)
@pytest.mark.parametrize("dims", [2, 3])
def test_the_way_follows_from_the_number_of_shapes(count, missing, way, dims):
    choice = rules.choose_selector(shapes(count, dims, missing), NAMES, "px")
    assert (choice.value["way"], choice.value["unit"]) == (way, "px")
    assert ("limit" in choice.value) == (way == "masking")
    assert ShapeRegulator(**{k: v for k, v in choice.value.items() if k != "type"}).way == way


def test_the_limit_keeps_right_landmarks_of_shapes_that_were_not_learnt_from():
    everything = shapes(209)
    choice = rules.choose_selector(everything[:9], NAMES, "px")
    limit = choice.value["limit"]
    assert f"within {limit:g} px of the nearest usual shape, as 95 % are" in choice.why
    model = rules.PointDistributionModel.fit(everything[:9])
    assert model.regulate(everything[9:], limit).kept.mean() > 0.8
    assert model.regulate(everything[9:], limit / 2).kept.mean() < 0.6
    scaled = rules.choose_selector(everything[:9] / 10, NAMES, "mm").value["limit"]
    assert scaled == pytest.approx(limit / 10, rel=0.01)
    three = rules.choose_selector(everything[:3], NAMES, "px")
    radius = np.sqrt(((everything[:3] - everything[:3].mean(1, keepdims=True)) ** 2).sum(2).mean(1)).mean()
    assert three.value["limit"] == pytest.approx(0.09 * radius, rel=0.02)
    assert "9 % of the radius" in three.why


@pytest.mark.parametrize(("count", "landmarks"), [(7, 4), (9, 4), (9, 5)])
def test_modes_that_explain_any_shape_do_not_make_the_limit_vanish(count, landmarks):
    """Right landmarks of others are kept, which a hundredth of a radius would not do."""
    everything = shapes(209)[:, :landmarks]
    limit = rules.choose_selector(everything[:count], NAMES[:landmarks], "mm").value["limit"]
    model = rules.PointDistributionModel.fit(everything[:count])
    assert model.regulate(everything[9:], limit).kept.mean() > 0.9
    same = rules.choose_selector(np.repeat(everything[:1], count, axis=0), NAMES[:landmarks], "mm")
    radius = rules.PointDistributionModel.fit(np.repeat(everything[:1], count, axis=0)).size
    assert same.value["limit"] == pytest.approx(0.045 * radius, rel=0.01)
    assert "4.5 % of the radius" in same.why


def test_too_few_shapes_or_landmarks_are_refused():
    with pytest.raises(ValueError, match=r"at least 3 training images with all landmarks.*there are 2$"):
        rules.choose_selector(shapes(2), NAMES, "mm")
    with pytest.raises(ValueError, match=r"at least 3 training images with all landmarks.*there is 1$"):
        rules.choose_selector(shapes(5, missing=range(4)), NAMES, "mm")
    with pytest.raises(ValueError, match=r"shapes of more than 3 landmarks; there are 3"):
        rules.choose_selector(shapes(20, 3)[:, :3], NAMES[:3], "mm")
    never = shapes(20)
    never[:, 5] = np.nan
    with pytest.raises(ValueError, match=r"no training image has the landmark 'point 5'"):
        rules.choose_selector(never, NAMES, "mm")


@pytest.mark.parametrize(
    ("minutes", "unlabelled", "images"),
    [(60, 490, 490), (60, 10000, 4500), (2, 60, 60), (0.5, 60, 21), (0.1, 60, 8), (9, 3, 3)],
)
def test_as_many_images_are_used_as_get_three_rounds(minutes, unlabelled, images):
    choice = rules.choose_images(SPEED, minutes, unlabelled, 10)
    assert choice.value == images
    assert ("drawn at random" in choice.why) == (images < unlabelled)
    if images > rules.FEWEST_IMAGES:
        assert rules.shortest(SPEED, images, 10) <= 60 * minutes


def test_an_epoch_has_every_unlabelled_image_once():
    assert rules.seen_per_epoch(60) == 120
    # Three epochs of 30 steps and of labelling 60 images.
    epochs = 3 * (30 * 0.4 + 60 * 0.4 * 0.1)
    assert rules.shortest(SPEED, 60, 10) == pytest.approx(6 + 1.3 + 4 * (10 * 0.04 + 1) + epochs)


def test_too_short_a_time_is_refused_and_the_shortest_is_told():
    seconds = dict(pre_train=12.0, self_train=20.0, fine_tune=12.0)
    with pytest.raises(ValueError, match=r"--minutes 1 is too short a time .* give at least 1\.1$"):
        rules.check_minutes(1, seconds)
    rules.check_minutes(1.1, seconds)
    assert sum(rules.SHARES.values()) == pytest.approx(1)


def test_volumes_keep_the_loss_of_the_training_before():
    assert [rules.choose_loss(dims).value for dims in (2, 3)] == ["attention", "same"]
