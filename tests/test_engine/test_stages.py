"""Stages: planned, run, skipped, resumed."""

import json

import pytest

from mmlandmark.apis import train_config
from mmlandmark.engine import ConfigError, LandmarkRunner, plan_stages
from mmlandmark.testing import tiny_config


def staged(folder, second="stage:teacher:last"):
    return tiny_config(
        folder,
        max_epochs=1,
        stages=[dict(name="teacher"), dict(name="student", load_from=second, train_cfg=dict(max_epochs=2))],
    )


def test_plan_merges_and_checks(tmp_path):
    teacher, student = plan_stages(staged(tmp_path), tmp_path)
    assert teacher.folder.name == "01_teacher"
    assert student.folder.name == "02_student"
    assert (teacher.config.train_cfg.max_epochs, student.config.train_cfg.max_epochs) == (1, 2)
    with pytest.raises(ConfigError, match="stage:later:last"):
        plan_stages(staged(tmp_path, "stage:later:last"), tmp_path)
    with pytest.raises(ConfigError, match="needs a 'name'"):
        plan_stages(tiny_config(tmp_path, stages=[dict(name="a"), dict(name="a")]), tmp_path)


def test_finished_stages_are_skipped_and_the_next_starts_from_them(tmp_path, monkeypatch):
    loaded = []
    original = LandmarkRunner.load_checkpoint

    def load(self, filename, *args, **kwargs):
        loaded.append(filename)
        return original(self, filename, *args, **kwargs)

    monkeypatch.setattr(LandmarkRunner, "load_checkpoint", load)
    results = train_config(staged(tmp_path))
    assert loaded == [str(tmp_path / "01_teacher/epoch_1.pth")]
    assert set(results) == {"teacher", "student"}
    note = json.loads((tmp_path / "02_student/stage.json").read_text())
    assert note["checkpoint"] == "epoch_2.pth"
    assert "mre" in note["metrics"]

    trained = []
    monkeypatch.setattr(LandmarkRunner, "train", lambda self: trained.append(self.work_dir))
    assert train_config(staged(tmp_path))["student"]["checkpoint"] == "epoch_2.pth"
    assert trained == []
    # A stage that was not finished is run again, from its own newest checkpoint.
    (tmp_path / "02_student/stage.json").unlink()
    seen = []
    monkeypatch.setattr(LandmarkRunner, "train", lambda self: seen.append((self._resume, self._load_from)))
    train_config(staged(tmp_path))
    assert seen == [(True, None)]


def test_a_stage_finished_with_another_config_stops_the_run(tmp_path):
    train_config(tiny_config(tmp_path, max_epochs=1, stages=[dict(name="only")]))
    with pytest.raises(ConfigError, match="was run with another config"):
        train_config(tiny_config(tmp_path, max_epochs=3, stages=[dict(name="only")]))


def test_one_stage_alone(tmp_path):
    with pytest.raises(ConfigError, match="no stage 'x'"):
        train_config(staged(tmp_path), stage="x")
    with pytest.raises(ConfigError, match="'teacher' is not finished"):
        train_config(staged(tmp_path), stage="student")
    assert set(train_config(staged(tmp_path), stage="teacher")) == {"teacher"}
    with pytest.raises(ConfigError, match="has no stages"):
        train_config(tiny_config(tmp_path), stage="teacher")
