"""A trained detector is found as a file, a checkpoint, a run or by its name."""

from __future__ import annotations

import shutil

import pytest
import torch

from mmlandmark.apis import train_config
from mmlandmark.engine import ConfigError
from mmlandmark.inference import loading
from mmlandmark.inference.loading import checkpoint_of_run, load_model
from mmlandmark.models.model_file import ModelFile
from mmlandmark.testing import tiny_config, tiny_model
from mmlandmark.utils.checkpoint import load_checkpoint, save_checkpoint


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "small"
    train_config(tiny_config(folder, max_epochs=2))
    return folder


def same_weights(one: ModelFile, weights: dict) -> bool:
    return all(torch.equal(value, one.state_dict[key]) for key, value in weights.items())


def test_a_run_a_checkpoint_and_a_file(run, tmp_path):
    last = load_checkpoint(run / "epoch_2.pth")["state_dict"]
    model = load_model(run)
    assert same_weights(model, last)
    assert model.name == "small"
    assert model.schema.name == "isbi2015_cephalogram"
    assert (model.training["seed"], model.training["epoch"]) == (0, 2)
    assert model.training["trained_on"]["images"] == 4
    first = load_model(run / "epoch_1.pth")
    assert same_weights(first, load_checkpoint(run / "epoch_1.pth")["state_dict"])
    model.save(tmp_path / "a.mml.pth")
    assert same_weights(load_model(str(tmp_path / "a.mml.pth")), last)
    assert load_model(model) is model


def test_a_checkpoint_brings_its_config_along(run, tmp_path):
    shutil.copy(run / "epoch_2.pth", tmp_path / "alone.pth")
    assert load_model(tmp_path / "alone.pth").config["model"] == load_model(run).config["model"]
    bare = dict(state_dict=load_checkpoint(run / "epoch_2.pth")["state_dict"])
    save_checkpoint(bare, tmp_path / "bare.pth")
    with pytest.raises(ConfigError, match=r"no config beside it or in it.*mmlandmark pack CONFIG"):
        load_model(tmp_path / "bare.pth")


def test_the_newest_the_best_or_the_only_checkpoint(run, tmp_path):
    assert checkpoint_of_run(run).name == "epoch_2.pth"
    with pytest.raises(FileNotFoundError, match="holds no best checkpoint"):
        checkpoint_of_run(run, "best")
    started = tmp_path / "started"
    started.mkdir()
    with pytest.raises(
        FileNotFoundError, match=r"started is not the folder of a run.*mmlandmark train wrote"
    ):
        checkpoint_of_run(started)
    shutil.copy(run / "config.json", started)
    with pytest.raises(FileNotFoundError, match="holds no last checkpoint"):
        checkpoint_of_run(started)
    (tmp_path / "config.py").write_text("import os\n")  # of a plan, whose run is below
    with pytest.raises(FileNotFoundError, match=r"is not the folder of a run.*: name .*started$"):
        checkpoint_of_run(tmp_path)
    (tmp_path / "then").mkdir()  # of two stages
    shutil.copy(run / "config.json", tmp_path / "then")
    with pytest.raises(FileNotFoundError, match=r": name .*then, the last of \d runs in it$"):
        checkpoint_of_run(tmp_path)
    save_checkpoint(dict(state_dict={}), tmp_path / "ensemble.pth")
    assert checkpoint_of_run(tmp_path).name == "ensemble.pth"


def test_a_detector_on_board_has_a_name(tmp_path, monkeypatch):
    monkeypatch.setattr("mmlandmark.utils.shipped.detector_root", lambda: tmp_path)
    with pytest.raises(FileNotFoundError, match=r"ceph19: there is no such file.*none comes with"):
        load_model("ceph19")
    tiny_model().save(tmp_path / "ceph19.mml.pth")
    assert load_model("ceph19").name == "untrained"
    with pytest.raises(FileNotFoundError, match=r"did you mean 'ceph19' for 'cehp19'\?\); ceph19 come"):
        load_model("cehp19")
    assert loading.shipped_detectors() == {"ceph19": tmp_path / "ceph19.mml.pth"}
