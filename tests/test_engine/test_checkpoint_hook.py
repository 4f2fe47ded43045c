"""The best checkpoint and schedules that follow a metric: the same after a kill anywhere as without one."""

from __future__ import annotations

import json
from itertools import product

import pytest
import torch
from mmengine.runner import ValLoop

from mmlandmark.apis import train_config
from mmlandmark.engine import LandmarkRunner, best_checkpoint, latest_checkpoint
from mmlandmark.engine.hooks import CheckpointHook, checkpoint_hook
from mmlandmark.evaluation import LandmarkMetric
from mmlandmark.testing import phantom_dataloader, tiny_config
from mmlandmark.utils.checkpoint import load_checkpoint
from part_of_cases import one_of_each

SCORES = {1: 5.0, 2: 4.0, 3: 6.0, 4: 3.0, 5: 7.0, 6: 7.5}  # the best of the six epochs is the fourth


class Killed(BaseException):
    """As SIGKILL: nothing that the run would do on its way out is counted on."""


@pytest.fixture(autouse=True)
def scores(monkeypatch):
    """Let every validation report the score of its epoch."""
    running = {}
    original, run = LandmarkMetric.compute_metrics, ValLoop.run

    def watched(self):
        running["epoch"] = self.runner.epoch
        return run(self)

    monkeypatch.setattr(ValLoop, "run", watched)
    monkeypatch.setattr(
        LandmarkMetric,
        "compute_metrics",
        lambda self, results: original(self, results) | dict(mre=SCORES[running["epoch"]]),
    )


def config_of(folder, **overrides):
    loaders = {
        f"{part}_dataloader": phantom_dataloader(num_samples=2, size=(32, 32), train=part == "train")
        for part in ("train", "val")
    }
    config = tiny_config(folder, max_epochs=6, **loaders, **overrides)
    config.model.backbone.widths = (4, 6)
    config.default_hooks.checkpoint = dict(
        type="CheckpointHook", interval=1, save_best="mre", rule="less", max_keep_ckpts=1
    )
    config.param_scheduler = [dict(type="ReduceOnPlateauLR", monitor="mre", patience=0, factor=0.5)]
    return config


