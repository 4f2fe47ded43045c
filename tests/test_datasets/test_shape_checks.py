"""Shapes unlike the others."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mmlandmark.datasets import LandmarkDataset
from mmlandmark.datasets.checks import Thresholds, check_dataset
from mmlandmark.shape import normalised
from mmlandmark.structures import LandmarkSchema
from mmlandmark.testing.planted_faults import Annotations
from test_datasets.ladders import check_ladder, ladder, ladder_dataset, of_check


def test_a_single_landmark_far_off_is_named(tmp_path):
    points = ladder(60)
    points[3, 7, 0] += 14
    report = check_dataset(
        dict(train=ladder_dataset(tmp_path / "t", points)), Thresholds(shape=1e3, landmark=5)
    )
    (finding,) = report["findings"]
    assert (finding["check"], finding["sample_id"], finding["landmarks"]) == ("landmark outlier", "t3", [7])


@pytest.mark.parametrize("annotated_in", [0, 1])
def test_a_landmark_that_is_hardly_ever_annotated_hides_no_faults_of_others(tmp_path, annotated_in):
    points = ladder(60)
    points[[3, 8], 7, 0] += 14
    points[annotated_in:, 2] = np.nan
    report = check_dataset(
        dict(train=ladder_dataset(tmp_path / "t", points)), Thresholds(shape=1e3, landmark=5)
    )
    assert of_check(report, "landmark outlier") == {("t3", 7), ("t8", 7)}


@pytest.mark.parametrize(("most", "check"), [(0.3, "y from the bottom"), (1.5, "mirrored shape")])
def test_an_exchange_that_looks_like_a_mirror_image_is_named(most, check):
    rng = np.random.default_rng(0)
    points = np.empty((40, 5, 2))
    for n, turn in enumerate(rng.uniform(-most, most, 40)):
        cross = np.array([[130, 0], [-130, 0], [0, 90], [0, -90], [0, 0]]) + rng.normal(0, 1.5, (5, 2))
        points[n] = cross @ [[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]] + (320, 240)
    points[7, [2, 3]] = points[7, [3, 2]]
    data = Annotations(
        "crosses", LandmarkSchema.numbered(5), points, np.tile([640.0, 480.0], (40, 1)), np.ones(40)
    ).dataset()
    (finding,) = check_dataset(dict(train=data))["findings"]
    assert (finding["check"], finding["sample_id"], finding["landmarks"]) == (check, "7", [2, 3])
    assert ", or when landmark 2" in finding["message"]
    assert finding["message"].endswith("change places")


def test_a_mirror_image_that_no_exchange_explains_names_no_landmark(tmp_path):
    points = ladder()
    points[3] = points[3] * [-1, 1] + [119, 0]
    assert of_check(check_ladder(tmp_path, points), "mirrored shape") == {("t3",)}


@pytest.mark.parametrize(
    ("change", "check"),
    [
        (lambda p: p * [1, -1] + [0, 179], "y from the bottom"),
        (lambda p: p[:, ::-1], "x and y exchanged"),
        (lambda p: p * [-1, 1] + [119, 0], "mirrored shape"),
    ],
)
def test_some_samples_with_other_axes(tmp_path, change, check):
    points = ladder(40)
    points[:, 1::2, 0] += 25 * (points[:, 1::2, 1] > 60)  # not its own mirror image
    for n in (4, 9, 30):
        points[n] = change(points[n])
    report = check_ladder(tmp_path, points)
    assert {n for n, *_ in of_check(report, check)} == {"t4", "t9", "t30"}


def test_faults_in_three_dimensions(tmp_path):
    rng = np.random.default_rng(0)
    points = 60 + 20 * normalised(rng.normal(size=(9, 3))) + rng.normal(0, 0.8, (40, 9, 3))
    points[4, 5] += (9, 0, 0)
    points[11, [2, 7]] = points[11, [7, 2]]
    points[20] = points[20] * [-1, 1, 1] + [119, 0, 0]
    points[30, 3] = 0
    samples = [dict(id=str(n), landmarks=p.tolist()) for n, p in enumerate(points)]
    schema = dict(name="points", landmarks=[f"p{k}" for k in range(9)], dims=3)
    (tmp_path / "a.json").write_text(json.dumps(dict(schema=schema, samples=samples)))
    report = check_dataset(dict(all=LandmarkDataset("a.json", str(tmp_path))))
    found = {(f["check"], f["sample_id"], *f["landmarks"]) for f in report["findings"]}
    assert {("landmark outlier", "4", 5), ("swapped landmarks", "11", 2, 7)} <= found
    assert {("axes of a volume", "20"), ("placeholder", "30", 3)} <= found
    assert {sample for _, sample, *_ in found} == {"4", "11", "20", "30"}
