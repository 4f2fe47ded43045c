"""Trainings that a signal asks to stop: where they stop, and what they are resumed from."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook

from mmlandmark.apis import train_config
from mmlandmark.engine import LandmarkRunner, latest_checkpoint
from mmlandmark.engine.hooks import TimedCheckpointHook
from mmlandmark.testing import phantom_dataloader, tiny_config
from mmlandmark.utils import stop_requests
from mmlandmark.utils.checkpoint import load_checkpoint
from mmlandmark.utils.stop_requests import EndedBySignal, StopRequested, taking_requests
from two_processes import begin, ended, need_two_processes, ranks_of, wait_until

ROOT = Path(__file__).parents[2]
EMA = dict(type="EMAHook", ema_type="ExponentialMovingAverage", momentum=0.2, update_buffers=True)


class Ask(Hook):
    """Send this process a signal at points of a run: methods of hooks, and how many calls are left."""

    priority = "VERY_HIGH"
    left: dict[str, int] = {}
    sent = signal.SIGTERM

    def call(self, point: str) -> None:
        self.left[point] = self.left.get(point, 0) - 1
        if self.left[point] == 0:
            os.kill(os.getpid(), self.sent)

    def before_train_epoch(self, runner):
        self.call("before_train_epoch")

    def before_train_iter(self, *_, **__):
        self.call("before_train_iter")

    def after_train_iter(self, *_, **__):
        self.call("after_train_iter")

    def before_val_iter(self, *_, **__):
        self.call("before_val_iter")


def by_epoch(folder, interval=1, **overrides):
    """Return the config of 4 epochs of 2 steps, validated after each."""
    found = tiny_config(folder, max_epochs=4, custom_hooks=[EMA, dict(type=Ask)], **overrides)
    found.default_hooks.checkpoint = dict(
        type="CheckpointHook", interval=interval, save_best="mre", rule="less", max_keep_ckpts=2
    )
    return found


def by_iteration(folder, interval=100, **overrides):
    """Return the config of 8 steps, validated every 4."""
    found = by_epoch(folder, interval)
    found.train_dataloader.sampler = dict(type="InfiniteSampler", shuffle=True)
    found.train_cfg = dict(by_epoch=False, max_iters=8, val_interval=4)
    found.log_processor = dict(by_epoch=False)
    found.param_scheduler = [dict(type="LinearLR", start_factor=0.5, by_epoch=False, begin=0, end=6)]
    found.default_hooks.checkpoint.by_epoch = False
    found.merge_from_dict(overrides)
    return found


def stopped(found, point, number, sent=signal.SIGTERM):
    """Train until a signal is taken, and return what is said."""
    Ask.left, Ask.sent = {point: number}, sent
    with taking_requests(), pytest.raises(StopRequested) as stop:
        train_config(found, resume=None if found.get("stages") else "auto")
    assert not list(Path(found.work_dir).rglob("run.lock"))
    return str(stop.value)


def saved(folder):
    return sorted(path.name for path in folder.glob("*.pth") if not path.name.startswith("best"))


def assert_same_end(one, other):
    """Compare weights, momenta, the states of hooks and the best checkpoint of two runs."""
    a, b = (load_checkpoint(latest_checkpoint(folder)) for folder in (one, other))
    for part in ("state_dict", "ema_state_dict"):
        assert all(torch.equal(value, b[part][key]) for key, value in a[part].items())
    for index, state in a["optimizer"]["state"].items():
        assert all(torch.equal(value, b["optimizer"]["state"][index][key]) for key, value in state.items())
    assert a["meta"]["epoch"] == b["meta"]["epoch"]
    assert a["meta"]["iter"] == b["meta"]["iter"]
    assert a["hook_states"]["CheckpointHook"]["best"] == b["hook_states"]["CheckpointHook"]["best"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Train without a break, by epochs and by iterations; return the folder of both."""
    folder = tmp_path_factory.mktemp("whole")
    train_config(by_epoch(folder / "by_epoch"))
    train_config(by_iteration(folder / "by_iteration"))
    return folder


@pytest.mark.parametrize(
    ("interval", "point", "number", "newest"),
    [
        (1, "after_train_iter", 5, 2),  # in the third epoch, the second is saved
        (3, "after_train_iter", 5, 2),  # and now it is kept in memory alone
        (3, "before_val_iter", 4, 2),  # in the second validation
        (3, "after_train_iter", 6, 3),  # in the last step of an epoch, which then is a whole one
        (3, "before_train_epoch", 3, 2),  # where hooks make labels, which takes long
    ],
)
def test_by_epochs_the_last_whole_one_counts(tmp_path, whole, interval, point, number, newest):
    found = by_epoch(tmp_path, interval)
    said = stopped(found, point, number)
    assert said == f"stopped: {tmp_path} resumes from epoch_{newest}.pth with --resume"
    assert saved(tmp_path)[-1] == f"epoch_{newest}.pth"
    train_config(found, resume="auto")
    assert_same_end(whole / "by_epoch", tmp_path)
    assert len(saved(tmp_path)) <= 2, "what was kept in memory counts for max_keep_ckpts, too"


