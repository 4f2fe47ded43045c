"""A calibration in a model file may have been written by anybody."""

from __future__ import annotations

import json

import pytest

from mmlandmark.evaluation import Calibration
from mmlandmark.evaluation.calibration_data import calibration_from_dict, short

from .calibration_cases import made_cases


@pytest.fixture(scope="module")
def good() -> str:
    return json.dumps(Calibration.fit(made_cases(100, uneven=0.8, stretched=4.0)).to_dict())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (dict(format=2), "format 2 is not 1: update mmlandmark"),
        (dict(landmarks=[]), "landmarks"),
        (dict(landmarks=[1, 2, 3, 4]), "landmarks"),
        (dict(dims=4), "dims must be 2 or 3"),
        (dict(unit="inch"), "unit mm or pixels"),
        (dict(levels=[]), "levels"),
        (dict(levels=[90]), "between 0 and 1"),
        (dict(levels=["0.9"]), "levels: all must be finite numbers"),
        (dict(levels=[float("nan")]), "levels: all must be finite numbers"),
        (dict(radius_kind="elliptic"), "radius_kind"),
        (dict(region_kind=[]), "region_kind"),
        (dict(scores={}), "scores needs the keys elliptic, scaled"),
        (dict(scores=dict(scaled=[[1.0]], elliptic=[[1.0]])), "one list a landmark"),
        (dict(scores=dict(scaled=[1, 2, 3, 4], elliptic=[[1.0]] * 4)), "one list a landmark"),
        (dict(scores=dict(scaled=[[1.0]] * 4, elliptic=[["x"]] * 4)), "scores: elliptic: all must be finite"),
        (dict(scores=dict(scaled=[[1.0]] * 4, elliptic=[[-1.0]] * 4)), "scores: elliptic: .*negative"),
        (dict(temperature=[1.0]), "temperature: 4 numbers are needed, got 1"),
        (dict(temperature=[0, 1, 1, 1]), "temperature: all must be positive"),
        (dict(temperature=None), "only absolute radii do without a temperature"),
        (dict(doubt={}), "doubt needs the keys"),
        (dict(about="x"), "about"),
        (dict(about=dict(x="y" * 200_000)), "about: too long"),
        (dict(about=dict(samples=["y" * 200_000])), "about: samples: hashes"),
        (dict(about=dict(samples="abc")), "about: samples must be a list"),
    ],
)
def test_wrong_values_end_in_one_sentence(good, change, words):
    with pytest.raises(ValueError, match=f"calibration.*{words}|{words}"):
        calibration_from_dict({**json.loads(good), **change})


@pytest.mark.parametrize("data", [None, [], "x", {}, {"format": 1}])
def test_other_things_are_refused(data):
    with pytest.raises(ValueError, match="calibration needs the keys format, landmarks"):
        calibration_from_dict(data)


def test_a_calibration_on_many_images_is_read_again(good):
    hashes = [f"{number:012x}" for number in range(20_000)]
    assert (
        calibration_from_dict({**json.loads(good), "about": dict(samples=hashes)})["about"]["samples"]
        == hashes
    )


def test_five_digits_are_kept():
    assert short([1.2345678, float("nan"), 123456.7]) == [1.2346, None, 123460.0]
