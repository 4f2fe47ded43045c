"""A teacher that does not fit its student is refused before the first batch."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from mmlandmark import apis
from mmlandmark.engine import latest_checkpoint
from mmlandmark.engine.hooks.teacher_loading import load_teacher
from mmlandmark.inference.loading import load_model
from mmlandmark.testing import phantom_dataloader, tiny_config
from mmlandmark.utils.checkpoint import load_checkpoint
from test_engine.student_configs import student_config, teacher_model


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """Return the checkpoint of a teacher, in the folder of its training."""
    folder = tmp_path_factory.mktemp("teacher")
    config = tiny_config(folder, max_epochs=1)
    config.model = teacher_model(config)
    apis.train_config(config)
    return folder / "epoch_1.pth"


def message(config):
    with pytest.raises((ValueError, FileNotFoundError)) as error:
        apis.train_config(config)
    assert latest_checkpoint(config.work_dir) is None, "no batch may have run"
    return str(error.value)


def test_a_wrong_teacher_is_told_before_the_first_batch(tmp_path, taught):
    def config(name, **kwargs):
        return student_config(tmp_path / name, kwargs.pop("checkpoint", taught), **kwargs)

    assert "nowhere.pth does not exist" in message(config("a", checkpoint=tmp_path / "nowhere.pth"))
    other = config("b")
    other.model.head.num_landmarks = 37
    for key in ("train", "val", "test"):
        other[f"{key}_dataloader"] = phantom_dataloader(37, train=key == "train")
    assert "the teacher predicts 19 landmarks, the student 37" in message(other)
    larger = config("c")
    for key in ("train", "val", "test"):
        larger[f"{key}_dataloader"] = phantom_dataloader(size=(96, 64), train=key == "train")
    found = message(larger)
    assert "images have (64, 64) there, (96, 64) here" in found
    brighter = config("d")
    brighter.model.data_preprocessor.mean = 0.5
    assert "data_preprocessor.mean is [0.4] there, [0.5] here" in message(brighter)
    odd = config("j")
    for key in ("train", "val", "test"):
        odd[f"{key}_dataloader"] = phantom_dataloader(size=(68, 64), train=key == "train")
    divided = teacher_model(odd)
    divided["data_preprocessor"]["size_divisor"] = 16
    odd.model.teacher.config = divided
    assert "padded to multiples of 16 there, of 1 here" in message(odd)
    assert "holds the weights of another model" in message(
        config("e", teacher=dict(config=tiny_config(tmp_path / "f").model.to_dict()))
    )
    lonely = tmp_path / "lonely" / "epoch_1.pth"
    lonely.parent.mkdir()
    lonely.write_bytes(taught.read_bytes())
    assert "set model.teacher.config to the config of the teacher" in message(config("g", checkpoint=lonely))
    without = config("h")
    without.model.teacher = dict()
    assert "name the checkpoint of the teacher" in message(without)
    without = config("k")
    without.custom_hooks = []
    assert "put dict(type='TeacherHook') into custom_hooks" in message(without)
    plain = tiny_config(tmp_path / "i", custom_hooks=[dict(type="TeacherHook")])
    assert "the model is a LandmarkDetector" in message(plain)


def test_other_names_of_landmarks_are_told(tmp_path, taught):
    checkpoint = load_checkpoint(taught)
    checkpoint["meta"]["dataset_meta"]["landmark_names"][3] = "elsewhere"
    changed = tmp_path / "changed.pth"
    torch.save(checkpoint, changed)
    config = student_config(
        tmp_path / "run", changed, teacher=dict(config=teacher_model(tiny_config(tmp_path)))
    )
    assert "landmark 3 is 'elsewhere' there" in message(config)


def test_a_teacher_is_loaded_in_test_mode_with_the_config_beside_it(taught):
    teacher, config, landmarks = load_teacher(dict(checkpoint=str(taught)))
    assert not teacher.training
    assert config.model.backbone.widths == [8, 16, 16]
    assert len(landmarks["landmark_names"]) == 19
    _, config, _ = load_teacher(dict(checkpoint=str(taught), config=config.model.to_dict()))
    assert config is None, "a model is not the config of a run"
    with pytest.raises(ValueError, match="holds the weights of another model"):  # of a network for volumes
        load_teacher(dict(checkpoint=str(taught), config=teacher_model(tiny_config("unused"))), dims=3)
    with pytest.raises(ValueError, match=r"takes 'checkpoint' and 'config', got \['checkpoints'\]"):
        load_teacher(dict(checkpoints="x.pth"))


@pytest.mark.parametrize("half", [False, True])
def test_a_model_file_is_a_teacher_with_its_own_config(taught, tmp_path, half):
    model = replace(load_model(taught), half=half)
    model.save(tmp_path / "large.mml.pth")
    teacher, config, landmarks = load_teacher(dict(checkpoint=str(tmp_path / "large.mml.pth")))
    expected = model.halved().state_dict if half else model.state_dict
    assert all(torch.equal(value, expected[key]) for key, value in teacher.state_dict().items())
    assert config.model.backbone.widths == [8, 16, 16]
    assert len(landmarks["landmark_names"]) == 19
    student = student_config(tmp_path / "run", tmp_path / "large.mml.pth")
    student.train_cfg.max_epochs = 1
    apis.train_config(student)
    inputs = load_checkpoint(tmp_path / "run" / "epoch_1.pth")["meta"]["inputs"]
    assert inputs["model.teacher.checkpoint"]["source"] == "large.mml.pth"
