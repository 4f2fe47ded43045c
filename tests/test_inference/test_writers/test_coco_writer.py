"""Predictions as COCO keypoints."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mmlandmark.datasets.releases import CocoKeypoints
from mmlandmark.inference import write_predictions
from mmlandmark.structures import Prediction
from test_inference.predictions import random_prediction, schema_of


@pytest.fixture
def every(tmp_path):
    """Three predictions, the second without any landmark, written to a.json."""
    rng = np.random.default_rng(0)
    schema = schema_of(2)
    empty = np.full((len(schema), 2), np.nan)
    bare = Prediction("bare", None, (8, 9), schema, empty, np.zeros(len(schema)))
    cases = [random_prediction(rng, schema, "film 1"), bare, random_prediction(rng, schema, "film 2")]
    assert write_predictions(iter(cases), schema, tmp_path / "a.json", "coco") == 3
    return cases


def test_structure(tmp_path, every):
    data = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert list(data) == ["info", "categories", "images", "annotations"]
    (category,) = data["categories"]
    assert category["skeleton"] == [[1, 2]]
    assert category["keypoints"] == list(every[0].schema.landmarks)
    assert [image["id"] for image in data["images"]] == [1, 2, 3]
    assert [note["image_id"] for note in data["annotations"]] == [1, 3]
    assert [note["id"] for note in data["annotations"]] == [1, 2]
    for note, one in zip(data["annotations"], [every[0], every[2]], strict=True):
        table = np.array(note["keypoints"]).reshape(-1, 3)
        assert set(table[:, 2]) == {0, 2}
        assert (table[table[:, 2] == 0] == 0).all()
        assert note["num_keypoints"] == one.found.sum() == (table[:, 2] > 0).sum()
        x, y, width, height = note["bbox"]
        inside = one.points[one.found]
        assert ((inside >= [x, y]) & (inside <= [x + width, y + height])).all()
        assert note["area"] == pytest.approx(width * height, rel=1e-4)
        assert note["score"] == pytest.approx(one.scores[one.found].mean(), rel=1e-4)


def test_the_reader_leaves_out_or_keeps_what_is_empty(tmp_path, every):
    assert len(CocoKeypoints(str(tmp_path / "a.json"), missing_images="keep")) == 2
    data = CocoKeypoints(str(tmp_path / "a.json"), missing_images="keep", keep_unannotated=True)
    assert [data.get_data_info(i)["sample_id"] for i in range(3)] == ["film 1", "bare", "film 2"]
    assert data.schema.links == every[0].schema.links


def test_pycocotools_takes_it(tmp_path, every):
    coco_tools = pytest.importorskip("pycocotools.coco")
    coco = coco_tools.COCO(str(tmp_path / "a.json"))
    (annotation,) = coco.loadAnns(coco.getAnnIds(imgIds=[3]))
    results = coco.loadRes([dict(annotation)])
    evaluation = pytest.importorskip("pycocotools.cocoeval").COCOeval(coco, results, "keypoints")
    evaluation.params.kpt_oks_sigmas = np.full(len(every[0].schema), 0.05)
    evaluation.params.imgIds = [3]
    evaluation.evaluate()
    evaluation.accumulate()
    assert evaluation.eval["precision"].max() == pytest.approx(1)
