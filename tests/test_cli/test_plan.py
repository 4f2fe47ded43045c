"""mmlandmark plan, and what follows it."""

from __future__ import annotations

import json
import sys

import pytest

from mmlandmark.inference import load_model
from test_planning.kites import NAMES, write_kites


@pytest.fixture
def kites(tmp_path):
    write_kites(tmp_path / "kites", count=20)
    return tmp_path / "kites"


@pytest.mark.slow
def test_three_commands_from_a_folder_to_predictions(mmlandmark_command, tmp_path):
    path = write_kites(tmp_path / "kites", "json", count=20)
    content = json.loads(path.read_text())
    content["schema"]["measures"] = [dict(name="span", kind="distance", points=["left_wing", "right_wing"])]
    path.write_text(json.dumps(content))
    done = mmlandmark_command("plan", "kites", "-o", "mine", "--minutes", "0.2")
    assert done.returncode == 0, done.stderr
    assert (
        done.stdout.index("assumed:") < done.stdout.index("decided:") < done.stdout.index("wrote mine/config")
    )
    assert "--pairs left_wing:right_wing" in done.stdout
    plan = json.loads((tmp_path / "mine" / "plan.json").read_text())
    assert plan["answers"]["minutes"] == 0.2
    assert mmlandmark_command("train", "mine/config.py").returncode == 0
    assert (tmp_path / "mine" / "run" / f"epoch_{plan['choices']['epochs']['value']}.pth").is_file()
    done = mmlandmark_command("test", "mine/config.py", "--no-figures")
    assert done.returncode == 0
    assert (tmp_path / "mine" / "run" / "test" / "measures.json").is_file()
    (predictions,) = (tmp_path / "mine" / "run").rglob("predictions.json")
    content = json.loads(predictions.read_text())
    assert content["unit"] == "px"
    assert [case["sample_id"] for case in content["cases"]] == sorted(
        (tmp_path / "mine" / "test.txt").read_text().split()
    )
    assert sorted(content["landmark_names"]) == sorted(NAMES)
    assert all(None not in point for case in content["cases"] for point in case["pred"])
    done = mmlandmark_command("predict", "mine/run", "kites/photos", "-o", "found", "--formats", "csv")
    assert done.returncode == 0, done.stderr
    (table,) = (tmp_path / "found").glob("*.csv")
    assert len(table.read_text().splitlines()) > 20
    done = mmlandmark_command("pack", "mine/run", "-o", "kites.mml.pth")
    assert done.returncode == 0, done.stderr
    model = load_model(tmp_path / "kites.mml.pth")
    assert (model.name, model.training["config"]) == ("mine", "mine")


def test_nothing_is_written_without_consent(mmlandmark_command, kites, tmp_path, monkeypatch):
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda prompt: "n")
    done = mmlandmark_command("plan", "kites", "-o", "mine")
    assert done.returncode == 1
    assert done.stdout.endswith("nothing was written\n")
    assert not (tmp_path / "mine").exists()


def test_errors_are_one_line(mmlandmark_command, assert_one_line, kites, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.py").write_text("mine")
    assert_one_line(mmlandmark_command("plan", "kites", "-o", "mine"), "mine/config.py exists", "--overwrite")
    assert (tmp_path / "mine" / "config.py").read_text() == "mine"
    assert_one_line(mmlandmark_command("plan", "nowhere", "-o", "new"), "nowhere does not exist")
    wrong = mmlandmark_command("plan", "kites", "-o", "new", "--reference-length", "nose", "tail", "long")
    assert_one_line(wrong, "--reference-length nose tail: 'long' is not a positive number of mm")
    assert_one_line(mmlandmark_command("plan", "kites", "-o", "new", "--pairs", "nose"), "--pairs nose")
    assert mmlandmark_command("plan", "kites", "-o", "new", "--minutes", "-3").returncode == 2
    assert not (tmp_path / "new").exists()
