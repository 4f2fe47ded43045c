"""The law of resuming: a run that was stopped and went on equals one that was not."""

import copy
import os
import signal
import subprocess
import sys
import time
from itertools import product
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook

from mmlandmark.cli import invoke
from mmlandmark.engine import LandmarkRunner, latest_checkpoint
from mmlandmark.engine.hooks import StatefulHook
from mmlandmark.registry import HOOKS
from mmlandmark.testing import phantom_dataloader, tiny_config
from mmlandmark.utils.checkpoint import load_checkpoint
from part_of_cases import one_of_each

ROOT = Path(__file__).parents[2]
EMA = dict(type="EMAHook", ema_type="ExponentialMovingAverage", momentum=0.2, update_buffers=True)


def with_teacher(folder):
    """Return what turns a tiny config into that of a student, after its teacher was trained."""
    LandmarkRunner.from_cfg(tiny_config(folder / "teacher", max_epochs=1)).train()
    term = dict(loss=dict(type="AttentionMapLoss"), pairs=[("backbone.up1", "backbone.up1")])
    teacher = dict(checkpoint=str(folder / "teacher" / "epoch_1.pth"))
    model = dict(type="DistilledDetector", teacher=teacher, terms=[term])
    return dict(model=model, custom_hooks=[dict(type="TeacherHook", num_samples=1)])


def custom(**hook):
    return lambda folder: dict(custom_hooks=[hook])


def checkpoints(**hook):
    return lambda folder: dict(default_hooks=dict(checkpoint=hook))


def labelling(**hook):
    """Return what turns a tiny config into that of a self-training."""
    return lambda folder: dict(
        custom_hooks=[dict(dict(type="PseudoLabelHook", selector=dict(type="KeepAll")), **hook), EMA],
        train_dataloader=dict(
            phantom_dataloader(),
            sampler=dict(_delete_=True, type="LabelledShareSampler"),
            unlabelled=dict(offset=50, num_samples=2),
        ),
    )


def labelled_by_another(folder):
    """Return the same, with labels of a detector that was trained before."""
    LandmarkRunner.from_cfg(tiny_config(folder / "labeller", max_epochs=1)).train()
    return labelling(labeller=str(folder / "labeller" / "epoch_1.pth"))(folder)


# What every tiny config has, or MMEngine adds to every run: one run covers all of them.
ALWAYS = {
    "DistSamplerSeedHook",
    "EpochSeedHook",
    "InvalidLossHook",
    "IterTimerHook",
    "LoggerHook",
    "ParamSchedulerHook",
    "RuntimeInfoHook",
    "SafeCheckpointHook",
}
# Every other registered hook, and how a run uses it.
COVERED = {
    "CheckpointHook": checkpoints(type="CheckpointHook", save_best="mre", rule="less", max_keep_ckpts=1),
    "EMAHook": custom(**EMA),
    # Never an improvement: it stops after the third validation, if it remembers the first.
    "EarlyStoppingHook": custom(
        type="EarlyStoppingHook", monitor="mre", rule="less", min_delta=1e6, patience=2
    ),
    "EmptyCacheHook": custom(type="EmptyCacheHook"),
    "LandmarkVisualizationHook": custom(type="LandmarkVisualizationHook", num_samples=1),
    "PeakMonitorHook": custom(type="PeakMonitorHook"),
    # Labels of the first epoch, which hold when the run is stopped, and those of the fourth.
    "PseudoLabelHook": labelling(interval=3),
    "ShapePriorHook": lambda folder: dict(
        model=dict(test_cfg=dict(shape_prior=dict())),
        custom_hooks=[dict(type="ShapePriorHook"), EMA],
        train_dataloader=phantom_dataloader(num_samples=12),
    ),
    "SyncBuffersHook": custom(type="SyncBuffersHook"),
    "TeacherHook": with_teacher,
    # With the mean of weights and buffers, which no template may be part of.
    "TemplateHook": lambda folder: dict(
        model=dict(
            type="TemplateDetector",
            backbone=dict(out_indices=(0, 1)),
            head=dict(
                _delete_=True,
                type="TemplateHead",
                num_landmarks=19,
                codec=dict(type="GaussianHeatmapCodec", sigma=2.0),
            ),
            contrast=dict(type="CascadeContrastLoss"),
        ),
        custom_hooks=[EMA, dict(type="TemplateHook", template=dict(offset=7, num_samples=1))],
    ),
    "TimedCheckpointHook": checkpoints(type="TimedCheckpointHook", every_minutes=1e-9, max_keep_ckpts=1),
}
# Other uses of the same hooks, which keep other states.
JUDGE = dict(type="TeacherScore", size=24, widths=(4, 8), steps=2)
VARIANTS = {
    "labels of every batch": labelling(by_epoch=False),
    "labels by another detector": labelled_by_another,
    "labels at random first": labelling(first="random", interval=3),
    "labels by a mean teacher": labelling(by_epoch=False, clean_view=True, averaged=True, ramp_up=3),
    "labels that a teacher scores": labelling(selector=JUDGE),
}
NO_TRAINING = {
    "NPUProfilerHook": "needs the processor of one vendor",
    "NaiveVisualizationHook": "draws classes of images, in a test only",
    "PrepareTTAHook": "wraps the model for a test",
    "ProfilerHook": "measures, and keeps its own files",
}


