"""Every trouble with MMEngine that is listed as cured stays cured; each test fails without its cure."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModule, initialize
from mmengine.runner import CheckpointLoader

from mmlandmark.apis import train_config
from mmlandmark.engine import LandmarkRunner, load_config
from mmlandmark.engine.mmengine_cures import applied, config_scope, torchvision_hidden
from mmlandmark.registry import MODELS, OPTIMIZERS
from mmlandmark.testing import tiny_config
from mmlandmark.utils.checkpoint import load_checkpoint, save_checkpoint
from mmlandmark.utils.safe_loading import safe_loading
from mmlandmark.utils.shipped import config_root

ROOT = Path(__file__).parents[2]


# ---- torchvision ----------------------------------------------------------------------------------------


def make_torchvision(folder: Path, content: str) -> None:
    (folder / "torchvision").mkdir()
    (folder / "torchvision" / "__init__.py").write_text(content + "\n")


@pytest.mark.slow
def test_a_broken_torchvision_is_hidden(tmp_path):
    make_torchvision(tmp_path, "raise RuntimeError('operator torchvision::nms does not exist')")
    # What every Runner does before anything else; a broken torchvision raises RuntimeError from there.
    code = (
        "from mmlandmark.engine.mmengine_cures import applied\n"
        "from mmengine.utils.dl_utils import collect_env\n"
        "def imported():\n"
        "    try: import torchvision\n"
        "    except Exception as error: return type(error).__name__\n"
        "with applied:\n"
        "    assert 'PyTorch' in collect_env()\n"
        "    inside = imported()\n"
        "print(inside, imported())"
    )
    environment = dict(os.environ, PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}", OMP_NUM_THREADS="1")
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split()[-2:] == ["ModuleNotFoundError", "RuntimeError"]


def test_a_good_torchvision_is_left_alone(tmp_path, monkeypatch):
    make_torchvision(tmp_path, "__version__ = '9.9'")
    monkeypatch.syspath_prepend(tmp_path)
    # Set first, so that whatever is there now comes back at the end.
    monkeypatch.setitem(sys.modules, "torchvision", None)
    del sys.modules["torchvision"]
    with torchvision_hidden:
        assert sys.modules["torchvision"].__version__ == "9.9"
    assert sys.modules["torchvision"].__version__ == "9.9"


# ---- checkpoints ----------------------------------------------------------------------------------------


def test_without_the_safe_checkpoint_hook_no_run_can_be_resumed(tmp_path):
    # The reason for the hook; tests/test_engine/test_resume.py shows that it works.
    config = tiny_config(tmp_path, max_epochs=1)
    config.default_hooks.pop("safe_checkpoint")
    train_config(config)
    with pytest.raises(ValueError, match=r"epoch_1\.pth cannot be loaded safely"):
        load_checkpoint(tmp_path / "epoch_1.pth")


def test_a_crash_while_saving_keeps_the_checkpoint_before(tmp_path, monkeypatch):
    config = tiny_config(tmp_path, max_epochs=2)
    config.default_hooks.checkpoint = dict(type="CheckpointHook", interval=1, filename_tmpl="epoch_1.pth")
    original, content = torch.save, []

    def save(checkpoint, path, *arguments, **options):
        if checkpoint["meta"]["epoch"] == 1:
            return original(checkpoint, path, *arguments, **options)
        content.append((tmp_path / "epoch_1.pth").read_bytes())
        path.write(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", save)
    with pytest.raises(OSError, match="no space left"):
        train_config(config)
    assert len(content) == 1
    assert (tmp_path / "epoch_1.pth").read_bytes() == content[0]
    assert load_checkpoint(tmp_path / "epoch_1.pth")["meta"]["epoch"] == 1
    assert not [p for p in tmp_path.rglob("*.pth") if p.name != "epoch_1.pth"], "half a file was left"


# ---- configs and names ----------------------------------------------------------------------------------


def test_a_whole_config_of_this_package_is_a_base_elsewhere(tmp_path):
    name = "unet/unet_phantom-ceph_160x128_cpu.py"
    mine = tmp_path / "mine.py"
    mine.write_text(f"_base_ = 'mmlandmark::{name}'\nmodel = dict(head=dict(num_landmarks=5))\n")
    ours, theirs = load_config(mine), load_config(config_root() / name)
    assert ours.model.head.num_landmarks == 5
    ours.model.head.num_landmarks = theirs.model.head.num_landmarks
    assert ours.to_dict() == theirs.to_dict()


def test_a_base_of_this_package_is_known_inside_the_scope_only(tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text("_base_ = 'mmlandmark::_base_/default_runtime.py'\n")
    with config_scope:
        assert Config.fromfile(mine).default_scope == "mmlandmark"
    with pytest.raises(AssertionError, match="mmlandmark"):
        Config.fromfile(mine)


def test_a_run_does_not_wait_for_the_text_of_its_config(tmp_path, monkeypatch):
    def format_code(*args, **kwargs):
        raise AssertionError("yapf was called")

    monkeypatch.setattr("mmengine.config.config.FormatCode", format_code)
    config = tiny_config(tmp_path, max_epochs=1)
    config._cfg_dict["nested"] = [dict(names=["a" * 90, "b" * 90])]
    LandmarkRunner.from_cfg(config).train()
    (written,) = tmp_path.glob("*.py")
    assert f'nested = [\n    dict(\n        names=[\n            "{"a" * 90}",\n' in written.read_text()
    assert written.read_text() == load_checkpoint(tmp_path / "epoch_1.pth")["meta"]["cfg"]


def test_cures_are_applied_together_and_undone_together(tmp_path):
    def state():
        schemes = [CheckpointLoader._schemes[prefix] for prefix in ("", "http://", "https://")]
        return [*schemes, Config.__dict__["_get_cfg_path"], Config.__dict__["pretty_text"]]

    before = state()
    with applied:
        inside = state()
        with applied, safe_loading:
            assert state() == inside
        assert state() == inside
    assert not set(map(id, inside)) & set(map(id, before))
    assert state() == before


class ForeignBackbone(BaseModule):
    """A backbone that knows MMEngine alone."""

    def __init__(self, in_channels: int = 1, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.conv, self.out_channels, self.strides = torch.nn.Conv2d(in_channels, 8, 3, padding=1), [8], [1]

    def forward(self, x):
        return (self.conv(x),)


def foreign_config(work_dir, checkpoint):
    config = tiny_config(work_dir, max_epochs=1)
    config.model.backbone = dict(
        type=ForeignBackbone, init_cfg=dict(type="Pretrained", checkpoint=str(checkpoint))
    )
    return config


def test_a_module_of_another_package_starts_strictly_in_our_runner(tmp_path):
    save_checkpoint(dict(state_dict={"wait": torch.ones(2)}), tmp_path / "other.pth")
    config = foreign_config(tmp_path / "run", tmp_path / "other.pth")
    initialize(ForeignBackbone(), config.model.backbone.init_cfg)  # MMEngine alone lets it pass
    with pytest.raises(ValueError, match="of another model"):
        train_config(config)
    initialize(ForeignBackbone(), config.model.backbone.init_cfg)  # and does so after our run


def test_a_module_of_another_package_starts_safely_in_our_detector(tmp_path):
    config = foreign_config(tmp_path / "run", tmp_path / "good.pth")
    detector = MODELS.build(config.model)
    trained = ForeignBackbone()
    save_checkpoint(dict(state_dict=trained.state_dict()), tmp_path / "good.pth")
    detector.init_weights()
    assert torch.equal(detector.backbone.conv.weight, trained.conv.weight)
    (tmp_path / "good.pth").write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match=r"good\.pth cannot be loaded safely"):
        MODELS.build(config.model).init_weights()


def test_torchs_own_adafactor_has_a_name_and_trains(tmp_path):
    assert OPTIMIZERS.get("TorchAdafactor") is torch.optim.Adafactor
    config = tiny_config(tmp_path, max_epochs=1)
    config.optim_wrapper.optimizer = dict(type="TorchAdafactor", lr=1e-2)
    train_config(config)
    assert (tmp_path / "epoch_1.pth").is_file()


def test_an_optimizer_that_is_missing_is_named(tmp_path):
    # MMEngine says "None is not a callable object". Adafactor and Lion are there only with other packages.
    config = tiny_config(tmp_path, max_epochs=1)
    config.optim_wrapper.optimizer = dict(type="Adafactr", lr=1e-2)
    with pytest.raises(KeyError, match=r"'Adafactr' is not in .*Did you mean .*TorchAdafactor"):
        train_config(config)
