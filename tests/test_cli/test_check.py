"""The command that checks a data set."""

from __future__ import annotations

import json

import cv2
import pytest

from mmlandmark.cli import run_command
from test_datasets.ladders import ladder, ladder_dataset


def run_check(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        run_command("check", [str(argument) for argument in arguments])
    return ended.value.code, capsys.readouterr()


def test_tool_writes_both_reports(tmp_path, capsys):
    points = ladder()
    points[3, [4, 5]] = points[3, [5, 4]]
    ladder_dataset(tmp_path / "t", points)
    arguments = ["--ann-file", "a.json", "--data-root", tmp_path / "t", "--out", tmp_path / "out"]
    code, output = run_check(capsys, *arguments)
    assert code == 0
    assert "left-right swap: 1 samples" in output.out
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["summary"]["left-right swap"] == 1
    assert "### Left-right swap" in (tmp_path / "out" / "report.md").read_text()
    assert run_check(capsys, *arguments, "--fail-on", "warning")[0] == 1
    assert run_check(capsys, *arguments, "--fail-on", "error")[0] == 0
    options = ["--options", "chain=0.999", "shape=1000.0", "landmark=1000.0"]
    assert "nothing was found" in run_check(capsys, *arguments, *options)[1].out


def test_tool_draws_what_it_found_and_fails_on_errors(tmp_path, capsys, monkeypatch):
    points = ladder()
    points[3, [4, 5]], points[8, 2] = points[3, [5, 4]], (0, 0)
    ladder_dataset(tmp_path / "t", points)
    monkeypatch.chdir(tmp_path)
    arguments = ["--ann-file", "a.json", "--data-root", "t"]
    code, output = run_check(capsys, *arguments)
    assert code == 1
    assert "1 error, 1 warning (30 in all; schema ladder, 12 landmarks)" in output.out
    folder = tmp_path / "work_dirs" / "check" / "LandmarkDataset_t_a.json"
    report = (folder / "report.md").read_text()
    assert "landmark 2 (left1) at (0.0, 0.0) is a corner of the image" in report
    for picture in ("pictures/all_t3.png", "pictures/all_t8.png", "pictures/points_of_all.png"):
        assert picture in report
        assert cv2.imread(str(folder / picture)).shape[1] > 100
    page = (folder / "report.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 3
    assert "write null (JSON)" in page
    assert run_check(capsys, *arguments, "--fail-on", "never")[0] == 0
    code, output = run_check(capsys, *arguments, "--no-images", "--out", "other")
    assert code == 1
    assert not (tmp_path / "other" / "pictures").exists()


def test_tool_reads_the_datasets_of_a_config(tmp_path, capsys):
    ladder_dataset(tmp_path / "t", ladder(), split=["train"] * 20 + ["test"] * 10)
    config = tmp_path / "config.py"
    config.write_text(
        f"base = dict(type='LandmarkDataset', ann_file='a.json', data_root={str(tmp_path / 't')!r})\n"
        "pipeline = [dict(type='LoadImage')]\n"
        "part = dict(base, split='train', pipeline=pipeline)\n"
        "repeated = dict(type='RepeatDataset', times=2, dataset=part)\n"
        "train_dataloader = dict(dataset=repeated)\n"
        "val_dataloader = dict(dataset=dict(base, split='test'))\n"
        "test_dataloader = dict(dataset=dict(base, split='test', test_mode=True))\n"
    )
    code, output = run_check(capsys, config, "--out", tmp_path / "out")
    assert code == 0, output.err
    splits = json.loads((tmp_path / "out" / "report.json").read_text())["splits"]
    assert {name: split["samples"] for name, split in splits.items()} == {"train": 20, "val+test": 10}


def test_tool_says_what_is_wrong(tmp_path, capsys):
    code, output = run_check(capsys, "--data-root", tmp_path / "nowhere", "--ann-file", "a.json")
    assert code == 2
    assert "does not exist" in output.err
    code, output = run_check(capsys, "--type", "SpineAasce", "--data-root", tmp_path)
    assert code == 2
    assert "Did you mean SpineAasce2019" in output.err
    code, output = run_check(capsys, "points.CSV")
    assert code == 2
    assert "points.CSV is no config: --ann-file points.CSV checks an annotation" in output.err
    assert not (tmp_path / "work_dirs").exists()
