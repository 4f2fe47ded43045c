"""Predictions say which detector they come from."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from mmlandmark.evaluation import Origin, sample_hash, sample_hashes, split_hash
from mmlandmark.evaluation.origin import ORIGIN_KEY

from .calibration_cases import made_cases

OWN = Origin("w", "a", "r", dict(flip=True), dict(hash="h", samples=["s"]))


def test_a_file_keeps_it(tmp_path):
    path = tmp_path / "predictions.json"
    path.write_text(json.dumps({ORIGIN_KEY: OWN.to_dict(), "cases": []}))
    assert Origin.read(path) == OWN
    path.write_text('{"cases": []}')
    assert Origin.read(path) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(weights=None), "origin: weights has a wrong value, None"),
        (dict(trained_on=[1]), "origin: trained_on has a wrong value"),
        (dict(more=1), "origin must have the keys weights, answers"),
    ],
)
def test_what_is_no_origin_is_refused(tmp_path, change, message):
    path = tmp_path / "p.json"
    path.write_text(json.dumps({ORIGIN_KEY: OWN.to_dict() | change}))
    with pytest.raises(ValueError, match=rf"p\.json: {message}"):
        Origin.read(path)


def test_differing_options_are_named():
    assert OWN.differing_options(OWN) == []
    assert OWN.differing_options(replace(OWN, options=dict(views=[1]))) == ["flip", "views"]


def test_images_that_were_trained_on_are_found():
    cases = made_cases(5)
    hashes = sample_hashes(cases)
    assert hashes[2] == sample_hash("case0002", cases.truth[2])
    assert replace(OWN, trained_on=dict(hash="h", samples=hashes[1:3])).seen(cases) == [
        "case0001",
        "case0002",
    ]
    whole = dict(hash=split_hash(cases.sample_ids, cases.truth))
    assert len(replace(OWN, trained_on=whole).seen(cases)) == 5
    cases.truth[1] = np.nan
    assert replace(OWN, trained_on=dict(hash="h", samples=hashes[1:3])).seen(cases) == ["case0002"]
    assert replace(OWN, trained_on=None).seen(cases) == []
