"""mmlandmark ensemble: two runs become one, which is tested and recorded."""

from __future__ import annotations

import json

import pytest

from mmlandmark.cli import invoke
from mmlandmark.engine import load_config


@pytest.mark.parametrize("average", ["points", "median", "heatmaps"])
def test_two_runs(average, trained, tmp_path, capsys):
    out, record = tmp_path / "both", tmp_path / "record.json"
    words = [trained.folder, trained.folder, "--out", out, "--average", average, "--flip", "--record", record]
    invoke("ensemble", list(map(str, words)))
    printed = capsys.readouterr().out
    assert (out / "test" / "report.md").read_text() in printed
    assert f"recorded {record}" in printed
    content = json.loads(record.read_text())
    assert content["metrics"]["num_images"] == 4
    assert content["members"] == [trained.folder.name] * 2
    (path,) = out.glob("*.py")
    assert load_config(path).model.type == "MixedEnsemble"


def test_a_folder_without_a_run_is_named(tmp_path):
    with pytest.raises((ValueError, FileNotFoundError), match="nowhere"):
        invoke("ensemble", [str(tmp_path / "nowhere"), "--out", str(tmp_path / "out")])