def outcome(folder):
    """Return all that counts of a finished run."""
    note = json.loads((folder / "best.json").read_text())["best"]
    last = load_checkpoint(latest_checkpoint(folder))
    return (
        note,
        sorted(path.name for path in folder.glob("*.pth")),
        best_checkpoint(folder).name,
        last["optimizer"]["param_groups"][0]["lr"],
        last["hook_states"]["CheckpointHook"]["best"],
        {key: value.tolist() for key, value in last["state_dict"].items()},
        {k: v.tolist() for k, v in load_checkpoint(best_checkpoint(folder))["state_dict"].items()},
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Hold what the run without a kill left, once it ran."""
    return {"folder": tmp_path_factory.mktemp("whole")}


def uninterrupted(whole):
    if "outcome" not in whole:
        torch.set_num_threads(1)
        train_config(config_of(whole["folder"]))
        whole["outcome"] = outcome(whole["folder"])
    return whole["outcome"]


def kill_at(monkeypatch, window: str, epoch: int) -> None:
    """Let the run end abruptly in one of the windows around the validation of an epoch."""

    def killer(owner, name, when, before=True):
        original = getattr(owner, name)

        def replaced(*args, **kwargs):
            if before and when(*args, **kwargs):
                raise Killed
            result = original(*args, **kwargs)
            if not before and when(*args, **kwargs):
                raise Killed
            return result

        monkeypatch.setattr(owner, name, replaced)

    at_epoch = lambda runner: runner.epoch == epoch  # noqa: E731
    if window == "before validation":
        killer(ValLoop, "run", lambda loop: at_epoch(loop.runner))
    elif window == "before the best is saved":
        killer(CheckpointHook, "_save_best_checkpoint", lambda hook, runner, metrics: at_epoch(runner))
    elif window == "before the best is noted":
        saved = lambda self, out, name, **_: name.startswith("best") and at_epoch(self)  # noqa: E731
        killer(
            LandmarkRunner, "save_checkpoint", lambda self, out, name, *a, **k: saved(self, out, name), False
        )
    elif window == "before the newest knows the best":
        killer(
            checkpoint_hook,
            "note_best",
            lambda *args: len(args) == 3 and f"epoch_{epoch}." in str(args[1]),
            False,
        )
    elif window == "before the one before is removed":
        removed = []
        killer(
            checkpoint_hook,
            "remove_superseded",
            lambda folder, best: f"epoch_{epoch}." in str(best) and not removed,
        )
    else:
        killer(CheckpointHook, "_save_best_checkpoint", lambda hook, runner, metrics: at_epoch(runner), False)


WINDOWS = (
    "before validation",
    "before the best is saved",
    "before the best is noted",
    "before the newest knows the best",
    "before the one before is removed",
    "after all of it",
)


@pytest.mark.parametrize(("window", "epoch"), one_of_each(product(WINDOWS, [2, 4, 5]), lambda case: case[0]))
def test_the_best_is_that_of_the_uninterrupted_run(whole, tmp_path, monkeypatch, window, epoch):
    if epoch == 5 and ("noted" in window or "knows" in window or "removed" in window):
        epoch = 1  # the fifth epoch brings no new best; the first has none before it
    expected = uninterrupted(whole)
    with monkeypatch.context() as patch:
        kill_at(patch, window, epoch)
        with pytest.raises(Killed):
            train_config(config_of(tmp_path))
    train_config(config_of(tmp_path), resume="auto")
    assert outcome(tmp_path) == expected


def test_the_schedule_followed_the_scores(whole):
    # Halved after epochs 3 and 5; the newest checkpoint stands before the validation of the sixth.
    assert uninterrupted(whole)[3] == pytest.approx(1e-3 * 0.5**2)
    assert uninterrupted(whole)[0] == {"mre": {"file": "best_mre_epoch_4.pth", "score": 3.0, "step": 4}}


def test_a_best_that_is_not_in_the_folder_is_forgotten(whole, tmp_path):
    uninterrupted(whole)
    config = config_of(tmp_path)
    config.train_cfg.max_epochs = 6
    train_config(config, resume=str(whole["folder"] / "epoch_6.pth"))
    assert best_checkpoint(tmp_path).name == "best_mre_epoch_6.pth", "the best of what is here"
    assert (whole["folder"] / "best_mre_epoch_4.pth").is_file()


def test_a_run_that_starts_anew_has_no_best_yet(tmp_path):
    config = config_of(tmp_path)
    config.train_cfg.max_epochs = 1
    train_config(config)
    assert best_checkpoint(tmp_path).name == "best_mre_epoch_1.pth"
    config.val_dataloader = config.val_cfg = config.val_evaluator = config.param_scheduler = None
    train_config(config)
    assert best_checkpoint(tmp_path) is None


def test_folders_of_earlier_versions_have_no_note(tmp_path):
    assert best_checkpoint(tmp_path) is None
    (tmp_path / "best_mre_epoch_3.pth").write_bytes(b"x")
    assert best_checkpoint(tmp_path).name == "best_mre_epoch_3.pth"
    (tmp_path / "best.json").write_text('{"best": {"mre": {"file": "../x.pth"}}}')
    assert best_checkpoint(tmp_path) is None
    (tmp_path / "best.json").write_text('{"best": 3}')
    with pytest.raises(ValueError, match=r"best\.json: 'best' must name a file"):
        best_checkpoint(tmp_path)


@pytest.mark.parametrize("which", ["auto", ["auto"]])
def test_the_best_is_that_of_a_named_metric(which):
    with pytest.raises(ValueError, match=r"save_best='auto' names no metric; name one .* rule='less'"):
        CheckpointHook(save_best=which, rule="less")


@pytest.mark.parametrize("options", [dict(out_dir="elsewhere"), dict(filename_tmpl="../epoch_{}.pth")])
def test_checkpoints_stay_in_the_folder(options):
    with pytest.raises(ValueError, match="CheckpointHook: "):
        CheckpointHook(**options)


def test_a_metric_that_is_not_there_is_named(tmp_path):
    config = config_of(tmp_path)
    config.val_evaluator.per_landmark = True  # whose names are known with the data
    config.default_hooks.checkpoint.save_best = "mre_x"
    config.train_cfg.max_epochs = 1
    with pytest.raises(ValueError, match=r"save_best is 'mre_x', which no metric reports; there are .*mre"):
        train_config(config)


@pytest.mark.parametrize(
    ("length", "by_epoch", "why"),
    [
        (dict(by_epoch=False, max_iters=2), True, "counts iterations, so the run would save nothing before"),
        (dict(by_epoch=True, max_epochs=2), False, "counts epochs, so the run is resumed from whole epochs"),
    ],
)
def test_checkpoints_from_which_the_run_cannot_go_on_are_refused(tmp_path, length, by_epoch, why):
    config = config_of(tmp_path)
    config.train_cfg, config.param_scheduler = length, None
    config.default_hooks.checkpoint.by_epoch = by_epoch
    with pytest.raises(ValueError, match=f"CheckpointHook has by_epoch={by_epoch}, and train_cfg {why}"):
        LandmarkRunner.from_cfg(config).train()
    assert not list(tmp_path.glob("*.pth"))
