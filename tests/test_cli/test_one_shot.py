"""mmlandmark one-shot: the commands of its page, and what it refuses."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import cv2
import pytest

from mmlandmark.inference import load_model
from mmlandmark.planning import budget_rules, one_shot, one_shot_rules
from test_planning.kites import NAMES, draw_kites, write_kites
from test_planning.test_unlabelled import write_films

PAGE = Path(__file__).resolve().parents[2] / "docs" / "one_shot.md"


def commands():
    """Return the words of every command of the page."""
    blocks = re.findall(r"^```bash\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.M)
    return [shlex.split(line)[1:] for block in blocks for line in block.splitlines()]


def test_the_commands_of_the_page_make_a_model(mmlandmark_command, tmp_path, monkeypatch):
    """Word by word, but for fewer and smaller phantoms, a smaller network input and fewer epochs."""
    train, predict, phantoms, measured = commands()
    assert [words[0] for words in (train, predict, phantoms)] == ["one-shot", "predict", "phantoms"]
    assert measured[:-4] == train[:-2]
    phantoms[phantoms.index("--num-train") + 1] = "12"
    assert mmlandmark_command(*phantoms, "--size", 96, 80).returncode == 0
    monkeypatch.setattr(one_shot_rules, "MOST_IMAGES", 8)
    monkeypatch.setattr(one_shot_rules, "FEWEST_SEEN", 8)
    monkeypatch.setattr(one_shot, "measure_one_shot", lambda plan: budget_rules.Speed(0.1, 0.001, 1.0, 8))
    done = mmlandmark_command(*measured)
    assert done.returncode == 0, done.stderr
    report = (tmp_path / "measured" / "report.md").read_text()
    assert report in done.stdout
    assert "of 209 landmarks that were found in 11 images: landmarks that are where the shape" in report
    errors = [float(x) for x in re.findall(r"^\| (?:labels|detector): [^|]+\| +([\d.]+) \|", report, re.M)]
    assert len(errors) == 2
    assert ("is better than its labels" in report) == (errors[1] < errors[0])
    assert "Errors on 11 annotated images" in report
    assert "- the template itself" in report
    (rounds,) = (tmp_path / "measured" / "run").glob("*_student/pseudo_labels/rounds.json")
    rounds = json.loads(rounds.read_text())
    assert [row["epoch"] for row in rounds["rounds"]] == [0]
    model = load_model(tmp_path / "measured.mml.pth")
    assert model.config["model"]["type"] == "LandmarkDetector"
    assert len(model.schema.landmarks) == 19
    # The same command goes on, where nothing is left to do; that of another time is refused.
    trained = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("epoch_*.pth")}
    (tmp_path / "measured" / "report.md").unlink()
    done = mmlandmark_command(*measured)
    assert done.returncode == 0, done.stderr
    assert "going on with the plan in measured" in done.stdout
    assert (tmp_path / "measured" / "report.md").read_text() == report
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("epoch_*.pth")} == trained
    # Of the other one the model is named, and what it does not know.
    predict[predict.index("detector.mml.pth")] = "measured.mml.pth"
    done = mmlandmark_command(*predict)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "predictions" / "overlays").iterdir())) == 12


@pytest.fixture
def films(tmp_path):
    """Images without annotation, one of them broken, and an annotated one that is twice as large."""
    folder = write_films(tmp_path / "films", 12)
    (folder / "empty.png").write_bytes(b"")
    data = (folder / "film3.png").read_bytes()
    (folder / "film3.png").write_bytes(data[: len(data) // 2])  # its header is sound
    (image,), points = draw_kites(1, seed=5)
    cv2.imwrite(str(tmp_path / "large.png"), cv2.resize(image, None, fx=2, fy=2))
    named = {name: (2 * point + 0.5).tolist() for name, point in zip(NAMES, points[0], strict=True)}
    named |= {"tip": [4.0, -3.0], "string": None}
    (tmp_path / "points.json").write_text(json.dumps(named))
    return folder


@pytest.mark.slow
def test_what_cannot_be_used_is_left_out_and_told(mmlandmark_command, tmp_path, films, monkeypatch):
    monkeypatch.setattr(one_shot_rules, "MOST_IMAGES", 8)
    monkeypatch.setattr(one_shot_rules, "FEWEST_SEEN", 8)
    monkeypatch.setattr(one_shot, "measure_one_shot", lambda plan: budget_rules.Speed(0.1, 0.001, 1.0, 8))
    done = mmlandmark_command(
        *("one-shot", "--template", "large.png", "--points", "points.json", "--images", "films"),
        *("--minutes", 5, "--random-start", "-o", "kites.mml.pth"),
    )
    assert done.returncode == 0, done.stderr
    assert "'tip' at (4, -3), outside of the template's 128 x 96 pixels" in done.stdout
    assert "'string', which the template does not show" in done.stdout
    report = (tmp_path / "kites" / "report.md").read_text()
    for part in ("'tip' at (4, -3)", "'string', which", "empty.png: the file is empty", "film3"):
        assert part in report
    assert "Nobody knows how good it is" in report
    assert (tmp_path / "kites" / "images.txt").read_text().split() == [
        f"film{n}" for n in (0, 1, 10, 11, 2, 4, 5, 6, 7, 8, 9)
    ]
    assert load_model(tmp_path / "kites.mml.pth").schema.landmarks == NAMES


def test_bad_input_is_one_line(mmlandmark_command, assert_one_line, tmp_path, films, monkeypatch):
    monkeypatch.setattr(one_shot, "measure_one_shot", lambda plan: budget_rules.Speed(0.1, 0.001, 1.0, 8))

    def run(*more, template="large.png", points="points.json", images="films", out="new.mml.pth"):
        words = ("--template", template, "--points", points, "--images", images, "-o", out)
        return mmlandmark_command("one-shot", *words, *more)

    assert_one_line(run(template="gone.png"), "gone.png")
    assert_one_line(run(points="gone.json"), "gone.json")
    assert_one_line(run(images="nowhere"), "--images", "nowhere: there is no such folder")
    (tmp_path / "none").mkdir()
    assert_one_line(run(images="none"), "holds no image without annotation")
    (tmp_path / "outside.json").write_text(json.dumps(dict(nose=[500, 3], tail=None)))
    assert_one_line(run(points="outside.json"), "no landmark is left", "'nose' at (500, 3)", "'tail', which")
    (tmp_path / "odd.json").write_text(json.dumps(dict(nose=[1, 2, 3])))
    assert_one_line(run(points="odd.json"), "'nose' is [1, 2, 3], expected [x, y] or null")
    write_films(tmp_path / "good", 10)
    write_kites(tmp_path / "kites", "coco")
    assert_one_line(run(points="kites/points.json"), "none of 16 rows is of large.png")
    assert_one_line(
        run("--minutes", "0.01", images="good"), "--minutes 0.01 is too short a time", "give at least"
    )
    assert_one_line(run(out="new.pth"), "-o new.pth: name a model file")
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "config.py").write_text("mine")
    assert_one_line(run(), "new/config.py exists", "--overwrite")
    assert not (tmp_path / "new" / "plan.json").exists()
    # What the user has under names of the plan, its report and its model.
    for name in ("mine/images.txt", "mine/known.txt", "mine/template.json", "mine/report.md", "mine.mml.pth"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("mine")
        assert_one_line(run(out="mine.mml.pth"), f"{name} exists; choose another --out", "--overwrite")
        (tmp_path / name).unlink()
