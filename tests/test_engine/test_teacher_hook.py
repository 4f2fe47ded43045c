"""The teacher enters before the first batch, and stages around it hold what they promise."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import pytest
import torch
from mmengine.config import Config

from mmlandmark import apis
from mmlandmark.cli import invoke
from mmlandmark.engine import (
    ConfigError,
    LandmarkRunner,
    give_inputs,
    latest_checkpoint,
    plan_of_stages,
)
from mmlandmark.engine.plan import check_references
from mmlandmark.registry import MODELS
from mmlandmark.testing import tiny_config
from mmlandmark.utils.checkpoint import check_state_dict, load_checkpoint
from test_engine.student_configs import EMA, student_config, teacher_model, two_stages

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """Return the checkpoint of a teacher, in the folder of its training."""
    folder = tmp_path_factory.mktemp("teacher")
    config = tiny_config(folder, max_epochs=1)
    config.model = teacher_model(config)
    apis.train_config(config)
    return folder / "epoch_1.pth"


def test_student_and_teacher_are_seen_side_by_side(tmp_path, taught, caplog):
    config = student_config(tmp_path, taught, log_level="INFO", experiment_name=f"seen_{tmp_path}")
    config.default_hooks.logger = dict(type="LoggerHook", interval=1)
    found = apis.train_config(config)
    assert found["teacher/mre"] > 0
    assert "teacher/num_images" not in found
    alone = tiny_config(tmp_path / "alone")
    alone.model = teacher_model(alone)
    expected = apis.test_config(alone, taught, out_dir=tmp_path / "alone")
    assert found["teacher/mre"] == pytest.approx(expected["mre"])
    log = next(tmp_path.glob("*/*.log")).read_text()
    assert f"mre: student {found['mre']:.4g}, teacher {found['teacher/mre']:.4g}" in log
    scalars = [
        json.loads(line) for line in next(tmp_path.glob("*/vis_data/scalars.json")).read_text().splitlines()
    ]
    assert sum("teacher/mre" in line for line in scalars) == 2, "the teacher stands beside every validation"
    pictures = sorted(tmp_path.glob("*/vis_data/vis_image/features_*.png"))
    assert len(pictures) == 2
    height, width = cv2.imread(str(pictures[0])).shape[:2]
    assert width > height, "teacher and student in rows; two taps, heatmaps and annotation in columns"


def test_what_is_validated_may_look_otherwise(tmp_path, taught):
    """Annotators in the training only, metrics inside of an Evaluator, iterations instead of epochs."""
    config = student_config(tmp_path, taught)
    config.model.terms = [dict(loss=dict(type="AttentionMapLoss"), pairs=[("backbone.up1", "backbone.up2")])]
    config.model.head.num_annotators = 2
    config.train_dataloader.dataset.num_annotators = 2
    config.val_evaluator = dict(type="Evaluator", metrics=[config.val_evaluator])
    config.train_cfg = dict(by_epoch=False, max_iters=4, val_interval=2)
    config.default_hooks.checkpoint = dict(type="CheckpointHook", by_epoch=False, interval=2)
    config.param_scheduler = None
    assert apis.train_config(config)["teacher/mre"] > 0
    pictures = {p.stem.rsplit("_", 1)[-1] for p in tmp_path.glob("*/vis_data/vis_image/features_*.png")}
    assert pictures == {"2", "4"}


def test_its_checkpoint_is_the_plain_students(tmp_path, taught):
    config = student_config(tmp_path, taught, max_epochs=1, custom_hooks=[EMA])
    apis.train_config(config)
    checkpoint = load_checkpoint(tmp_path / "epoch_1.pth")
    plain = tiny_config(tmp_path / "plain")
    check_state_dict(MODELS.build(plain.model), checkpoint["state_dict"], "student")
    assert sorted(checkpoint["training_state_dict"]) == [
        "term_losses.1.connector.bias",
        "term_losses.1.connector.weight",
    ]
    own = apis.test_config(config, tmp_path / "epoch_1.pth")
    as_plain = apis.test_config(plain, tmp_path / "epoch_1.pth")
    assert own == as_plain
    teacher = load_checkpoint(taught)["state_dict"]
    size = sum(v.numel() for v in teacher.values())
    written = sum(v.numel() for v in checkpoint["ema_state_dict"].values())
    assert written < size, "the mean of weights must not hold a teacher"


def finished(folder, taught, epochs, resume=False):
    config = student_config(
        folder,
        taught,
        max_epochs=4,
        resume=resume,
        custom_hooks=[EMA],
        experiment_name=f"{folder}_{epochs}_{resume}",
    )
    runner = LandmarkRunner.from_cfg(config)
    if epochs < 4:
        runner.train_loop._max_epochs = epochs
    runner.train()
    return load_checkpoint(latest_checkpoint(folder))


def test_four_epochs_equal_two_and_two(tmp_path, taught):
    whole = finished(tmp_path / "whole", taught, 4)
    finished(tmp_path / "parts", taught, 2)
    parts = finished(tmp_path / "parts", taught, 4, resume=True)
    for part in ("state_dict", "training_state_dict", "ema_state_dict"):
        assert set(whole[part]) == set(parts[part])
        for key, value in whole[part].items():
            assert torch.equal(value, parts[part][key]), (part, key)


def test_two_stages_in_one_command(tmp_path, taught):
    config = two_stages(tmp_path, epochs=1)
    results = apis.train_config(config)
    assert list(results) == ["teacher", "student"]
    before = (tmp_path / "01_teacher/epoch_1.pth").stat().st_mtime_ns
    assert apis.train_config(config) == results
    assert (tmp_path / "01_teacher/epoch_1.pth").stat().st_mtime_ns == before
    # The student is tested without its teacher.
    (tmp_path / "01_teacher").rename(tmp_path / "gone")
    assert apis.test_config(config, tmp_path / "02_student/epoch_1.pth")["mre"] > 0

    # A teacher that is there already takes the place of the first stage.
    ready = two_stages(tmp_path / "ready", epochs=1)
    give_inputs(ready, dict(teacher=str(taught)))
    assert list(apis.train_config(ready)) == ["student"]
    assert [p.name for p in (tmp_path / "ready").glob("0*")] == ["02_student"]


def test_stages_of_another_seed_can_be_tested(tmp_path):
    config = two_stages(tmp_path, epochs=1)
    config.randomness = dict(seed=5)
    apis.train_config(config)
    config.randomness = dict(seed=0)
    assert apis.test_config(config, apis.find_checkpoint(config, None))["mre"] > 0


def test_a_student_of_another_teacher_is_not_taken_for_this_ones(tmp_path):
    apis.train_config(two_stages(tmp_path, epochs=1))
    config = two_stages(tmp_path, epochs=1)
    config.stages[0].optim_wrapper = dict(optimizer=dict(lr=5e-4))
    with pytest.raises(ConfigError, match=r"run 'teacher': .*01_teacher holds a run with other values"):
        apis.train_config(config)
    (tmp_path / "01_teacher").rename(tmp_path / "old")
    with pytest.raises(
        ConfigError, match=r"run 'student': .*02_student holds a run with other values or other inputs"
    ):
        apis.train_config(config)
    assert not (tmp_path / "01_teacher").exists(), "told before the teacher is trained anew"


def test_a_mistake_in_the_last_stage_is_told_before_the_first(tmp_path):
    config = two_stages(tmp_path)
    config.stages[1].model.terms[0].pairs = [("backbone.up1", "backbone.up7")]
    with pytest.raises(ValueError, match=r"the teacher has no module 'backbone.up7'"):
        apis.train_config(config)
    assert not list(tmp_path.glob("01_teacher/*"))
    for term, message in (
        (dict(loss=dict(type="FeatureMSELoss", student_channels=64, teacher_channels=16)), "have 8 channels"),
        (dict(loss=dict(type="FeatureMSELoss")), "features of 8 and 16 channels"),
    ):
        config = two_stages(tmp_path)
        config.stages[1].model.terms = [dict(term, pairs=[("backbone.up1", "backbone.up1")])]
        with pytest.raises(ValueError, match=message):
            apis.train_config(config)
        assert not list(tmp_path.glob("01_teacher/*"))
    config = two_stages(tmp_path)
    config.stages[0].model.backbone.in_channels = 3
    with pytest.raises(ValueError, match=r"the teacher cannot take images of \(1, 64, 64\)"):
        apis.train_config(config)
    config = two_stages(tmp_path)
    config.stages[0].model.backbone = dict(type="HRNet")
    with pytest.raises(ConfigError, match=r"run 'teacher': .*begins with _delete_=True"):
        apis.train_config(config)
    config = two_stages(tmp_path)
    config.stages[1].custom_hooks = [EMA]
    with pytest.raises(ConfigError, match="run 'student': a DistilledDetector needs its teacher"):
        apis.train_config(config)
    config = two_stages(tmp_path)
    config.stages[1].model.teacher.checkpoint = "run:teacher:best"
    with pytest.raises(ConfigError, match="'student' needs the best checkpoint of 'teacher', which keeps"):
        apis.train_config(config)
    config = two_stages(tmp_path)
    config.stages[1].model.teacher.checkpoint = "nowhere.pth"
    with pytest.raises(FileNotFoundError, match=r"nowhere.pth does not exist"):
        apis.train_config(config)
    assert not list(tmp_path.glob("01_teacher/*"))
    config = two_stages(tmp_path)
    config.stages[0].model.head.num_landmarks = 5
    with pytest.raises(ValueError, match="the teacher predicts 5 landmarks, the student 19"):
        apis.train_config(config)


@pytest.mark.slow
def test_killed_in_the_second_stage_it_ends_the_same(tmp_path):
    file = tmp_path / "config.py"
    Config(two_stages(tmp_path, epochs=4)._cfg_dict).dump(file)

    def arguments(folder):
        return [str(file), "--work-dir", str(folder)]

    def finish(folder):
        assert not invoke("train", arguments(folder))
        note = json.loads((folder / "02_student/run.json").read_text())
        return note["metrics"], load_checkpoint(folder / "02_student" / note["checkpoint"])

    killed = tmp_path / "killed"
    command = [sys.executable, str(ROOT / "tools/train.py"), *arguments(killed)]
    environment = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1")
    with open(tmp_path / "log", "w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        deadline = time.monotonic() + 180
        while latest_checkpoint(killed / "02_student") is None and process.poll() is None:
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()[-2000:]
            time.sleep(0.01)
        assert process.poll() is None, "the run ended before it could be killed"
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert latest_checkpoint(killed / "02_student").name != "epoch_4.pth"
    (metrics, whole), (again, parts) = finish(tmp_path / "whole"), finish(killed)
    assert metrics == again
    for part in ("state_dict", "training_state_dict", "ema_state_dict"):
        for key, value in whole[part].items():
            assert torch.equal(value, parts[part][key]), (part, key)


def test_stages_that_are_left_out_keep_the_numbers_of_others(tmp_path):
    config = two_stages(tmp_path)
    config.stages[0].skip = True
    config.stages[1].model.teacher.checkpoint = "x.pth"
    assert [stage.folder.name for stage in plan_of_stages(config, tmp_path).children] == ["02_student"]
    config.stages[1].model.teacher.checkpoint = "run:teacher:last"
    with pytest.raises(ConfigError, match=r"one of the runs before it: .*'teacher' is left out"):
        check_references(plan_of_stages(config, tmp_path))
    config.stages[0].skip = False
    config.stages[1].model.teacher.checkpoint = "run:teacher:last:x"
    with pytest.raises(ConfigError, match="uses 'run:teacher:last:x'; write"):
        check_references(plan_of_stages(config, tmp_path))


def test_the_log_names_no_missing_weights(tmp_path, taught, caplog):
    with caplog.at_level(logging.WARNING):
        config = student_config(tmp_path, taught, max_epochs=1, log_level="INFO")
        apis.train_config(config)
        apis.test_config(config, tmp_path / "epoch_1.pth")
    logs = [p.read_text() for p in tmp_path.rglob("*.log")]
    assert logs
    assert "missing keys" not in "".join(logs)
