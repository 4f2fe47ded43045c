"""Results of single landmarks: means over runs, and which are the hardest."""

from __future__ import annotations

import pytest

from mmlandmark.evaluation import landmark_table

NAMES = ["sella", "a|b", "gonion"]


def record(mre, sdr=(50.0, 60.0, 70.0), names=NAMES, **changes):
    content = dict(unit="mm", name=names, mre=mre, median=mre, sdr_10=sdr, sdr_2=sdr)
    return dict(path="x.json", landmark_errors={**content, **changes})


def rows_of(table):
    return [
        [cell.strip() for cell in line.replace(r"\|", "!").strip("|").split("|")]
        for line in table.splitlines()
        if line.startswith("|")
    ]


def test_means_over_runs_stand_side_by_side():
    groups = {
        "joint": [record([1.0, 2.0, 4.0]), record([2.0, 2.0, None], (60.0, 60.0, 70.0))],
        "single": [record([3.0], (25.0,), ["gonion"])],
    }
    table = landmark_table(groups)
    assert rows_of(table) == [
        ["landmark", "joint", "single"],
        ["---", "---:", "---:"],
        ["sella", "1.50 (55.0)", "-"],
        ["a!b", "2.00 (60.0)", "-"],
        ["gonion", "-", "3.00 (25.0)"],
        ["hardest", "-", "-"],
    ]
    assert table.endswith("Mean error (mm), and in brackets the part of the errors within 2 mm, in percent.")
    assert landmark_table({}) == "No results are recorded yet."


def test_a_row_has_the_means_of_what_all_detect():
    groups = {
        "joint": [record([1.0, 2.0, 4.0])],
        "few": [record([5.0, 3.0], (20.0, 40.0), ["sella", "gonion"])],
    }
    table = rows_of(landmark_table(groups))
    assert table[-2] == ["mean of the 2 that all detect", "2.50 (60.0)", "4.00 (30.0)"]
    assert "mean of" not in landmark_table({"joint": groups["joint"]})


def test_the_hardest_are_named():
    errors, names = [float(n % 5) for n in range(10)], [f"l{n}" for n in range(10)]
    table = landmark_table({"one": [record(errors, errors, names)]})
    assert rows_of(table)[-1] == ["hardest", "l4, l9, l3"]
    assert rows_of(landmark_table({"one": [record([1.0, 3.0, 2.0])]}))[-1] == ["hardest", "a!b"]


def test_what_cannot_be_compared_is_named():
    with pytest.raises(ValueError, match=r"x\.json: has no errors of single landmarks"):
        landmark_table({"one": [dict(path="x.json")]})
    with pytest.raises(ValueError, match="in several units or of several radii"):
        landmark_table({"one": [record([1.0, 2.0, 3.0]), record([1.0, 2.0, 3.0], unit="px")]})
    bare = dict(path="x.json", landmark_errors=dict(unit="mm", name=["a"], mre=[1.0]))
    with pytest.raises(ValueError, match="no radius"):
        landmark_table({"one": [bare]})