@pytest.mark.parametrize(
    ("point", "number", "newest"), [("after_train_iter", 3, 3), ("before_val_iter", 1, 4)]
)
def test_by_iterations_every_step_counts(tmp_path, whole, point, number, newest):
    found = by_iteration(tmp_path)
    said = stopped(found, point, number, signal.SIGUSR1)
    assert said == f"stopped: {tmp_path} resumes from iter_{newest}.pth with --resume"
    train_config(found, resume="auto")
    assert_same_end(whole / "by_iteration", tmp_path)


def test_accumulated_gradients_are_not_lost(tmp_path):
    found = by_iteration(tmp_path, **{"optim_wrapper.accumulative_counts": 2})
    assert "resumes from iter_4.pth" in stopped(found, "after_train_iter", 3)


def test_by_the_clock_the_last_whole_epoch_is_saved(tmp_path):
    found = by_epoch(tmp_path)
    found.default_hooks.checkpoint = dict(type=TimedCheckpointHook, every_minutes=60)
    assert "resumes from epoch_1.pth" in stopped(found, "after_train_iter", 3)


def test_before_the_first_epoch_has_ended(tmp_path):
    said = stopped(by_epoch(tmp_path), "after_train_iter", 1, signal.SIGINT)
    assert said == f"stopped before the first checkpoint of {tmp_path}: start again"


def test_a_plan_goes_on_where_it_was_stopped(tmp_path, whole):
    found = by_epoch(tmp_path)
    found.stages = [dict(name="first", train_cfg=dict(max_epochs=1)), dict(name="second")]
    assert stopped(found, "after_train_iter", 1).endswith("01_first: start again")
    assert stopped(found, "before_val_iter", 1).endswith("01_first resumes from epoch_1.pth")
    assert stopped(found, "after_train_iter", 5).endswith("02_second resumes from epoch_2.pth")
    assert list(train_config(found)) == ["first", "second"]
    assert_same_end(whole / "by_epoch", tmp_path / "02_second")


def test_a_second_signal_ends_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(stop_requests, "ONE_REQUEST", -1.0)
    found = by_epoch(tmp_path)
    Ask.left, Ask.sent = dict(before_train_iter=3, after_train_iter=3), signal.SIGTERM
    with taking_requests(), pytest.raises(EndedBySignal, match=r"resumes from epoch_1\.pth") as end:
        train_config(found)
    assert end.value.exit_code == 143
    assert not (tmp_path / "run.lock").exists()


def test_where_no_command_asks_for_it_nothing_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(LandmarkRunner, "keep_checkpoint", lambda *_, **__: pytest.fail("kept"))
    train_config(by_epoch(tmp_path, 3))


def long_config(folder, **overrides):
    """Write the config of a training that takes long, with a worker for the images, and return its file."""
    without = dict(val_cfg=None, val_dataloader=None, val_evaluator=None)
    loader = phantom_dataloader(num_workers=1)
    found = tiny_config(folder / "run", max_epochs=9999, train_dataloader=loader, **without, **overrides)
    found.default_hooks.checkpoint.max_keep_ckpts = 1
    found.dump(folder / "long.py")
    return folder / "long.py"


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1], ids=lambda one: one.name)
def test_a_signal_to_the_whole_group_stops_a_command(tmp_path, sent):
    words = [sys.executable, ROOT / "tools/train.py", long_config(tmp_path)]
    environment = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1")
    process = subprocess.Popen(
        words, env=environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    with ended(process):
        wait_until(lambda: latest_checkpoint(tmp_path / "run"), process)
        os.killpg(process.pid, sent)  # as SLURM and terminals do: the worker gets it, too
        _, said = process.communicate(timeout=60)
    newest = latest_checkpoint(tmp_path / "run")
    assert process.returncode == 75, said
    assert said.splitlines() == [
        f"{sent.name}: stopping after this step; a second signal ends at once",
        f"stopped: {tmp_path / 'run'} resumes from {newest.name} with --resume",
    ]
    assert load_checkpoint(newest)["meta"]["epoch"] > 0


@pytest.mark.slow
def test_two_processes_stop_after_the_same_step(tmp_path):
    need_two_processes()
    config = long_config(
        tmp_path,
        launcher="pytorch",
        train_cfg=dict(_delete_=True, by_epoch=False, max_iters=99999),
        param_scheduler=[],
        log_processor=dict(by_epoch=False),
        default_hooks=dict(checkpoint=dict(by_epoch=False, interval=5)),
        **{"train_dataloader.sampler.type": "InfiniteSampler"},
    )
    with ended(begin("train", config, cwd=tmp_path)) as process:
        wait_until(lambda: latest_checkpoint(tmp_path / "run"), process)
        os.kill(ranks_of(process)[1], signal.SIGTERM)  # the other one knows nothing of it
        code = process.wait(timeout=120)
    said = (tmp_path / "said").read_text()
    assert code == 75, said
    step = load_checkpoint(latest_checkpoint(tmp_path / "run"))["meta"]["iter"]
    assert f"resumes from iter_{step}.pth with --resume" in said
