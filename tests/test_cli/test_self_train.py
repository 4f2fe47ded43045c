"""mmlandmark self-train: the commands of its page, and what it refuses."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from mmlandmark import planning
from mmlandmark.inference import load_model
from mmlandmark.planning import budget_rules
from test_planning.kites import write_kites
from test_planning.test_unlabelled import write_films

PAGE = Path(__file__).resolve().parents[2] / "docs" / "self_training.md"


@pytest.fixture
def kites(tmp_path):
    write_kites(tmp_path / "kites", count=20)
    return write_films(tmp_path / "films", 8)


def test_the_commands_of_the_page_make_a_model(mmlandmark_command, tmp_path, monkeypatch):
    """Word by word, but for smaller phantoms and fewer epochs."""
    train, predict, *phantoms = (
        shlex.split(line)[1:]
        for block in re.findall(r"^```bash\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.M)
        for line in block.splitlines()
    )
    assert [words[0] for words in (train, predict, *phantoms)] == [
        "self-train",
        "predict",
        "phantoms",
        "phantoms",
    ]
    for words in phantoms:
        words[words.index("--num-train") + 1] = "6"
        assert mmlandmark_command(*words, "--size", 96, 80).returncode == 0
    monkeypatch.setattr(budget_rules, "MOST_IMAGES", 16)
    done = mmlandmark_command(*train)
    assert done.returncode == 0, done.stderr
    assert "to label     6 below" in done.stdout
    out = tmp_path / "my_run"
    report = (out / "report.md").read_text()
    assert report in done.stdout
    stages = re.findall(r"^\| (\w+) +\| +([\d.]+) \|", report, re.MULTILINE)
    assert [name for name, _ in stages] == ["pre_train", "self_train", "fine_tune"]
    best = min(stages, key=lambda stage: float(stage[1]))[0]
    (picture,) = re.findall(r"!\[rounds\]\((.+)\)", report)
    assert (out / picture).stat().st_size > 1000
    rounds = json.loads((out / picture).with_name("rounds.json").read_text())["rounds"]
    assert [(row["epoch"], row["images"]) for row in rounds] == [(0, 6), (1, 6)]
    model = load_model(out / "detector.mml.pth")
    assert model.name == "my_run"
    assert model.measured
    if f"detector of {best}" not in report:  # equal in the digits that are shown
        assert len({error for _, error in stages}) < 3
    done = mmlandmark_command(*predict)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "predictions" / "overlays").iterdir())) == 6

    # The same command goes on, where nothing is left to do.
    (out / "report.md").unlink()
    trained = {path: path.stat().st_mtime_ns for path in out.rglob("epoch_*.pth")}
    done = mmlandmark_command(*train)
    assert done.returncode == 0, done.stderr
    assert "going on with the plan in my_run" in done.stdout
    assert (out / "report.md").read_text() == report
    assert {path: path.stat().st_mtime_ns for path in out.rglob("epoch_*.pth")} == trained


def test_bad_input_is_one_line(mmlandmark_command, assert_one_line, kites, tmp_path, monkeypatch):
    monkeypatch.setattr(planning, "measure_plan", lambda plan, ids: budget_rules.Speed(0.1, 0.001, 5.0, 4))

    def run(*more, unlabelled="films", out="new"):
        return mmlandmark_command("self-train", "kites", "--unlabelled", unlabelled, "-o", out, *more)

    assert_one_line(run(unlabelled="nowhere"), "nowhere: there is no such folder")
    (tmp_path / "empty").mkdir()
    assert_one_line(run(unlabelled="empty"), "holds no image without annotation")
    assert_one_line(run(unlabelled="kites/photos"), "20 are annotated")
    assert_one_line(run("--minutes", "0.01"), "--minutes 0.01 is too short a time", "give at least")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.py").write_text("mine")
    assert_one_line(run(out="mine"), "mine/config.py exists", "--overwrite")
    (tmp_path / "ours").mkdir()
    for name in ("detector.mml.pth", "report.md"):
        (tmp_path / "ours" / name).write_text("mine")
        assert_one_line(run(out="ours"), f"ours/{name} exists; choose another --out", "--overwrite")
        (tmp_path / "ours" / name).unlink()
    assert mmlandmark_command("self-train", "kites").returncode == 2
    assert not (tmp_path / "new").exists()


def test_too_few_labelled_shapes_are_one_line(mmlandmark_command, assert_one_line, tmp_path):
    path = write_kites(tmp_path / "kites", "json", count=6, split=["train"] * 3 + ["test"] * 3)
    write_films(tmp_path / "films")
    done = mmlandmark_command("self-train", "kites", "--unlabelled", "films")
    assert_one_line(done, "at least 3 training images with all landmarks", "there are 2")
    content = json.loads(path.read_text())
    content["samples"] = content["samples"][:4]
    path.write_text(json.dumps(content))
    assert mmlandmark_command("self-train", "kites", "--unlabelled", "films").returncode == 1
