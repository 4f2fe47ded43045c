"""The records of all splits, as the checks see them."""

from __future__ import annotations

import pytest

from mmlandmark.datasets import LandmarkDataset
from mmlandmark.datasets.check_cases import Cases, is_training, role
from mmlandmark.datasets.check_kinds import KINDS
from mmlandmark.datasets.checks import check_dataset
from test_datasets.ladders import kinds_and_samples, ladder, ladder_dataset


def test_a_budget_opens_no_file_after_it_is_spent(tmp_path):
    data = ladder_dataset(tmp_path / "t", ladder())
    report = check_dataset(dict(train=data), budget=0.0)
    skipped = ["sizes of images", "whether image files are equal"]
    assert report["left_out"] == [f"{what}, for lack of time" for what in skipped]
    assert report["splits"]["train"]["image_size"] == {"x": None, "y": None}
    assert check_dataset(dict(train=data), budget=60.0)["left_out"] == []


def test_missing_and_broken_images(tmp_path):
    data = ladder_dataset(tmp_path / "t", ladder(4))
    (tmp_path / "t" / "t1.png").unlink()
    (tmp_path / "t" / "t2.png").write_bytes(b"no image")
    assert kinds_and_samples(check_dataset(dict(train=data))) == {
        ("broken image", "t1"),
        ("broken image", "t2"),
    }


def test_splits_must_have_one_schema(tmp_path):
    data = ladder_dataset(tmp_path / "t", ladder(3))
    part = LandmarkDataset("a.json", str(tmp_path / "t"), landmarks=[0, 1])
    with pytest.raises(ValueError, match="split 'test' has other landmarks"):
        check_dataset(dict(train=data, test=part))
    names = list(data.schema.landmarks)
    turned = LandmarkDataset("a.json", str(tmp_path / "t"), landmarks=names[::-1])
    with pytest.raises(ValueError, match=r"another order.*Give the data set of split 'test' landmarks=\["):
        check_dataset(dict(train=data, test=turned))
    with pytest.raises(ValueError, match="no dataset"):
        check_dataset({})


@pytest.mark.parametrize(
    ("split", "name", "training"),
    [("train[0]", "train", True), ("val+train", "val+train", True), ("test1", "test1", False)],
)
def test_a_split_is_known_by_its_name(split, name, training):
    assert role(split) == name
    assert is_training(split) is training


def test_a_finding_says_where_it_is(tmp_path):
    cases = Cases(dict(train=ladder_dataset(tmp_path / "t", ladder(3))))
    finding = cases.finding(1, "spacing", "odd", score=2.0)
    assert (finding.check, finding.sample_id, finding.split, finding.score) == ("spacing", "t1", "train", 2.0)
    assert finding.severity == KINDS["spacing"].severity
    assert "a.json" in finding.source
    assert finding.image.endswith("t1.png")
    assert cases.at(1, 2).startswith("landmark 2 (left1) at (")
    whole = cases.whole("train", "fractions", "all of them")
    assert (whole.sample_id, whole.split, whole.advice) == ("", "train", KINDS["fractions"].advice)


def test_splits_without_training_are_all_learned_from(tmp_path):
    splits = dict(
        val=ladder_dataset(tmp_path / "a", ladder(3)), test=ladder_dataset(tmp_path / "b", ladder(2))
    )
    assert Cases(splits).training_rows().all()
    splits["train"] = ladder_dataset(tmp_path / "c", ladder(4))
    assert Cases(splits).training_rows().tolist() == [False] * 5 + [True] * 4
