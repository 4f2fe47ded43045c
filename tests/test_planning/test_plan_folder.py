"""The folder of a plan."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from mmlandmark.planning import (
    Answers,
    check_folder,
    decide_network,
    find_data,
    is_planned,
    read_data,
    write_plan,
)
from mmlandmark.planning.budget_rules import Speed
from mmlandmark.planning.plan_folder import files_of, title_of
from mmlandmark.structures import LandmarkSchema
from test_planning.kites import write_kites
from test_planning.test_unlabelled import write_films


@pytest.fixture
def plan(tmp_path):
    write_kites(tmp_path / "kites")
    plan = read_data(find_data(tmp_path / "kites"), Answers(pairs=("left_wing:right_wing",)))
    decide_network(plan, lambda plan, ids: Speed(0.1, 0.001, 5.0, 4))
    return plan


def test_files(plan, tmp_path):
    write_plan(plan, tmp_path / "mine")
    files = {path.name: path.read_text() for path in (tmp_path / "mine").iterdir()}
    assert set(files) == {"config.py", "plan.json", "schema.json", "train.txt", "test.txt"}
    assert files == files_of(plan)
    assert list(files_of(plan))[-1] == "config.py"
    ids = files["train.txt"].split() + files["test.txt"].split()
    assert sorted(ids) == [f"kite{n:02d}" for n in range(16)]
    assert LandmarkSchema.load(tmp_path / "mine" / "schema.json") == plan.schema
    content = json.loads(files["plan.json"])
    assert list(content)[-1] == "sha256"
    assert content["images"] == dict(train=13, test=3)
    assert content["fingerprint"]["images"] == 16
    assert set(content["choices"]["size"]) == {"value", "why"}
    assert content["expected_minutes"] == round(plan.minutes, 2)
    assert "16 images with 4 landmarks from points.csv, 30 minutes" in title_of(plan)


def test_nothing_is_overwritten_unasked(plan, tmp_path):
    folder = tmp_path / "mine"
    check_folder(folder, overwrite=False)
    write_plan(plan, folder)
    with pytest.raises(
        ValueError, match=r"config.py exists; choose another --out, or replace it with --overwrite"
    ):
        check_folder(folder, overwrite=False)
    check_folder(folder, overwrite=True)
    (folder / "val.txt").write_text("of an older plan")
    plan.schema = None
    write_plan(plan, folder)
    assert not (folder / "val.txt").exists()
    assert not (folder / "schema.json").exists()
    (folder / "run").mkdir()
    with pytest.raises(ValueError, match="run holds a training of the plan that is there"):
        check_folder(folder, overwrite=True)


@pytest.mark.parametrize("name", ["train.txt", "test.txt", "schema.json", "unlabelled.txt"])
def test_files_of_the_data_are_not_taken_for_those_of_a_plan(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(ValueError, match=f"{name} exists; choose another --out"):
        check_folder(tmp_path, overwrite=False)
    check_folder(tmp_path, overwrite=True)


def test_what_else_will_be_written_is_named_by_the_caller(tmp_path):
    (tmp_path / "model.pth").write_text("mine")
    check_folder(tmp_path / "plan", overwrite=False)
    with pytest.raises(ValueError, match=r"model.pth exists; choose another --out"):
        check_folder(tmp_path / "plan", overwrite=False, others=["report.md", tmp_path / "model.pth"])
    (tmp_path / "report.md").write_text("mine")
    with pytest.raises(ValueError, match=r"report.md exists; choose another --out"):
        check_folder(tmp_path, overwrite=False, others=["report.md"])


def test_what_was_stopped_while_it_was_written_is_written_again(plan, tmp_path):
    write_plan(plan, tmp_path)
    assert next(iter(files_of(plan))) == "plan.json"
    (tmp_path / "config.py").unlink()  # which comes last
    check_folder(tmp_path, overwrite=False)
    (tmp_path / "plan.json").write_text("{}")  # of another program
    with pytest.raises(ValueError, match=r"plan.json exists; choose another --out"):
        check_folder(tmp_path, overwrite=False)


def test_a_self_training_has_the_list_of_its_images_and_goes_on(tmp_path):
    write_kites(tmp_path / "kites")
    source = find_data(tmp_path / "kites")
    answers = Answers(unlabelled=str(write_films(tmp_path / "films")))
    plan, folder = read_data(source, answers), tmp_path / "mine"

    def measured(trial, ids):
        assert "unlabelled.txt" not in files_of(trial)
        return Speed(0.1, 0.001, 5.0, 4)

    decide_network(plan, measured)
    assert not is_planned(folder, source, answers)
    write_plan(plan, folder)
    assert (folder / "unlabelled.txt").read_text().split() == [f"film{n}" for n in range(4)]
    assert "16 images with 4 landmarks from points.csv and 4 without annotation" in title_of(plan)
    assert json.loads((folder / "plan.json").read_text())["labels"]["self_train"]["value"] > 3
    assert is_planned(folder, source, replace(answers, memory=1.0))
    with pytest.raises(ValueError, match=r"plan of another command: minutes is 30\.0 there and 5\.0 here"):
        is_planned(folder, source, replace(answers, minutes=5.0))
    with pytest.raises(ValueError, match=r"annotation is '.*kites.points\.csv' there"):
        is_planned(folder, replace(source, ann_file=tmp_path / "other.csv"), answers)
    (folder / "config.py").unlink()  # what was killed while it wrote
    assert not is_planned(folder, source, answers)
