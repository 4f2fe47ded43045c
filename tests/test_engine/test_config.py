"""Configs: what goes wrong is named."""

from pathlib import Path

import pytest
from mmengine.config import Config

from mmlandmark.engine import ConfigError, load_config
from mmlandmark.registry import MODELS
from mmlandmark.utils.shipped import config_root


def write(path, text):
    path.write_text(text)
    return path


def test_missing_and_broken_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.py does not exist"):
        load_config(tmp_path / "nowhere.py")
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
