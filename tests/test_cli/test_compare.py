"""mmlandmark compare: what it prints and draws."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from mmlandmark.cli import invoke


@pytest.fixture
def records(tmp_path):
    """Write records of three methods on the same 30 images."""
    rng = np.random.default_rng(1)
    base = rng.random(30)
    methods = {
        "none": base,
        "polar": base - 0.1 + 0.02 * rng.random(30),
        "cartesian": base + 0.3 * (rng.random(30) - 0.5),
    }
    for name, errors in methods.items():
        record = dict(
            config="c", seed=0, config_hash=name, metrics=dict(mre=1.0), split=dict(images=3, hash="s")
        )
        record["image_errors"] = dict(unit="mm", mean=errors.tolist())
        (tmp_path / f"{name}_seed0.json").write_text(json.dumps(record))
    return tmp_path


def test_differences_are_printed_and_drawn(records, capsys):
    figure = records / "out" / "differences.png"
    invoke("compare", [str(records), "--against", "none", "--figure", str(figure)])
    head, *lines = capsys.readouterr().out.splitlines()
    assert head == "Mean error per image, difference to none (mm):"
    (polar,) = (line for line in lines if line.startswith("polar: -0.0"))
    assert "30 images, t-test p = " in polar
    assert lines[-1] == f"wrote {figure}"
    picture = cv2.imread(str(figure))
    assert picture.shape[1] > 500
    assert picture.std() > 5


def test_differences_that_are_all_alike_have_no_t_test(records, capsys):
    content = json.loads((records / "none_seed0.json").read_text())
    content["image_errors"]["mean"] = [error + 0.25 for error in content["image_errors"]["mean"]]
    (records / "shifted_seed0.json").write_text(json.dumps(dict(content, config_hash="shifted")))
    invoke("compare", [str(records), "--against", "none"])
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("shifted: "))
    assert line.startswith(
        "shifted: +0.2500, of all images alike (no 95 % interval, no t-test), 30 images, t-test p = -, "
    )


def test_what_the_difference_does_not_count_is_said(records, capsys):
    """Runs of seeds that the other method lacks, and points without a prediction."""
    content = json.loads((records / "polar_seed0.json").read_text())
    content["metrics"]["num_missing_pred"] = 12
    (records / "polar_seed0.json").write_text(json.dumps(content))
    (records / "polar_seed1.json").write_text(json.dumps(dict(content, seed=1)))
    invoke("compare", [str(records), "--against", "none"])
    lines = capsys.readouterr().out.splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith("polar: "))
    assert lines[at + 1] == "  note: seeds 1 of polar are left out, which the other one lacks"
    assert lines[at + 2].startswith("  note: polar does not predict 12 of the annotated points (by run)")
    assert sum("note: " in line for line in lines) == 2


def test_a_method_that_is_not_there_is_named(records):
    with pytest.raises(ValueError, match=r"--against both: name one of .*\['cartesian', 'none', 'polar'\]"):
        invoke("compare", [str(records), "--against", "both"])
