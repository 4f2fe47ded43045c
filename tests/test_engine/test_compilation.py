"""``compile`` in a config."""

import copy
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config

from mmlandmark.engine import ConfigError, LandmarkRunner
from mmlandmark.engine.compilation import compile_networks, compile_parts
from mmlandmark.models.detectors import MultiTaskDetector
from mmlandmark.testing import tiny_config
from mmlandmark.utils.checkpoint import load_checkpoint


@pytest.mark.parametrize("kind", ["LandmarkDetector", "EnsembleDetector"])
def test_a_compiled_run_trains_as_one_that_is_not(tmp_path, kind):
    config = tiny_config(tmp_path / "plain", max_epochs=1)
    config.model.type = kind
    if kind == "EnsembleDetector":
        config.model.members = 2
    LandmarkRunner.from_cfg(copy.deepcopy(config)).train()
    config.work_dir, config["compile"] = str(tmp_path / "compiled"), dict(backend="eager")
    runner = LandmarkRunner.from_cfg(config)
    runner.train()
    members = getattr(runner.model, "members", [runner.model])
    assert all(m.backbone._compiled_call_impl is not None for m in members)
    plain, compiled = (
        load_checkpoint(tmp_path / n / "epoch_1.pth")["state_dict"] for n in ("plain", "compiled")
    )
    assert list(plain) == list(compiled)  # no _orig_mod. in names
    for name, value in plain.items():
        torch.testing.assert_close(compiled[name], value, rtol=1e-4, atol=1e-5)


def test_what_compile_cannot_be_is_told(tmp_path):
    config = tiny_config(tmp_path)
    config["compile"] = "yes"
    with pytest.raises(ConfigError, match="compile must be True, False or a dict"):
        LandmarkRunner.from_cfg(config).train()
    listening = SimpleNamespace(
        cfg=Config(dict(compile=True)), model=MultiTaskDetector.__new__(MultiTaskDetector)
    )
    with pytest.raises(ConfigError, match="compile does not go with MultiTaskDetector"):
        compile_networks(listening)


@pytest.mark.parametrize("options", [dict(backend="archive.pth"), dict(mode="fastest"), dict(back="eager")])
def test_what_torch_compile_does_not_know_is_told(options):
    (value,) = options.values()
    with pytest.raises(ConfigError, match=f"torch.compile does not take .*{value}"):
        compile_parts(torch.nn.Sequential(torch.nn.Linear(1, 1)), options)
