"""The law of resuming: a run that was stopped and went on equals one that was not."""

import copy
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook

from mmlandmark.engine import LandmarkRunner, latest_checkpoint
from mmlandmark.testing import phantom_dataloader, tiny_config
from mmlandmark.utils.checkpoint import load_checkpoint

ROOT = Path(__file__).parents[2]
HOOKS = {
    "none": [],
    "ema": [dict(type="EMAHook", ema_type="ExponentialMovingAverage", momentum=0.2, update_buffers=True)],
    "peak_monitor": [dict(type="PeakMonitorHook")],
    "visualization": [dict(type="LandmarkVisualizationHook", num_samples=1)],
}


def run(folder, epochs, resume=False, **overrides):
    # All epochs are planned from the start; a run of fewer is one that is stopped.
    config = tiny_config(
        folder, max_epochs=4, resume=resume, experiment_name=f"{folder}_{epochs}_{resume}", **overrides
    )
    runner = LandmarkRunner.from_cfg(config)
    if epochs < 4:
        runner.train_loop._max_epochs = epochs
    runner.train()
    return load_checkpoint(latest_checkpoint(folder))


def assert_same(a, b):
    assert set(a["state_dict"]) == set(b["state_dict"])
    for key, value in a["state_dict"].items():
        assert torch.equal(value, b["state_dict"][key]), key
    if "ema_state_dict" in a:
        for key, value in a["ema_state_dict"].items():
            assert torch.equal(value, b["ema_state_dict"][key]), key


@pytest.mark.parametrize(("hooks", "workers"), [*[(name, 0) for name in HOOKS], ("none", 1)])
def test_four_epochs_equal_two_and_two(tmp_path, hooks, workers):
    common = dict(custom_hooks=HOOKS[hooks], train_dataloader=phantom_dataloader(num_workers=workers))
    whole = run(tmp_path / "whole", 4, **common)
    run(tmp_path / "parts", 2, **common)
    parts = run(tmp_path / "parts", 4, resume=True, **common)
    assert_same(whole, parts)
    # The log goes on where it stopped, so smoothed values agree as well.
    logs = [c["message_hub"]["log_scalars"] for c in (whole, parts)]
    torch.testing.assert_close(
        logs[0]["train/loss"]["__history_buffer__"], logs[1]["train/loss"]["__history_buffer__"]
    )


ROTATIONS: dict[str, list[float]] = {}


class KeepRotations(Hook):
    """Note how every sample was turned, in the order in which they came, and what a network would draw."""

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        for sample in data_batch["data_samples"]:
            ROTATIONS.setdefault(sample.sample_id, []).append(float(sample.input_from_original[0, 1]))
        ROTATIONS.setdefault("torch", []).append(float(torch.rand(())))


def run_iterations(folder, iterations, sampler, workers, resume=False):
    """Train for some of 8 iterations; 4 samples in batches of 2 make 4 passes."""
    loader = phantom_dataloader(num_workers=workers)
    loader["sampler"] = dict(type=sampler, shuffle=True)
    config = tiny_config(
        folder, resume=resume, train_dataloader=loader, custom_hooks=[dict(type=KeepRotations)]
    )
    config.experiment_name = f"{folder}_{iterations}_{resume}"
    config.train_cfg = dict(by_epoch=False, max_iters=8, val_interval=8)
    config.param_scheduler = []
    config.log_processor = dict(by_epoch=False)
    config.default_hooks.checkpoint = dict(type="CheckpointHook", interval=2, by_epoch=False)
    ROTATIONS.clear()
    runner = LandmarkRunner.from_cfg(config)
    runner.train_loop._max_iters = iterations
    runner.train()
    return load_checkpoint(latest_checkpoint(folder)), copy.deepcopy(ROTATIONS)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("sampler", ["InfiniteSampler", "DefaultSampler"])
def test_iterations_draw_anew_in_every_pass_and_resume_to_the_same(tmp_path, monkeypatch, sampler, workers):
    monkeypatch.setattr("mmengine.runner.loops.time.sleep", lambda seconds: None)  # 2 s between two passes
    whole, turns = run_iterations(tmp_path / "whole", 8, sampler, workers)
    assert {name: len(set(values)) for name, values in turns.items()} == {
        **{f"ceph_0_{n:06d}": 4 for n in range(4)},
        "torch": 8,
    }
    _, first = run_iterations(tmp_path / "parts", 4, sampler, workers)
    parts, second = run_iterations(tmp_path / "parts", 8, sampler, workers, resume=True)
    assert {name: first[name] + second[name] for name in turns} == turns
    assert_same(whole, parts)


