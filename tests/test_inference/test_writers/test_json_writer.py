"""Predictions in the project's own JSON."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from mmlandmark.datasets import LandmarkDataset
from mmlandmark.inference import write_predictions
from mmlandmark.structures import Prediction
from test_inference.predictions import error_in_mm, random_prediction, schema_of


def read(path, **kwargs):
    return LandmarkDataset(str(path), missing_images="keep", serialize_data=False, **kwargs)


@pytest.mark.parametrize("dims", [2, 3])
def test_a_dataset_reads_predictions_as_they_are(tmp_path, dims):
    rng = np.random.default_rng(dims)
    every = [random_prediction(rng, schema_of(dims), f"case {n}") for n in range(20)]
    write_predictions(every, every[0].schema, tmp_path / "a.json", "json")
    data = read(tmp_path / "a.json")
    assert data.schema == every[0].schema
    for one, record in zip(every, data.load_records(), strict=True):
        assert record["sample_id"] == one.sample_id
        assert record["img_path"] == one.image
        assert record["ori_shape"] == one.shape
        assert error_in_mm(one, record["landmarks"]) < 1e-5
        assert list(record["visibility"]) == one.found.astype(int).tolist()
        np.testing.assert_allclose(record["spacing"], one.spacing, rtol=1e-12)


@pytest.mark.parametrize("dims", [2, 3])
def test_all_that_a_prediction_says_is_in_the_file(tmp_path, dims):
    one = random_prediction(np.random.default_rng(1), schema_of(dims))
    write_predictions([one], one.schema, tmp_path / "a.json", "json")
    (record,) = read(tmp_path / "a.json").load_records()
    predicted = record["predicted"]
    world = predicted.pop("world")
    again = Prediction.from_dict(
        dict(sample_id="a", image=None, shape=one.shape, points=record["landmarks"]) | predicted, one.schema
    )
    for key in ("scores", "presence", "deviation", "spread", "world_from_original"):
        np.testing.assert_allclose(getattr(again, key), getattr(one, key), rtol=1e-5)
    for level in (0.9, 0.95):
        np.testing.assert_allclose(again.radii[level], one.radii[level], rtol=1e-5)
    np.testing.assert_allclose(again.regions[0.9], one.regions[0.9], rtol=1e-5)
    assert again.reasons == one.reasons
    assert again.measures[0] == one.measures[0]
    given = np.array([[np.nan] * dims if point is None else point for point in world])
    np.testing.assert_allclose(given, one.world_points, atol=1e-5)


def test_a_case_without_any_landmark_keeps_its_size(tmp_path):
    rng = np.random.default_rng(2)
    schema = schema_of(3)
    empty = random_prediction(rng, schema, points=np.full((len(schema), 3), np.nan), image=None)
    write_predictions([empty], schema, tmp_path / "a.json", "json")
    data = read(tmp_path / "a.json")
    record = data.get_data_info(0)
    assert record["ori_shape"] == empty.shape
    assert np.isnan(record["landmarks"]).all()
    assert not record["visibility"].any()  # the model's presence is under "predicted"


def test_what_a_model_does_not_say_is_left_out(tmp_path):
    bare = Prediction("a", None, (8, 9), schema_of(2), np.ones((13, 2)), np.ones(13))
    write_predictions([bare], bare.schema, tmp_path / "a.json", "json")
    (sample,) = json.loads((tmp_path / "a.json").read_text())["samples"]
    assert list(sample) == ["id", "image", "width", "height", "landmarks", "visibility", "predicted"]
    assert list(sample["predicted"]) == ["scores"]


def test_corrected_and_trained_on(tmp_path):
    """One landmark is corrected by hand; training reads the file and an image with it."""
    schema = schema_of(2, ("a", "b"))
    one = random_prediction(
        np.random.default_rng(3), schema, shape=(40, 32), points=np.array([[np.nan, np.nan], [5.0, 6.0]])
    )
    (tmp_path / "films").mkdir()
    cv2.imwrite(str(tmp_path / "films" / "a.png"), np.full((40, 32), 99, np.uint8))
    one = Prediction(**(vars(one) | dict(image=str(tmp_path / "films" / "a.png"))))
    write_predictions([one], schema, tmp_path / "a.json", "json", image_dir=tmp_path / "films")
    text = (tmp_path / "a.json").read_text()
    text = text.replace('"landmarks": [null, [5.0, 6.0]]', '"landmarks": [[10, 20], [5.0, 6.0]]')
    (tmp_path / "a.json").write_text(text.replace('"visibility": [0, 1]', '"visibility": [1, 1]'))
    data = LandmarkDataset(
        "a.json", str(tmp_path), "films", pipeline=[dict(type="LoadImage"), dict(type="PackInputs")]
    )
    sample = data[0]["data_samples"]
    assert sample.gt_landmarks.tolist() == [[10, 20], [5, 6]]
    assert sample.mask.tolist() == [True, True]


def test_an_empty_answer_is_a_valid_file(tmp_path):
    assert write_predictions([], schema_of(2), tmp_path / "a.json", "json") == 0
    assert json.loads((tmp_path / "a.json").read_text())["samples"] == []
