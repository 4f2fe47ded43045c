"""Report of a cross-validation: a row per fold, all cases, and the mean of the folds."""

from __future__ import annotations

import json
import math

from mmlandmark.evaluation import FoldReport


def report():
    folds = {
        "0": {"mre": 1.0, "mre_sd": 0.5, "sdr_2mm": 90.0},
        "1": {"mre": 1.2, "mre_sd": 0.7, "sdr_2mm": 80.0},
    }
    pooled = {"mre": 1.1, "mre_sd": 0.6, "sdr_2mm": 85.0}
    return FoldReport(folds, {"0": 10, "1": 12}, pooled, {"": "mm (spacing of every image)"})


def test_markdown():
    lines = report().to_markdown().splitlines()
    assert lines[0] == "Errors in mm (spacing of every image)."
    assert lines[2:8] == [
        "| fold | images | MRE (mm) | SDR 2 mm | EDR 2 mm |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| 0 | 10 | 1.000 ± 0.500 | 90.00 | 10.00 |",
        "| 1 | 12 | 1.200 ± 0.700 | 80.00 | 20.00 |",
        "| all | 22 | 1.100 ± 0.600 | 85.00 | 15.00 |",
        "| mean of folds |  | 1.100 ± 0.141 | 85.00 ± 7.07 | 15.00 ± 7.07 |",
    ]


def test_a_prefix_has_a_table_of_its_own_and_one_fold_no_mean():
    values = {"a/mre": 1.0, "b/mre": math.nan}
    text = FoldReport({"x|y": values}, {"x|y": 3}, values).to_markdown()
    assert "**a**\n\n| fold | images | MRE |" in text
    assert "| x\\|y | 3 | 1.000 |" in text
    assert "**b**" in text
    assert "| all | 3 | - |" in text
    assert "mean of folds" not in text


def test_files(tmp_path):
    paths = report().save(tmp_path)
    assert [path.name for path in paths] == ["cross_validation.json", "cross_validation.md"]
    assert paths[1].read_text() == report().to_markdown()
    content = json.loads(paths[0].read_text())
    assert content["images"] == {"0": 10, "1": 12}
    assert content["folds"]["1"]["mre"] == 1.2
