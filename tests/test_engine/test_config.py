"""Configs: what goes wrong is named."""

import json
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
from mmengine.config import Config

from mmlandmark.engine import ConfigError, config_of_run, input_size, is_of_model, load_config
from mmlandmark.engine.config import value_at
from mmlandmark.registry import MODELS
from mmlandmark.testing import tiny_model
from mmlandmark.utils.checkpoint import save_checkpoint
from mmlandmark.utils.shipped import config_root


def write(path, text):
    path.write_text(text)
    return path


def test_missing_and_broken_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.py does not exist"):
        load_config(tmp_path / "nowhere.py")
    with pytest.raises(FileNotFoundError, match=r"is a folder, not a config: name the .* mmlandmark plan"):
        load_config(tmp_path)
    with pytest.raises(ConfigError, match=r"broken\.py: SyntaxError"):
        load_config(write(tmp_path / "broken.py", "model = dict("))


def test_a_slip_in_a_key_is_named(tmp_path):
    with pytest.raises(ConfigError, match="unknown key 'train_datalaoder'; did you mean 'train_dataloader'"):
        load_config(write(tmp_path / "a.py", "train_datalaoder = dict()"))
    path = write(tmp_path / "b.py", "train_cfg = dict(max_epochs=3)\nhelper = 1\nitems = [1, 2]")
    for option, message in [
        ({"train_cfg.max_epoch": 2}, "no key 'max_epoch'. Did you mean max_epochs"),
        ({"trian_cfg.max_epochs": 2}, "Did you mean train_cfg"),
        ({"helper.x": 2}, "helper is 1 and has no keys"),
        ({"items.5": 2}, "items is a list of 2"),
    ]:
        with pytest.raises(ConfigError, match=message):
            load_config(path, option)
    assert (
        load_config(path, {"train_cfg.max_epochs": 7, "train_cfg.val_interval": 2}).train_cfg.max_epochs == 7
    )


def test_an_argument_of_the_class_is_no_slip(tmp_path):
    path = write(
        tmp_path / "a.py",
        "optim_wrapper = dict(type='AutocastOptimWrapper', optimizer=dict(type='AdamW', lr=1))\n"
        "model = dict(backbone=dict(type='UNet'), neck=dict(type='Nobody'))",
    )
    options = {"optim_wrapper.dtype": "float32", "optim_wrapper.optimizer.amsgrad": True}
    assert load_config(path, options).optim_wrapper.dtype == "float32"
    for slip, near in (
        ("optim_wrapper.typ", "type"),
        ("optim_wrapper.optimizer.lrs", "lr"),
        ("model.neck.types", "type"),
    ):
        with pytest.raises(ConfigError, match=f"Did you mean {near}"):
            load_config(path, {slip: 1})


def test_bases_of_the_package_work_from_elsewhere(tmp_path):
    path = write(
        tmp_path / "mine.py", "_base_ = 'mmlandmark::_base_/default_runtime.py'\nlog_level = 'ERROR'"
    )
    config = load_config(path)
    assert config.default_hooks.safe_checkpoint.type == "SafeCheckpointHook"
    assert config.log_level == "ERROR"
    with pytest.raises(FileNotFoundError, match=r"nothing\.py"):
        load_config(write(tmp_path / "other.py", "_base_ = 'mmlandmark::_base_/nothing.py'"))


def depth(path):
    """Return how many files lie behind each other below a config."""
    bases = [path.parent / base for base in Config._get_base_files(str(path))]
    return 1 + max(map(depth, bases)) if bases else 0


def test_house_rules_for_shipped_configs():
    for path in sorted(Path(config_root()).rglob("*.py")):
        assert len(path.read_text().splitlines()) <= 60, path
        assert depth(path) <= 2, (
            f"{path}: whoever reads it has more than two files to look up behind each other"
        )


def test_a_missing_name_lists_near_ones_and_a_dotted_path_needs_no_registration():
    with pytest.raises(KeyError, match="Did you mean EWCLoss"):
        MODELS.get("EWCLos")
    assert MODELS.get("torch.nn.ReLU").__name__ == "ReLU"
    with pytest.raises(KeyError, match="Importing 'no_such_package' failed"):
        MODELS.get("no_such_package.Thing")


