"""Resuming with another config: the rates are those of the new config, or the run is refused."""

from __future__ import annotations

import copy
import random
import re

import pytest
import torch
from mmengine.hooks import Hook

from mmlandmark.apis import train_config
from mmlandmark.engine import LandmarkRunner, latest_checkpoint
from mmlandmark.registry import HOOKS
from mmlandmark.testing import phantom_dataloader, tiny_config
from mmlandmark.utils.checkpoint import load_checkpoint, save_checkpoint
from part_of_cases import some


@HOOKS.register_module(force=True)
class RateSpy(Hook):
    """Notes the learning rate of every iteration."""

    priority = "LOWEST"
    rates: list[tuple[int, float]] = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        type(self).rates.append((runner.iter, float(runner.optim_wrapper.param_groups[0]["lr"])))


def config_of(folder, epochs, schedule, batch_size=2, lr=1e-3, optimizer="Adam", samples=8):
    train = phantom_dataloader(num_samples=samples, size=(32, 32), batch_size=batch_size)
    config = tiny_config(folder, max_epochs=epochs, train_dataloader=train)
    config.model.backbone.widths = (2, 2)
    config.val_dataloader = config.val_cfg = config.val_evaluator = None
    config.optim_wrapper.optimizer = dict(type=optimizer, lr=lr)
    config.param_scheduler = schedule
    config.custom_hooks = [dict(type="RateSpy")]
    return config


def rates_of(config, resume=None):
    RateSpy.rates.clear()
    train_config(copy.deepcopy(config), resume=resume)
    return list(RateSpy.rates)


def profile(config):
    """Return the rates that a run of this config has, by building its schedules and stepping them."""
    runner = LandmarkRunner.from_cfg(copy.deepcopy(config))
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    schedulers = runner.build_param_scheduler(runner.param_schedulers) if runner.param_schedulers else []
    rates, length = [], len(runner.train_dataloader)
    for iteration in range(runner.max_iters):
        rates.append((iteration, float(runner.optim_wrapper.param_groups[0]["lr"])))
        for scheduler in schedulers:
            if not scheduler.by_epoch or (iteration + 1) % length == 0:
                scheduler.step()
    return rates


SCHEDULES = {
    "OneCycleLR": lambda rng: dict(
        eta_max=rng.choice([1e-3, 2e-3]), pct_start=rng.choice([0.2, 0.4]), convert_to_iter_based=True
    ),
    "CosineAnnealingLR": lambda rng: dict(
        convert_to_iter_based=rng.random() < 0.5, eta_min=rng.choice([0, 1e-5])
    ),
    "PolyLR": lambda rng: dict(power=rng.choice([0.9, 2.0]), convert_to_iter_based=rng.random() < 0.5),
    "MultiStepLR": lambda rng: dict(
        milestones=sorted(rng.sample(range(1, 6), 2)), gamma=rng.choice([0.1, 0.5])
    ),
    "StepLR": lambda rng: dict(step_size=rng.choice([1, 2]), gamma=0.5),
    "ExponentialLR": lambda rng: dict(gamma=rng.choice([0.9, 0.8])),
    "LinearLR": lambda rng: dict(start_factor=rng.choice([0.1, 0.5]), end=rng.choice([2, 4])),
}


def drawn(rng, folder, epochs):
    kind = rng.choice([*SCHEDULES, None])
    schedule = None if kind is None else [dict(type=kind, by_epoch=True, **SCHEDULES[kind](rng))]
    return config_of(
        folder,
        epochs,
        schedule,
        batch_size=rng.choice([2, 4]),
        lr=rng.choice([1e-3, 3e-3]),
        optimizer=rng.choice(["Adam", "Adam", "SGD"]),
    )


def kinds(config):
    return config.optim_wrapper.optimizer.type, [s["type"] for s in config.param_scheduler or []]


