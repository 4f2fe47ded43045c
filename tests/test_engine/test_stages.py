"""Stages: planned, run, skipped, resumed."""

import json
import re

import pytest
from mmengine.runner import ValLoop

from mmlandmark.apis import train_config
from mmlandmark.engine import ConfigError, LandmarkRunner, plan_of_stages, stage_to_test
from mmlandmark.testing import tiny_config


def staged(folder, second="run:teacher:last"):
    return tiny_config(
        folder,
        max_epochs=1,
        stages=[dict(name="teacher"), dict(name="student", load_from=second, train_cfg=dict(max_epochs=2))],
    )


def test_plan_merges_and_checks(tmp_path):
    teacher, student = plan_of_stages(staged(tmp_path), tmp_path).children
    assert teacher.folder.name == "01_teacher"
    assert student.folder.name == "02_student"
    assert (teacher.config.train_cfg.max_epochs, student.config.train_cfg.max_epochs) == (1, 2)
    with pytest.raises(ConfigError, match="run:later:last"):
        _ = plan_of_stages(staged(tmp_path, "run:later:last"), tmp_path).children[1].references
    with pytest.raises(ConfigError, match="needs a 'name'"):
        plan_of_stages(tiny_config(tmp_path, stages=[dict(name="a"), dict(name="a")]), tmp_path)
    for key, hint in (("train_cgf", "'train_cfg'"), ("models.type", "'model'"), ("stages", "key 'stages'$")):
        slip = tiny_config(tmp_path, stages=[{"name": "a", key: dict(max_epochs=1)}])
        with pytest.raises(ConfigError, match=f"stage 'a': no run reads its key '{key}'") as error:
            plan_of_stages(slip, tmp_path)
        assert re.search(hint, str(error.value))


def test_variables_of_a_config_may_be_changed_in_a_stage(tmp_path):
    config = tiny_config(
        tmp_path, mine=1, stages=[dict(name="a", mine=2), {"name": "b", "train_cfg.max_epochs": 7}]
    )
    first, second = plan_of_stages(config, tmp_path).children
    assert (first.config.mine, second.config.mine) == (2, 1)
    assert second.config.train_cfg.max_epochs == 7


def test_any_stage_can_be_tested(tmp_path):
    config = staged(tmp_path)
    assert stage_to_test(config, tmp_path).work_dir == str(tmp_path / "02_student")
    assert stage_to_test(config, tmp_path, "teacher").work_dir == str(tmp_path / "01_teacher")
    with pytest.raises(ConfigError, match=r"no stage 'x'; there are \['teacher', 'student'\]"):
        stage_to_test(config, tmp_path, "x")


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
    note = json.loads((tmp_path / "02_student/run.json").read_text())
    assert note["checkpoint"] == "epoch_2.pth"
    assert "mre" in note["metrics"]

    trained = []
    monkeypatch.setattr(LandmarkRunner, "train", lambda self: trained.append(self.work_dir))
    told = []
    monkeypatch.setattr("mmlandmark.engine.plan_execution.print_log", lambda text, *_: told.append(text))
    assert train_config(staged(tmp_path))["student"].checkpoint == "epoch_2.pth"
    assert trained == []
    assert told[1] == f"run 'student' is finished: {tmp_path}/02_student/epoch_2.pth"
    # A stage that was not finished is run again, from its own newest checkpoint.
    (tmp_path / "02_student/run.json").unlink()
    seen = []
    monkeypatch.setattr(LandmarkRunner, "train", lambda self: seen.append((self._resume, self._load_from)))
    train_config(staged(tmp_path))
    assert seen == [(True, None)]


@pytest.mark.parametrize("by_epoch", [True, False])
def test_killed_while_it_validates_last_a_stage_has_its_metrics(tmp_path, monkeypatch, by_epoch):
    def config(folder):
        found = tiny_config(folder, stages=[dict(name="only")])
        length = dict(max_epochs=2) if by_epoch else dict(max_iters=2)
        found.train_cfg = dict(by_epoch=by_epoch, val_interval=2, **length)
        found.default_hooks.checkpoint = dict(
            type="CheckpointHook", by_epoch=by_epoch, interval=1, save_best="mre", rule="less"
        )
        found.param_scheduler = None
        return found

    whole = train_config(config(tmp_path / "whole"))["only"]
    with monkeypatch.context() as patch:
        patch.setattr(ValLoop, "run", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            train_config(config(tmp_path / "killed"))
    assert "checkpoint" not in json.loads((tmp_path / "killed/01_only/run.json").read_text())
    again = train_config(config(tmp_path / "killed"))["only"]
    assert again.metrics == whole.metrics
    assert again.best == whole.best
    assert again.best is not None


def test_a_stage_finished_with_another_config_stops_the_run(tmp_path):
    train_config(tiny_config(tmp_path, max_epochs=1, stages=[dict(name="only")]))
    with pytest.raises(ConfigError, match=r"run 'only': .*01_only holds a run with other values"):
        train_config(tiny_config(tmp_path, max_epochs=3, stages=[dict(name="only")]))


def test_one_stage_alone(tmp_path):
    with pytest.raises(ConfigError, match="no stage 'x'"):
        train_config(staged(tmp_path), stage="x")
    with pytest.raises(ConfigError, match="run 'student' needs 'teacher', which is not finished"):
        train_config(staged(tmp_path), stage="student")
    assert set(train_config(staged(tmp_path), stage="teacher")) == {"teacher"}
    with pytest.raises(ConfigError, match="has no stages"):
        train_config(tiny_config(tmp_path), stage="teacher")
