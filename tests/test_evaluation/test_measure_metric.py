"""Errors of measures in a test."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from mmlandmark.datasets import LandmarkDataset
from mmlandmark.evaluation import LandmarkMetric, MeasureMetric
from mmlandmark.evaluation.cobb import cobb_angles
from mmlandmark.structures import LandmarkSchema

SCHEMA = LandmarkSchema(
    "own",
    ("a", "b", "c"),
    derived_points=[dict(name="p", kind="midpoint", points=[0, 1])],
    measures=[
        dict(
            name="length",
            kind="distance",
            points=[0, 1],
            classes=[dict(label="short", code=2, below=2), dict(label="long", code=1)],
        ),
        dict(name="to p", kind="distance", points=["p", 2]),
    ],
)


def meta(schema=SCHEMA):
    """Return what a data set of a schema tells its metrics."""
    records = [dict(sample_id="x", image=None, landmarks=np.zeros((len(schema), schema.dims)).tolist())]
    data = LandmarkDataset(schema=schema, lazy_init=True)
    data.load_records = lambda: [dict(record, img_path=None) for record in records]
    return data.metainfo


def samples(gt, pred, spacing=(0.1, 0.1), **fields):
    return [
        dict(
            sample_id=f"case{n}",
            gt_landmarks=torch.tensor(a, dtype=torch.float64),
            pred_landmarks=torch.tensor(b, dtype=torch.float64),
            spacing=spacing,
            ori_shape=(400, 300),
            **{key: value[n] for key, value in fields.items()},
        )
        for n, (a, b) in enumerate(zip(gt, pred, strict=True))
    ]


def run(metric, given, schema=SCHEMA):
    metric.dataset_meta = meta(schema)
    metric.process(None, given)
    return metric.evaluate(len(given))


GT = np.array([[(0, 0), (10, 0), (5, 40)], [(0, 0), (30, 0), (15, 20)], [(0, 0), (40, 0), (20, 20.0)]])
PRED = GT.copy()
PRED[0, 1] = (25, 0)  # 1 -> 2.5 mm: short becomes long
PRED[1, 1] = (26, 0)
PRED[2, 1] = np.nan


def test_errors_and_classes(tmp_path):
    metric = MeasureMetric(out_file=[tmp_path / "m.json", tmp_path / "m.md", tmp_path / "m.csv"], smape=True)
    values = run(metric, samples(GT, PRED))
    assert values["mae_length"] == pytest.approx((1.5 + 0.4) / 2)
    assert values["class_accuracy_length"] == pytest.approx(100 / 3)  # the third has no prediction
    assert values["class_accuracy"] == pytest.approx(100 / 3)
    assert values["num_missing_measures"] == 2
    first = np.hypot(12.5 - 5, 40) / 10
    second = np.hypot(13 - 15, 20) / 10
    expected = (
        (1.5 + (first - 4)) / (1 + 2.5 + 4 + first)
        + (0.4 + (second - 2)) / (3 + 2.6 + 2 + second)
        + 1  # nothing is predicted of the third
    ) / 3
    assert values["smape"] == pytest.approx(100 * expected)
    assert values["num_without_smape"] == 0
    report = json.loads((tmp_path / "m.json").read_text())
    length = report["measures"][0]
    assert length["confusion"] == {"short": {"long": 1}, "long": {"long": 1, "None": 1}}
    assert (length["bias"], length["values"], length["missing"]) == (pytest.approx((1.5 - 0.4) / 2), 3, 1)
    assert "| length: true class | short | long | none |" in (tmp_path / "m.md").read_text()
    assert (tmp_path / "m.csv").read_text().startswith("measure,unit,images,not predicted,mean error")


def test_without_spacing_lengths_are_in_pixels_and_have_no_class():
    values = run(MeasureMetric(measures=["length"]), samples(GT, PRED, spacing=None))
    assert values == dict(mae_length=pytest.approx((15 + 4) / 2), num_missing_measures=1)


def test_a_perfect_prediction_has_no_error():
    values = run(MeasureMetric(smape=True), samples(GT, GT))
    assert values["mae_length"] == values["mae_to p"] == values["smape"] == 0
    assert values["class_accuracy"] == 100


def test_published_values_and_classes():
    published = samples(GT, PRED, lengths=[[1.0], [3.0], [4.0]], classes=[dict(length=n) for n in (1, 1, 2)])
    metric = MeasureMetric(measures=["length"], published="lengths", published_classes="classes")
    values = run(metric, published)
    assert values["mae_length"] == pytest.approx((1.5 + 0.4) / 2)
    assert values["class_accuracy_length"] == pytest.approx(200 / 3)
    assert not metric.poolable
    assert "published lengths and classes" in metric.report.to_markdown()
    with pytest.raises(
        ValueError, match=r"case0: no 'angles'.*PackInputs\(meta_keys=\('group', 'angles'\)\)"
    ):
        run(MeasureMetric(published="angles"), published)
    missing = MeasureMetric(published="angles")
    missing.dataset_meta = meta()
    with pytest.raises(ValueError, match="case0: no 'angles'"):
        missing.check_sample(published[0])
    with pytest.raises(ValueError, match="need as many predicted"):
        run(MeasureMetric(published="lengths"), published)


def test_definitions_may_be_given_to_the_metric():
    more = dict(name="double", kind="sum", plus=["length", "length"])
    values = run(MeasureMetric(measures=[more, "length"]), samples(GT, PRED))
    assert values["mae_double"] == pytest.approx(2 * values["mae_length"])


def test_what_the_schema_lacks_is_said_before_training():
    metric = MeasureMetric(measures=["Length"])
    metric.dataset_meta = meta()
    with pytest.raises(ValueError, match=r"'own' has no measure .*did you mean 'length' for 'Length'"):
        metric.check_sample(None)
    bare = MeasureMetric()
    bare.dataset_meta = meta(LandmarkSchema.numbered(3))
    with pytest.raises(ValueError, match="'numbered3' has no measures"):
        bare.check_sample(None)
    bare.dataset_meta = {}
    with pytest.raises(ValueError, match="names no landmarks"):
        bare.check_sample(None)
    with pytest.raises(ValueError, match=r"must end in one of"):
        MeasureMetric(out_file="m.txt")


def test_classes_of_one_code_are_one():
    """An overjet between 0 and 2 mm has the number of a cross bite in the files of ISBI 2015."""
    schema = LandmarkSchema.load("isbi2015_cephalogram")
    rng = np.random.default_rng(0)
    gt = np.tile(rng.uniform(0, 300, (19, 2)), (2, 1, 1))
    gt[:, 10] = (100, 100)
    gt[0, 11], gt[1, 11] = (110, 100), (130, 100)
    pred = gt.copy()
    pred[0, 11] = (95, 100)  # 1 mm -> -0.5 mm
    metric = MeasureMetric()
    values = run(metric, samples(gt, pred), schema)
    assert values["class_accuracy_MW"] == 100
    assert values["mae_MW"] == pytest.approx(0.75)
    row = {row["name"]: row for row in metric.report.rows}["MW"]
    assert row["confusion"] == {
        "anterior cross bite or small overjet": {"anterior cross bite or small overjet": 1},
        "normal": {"normal": 1},
    }


def test_smape_is_that_of_aasce():
    """Columns of angles.csv against those of predicted landmarks."""
    schema = LandmarkSchema.load("spine_aasce2019")
    rng = np.random.default_rng(4)
    middle = np.stack([150 + 30 * np.sin(np.linspace(0, 6, 17)), 10 + 23 * np.arange(17.0)], 1)
    box = np.array([(-20, -8), (20, -8), (-20, 8), (20, 8)])
    gt = (middle[:, None] + box).reshape(1, 68, 2) + rng.normal(size=(3, 68, 2)) * 3
    pred = gt + rng.normal(size=gt.shape)
    columns = [dict(name=f"angle {n}", kind="cobb", curve=n, points=list(range(68))) for n in (1, 2, 3)]
    angles = [cobb_angles(p.reshape(3, 17, 4, 2), np.full(3, 400.0)).columns for p in (gt, pred)]
    shares = np.abs(angles[0] - angles[1]).sum(axis=1) / (angles[0] + angles[1]).sum(axis=1)
    metric = MeasureMetric(measures=columns, published="angles", smape=True)
    values = run(metric, samples(gt, pred, angles=[tuple(row) for row in angles[0]]), schema)
    assert values["smape"] == pytest.approx(100 * shares.mean())
    assert values["mae_angle 1"] == pytest.approx(np.abs(angles[0] - angles[1])[:, 0].mean())
    own = run(MeasureMetric(smape=True), samples(gt, pred), schema)
    assert math.isfinite(own["smape"])
    assert LandmarkMetric.report_stem != MeasureMetric.report_stem


def test_an_image_without_spacing_bends_no_angle_of_others():
    """Only lengths need one unit; pixels that are not square stay so."""
    angle = dict(
        name="angle",
        kind="angle",
        points=[0, 1, 2],
        classes=[dict(label="flat", below=50), dict(label="steep")],
    )
    schema = LandmarkSchema(
        "own", ("a", "b", "c"), measures=[angle, dict(name="length", kind="distance", points=[0, 1])]
    )
    gt, pred = [[[50.0, 0], [0, 0], [50, 50]]], [[[60.0, 0], [0, 0], [50, 40]]]
    metric = MeasureMetric()
    alone = run(metric, samples(gt, pred, (1.0, 2.0)), schema)
    known = metric.report.rows[1]
    bare = [dict(samples(gt, pred, None)[0], sample_id="bare")]
    both = run(metric, samples(gt, pred, (1.0, 2.0)) + bare, schema)
    other = run(MeasureMetric(), bare, schema)
    assert both["mae_angle"] == pytest.approx((alone["mae_angle"] + other["mae_angle"]) / 2)
    assert alone["mae_angle"] != pytest.approx(other["mae_angle"], abs=0.1)
    assert (known["unit"], metric.report.rows[1]["unit"]) == ("mm", "pixels")
    assert both["mae_length"] == alone["mae_length"] == 10  # of both in pixels