@pytest.mark.parametrize("seed", some(range(16), 5))
def test_any_pair_of_configs_goes_on_by_the_rule_or_is_refused(tmp_path, seed):
    rng = random.Random(seed)
    torch.set_num_threads(1)
    old = drawn(rng, tmp_path, rng.choice([1, 2]))
    new = drawn(rng, tmp_path, rng.choice([1, 2, 3, 4])) if rng.random() < 0.4 else copy.deepcopy(old)
    if rng.random() < 0.8:  # most users change little
        new.train_cfg.max_epochs = rng.choice([2, 3, 4])
        new.train_dataloader.batch_size = rng.choice([2, 4, 8])
        new.optim_wrapper.optimizer.lr = rng.choice([1e-3, 3e-3])
    rates_of(old)
    refused = kinds(old) != kinds(new) or new.train_cfg.max_epochs < old.train_cfg.max_epochs
    if refused:
        with pytest.raises(ValueError, match=r"epoch_\d\.pth .*(load_from=|ask for more)"):
            rates_of(new, resume="auto")
        return
    expected = profile(new)
    done = old.train_cfg.max_epochs * -(-8 // new.train_dataloader.batch_size)
    found = rates_of(new, resume="auto")
    assert [step for step, _ in found] == list(range(done, len(expected)))
    assert [rate for _, rate in found] == pytest.approx([rate for _, rate in expected[done:]], rel=1e-9)
    shown = load_checkpoint(latest_checkpoint(tmp_path))["optimizer"]["param_groups"][0]
    assert shown["lr"] >= 0


@pytest.mark.parametrize("kind", ["OneCycleLR", "CosineAnnealingLR", "PolyLR"])
def test_a_longer_run_does_not_stand_still(tmp_path, kind):
    schedule = [dict(type=kind, by_epoch=True, convert_to_iter_based=True)]
    if kind == "OneCycleLR":
        schedule[0]["eta_max"] = 1e-3
    rates_of(config_of(tmp_path, 2, schedule))
    rates = [rate for _, rate in rates_of(config_of(tmp_path, 4, schedule), resume="auto")]
    assert len(set(rates)) == len(rates) == 8
    assert max(rates) > 1e-4


def test_what_changed_is_said(tmp_path):
    schedule = [dict(type="ExponentialLR", gamma=0.9, by_epoch=True)]
    rates_of(config_of(tmp_path, 1, schedule))
    said = []
    original = LandmarkRunner.resume

    def resume(self, *args, **kwargs):
        self.logger.warning = said.append
        original(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LandmarkRunner, "resume", resume)
        rates_of(config_of(tmp_path, 2, schedule, batch_size=4, lr=2e-3), resume="auto")
    (line,) = [line for line in said if "resumed with another config" in line]
    for part in (
        "train_cfg.max_epochs 1 -> 2",
        "train_dataloader.batch_size 2 -> 4",
        "optim_wrapper.optimizer.lr 0.001 -> 0.002",
        "iterations per epoch 4 -> 2",
    ):
        assert part in line


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda c: c.optim_wrapper.optimizer.update(type="SGD"),
            "another type of optimiser: Adam there, SGD here",
        ),
        (
            lambda c: setattr(c, "param_scheduler", None),
            "another type of schedule: ExponentialLR there, none here",
        ),
        (lambda c: setattr(c, "randomness", dict(seed=5)), r"seed 0, this one has 5: resume with --seed 0"),
        (lambda c: c.train_cfg.update(max_epochs=1), r"has trained 2 epochs, train_cfg asks for 1"),
        (
            lambda c: (
                setattr(c, "train_cfg", dict(by_epoch=False, max_iters=20)),
                setattr(c, "param_scheduler", None),
            ),
            "trained by epochs, train_cfg counts iterations",
        ),
        (None, "other landmarks"),
    ],
)
def test_another_training_is_refused_with_the_way_out(tmp_path, change, message):
    schedule = [dict(type="ExponentialLR", gamma=0.9, by_epoch=True)]
    rates_of(config_of(tmp_path, 2, schedule))
    new = config_of(tmp_path, 3, schedule)
    if change is None:  # the file says other names than the data
        content = load_checkpoint(tmp_path / "epoch_2.pth")
        content["meta"]["dataset_meta"]["landmark_names"][0] = "another"
        save_checkpoint(content, tmp_path / "epoch_2.pth")
    else:
        change(new)
    before = {path: path.read_bytes() for path in tmp_path.glob("*.pth")}
    with pytest.raises(ValueError, match=message) as error:
        rates_of(new, resume="auto")
    assert "\n" not in str(error.value)
    assert {path: path.read_bytes() for path in tmp_path.glob("*.pth")} == before


def test_weights_alone_are_refused_with_the_way_out(tmp_path):
    config = config_of(tmp_path, 1, None)
    rates_of(config)
    content = load_checkpoint(tmp_path / "epoch_1.pth")
    best, weights = tmp_path / "best_mre_epoch_1.pth", tmp_path / "weights.pth"
    save_checkpoint({k: v for k, v in content.items() if k != "optimizer"}, best)
    save_checkpoint({"state_dict": content["state_dict"]}, weights)
    config.train_cfg.max_epochs = 2
    with pytest.raises(ValueError, match=r"best_mre_epoch_1\.pth holds no state of an optimiser.*load_from"):
        rates_of(config, resume=str(best))
    with pytest.raises(
        ValueError, match=r"weights\.pth holds weights, but not the state of a training.*load_from"
    ):
        rates_of(config, resume=str(weights))


def test_a_checkpoint_of_an_earlier_version_goes_on(tmp_path):
    schedule = [dict(type="CosineAnnealingLR", by_epoch=True)]
    rates_of(config_of(tmp_path, 2, schedule))
    content = load_checkpoint(tmp_path / "epoch_2.pth")
    for key in ("resolved_config", "iterations_per_epoch", "validated"):
        del content["meta"][key]
    save_checkpoint(content, tmp_path / "epoch_2.pth")
    new = config_of(tmp_path, 4, schedule)
    assert rates_of(new, resume="auto") == profile(new)[8:]
    new.optim_wrapper.optimizer.type = "SGD"  # its config is there as text, which is read, not executed
    with pytest.raises(ValueError, match=re.escape("another type of optimiser: Adam there, SGD here")):
        rates_of(new, resume=str(tmp_path / "epoch_2.pth"))


def plateau(folder, epochs, *more):
    config = config_of(
        folder, epochs, [dict(type="ReduceOnPlateauLR", monitor="mre", patience=0, factor=0.5), *more]
    )
    loader = phantom_dataloader(num_samples=2, size=(32, 32), train=False)
    config.update(val_dataloader=loader, val_cfg=dict(), val_evaluator=dict(type="LandmarkMetric", unit="px"))
    return config


def test_a_schedule_that_follows_a_metric_keeps_its_past(tmp_path):
    whole = rates_of(plateau(tmp_path / "whole", 4))
    rates_of(plateau(tmp_path / "parts", 2))
    rest = rates_of(plateau(tmp_path / "parts", 4), resume="auto")  # a longer run has the same past
    assert rest == whole[8:]
    again = plateau(tmp_path / "parts", 5)
    again.train_dataloader.batch_size = 4
    with pytest.raises(ValueError, match=r"follows a metric.* iterations per epoch 4 -> 2"):
        rates_of(again, resume="auto")
    again = plateau(tmp_path / "parts", 5)
    again.param_scheduler[0].factor = 0.1
    with pytest.raises(ValueError, match=r"follows a metric.* param_scheduler\.0\.factor 0\.5 -> 0\.1"):
        rates_of(again, resume="auto")
