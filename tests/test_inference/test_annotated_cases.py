"""Annotated images in place of predictions."""

from __future__ import annotations

import json

import numpy as np
import pytest

from image_writers import write_nifti
from mmlandmark.datasets import LandmarkDataset
from mmlandmark.inference.annotated_cases import annotated_cases
from mmlandmark.inference.writers import write_predictions
from mmlandmark.inference.writers.base_writer import visibility
from mmlandmark.structures import world_matrix


def cases(tmp_path, *samples, dims=2, **kwargs):
    data = dict(schema=dict(name="two", landmarks=["a", "b"], dims=dims), samples=samples)
    (tmp_path / "a.json").write_text(json.dumps(data))
    dataset = LandmarkDataset("a.json", str(tmp_path), missing_images="keep", **kwargs)
    return list(annotated_cases(dataset))


def test_an_annotation(tmp_path):
    sample = dict(id="x", image="x.png", landmarks=[[1, 2], None], visibility=[1, -1], width=9, height=8)
    (one,) = cases(tmp_path, sample | dict(spacing=0.5))
    assert (one.sample_id, one.shape, one.spacing) == ("x", (8, 9), (0.5, 0.5))
    assert one.image.endswith("x.png")
    np.testing.assert_array_equal(one.points, [[1, 2], [np.nan, np.nan]])
    np.testing.assert_array_equal(one.scores, [np.nan, np.nan])
    np.testing.assert_array_equal(one.presence, [np.nan, 0])
    (bare,) = cases(tmp_path, sample | dict(visibility=[1, 0]))
    assert bare.presence is None
    assert bare.world_from_original is None


def test_the_frame_is_that_of_the_image(tmp_path):
    world = world_matrix((0.5, 1, 2), (5, 6, 7), np.diag([-1, 1, -1]))
    write_nifti(tmp_path / "x.nii", np.zeros((4, 5, 6), np.uint8), None, world)
    (one,) = cases(tmp_path, dict(image="x.nii", landmarks=[[1, 2, 3], None], spacing=9), dims=3)
    assert one.shape == (4, 5, 6)
    np.testing.assert_allclose(one.world_from_original, world)


def test_a_prediction_in_another_order(tmp_path):
    predicted = dict(
        scores=[0.5, 0.25], spread=[[[1, 0], [0, 1]], [[2, 0], [0, 2]]], radii={"0.9": [1, 2]},
        regions={"0.9": [[[1, 0], [0, 1]], [[3, 0], [0, 3]]]}, reasons=["", "far"],
        world_from_original=[[1, 0, 4], [0, 1, 5], [0, 0, 1]],
    )  # fmt: skip
    sample = dict(id="x", image=None, landmarks=[[1, 2], [3, 4]], width=9, height=8, predicted=predicted)
    (one,) = cases(tmp_path, sample, schema=dict(name="three", landmarks=["b", "new", "a"]))
    np.testing.assert_array_equal(one.scores, [0.25, np.nan, 0.5])
    np.testing.assert_array_equal(one.spread[:, 0, 0], [2, np.nan, 1])
    np.testing.assert_array_equal(one.regions[0.9][:, 0, 0], [3, np.nan, 1])
    np.testing.assert_array_equal(one.radii[0.9], [2, np.nan, 1])
    assert one.reasons == ("far", "", "")
    np.testing.assert_array_equal(one.world_points[0], [7, 9])


@pytest.mark.parametrize(
    "predicted",
    [
        dict(scores=[1, "x"]),
        dict(spread=[[[1, 0], [0]], None]),
        dict(radii={"high": [1, 2]}),
        dict(measures=[dict(value=1)]),
        dict(measures=[dict(name="d", value="1 mm", unit="mm")]),
        dict(measures=3),
        dict(world_from_original=[[1, 0], [0, 1]]),
        dict(reasons=[1, 2]),
    ],
)
def test_a_broken_prediction_is_named(tmp_path, predicted):
    sample = dict(id="x", image=None, landmarks=[[1, 2], [3, 4]], width=9, height=8, predicted=predicted)
    with pytest.raises(ValueError, match=r"a.json, samples\[0\]"):
        cases(tmp_path, sample)


def test_an_image_of_unknown_size(tmp_path):
    with pytest.raises(
        ValueError, match=r"samples\[0\]: sample 'x': its image size is unknown; the image .*x.png"
    ):
        cases(tmp_path, dict(image="x.png", landmarks=[[1, 2], None]))


def test_what_a_person_says_of_a_prediction_is_kept(tmp_path):
    predicted = dict(scores=[0.5, 0.25], presence=[0.9, 0.3])
    sample = dict(id="x", image=None, landmarks=[None, None], width=9, height=8, predicted=predicted)
    (guessed,) = cases(tmp_path, sample | dict(visibility=[0, 0]))
    assert visibility(guessed) == [0, 0]
    np.testing.assert_array_equal(guessed.presence, [0.9, 0.3])
    (corrected,) = cases(tmp_path, sample | dict(visibility=[-1, 0]))
    assert visibility(corrected) == [-1, 0]
    np.testing.assert_array_equal(corrected.scores, [np.nan, 0.25])
    write_predictions([corrected], corrected.schema, tmp_path / "again.json", "json")
    record = LandmarkDataset("again.json", str(tmp_path), missing_images="keep").get_data_info(0)
    assert list(record["visibility"]) == [-1, 0]
