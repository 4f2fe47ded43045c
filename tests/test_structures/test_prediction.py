"""Predictions: frames, checks, plain values and back."""

import json
from dataclasses import replace

import numpy as np
import pytest

from mmlandmark.structures import LandmarkSchema, MeasuredValue, Prediction, world_matrix


def prediction(dims=2, **changes):
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 50, (3, dims))
    points[1] = np.nan
    one = Prediction(
        sample_id="film 1",
        image="films/1.png",
        shape=(40, 50, 60)[:dims],
        schema=LandmarkSchema(name="three", landmarks=("a", "b", "c"), dims=dims),
        points=points,
        scores=np.array([0.5, 0.0, 0.25]),
        world_from_original=world_matrix((0.5, 2.0, 3.0)[:dims], (1.0, 2.0, 3.0)[:dims]),
        spread=np.tile(np.eye(dims), (3, 1, 1)),
        presence=np.array([1.0, 0.0, 0.5]),
        radii={0.9: np.array([1.0, np.nan, 2.0]), 0.95: np.array([2.0, np.nan, 3.0])},
        radius_unit="mm",
        regions={0.9: np.tile(4 * np.eye(dims), (3, 1, 1))},
        reasons=("", "not in the image", ""),
        measures=(MeasuredValue("ANB", 3.5, "degrees", 0.7, "class I"), MeasuredValue("d", np.nan, "mm")),
    )
    return replace(one, **changes)


@pytest.mark.parametrize("dims", [2, 3])
def test_plain_values_and_back(dims):
    one = prediction(dims)
    again = Prediction.from_dict(json.loads(json.dumps(one.to_dict(), allow_nan=False)), one.schema)
    for key in ("points", "scores", "spread", "presence", "world_from_original"):
        np.testing.assert_array_equal(getattr(again, key), getattr(one, key))
    for key in ("radii", "regions"):
        assert getattr(again, key).keys() == getattr(one, key).keys()
        for level, value in getattr(one, key).items():
            np.testing.assert_array_equal(getattr(again, key)[level], value)
    for key in ("sample_id", "image", "shape", "reasons", "radius_unit"):
        assert getattr(again, key) == getattr(one, key)
    assert again.measures[0] == one.measures[0]
    assert np.isnan(again.measures[1].value)
    assert again.measures[1].std is None


def test_optional_parts_may_be_absent():
    bare = Prediction("a", None, (8, 9), LandmarkSchema.numbered(2), np.zeros((2, 2)), np.ones(2))
    again = Prediction.from_dict(json.loads(json.dumps(bare.to_dict())), bare.schema)
    assert again.spread is None
    assert again.world_points is None
    assert again.spacing is None
    assert again.reasons == ("", "")
    assert not again.flagged.any()
    assert again.radii == {}


@pytest.mark.parametrize("dims", [2, 3])
def test_world_points_follow_the_frame(dims):
    one = prediction(dims)
    spacing, origin = np.array([0.5, 2.0, 3.0])[:dims], np.array([1.0, 2.0, 3.0])[:dims]
    np.testing.assert_allclose(one.world_points, one.points * spacing + origin)
    assert one.spacing == tuple(spacing)


def test_a_slice_in_a_patient_has_world_points_in_3d():
    matrix = world_matrix((0.5, 2.0), (1, 2, 3), [[0, 0], [1, 0], [0, 1]])
    one = prediction(world_from_original=matrix)
    np.testing.assert_allclose(one.world_points[0], [1, 2 + 0.5 * one.points[0, 0], 3 + 2 * one.points[0, 1]])


def test_landmarks_by_name_and_flags():
    one = prediction()
    assert one.found.tolist() == [True, False, True]
    assert one.flagged.tolist() == [False, True, False]
    np.testing.assert_array_equal(one["c"], one.points[2])
    more = one.with_reasons({0: "far from the others", 1: "second peak"})
    assert more.reasons == ("far from the others", "not in the image; second peak", "")


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        (dict(points=np.zeros((2, 2))), r"film 1.*points \(3, 2\).*got \(2, 2\)"),
        (dict(scores=np.zeros(2)), r"scores \(3,\)"),
        (dict(spread=np.zeros((3, 3, 3))), r"spread must have shape \(3, 2, 2\)"),
        (dict(radii={0.9: np.zeros(2)}), r"radii\[0.9\]"),
        (dict(regions={0.9: np.zeros((3, 2))}), r"regions\[0.9\]"),
        (dict(reasons=("a",)), "reasons"),
    ],
)
def test_arrays_of_another_shape_are_refused(changes, match):
    with pytest.raises(ValueError, match=match):
        prediction(**changes)
