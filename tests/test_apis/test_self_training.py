"""The stages of a self-training are compared."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmlandmark.apis.self_training import best_stage, comparison, test_sentence
from mmlandmark.engine import TrainedRun

NAN = float("nan")


def errors(*values):
    names = ("pre_train", "self_train", "fine_tune")
    return {name: dict(mre=value, sdr_2px=50.0) for name, value in zip(names, values, strict=True)}


@pytest.mark.parametrize(
    ("values", "best"),
    [
        ((3.0, 2.0, 1.5), "fine_tune"),
        ((3.0, 1.0, 1.5), "self_train"),
        ((1.0, 2.0, 1.5), "pre_train"),
        ((2.0, 2.0, 2.0), "pre_train"),
        ((NAN, NAN, 9.0), "fine_tune"),
        ((NAN, NAN, NAN), "pre_train"),
    ],
)
def test_the_smallest_error_wins_and_the_report_says_so(values, best):
    stages = {name: TrainedRun(Path(), "last.pth", None, m) for name, m in errors(*values).items()}
    assert best_stage(stages) == best
    text = comparison(errors(*values), "px", dict(train=80, val=20))
    assert f"detector.mml.pth is the detector of {best}" in text
    assert ("Self-training did not help" in text) == (best == "pre_train")
    assert "be chance" not in text


def test_the_report_is_a_table_with_the_gain():
    text = comparison(errors(2.0, NAN, 1.5), "px", dict(train=8, test=4))
    assert text.splitlines()[0] == "Errors on 4 annotated images that no stage has learnt from:"
    assert "| stage      | mean error (px) | within 2 px (%) |" in text
    assert "| self_train |               - |           50.00 |" in text
    assert "the mean error of fine_tune is 25.0 % smaller than that of pre_train" in text
    assert text.endswith("These are 4 images only, so a small difference may be chance.")


def test_whether_the_test_decided_nothing_is_told():
    tested = dict(mre=1.234)
    text = test_sentence(tested, "mm", dict(train=8, val=2, test=5))
    assert text == "Its mean error in the test is 1.23 mm, on 5 images that no stage was chosen by."
    assert "its numbers are a little too good" in test_sentence(tested, "mm", dict(train=8, test=5))
