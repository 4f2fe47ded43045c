"""What a person reads before a plan is written."""

from __future__ import annotations

import json
import re
import shlex

import numpy as np
import pytest

from mmlandmark.planning import (
    Answers,
    assumptions,
    decide_network,
    decisions,
    find_data,
    questions,
    read_data,
)
from mmlandmark.planning.budget_rules import Speed
from test_planning.kites import write_kites


def test_assumptions_name_everything_that_could_be_wrong(tmp_path):
    write_kites(tmp_path / "kites")
    plan = read_data(find_data(tmp_path / "kites"), Answers())
    text = "\n".join(assumptions(plan))
    for word in ("unit ", "spacing ", "y ", "values ", "orientation ", "split ", "mirrors ", "missing "):
        assert f"\n  {word}" in "\n" + text
    assert "errors in px: no image has a spacing" in text
    assert "13 train, 3 test; every image counts as a patient of its own" in text
    assert "1 landmarks, most often tail in 1" in text


def test_questions_hold_the_flag_that_answers_them(tmp_path):
    write_kites(tmp_path / "kites")
    asked = questions(read_data(find_data(tmp_path / "kites"), Answers()))
    assert any("--spacing" in line and "--reference-length" in line for line in asked)
    assert any(
        "These names look like pairs" in line and "--pairs left_wing:right_wing" in line for line in asked
    )
    assert any("--group-pattern" in line for line in asked)
    told = Answers(spacing=(0.1,), pairs=("left_wing:right_wing",), group_pattern="kite..")
    plan = read_data(find_data(tmp_path / "kites"), told)
    assert questions(plan) == []
    assert "images are mirrored, 1 pair swaps" in "\n".join(assumptions(plan))


def test_questions_on_the_scale_of_a_tps_file(tmp_path):
    write_kites(tmp_path / "kites", "tps", y_up=True, SCALE=[0.02] * 16)
    plan = read_data(find_data(tmp_path / "kites"), Answers())
    assert any("--scale-to-mm 1 for mm, 10 for cm" in line for line in questions(plan))
    text = "\n".join(assumptions(plan))
    assert "errors in px: SCALE= in the file has no unit" in text
    assert "SCALE= 0.02 (unit unknown)" in text
    assert "mm per pixel" not in text


def test_flags_can_be_pasted_into_a_shell(tmp_path):
    path = write_kites(tmp_path / "kites")
    names = ("left_wing", "right_wing", "nose", "tail")
    text = path.read_text()
    for old, new in zip(names, ("left wing tip", "right wing tip", "it's the beak", "tail"), strict=True):
        text = text.replace(f"{old}_", f"{new}_")
    path.write_text(text)
    plan = read_data(find_data(path), Answers())
    asked = "\n".join(questions(plan)).replace(": ", " ")
    asked = asked.replace("These names look like pairs.", "")
    (lengths,) = re.findall(r"--reference-length (.*) MM", asked)
    first, last = shlex.split(lengths)
    (pair,) = shlex.split(re.findall(r"--pairs (.*) landmarks that swap", asked)[0])
    assert pair == "left wing tip:right wing tip"
    told = Answers(pairs=(pair,), reference=(first, last, 5.0))
    assert questions(read_data(find_data(path), told))[0].startswith("Are several images of one patient?")


def test_decisions_say_why(tmp_path):
    write_kites(tmp_path / "kites")
    plan = read_data(find_data(tmp_path / "kites"), Answers())
    decide_network(plan, lambda plan, ids: Speed(0.1, 0.001, 5.0, 4))
    text = "\n".join(decisions(plan))
    for word in ("input ", "network ", "batch ", "epochs ", "augment "):
        assert f"\n  {word}" in "\n" + text
    assert "U-Net of 5 levels, down to 6 pixels" in text
    assert "96x128, 168% of the median image of 54x76" in text


def test_volumes_without_spacing_are_in_voxels(tmp_path):
    rng = np.random.default_rng(0)
    samples = []
    for n in range(6):
        np.save(tmp_path / f"{n}.npy", rng.integers(0, 200, (16, 18, 20)).astype(np.uint8))
        samples.append(dict(image=f"{n}.npy", landmarks=rng.uniform(2, 14, (4, 3)).tolist()))
    schema = dict(name="v", landmarks=list("abcd"), dims=3)
    (tmp_path / "v.json").write_text(json.dumps(dict(schema=schema, samples=samples)))
    plan = read_data(find_data(tmp_path), Answers())
    text = "\n".join([*assumptions(plan), *questions(plan)])
    assert "errors in voxels: no image has a spacing" in text
    assert "the test counts landmarks within 1 voxels" in text
    assert "no volume states its directions, so voxels stay as they are stored" in text
    assert "How large is a voxel" in text
    assert "px" not in text
    assert "pixel" not in text


@pytest.mark.parametrize(
    ("spacing", "within"),
    [(0.01, "0.005, 0.01 and 0.02 mm: about 0.5"), (2.0, "2, 2.5, 3 and 4 mm: customary")],
)
def test_radii_fit_the_anatomy(tmp_path, spacing, within):
    write_kites(tmp_path / "kites")
    plan = read_data(find_data(tmp_path / "kites"), Answers(spacing=(spacing,)))
    assert f"radii        the test counts landmarks within {within}" in "\n".join(assumptions(plan))