def test_worker_count_changes_nothing(tmp_path):
    weights = [run(tmp_path / str(n), 4, train_dataloader=phantom_dataloader(num_workers=n)) for n in (0, 2)]
    assert_same(*weights)


def test_killed_run_goes_on_and_ends_the_same(tmp_path):
    config = tmp_path / "config.py"
    tiny_config(tmp_path, max_epochs=4).dump(config)
    environment = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1")

    def command(folder):
        return [
            sys.executable,
            str(ROOT / "tools/train.py"),
            str(config),
            "--work-dir",
            str(folder),
            "--resume",
        ]

    def finish(folder):
        done = subprocess.run(command(folder), env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-2000:]
        return load_checkpoint(latest_checkpoint(folder))

    with open(tmp_path / "log", "w") as log:
        process = subprocess.Popen(command(tmp_path / "killed"), env=environment, stdout=log, stderr=log)
        deadline = time.monotonic() + 120
        while latest_checkpoint(tmp_path / "killed") is None and process.poll() is None:
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()[-2000:]
            time.sleep(0.01)
        assert process.poll() is None, "the run ended before it could be killed"
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert latest_checkpoint(tmp_path / "killed").name != "epoch_4.pth"
    assert_same(finish(tmp_path / "whole"), finish(tmp_path / "killed"))


def test_killed_while_saving_the_one_before_is_kept(tmp_path, monkeypatch):
    config = tiny_config(tmp_path, max_epochs=3)
    config.default_hooks.checkpoint = dict(type="CheckpointHook", interval=1, max_keep_ckpts=1)
    LandmarkRunner.from_cfg(copy.deepcopy(config)).train()
    assert [p.name for p in tmp_path.glob("epoch_*.pth")] == ["epoch_3.pth"]

    def killed(*_):
        raise KeyboardInterrupt

    config.train_cfg.max_epochs, config.resume = 4, True
    runner = LandmarkRunner.from_cfg(config)
    monkeypatch.setattr("mmlandmark.engine.runner.save_checkpoint", killed)
    with pytest.raises(KeyboardInterrupt):
        runner.train()
    assert latest_checkpoint(tmp_path).name == "epoch_3.pth"


def test_a_resumed_run_does_not_ask_for_published_weights(tmp_path):
    config = tiny_config(tmp_path, max_epochs=1)
    LandmarkRunner.from_cfg(copy.deepcopy(config)).train()
    config.model.backbone.init_cfg = dict(type="Pretrained", checkpoint=str(tmp_path / "gone.pth"))
    config.train_cfg.max_epochs, config.resume = 2, True
    LandmarkRunner.from_cfg(config).train()
    assert latest_checkpoint(tmp_path).name == "epoch_2.pth"
    config.resume = False
    with pytest.raises(FileNotFoundError, match=r"gone\.pth"):
        LandmarkRunner.from_cfg(config).train()


def test_the_note_counts_and_what_is_younger(tmp_path):
    for number, age in ((100, 30), (40, 20), (41, 0)):
        path = tmp_path / f"epoch_{number}.pth"
        path.write_bytes(b"x")
        os.utime(path, (1000 - age, 1000 - age))
    note = tmp_path / "last_checkpoint"
    note.write_text("epoch_40.pth")
    os.utime(note, (1000, 1000))
    assert latest_checkpoint(tmp_path).name == "epoch_40.pth"  # 100 is of a run before
    os.utime(note, (990, 990))
    assert latest_checkpoint(tmp_path).name == "epoch_41.pth"  # killed before its note


def test_a_broken_note_is_survived(tmp_path):
    (tmp_path / "epoch_2.pth").write_bytes(b"x")
    (tmp_path / "epoch_10.pth").write_bytes(b"x")
    (tmp_path / "last_checkpoint").write_text("")
    assert latest_checkpoint(tmp_path).name == "epoch_10.pth"
    assert latest_checkpoint(tmp_path / "nothing") is None
