"""mmlandmark benchmark-training: all contenders train the same model."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

import pytest
import torch

from mmlandmark.cli import benchmark_training, invoke
from mmlandmark.testing import tiny_config

ROOT = Path(__file__).parents[2]


def test_all_make_the_same_step():
    config = tiny_config("unused")
    args = Namespace(size=(64, 64), batch=2, device="cpu", against={})
    names = list(benchmark_training.contenders(config, args)[1])
    found = {}
    for name in names:
        model, steps = benchmark_training.contenders(config, args)  # anew, from the same start
        steps[name]()
        found[name] = {key: parameter.grad for key, parameter in model.named_parameters()}
    for name in names[1:]:
        for key, gradient in found[names[0]].items():
            torch.testing.assert_close(found[name][key], gradient, rtol=1e-2, atol=1e-5, msg=f"{name} {key}")


def test_a_rival_with_other_values_trains_a_model_of_its_own():
    args = Namespace(size=(64, 64), batch=1, device="cpu", against={"model.head.loss.type": "HeatmapMSELoss"})
    model, steps = benchmark_training.contenders(tiny_config("unused"), args)
    steps["model.head.loss.type=HeatmapMSELoss"]()
    assert all(parameter.grad is None for parameter in model.parameters())


def test_writes_a_record(tmp_path, monkeypatch, capsys):
    # What a training keeps of memory must not be switched on for the tests after this one.
    monkeypatch.setattr(benchmark_training, "keep_freed_memory", lambda: True)
    tiny_config("unused").dump(tmp_path / "tiny.py")
    out = tmp_path / "steps.json"
    threads = torch.get_num_threads()
    invoke(
        "benchmark-training",
        [str(tmp_path / "tiny.py"), "--size", "64", "64", "--rounds", "1", "--out", str(out)],
    )
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


def test_a_student_is_measured_beside_itself_alone_and_its_teacher(tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark_training, "keep_freed_memory", lambda: True)
    monkeypatch.setattr(
        benchmark_training, "memory_of", lambda name, argv: 0
    )  # measured in a process each, elsewhere
    config = tiny_config("unused")
    plain = config.model.to_dict()
    term = dict(loss=dict(type="AttentionMapLoss"), pairs=[("backbone.up1", "backbone.up1")])
    student = dict(
        type="DistilledDetector",
        teacher=dict(checkpoint="run:teacher:last"),
        terms=[term],
        **{k: v for k, v in plain.items() if k != "type"},
    )
    config.stages = [dict(name="teacher", model=plain), dict(name="student", model=student)]
    args = Namespace(size=(64, 64), batch=1, device="cpu", against={}, config="tiny")
    model, steps = benchmark_training.contenders(config, args)
    steps["teacher's pass"]()
    assert all(p.grad is None for p in model.parameters()), "the teacher's pass trains nobody"
    steps["student alone"]()
    alone = {key: parameter.grad.clone() for key, parameter in model.named_parameters()}
    again, steps = benchmark_training.contenders(config, args)  # anew, from the same start
    steps[benchmark_training.OURS]()
    taught = dict(again.named_parameters())
    # A distillation term on the way up changes what is learnt before it, and nothing behind it.
    assert torch.equal(alone["head.convs.0.weight"], taught["head.convs.0.weight"].grad)
    assert not torch.allclose(
        alone["backbone.down1.0.conv.weight"], taught["backbone.down1.0.conv.weight"].grad
    )
    config.dump(tmp_path / "tiny.py")
    out = tmp_path / "steps.json"
    invoke(
        "benchmark-training",
        [str(tmp_path / "tiny.py"), "--size", "64", "64", "--rounds", "2", "--out", str(out)],
    )
    rows = json.loads(out.read_text())["steps"]
    assert {"student alone", "teacher's pass"} < set(rows)
    assert rows[benchmark_training.OURS]["times_parts"] > 0
    # A rival of other values has the same teacher; terms are measured when they weigh most.
    config.stages[1].model.terms[0].weight = [(0, 0.0), (3, 1.0), (5, 0.0)]
    args.against = {"model.terms.0.weight": 0.5}
    model, steps = benchmark_training.contenders(config, args)
    assert model.epoch == 3
    steps["model.terms.0.weight=0.5"]()
    config.stages = config.stages[1:]
    config.stages[0].model.teacher.checkpoint = "x.pth"
    with pytest.raises(
        ValueError,
        match="a step of DistilledDetector is measured with the stage that makes its input 'teacher'",
    ):
        benchmark_training.contenders(config, args)