def registered_hooks():
    """Return the names of the hooks that a config of this package finds."""
    known = {**HOOKS.parent.module_dict, **HOOKS.module_dict}
    return {name for name, kind in known.items() if kind.__module__.startswith(("mmengine.", "mmlandmark."))}


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
    for part in ("state_dict", "ema_state_dict", "training_state_dict"):
        assert set(a.get(part, ())) == set(b.get(part, ()))
        for key, value in a.get(part, {}).items():
            assert torch.equal(value, b[part][key]), (part, key)
    assert a["meta"]["epoch"] == b["meta"]["epoch"]
    assert as_lists(a["hook_states"]) == as_lists(b["hook_states"])


def as_lists(state):
    """Return a state with lists in place of tensors, which compare to one truth."""
    if isinstance(state, torch.Tensor):
        return state.tolist()
    return {key: as_lists(value) for key, value in state.items()} if isinstance(state, dict) else state


def test_every_registered_hook_is_covered():
    assert registered_hooks() == {*ALWAYS, *COVERED, *NO_TRAINING}


def four_and_two_and_two(folder, **common):
    """Return the checkpoints of a run without a break, and of one that was stopped after two epochs."""
    whole = run(folder / "whole", 4, **copy.deepcopy(common))
    run(folder / "parts", 2, **copy.deepcopy(common))
    return whole, run(folder / "parts", 4, resume=True, **copy.deepcopy(common))


def test_every_run_has_the_common_hooks(tmp_path):
    runner = LandmarkRunner.from_cfg(tiny_config(tmp_path))
    assert {type(hook).__name__ for hook in runner.hooks} >= ALWAYS


@pytest.mark.slow
@pytest.mark.parametrize("name", ["the common hooks", *COVERED, *VARIANTS])
def test_four_epochs_equal_two_and_two(tmp_path, name):
    known = {**COVERED, **VARIANTS}
    common = known[name](tmp_path) if name in known else {}
    whole, parts = four_and_two_and_two(tmp_path, **common)
    assert_same(whole, parts)
    assert whole["meta"]["epoch"] == (3 if name == "EarlyStoppingHook" else 4)
    # The log goes on where it stopped, so smoothed values agree as well.
    logs = [c["message_hub"]["log_scalars"] for c in (whole, parts)]
    torch.testing.assert_close(
        logs[0]["train/loss"]["__history_buffer__"], logs[1]["train/loss"]["__history_buffer__"]
    )


def test_four_epochs_equal_two_and_two_with_a_worker(tmp_path):
    assert_same(*four_and_two_and_two(tmp_path, train_dataloader=phantom_dataloader(num_workers=1)))


class Forgetful(Hook):
    """Has a state that decides what is learnt, and no way to keep it."""

    epochs = 0

    def after_train_epoch(self, runner):
        self.epochs += 1
        if self.epochs == 3:
            with torch.no_grad():
                next(runner.model.parameters()).mul_(2)


class Remembering(StatefulHook, Forgetful):
    """The same, with the protocol."""

    def state_dict(self):
        return dict(epochs=self.epochs)

    def load_state_dict(self, state):
        self.epochs = state["epochs"]


@pytest.mark.slow
def test_a_hook_that_forgets_is_found(tmp_path):
    whole, parts = four_and_two_and_two(tmp_path / "a", custom_hooks=[dict(type=Forgetful)])
    with pytest.raises(AssertionError):
        assert_same(whole, parts)
    whole, parts = four_and_two_and_two(tmp_path / "b", custom_hooks=[dict(type=Remembering)])
    assert_same(whole, parts)
    assert parts["hook_states"]["Remembering"] == dict(epochs=4)


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


@pytest.mark.parametrize(
    ("sampler", "workers"),
    one_of_each(product(["InfiniteSampler", "DefaultSampler"], [2, 0]), lambda case: case[0]),
)
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


@pytest.mark.slow
def test_worker_count_changes_nothing(tmp_path):
    weights = [run(tmp_path / str(n), 4, train_dataloader=phantom_dataloader(num_workers=n)) for n in (0, 2)]
    assert_same(*weights)


@pytest.mark.slow
def test_killed_run_goes_on_and_ends_the_same(tmp_path):
    config = tmp_path / "config.py"
    tiny_config(tmp_path, max_epochs=4).dump(config)

    def arguments(folder):
        return [str(config), "--work-dir", str(folder), "--resume"]

    def finish(folder):
        assert not invoke("train", arguments(folder))
        return load_checkpoint(latest_checkpoint(folder))

    command = [sys.executable, str(ROOT / "tools/train.py"), *arguments(tmp_path / "killed")]
    environment = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1")
    with open(tmp_path / "log", "w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        deadline = time.monotonic() + 120
        while latest_checkpoint(tmp_path / "killed") is None and process.poll() is None:
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()[-2000:]
            time.sleep(0.01)
        assert process.poll() is None, "the run ended before it could be killed"
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert latest_checkpoint(tmp_path / "killed").name != "epoch_4.pth"
    assert_same(finish(tmp_path / "whole"), finish(tmp_path / "killed"))