def test_a_model_file_is_the_config_of_its_test(tmp_path, monkeypatch):
    model = tiny_model()
    model.save(tmp_path / "a.mml.pth")
    for config in (load_config(tmp_path / "a.mml.pth"), config_of_run(tmp_path / "a.mml.pth")):
        assert is_of_model(config)
        assert config.model.to_dict() == model.config["model"]
        assert config.test_evaluator.type == "LandmarkMetric"
        assert config.visualizer.type == "LandmarkVisualizer"
        assert config.get("train_dataloader") is None
        assert input_size(config) == (64, 64)
    changed = load_config(tmp_path / "a.mml.pth", {"test_dataloader.batch_size": 7})
    assert changed.test_dataloader.batch_size == 7
    monkeypatch.setattr("mmlandmark.utils.shipped.detector_root", lambda: tmp_path)
    assert load_config("a").filename == str(tmp_path / "a.mml.pth")
    without = {key: model.config[key] for key in ("model", "pipeline")}
    replace(model, config=without).save(tmp_path / "b.pth")
    assert input_size(load_config(tmp_path / "b.pth")) == (64, 64)
    save_checkpoint(dict(state_dict=model.state_dict), tmp_path / "c.pth")
    with pytest.raises(ConfigError, match=r"c\.pth is no model file"):
        load_config(tmp_path / "c.pth")


@pytest.mark.parametrize(
    "options",
    [{"train_cfg.max_epochs": dict(a=dict(b=1))}, {"train_cfg": dict(max_epochs=dict(a=1))}],
    ids=["the value itself", "below a section"],
)
def test_a_dict_in_the_place_of_another_value_is_named(tmp_path, options):
    (tmp_path / "config.json").write_text(
        json.dumps(dict(train_cfg=dict(type="EpochBasedTrainLoop", max_epochs=3, val_interval=2)))
    )
    ((key, _),) = options.items()
    with pytest.raises(
        ConfigError, match=rf"--cfg-options {key}: .* is a dict in the place of another value"
    ):
        load_config(tmp_path / "config.json", {"train_cfg.val_interval": 1} | options)


def test_two_options_that_contradict_each_other_are_named(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(dict(train_cfg=dict(type="EpochBasedTrainLoop"))))
    with pytest.raises(ConfigError, match=r"train_cfg\.max_epochs"):
        load_config(
            tmp_path / "config.json", {"train_cfg.max_epochs": 1, "train_cfg.max_epochs.a": dict(b=1)}
        )


def test_options_serve_several_configs(tmp_path):
    (tmp_path / "config.py").write_text("model = dict(type='LandmarkDetector', backbone=dict(type='UNet'))\n")
    options = {"model": dict(_delete_=True, type="EnsembleDetector", members=2)}
    for _ in range(2):
        assert "backbone" not in load_config(tmp_path / "config.py", options).model


def test_an_option_that_a_stage_does_not_take_is_told(tmp_path):
    (tmp_path / "config.py").write_text(
        "train_cfg = dict(max_epochs=3)\n"
        "stages = [dict(name='first'), dict(name='second', train_cfg=dict(max_epochs=5))]\n"
    )
    with pytest.warns(UserWarning, match=r"'second' keeps a value of its own; stages.1.train_cfg.max_epochs"):
        load_config(tmp_path / "config.py", {"train_cfg.max_epochs": 1})
    config = load_config(tmp_path / "config.py", {"stages.1.train_cfg.max_epochs": 1})
    assert config.stages[1].train_cfg.max_epochs == 1


def test_what_stands_under_keys():
    config = Config(dict(model=dict(head=dict(loss=None)), hooks=[dict(type="A")]))
    assert value_at(config, ("hooks", 0, "type")) == "A"
    assert value_at(config, ("model", "head", "loss"), 3) is None
    for keys in (("model", "neck"), ("model", "head", "loss", "type"), ("test",), ("hooks", "type")):
        assert value_at(config, keys, 3) == 3


@pytest.mark.parametrize("wrong", [0, -3, 2.5, float("inf"), "many", True, None])
@pytest.mark.parametrize(
    "key", ["train_cfg.max_epochs", "train_cfg.val_interval", "optim_wrapper.accumulative_counts"]
)
def test_a_count_that_is_none_is_refused_before_the_run(tmp_path, key, wrong):
    path = tmp_path / "config.py"
    path.write_text("train_cfg = dict(max_epochs=2)\noptim_wrapper = dict(accumulative_counts=2)\n")
    assert load_config(path, {key: 3.0})
    with pytest.raises(ConfigError, match=f"{key} must be a whole number of at least 1, got {wrong!r}"):
        load_config(path, {key: wrong})


def test_a_rate_that_the_schedule_replaces_is_told(tmp_path):
    path, rate, peak = tmp_path / "config.py", "optim_wrapper.optimizer.lr", "param_scheduler.0.eta_max"
    path.write_text('_base_ = "mmlandmark::_base_/schedules/adamw_onecycle.py"\n')
    with pytest.warns(UserWarning, match=rf"sets the rate itself, up to its eta_max=0.002; {peak}=\.\.\."):
        load_config(path, {rate: 1e-4})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_config(path, {rate: 1e-4, peak: 1e-4})
        path.write_text('_base_ = "mmlandmark::_base_/schedules/adam_multistep.py"\n')
        load_config(path, {rate: 1e-5})
