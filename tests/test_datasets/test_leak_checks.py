"""Samples, patients and images that occur twice."""

from __future__ import annotations

import pytest

from mmlandmark.datasets.checks import check_dataset
from mmlandmark.datasets.releases import Isbi2015Cephalogram
from test_datasets.ladders import ladder, ladder_dataset


def test_parts_of_a_concatenation_are_one_split(tmp_path):
    data = ladder_dataset(tmp_path / "t", ladder())
    report = check_dataset({"train[0]": data, "train[1]": data})
    assert not [check for check in report["summary"] if "leak" in check]
    report = check_dataset(dict(val=data, test=data))
    assert {f["severity"] for f in report["findings"] if "leak" in f["check"]} == {"warning"}


def test_leaks_between_splits(tmp_path):
    train = ladder_dataset(tmp_path / "a", ladder(12, 0), group=[f"p{n}" for n in range(12)])
    test = ladder_dataset(tmp_path / "b", ladder(12, 1), group=[f"p{n + 11}" for n in range(12)])
    (tmp_path / "b" / "b5.png").write_bytes((tmp_path / "a" / "a2.png").read_bytes())
    report = check_dataset(dict(train=train, test=test))
    # Images of one number are equal by construction, so that all of these leak, and b5 equals a2 instead.
    leaks = {(f["check"], f["sample_id"]) for f in report["findings"] if f["check"] == "group leak"}
    assert leaks == {("group leak", "a11"), ("group leak", "b0")}
    images = {f["sample_id"] for f in report["findings"] if f["check"] == "image leak"}
    assert {"a2", "b5"} <= images
    assert "a5" not in images
    assert {f["severity"] for f in report["findings"] if "leak" in f["check"]} == {"error"}


@pytest.mark.real_data
def test_isbi_has_two_images_in_both_train_and_test(real_data):
    root = str(real_data("isbi2015_ceph"))
    report = check_dataset({s: Isbi2015Cephalogram(data_root=root, split=s) for s in ("train", "test1")})
    leaked = {f["sample_id"] for f in report["findings"] if f["check"] == "image leak"}
    assert leaked == {"038", "283", "144", "173"}
    assert "point outside" not in report["summary"]
