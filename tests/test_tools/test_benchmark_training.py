"""tools/benchmark_training.py: all contenders train the same model."""

from __future__ import annotations

import importlib.util
import json
from argparse import Namespace
from pathlib import Path

import torch

from mmlandmark.testing import tiny_config

ROOT = Path(__file__).parents[2]
_SPEC = importlib.util.spec_from_file_location("benchmark_training", ROOT / "tools" / "benchmark_training.py")
tool = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(tool)


def test_all_make_the_same_step():
    config = tiny_config("unused")
    args = Namespace(size=(64, 64), batch=2, device="cpu", against={})
    names = list(tool.contenders(config, args)[1])
    found = {}
    for name in names:
        model, steps = tool.contenders(config, args)  # anew, from the same start
        steps[name]()
        found[name] = {key: parameter.grad for key, parameter in model.named_parameters()}
    for name in names[1:]:
        for key, gradient in found[names[0]].items():
            torch.testing.assert_close(found[name][key], gradient, rtol=1e-2, atol=1e-5, msg=f"{name} {key}")


def test_a_rival_with_other_values_trains_a_model_of_its_own():
    args = Namespace(size=(64, 64), batch=1, device="cpu", against={"model.head.loss.type": "HeatmapMSELoss"})
    model, steps = tool.contenders(tiny_config("unused"), args)
    steps["model.head.loss.type=HeatmapMSELoss"]()
    assert all(parameter.grad is None for parameter in model.parameters())


def test_writes_a_record(tmp_path, monkeypatch, capsys):
    # What a training keeps of memory must not be switched on for the tests after this one.
    monkeypatch.setattr(tool, "keep_freed_memory", lambda: True)
    tiny_config("unused").dump(tmp_path / "tiny.py")
    out = tmp_path / "steps.json"
    threads = torch.get_num_threads()
    tool.main([str(tmp_path / "tiny.py"), "--size", "64", "64", "--rounds", "1", "--out", str(out)])
    assert torch.get_num_threads() == threads
    record = json.loads(out.read_text())
    assert record["config"] == "tiny"
    assert set(record["steps"]) == {
        "mmlandmark",
        "operators in plain PyTorch",
        "published recipe",
        "backbone recomputed",
    }
    assert record["steps"]["mmlandmark"]["times_ours"] == 1
    assert "published recipe" in capsys.readouterr().out
