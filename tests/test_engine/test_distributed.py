"""Two processes on CPUs, started by a script or torchrun, train one model and report what one does."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from torch import nn

from mmlandmark import apis
from mmlandmark.engine import LandmarkRunner
from mmlandmark.testing import phantom_dataloader, tiny_config
from mmlandmark.utils.checkpoint import load_checkpoint
from two_processes import (
    dist_train,
    in_two,
    need_nodes,
    need_two_processes,
    nodes_by_namespaces,
    on_two_nodes,
    same_weights,
    torchrun,
)

PAIRS = [("backbone.up1", "backbone.up1")]
TERMS = [
    dict(loss=dict(type="AttentionMapLoss"), pairs=PAIRS, weight=0.1),
    dict(
        loss=dict(type="FeatureMSELoss", student_channels=8, teacher_channels=16),
        pairs=[("backbone.up1", "backbone.down2")],
        weight=[(0, 0.0), (1, 1.0)],
    ),
]
# Eight images that the network labels, four in each process; a teacher chooses four of them.
SELF_TRAINED = dict(
    train_dataloader=dict(
        sampler=dict(_delete_=True, type="LabelledShareSampler", labelled=0.0),
        unlabelled=dict(offset=50),
    ),
    custom_hooks=[
        dict(
            type="PseudoLabelHook",
            selector=dict(type="TeacherScore", size=24, widths=(4, 8), steps=2),
            pipeline=phantom_dataloader(train=False)["dataset"]["pipeline"],
        )
    ],
)


class Both(NamedTuple):
    """What two processes left behind."""

    config: Path
    folder: Path
    train: subprocess.CompletedProcess
    test: subprocess.CompletedProcess


@pytest.fixture(scope="module")
def both(tmp_path_factory) -> Both:
    """Train a teacher and its student in two processes by the script, then test in two of torchrun."""
    need_two_processes()
    folder = tmp_path_factory.mktemp("both")
    config = tiny_config(
        folder / "run",
        max_epochs=1,
        launcher="pytorch",
        train_dataloader=phantom_dataloader(num_samples=8),
        # Without a validation nothing makes one process wait for the other at the end of a stage.
        stages=[
            dict(name="rough", val_cfg=None, val_dataloader=None, val_evaluator=None, **SELF_TRAINED),
            dict(
                name="fine",
                load_from="run:rough:last",
                model=dict(type="DistilledDetector", teacher=dict(checkpoint="run:rough:last"), terms=TERMS),
                custom_hooks=[dict(type="TeacherHook")],  # a connector without weight gets its gradient too
            ),
        ],
        # An odd number: a sample comes twice, in either process once.
        test_dataloader=phantom_dataloader(num_samples=5, batch_size=1, train=False, offset=100),
    )
    config.dump(folder / "unet_tiny.py")
    train = dist_train(folder / "unet_tiny.py", 2, cwd=folder)
    test = torchrun(
        "test.py", folder / "unet_tiny.py", "--no-figures", "--record", folder / "record.json", cwd=folder
    )
    return Both(folder / "unet_tiny.py", folder, train, test)


@pytest.mark.slow
def test_two_processes_train_one_model(both):
    assert both.train.returncode == 0, both.train.stderr[-3000:]
    for stage in ("01_rough", "02_fine"):
        folder = both.folder / "run" / stage
        assert {p.name for p in folder.iterdir() if p.suffix in (".json", ".pth")} == {
            "epoch_1.pth",
            "last_checkpoint.json",
            "config.json",
            "run.json",
        }
        checkpoint = load_checkpoint(folder / "epoch_1.pth")
        assert checkpoint["meta"]["iter"] == 2  # 8 images, 2 processes, batches of 2
        weights = checkpoint["state_dict"]
        assert all(bool(torch.isfinite(w).all()) for w in weights.values())
        assert not [k for k in weights if k.startswith("module.")], "loads without several processes"
    note = json.loads((both.folder / "run" / "02_fine" / "run.json").read_text())
    assert note["metrics"]["num_images"] == 4
    student = load_checkpoint(both.folder / "run" / "02_fine" / "epoch_1.pth")
    assert sorted(student["training_state_dict"]) == [
        f"term_losses.1.connector.{name}" for name in ("bias", "weight")
    ]
    assert set(student["state_dict"]) == set(
        load_checkpoint(both.folder / "run/01_rough/epoch_1.pth")["state_dict"]
    )


@pytest.mark.slow
def test_two_processes_make_the_labels_of_one(both, tmp_path):
    config = tiny_config(tmp_path, max_epochs=1, train_dataloader=phantom_dataloader(num_samples=8))
    config.merge_from_dict(SELF_TRAINED)
    LandmarkRunner.from_cfg(config).train()
    one = tmp_path / "pseudo_labels" / "epoch_0.json"
    two = both.folder / "run" / "01_rough" / "pseudo_labels" / "epoch_0.json"
    images = json.loads(two.read_text())["images"].values()
    assert sorted(all(image["kept"]) for image in images) == [False] * 4 + [True] * 4
    assert two.read_bytes() == one.read_bytes()


@pytest.mark.slow
def test_two_processes_see_one_teacher(both, tmp_path):
    """Its errors are those of all cases, from whichever process, and are found once."""
    note = json.loads((both.folder / "run" / "02_fine" / "run.json").read_text())
    config = Config.fromfile(both.config)
    teacher = Config(dict(config._cfg_dict, launcher="none", work_dir=str(tmp_path)))
    teacher.pop("stages")
    teacher.test_dataloader = teacher.val_dataloader
    found = apis.test_config(teacher, both.folder / "run/01_rough/epoch_1.pth", out_dir=tmp_path)
    assert note["metrics"]["teacher/mre"] == pytest.approx(found["mre"], rel=1e-5)


@pytest.mark.slow
def test_two_processes_report_what_one_reports(both, tmp_path):
    assert both.test.returncode == 0, both.test.stderr[-3000:]
    together = json.loads((both.folder / "record.json").read_text())["metrics"]
    config = Config.fromfile(both.config)
    config.launcher = "none"
    alone = apis.test_config(config, apis.find_checkpoint(config, None), out_dir=tmp_path)
    assert set(together) == set(alone)
    assert together["num_images"] == 5
    assert together == alone, "to the last digit"
    ours = json.loads((both.folder / "run" / "test" / "predictions.json").read_text())["cases"]
    theirs = json.loads((tmp_path / "predictions.json").read_text())["cases"]
    assert ours == theirs


@pytest.mark.slow
@nodes_by_namespaces
def test_two_nodes_train_what_one_node_trains(both, tmp_path, namespaces):
    """Supervised, with pseudo labels and by distillation: the same labels, weights and errors, bit by bit."""
    need_nodes(namespaces)
    words = ("train", both.config, "--work-dir", tmp_path / "nodes")
    done = on_two_nodes(*words, cwd=tmp_path, namespaces=namespaces)
    assert done.returncode == 0, done.stderr[-3000:]
    for stage in ("01_rough", "02_fine"):
        one, two = (at / stage for at in (both.folder / "run", tmp_path / "nodes"))
        same_weights(one / "epoch_1.pth", two / "epoch_1.pth")
        notes = [json.loads((at / "run.json").read_text()) for at in (one, two)]
        assert notes[0]["metrics"] == notes[1]["metrics"]
    name = "01_rough/pseudo_labels/epoch_0.json"
    assert (both.folder / "run" / name).read_bytes() == (tmp_path / "nodes" / name).read_bytes()


@pytest.mark.slow
def test_only_one_process_speaks(both):
    assert both.test.stdout.count("| landmark") == 1
    assert both.test.stdout.count("recorded ") == 1


WAYS = dict(
    plain={},
    compiled={"compile": dict(backend="eager")},
    bfloat16=dict(optim_wrapper=dict(type="AutocastOptimWrapper", dtype="bfloat16")),
)


def train_in_all_ways(folder):
    """Return the weights of this process, what its head returned, and whether its network was compiled."""
    found = {}
    for name, changes in WAYS.items():
        config = tiny_config(folder / name, max_epochs=2, launcher="pytorch", **changes)
        trained = LandmarkRunner.from_cfg(config)
        model, kinds = trained.model.module, set()
        model.head.register_forward_hook(lambda *given, kinds=kinds: kinds.add(str(given[-1][0].dtype)))
        trained.train()
        compiled = model.backbone._compiled_call_impl is not None
        weights = torch.cat([value.float().flatten() for value in model.state_dict().values()])
        found[name] = (weights.numpy(), kinds, compiled)
    return found


@pytest.mark.slow
def test_two_processes_train_in_bfloat16_and_compiled(tmp_path):
    """Any CPU computes bfloat16, if some do so slowly."""
    first, second = in_two(train_in_all_ways, tmp_path)
    for name in WAYS:
        assert first[name][0].tobytes() == second[name][0].tobytes(), "both have one network"
        assert first[name][2] == (name == "compiled")
    plain, compiled, half = (first[name][0] for name in WAYS)
    np.testing.assert_allclose(compiled, plain, rtol=1e-4, atol=1e-5)
    assert first["plain"][1] == {"torch.float32"}
    assert "torch.bfloat16" in first["bfloat16"][1]
    assert 0 < np.abs(half - plain).max() < 0.1
    assert load_checkpoint(tmp_path / "bfloat16" / "epoch_2.pth")["meta"]["precision"] == "bfloat16"


def test_the_wrapper_takes_no_device_ids_without_a_gpu(tmp_path, monkeypatch):
    runner = LandmarkRunner.from_cfg(tiny_config(tmp_path, find_unused_parameters=True))
    seen = []
    monkeypatch.setattr(Runner, "wrap_model", lambda self, config, model: seen.append(config) or model)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    model = nn.Linear(1, 1)
    runner.wrap_model(None, model)
    assert seen.pop() is None  # one process
    runner._distributed = True
    runner.wrap_model(None, model)
    assert seen.pop() == dict(device_ids=None, broadcast_buffers=False, find_unused_parameters=True)
    given = dict(type="MMDistributedDataParallel", broadcast_buffers=True, find_unused_parameters=False)
    runner.wrap_model(given, model)
    assert seen.pop() == dict(given, device_ids=None)
    assert "device_ids" not in given
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    runner.wrap_model(None, model)
    assert seen.pop() == dict(broadcast_buffers=False, find_unused_parameters=True)
    runner.cfg.find_unused_parameters = False
    runner.wrap_model(None, model)
    assert seen.pop() is None  # with a GPU, MMEngine knows best
