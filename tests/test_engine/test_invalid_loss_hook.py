"""A loss or a gradient that is not finite stops the run, or is left out."""

from __future__ import annotations

import json
import logging
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from torch import nn

from mmlandmark.engine import ConfigError, LandmarkRunner
from mmlandmark.engine.hooks import InvalidLossHook
from mmlandmark.registry import HOOKS
from mmlandmark.testing import phantom_dataloader, tiny_config
from mmlandmark.utils.checkpoint import load_checkpoint
from two_processes import begin, ended, need_two_processes, wait_until


class Steps:
    """Steps of a network of one layer, as a run takes them."""

    def __init__(self, hook, wrapper=OptimWrapper, **options):
        self.model = nn.Linear(1, 1)
        optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
        self.hook, self.said = hook, []
        logger = SimpleNamespace(warning=self.said.append)
        wrapper = wrapper(optimizer=optimizer, **options)
        self.runner = SimpleNamespace(optim_wrapper=wrapper, iter=0, epoch=0, model=self.model, logger=logger)
        hook.before_train(self.runner)

    def take(self, value, logged=None):
        """Train on an image of one value; return whether that has changed the weights."""
        before = [p.detach().clone() for p in self.model.parameters()]
        batch = dict(data_samples=[{"sample_id": f"case{self.runner.iter}"}])
        self.hook.before_train_iter(self.runner, 0, batch)
        loss = self.model(torch.tensor([[value]])).sum()
        self.runner.optim_wrapper.update_params(loss)
        losses = dict(loss=loss.detach() if logged is None else torch.tensor(logged))
        self.hook.after_train_iter(self.runner, 0, batch, losses)
        self.runner.iter += 1
        return any(not torch.equal(a, b) for a, b in zip(before, self.model.parameters(), strict=True))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("way", ["stop", "skip"])
def test_an_invalid_loss_with_a_finite_gradient_stops_the_run_and_names_the_samples(value, way):
    steps = Steps(InvalidLossHook(on_invalid=way))
    assert steps.take(1.0)
    with pytest.raises(FloatingPointError, match=r"epoch 1, iteration 2: .*loss.*samples \['case1'\]"):
        steps.take(1.0, logged=value)


@pytest.mark.parametrize("interval", [1, 3])
def test_an_accumulated_step_with_an_invalid_loss_is_left_out(interval):
    """Of the iterations that are looked at: the third and the sixth, if not all."""
    steps = Steps(InvalidLossHook(on_invalid="skip", interval=interval), accumulative_counts=2)
    taken = [steps.take(value) for value in (1.0, 1.0, torch.nan, 1.0, 1.0, 1.0)]
    assert taken == [False, True, False, False, False, True]
    assert steps.hook.skipped == 1
    (said,) = steps.said
    assert said.startswith("epoch 1, iteration 4: {'loss': nan} is not finite")
    assert "'case2', 'case3'" in said
    assert all(torch.isfinite(p).all() for p in steps.model.parameters())


def test_an_accumulated_step_with_a_broken_gradient_names_all_of_its_samples():
    steps = Steps(InvalidLossHook(on_invalid="skip"), accumulative_counts=3)
    steps.model.weight.register_hook(lambda grad: grad * torch.nan if steps.runner.iter == 1 else grad)
    assert not any(steps.take(1.0) for _ in range(3))
    assert "samples ['case0', 'case1', 'case2']" in steps.said[0]


def test_an_invalid_loss_stops_the_run_before_its_accumulated_step():
    steps = Steps(InvalidLossHook(), accumulative_counts=2)
    with pytest.raises(FloatingPointError, match=r"iteration 1: .*nan.*samples \['case0'\]"):
        steps.take(torch.nan)


class Scaled(OptimWrapper):
    """What ``AmpOptimWrapper`` does with the loss, without a GPU."""

    def __init__(self, **options):
        super().__init__(**options)
        self.scaler = torch.amp.GradScaler("cpu")

    def backward(self, loss, **options):
        self.scaler.scale(loss).backward(**options)
        self._inner_count += 1

    def step(self, **options):
        self.scaler.step(self.optimizer)
        self.scaler.update()


@pytest.mark.parametrize("counts", [1, 2])
def test_a_step_that_the_loss_scaler_leaves_out_is_counted(counts):
    steps = Steps(InvalidLossHook(on_invalid="skip", most=1), Scaled, accumulative_counts=counts)
    taken = [steps.take(value) for value in (torch.inf, *[1.0] * (2 * counts - 1))]
    assert taken.count(True) == 1
    assert steps.hook.skipped == 1
    with pytest.raises(FloatingPointError, match="2 steps in a row were left out"):
        [steps.take(torch.inf) for _ in range(2 * counts)]


CLIPS = dict(norm=dict(max_norm=1.0), value=dict(type="value", clip_value=1.0))


@pytest.mark.parametrize("clip", [None, *CLIPS])
@pytest.mark.parametrize("gradient", [1e30, torch.inf, torch.nan], ids=["too large", "infinite", "nan"])
def test_a_gradient_that_is_not_finite_is_not_clipped_to_one_that_is(clip, gradient):
    """The square of the first is beyond float32, so is its norm: clipped by that, nothing would be left."""
    options = {} if clip is None else dict(clip_grad=dict(CLIPS[clip]))
    steps = Steps(InvalidLossHook(on_invalid="skip"), **options)
    factors = {1: gradient}
    steps.model.weight.register_hook(lambda grad: grad * factors.get(steps.runner.iter, 1.0))
    assert [steps.take(1.0) for _ in range(3)] == [True, False, True]
    assert steps.hook.skipped == 1
    assert "the gradient is not finite, though all losses are; samples ['case1']" in steps.said[0]
    steps.hook.after_train(steps.runner)
    assert steps.runner.optim_wrapper.optimizer._optimizer_step_pre_hooks == {}


@pytest.mark.parametrize("counts", [1, 2])
def test_a_gradient_that_explodes_but_stays_finite_takes_a_step_of_the_norm_it_is_clipped_to(counts):
    """0.1 is the learning rate."""
    for clip, most in ((dict(max_norm=1.0), 0.1), (None, 1e11)):
        steps = Steps(InvalidLossHook(), clip_grad=clip, accumulative_counts=counts)
        before = steps.model.weight.detach().clone()
        steps.model.weight.register_hook(lambda grad: grad * 1e12)
        assert [steps.take(1.0) for _ in range(counts)][-1]
        moved = (steps.model.weight.detach() - before).norm().item()
        assert moved == pytest.approx(most, rel=1e-4)


def exploding(folder, factor, clip):
    """Return a run with a gradient that is a factor times too large in its second step."""
    config = tiny_config(folder, custom_hooks=[dict(type="Explode", iteration=1, factor=factor)])
    config.optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="SGD", lr=1e-3), clip_grad=clip)
    config.default_hooks.logger = dict(type="LoggerHook", interval=1)
    config.param_scheduler, config.log_processor = None, dict(window_size=1)
    return LandmarkRunner.from_cfg(config)


@pytest.mark.parametrize(("factor", "clip"), [(1e3, None), (1e9, dict(max_norm=0.5))], ids=["-", "clipped"])
def test_a_run_with_an_explosion_that_stays_finite_goes_on_and_its_log_has_the_norm(tmp_path, factor, clip):
    runner = exploding(tmp_path, factor, clip)
    runner.train()
    (hook,) = (hook for hook in runner.hooks if isinstance(hook, Explode))
    if clip is None:
        assert hook.moved[1] > 100 * hook.moved[0]
    else:
        assert max(hook.moved) <= 0.5 * 1e-3 * 1.001
    weights = load_checkpoint(tmp_path / "epoch_2.pth")["state_dict"]
    assert all(torch.isfinite(w.float()).all() for w in weights.values())
    (scalars,) = tmp_path.rglob("scalars.json")
    rows = [json.loads(line) for line in scalars.read_text().splitlines()]
    norms = [row["grad_norm"] for row in rows if "grad_norm" in row]
    assert len(norms) == (0 if clip is None else 4)
    assert clip is None or (norms[1] > 1e6 and max(norms[0], *norms[2:]) < 1e6)


def test_a_run_with_an_explosion_ends_as_soon_as_a_loss_is_not_finite(tmp_path):
    runner = exploding(tmp_path, 1e9, None)
    with pytest.raises(FloatingPointError, match=r"iteration [34]: \{'loss': .*is not finite; samples"):
        runner.train()
    for path in tmp_path.glob("*.pth"):
        weights = load_checkpoint(path)["state_dict"]
        assert all(torch.isfinite(w.float()).all() for w in weights.values())


def diverging(folder, **overrides):
    """Return the config of a run whose first step leads to nothing that is finite."""
    return tiny_config(
        folder,
        max_epochs=2,
        optim_wrapper=dict(optimizer=dict(_delete_=True, type="SGD", lr=1e30)),
        param_scheduler=None,
        **overrides,
    )


def without_hook(folder):
    config = diverging(folder)
    del config.default_hooks["invalid_loss"]
    return config


@pytest.mark.parametrize("make", [diverging, without_hook], ids=["with the hook", "without"])
def test_an_invalid_loss_is_never_saved(tmp_path, make):
    runner = LandmarkRunner.from_cfg(make(tmp_path))
    with pytest.raises(FloatingPointError, match=r"iteration 2: .* is not finite; samples .*ceph_0_"):
        runner.train()
    assert sum(isinstance(hook, InvalidLossHook) for hook in runner.hooks) == 1
    assert not list(tmp_path.glob("*.pth"))


def test_a_config_may_do_without_but_what_is_not_finite_is_not_saved(tmp_path):
    runner = LandmarkRunner.from_cfg(diverging(tmp_path, default_hooks=dict(invalid_loss=None)))
    with pytest.raises(
        FloatingPointError,
        match=r"^epoch_1\.pth is not saved: \d+ weights are NaN or infinite, .*earlier .* are kept",
    ):
        runner.train()
    assert not [hook for hook in runner.hooks if isinstance(hook, InvalidLossHook)]
    assert runner.iter == 2, "it trained on"


def test_a_hook_of_the_users_own_takes_the_place_of_that_of_the_runner(tmp_path):
    own = dict(type="InvalidLossHook", on_invalid="skip", most=0)
    config = without_hook(tmp_path)
    config.custom_hooks = [own]
    with pytest.raises(FloatingPointError, match="1 steps in a row were left out"):
        LandmarkRunner.from_cfg(config).train()
    with pytest.raises(ConfigError, match=r"there are 2 hooks InvalidLossHook.*leave it out of custom_hooks"):
        LandmarkRunner.from_cfg(diverging(tmp_path, custom_hooks=[own])).train()


@pytest.mark.slow
def test_an_invalid_loss_of_one_process_ends_both_and_both_name_its_samples(tmp_path):
    """The second process alone sees the image; no config asks for the hook."""
    need_two_processes()
    loader = phantom_dataloader(num_samples=8)
    loader["sampler"]["shuffle"] = False
    spoil = dict(type="planted_samples.SpoilPixels", ids=["ceph_0_000005"])
    loader["dataset"]["pipeline"].insert(-1, spoil)
    config = tiny_config(tmp_path / "run", train_dataloader=loader, launcher="pytorch")
    del config.default_hooks["invalid_loss"]
    config.dump(tmp_path / "tiny.py")

    def errors():
        return [line for line in (tmp_path / "said").read_text().splitlines() if line.startswith("error: ")]

    with ended(begin("train", tmp_path / "tiny.py", cwd=tmp_path)) as process:
        wait_until(errors, process)
        assert process.wait(60) == 1
    said = errors()
    assert len(said) == 2, said
    for line in said:
        assert "epoch 1, iteration 2: {'loss': nan" in line
        assert "samples ['ceph_0_000005', 'ceph_0_000007']" in line
    assert not list(tmp_path.rglob("*.pth"))


@HOOKS.register_module()
class Spoil(Hook):
    """Makes the gradient of some iterations NaN, or a buffer with it."""

    def __init__(self, iterations, buffer=False):
        self.iterations, self.buffer = set(iterations), buffer

    def before_train(self, runner):
        weight = next(runner.model.parameters())
        weight.register_hook(lambda grad: grad * float("nan") if runner.iter in self.iterations else grad)

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.before = [p.detach().clone() for p in runner.model.parameters()]

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        same = all(torch.equal(a, b) for a, b in zip(self.before, runner.model.parameters(), strict=True))
        assert same == (runner.iter in self.iterations)
        if self.buffer and runner.iter in self.iterations:
            buffers = dict(runner.model.named_buffers())
            next(value for name, value in buffers.items() if "running_mean" in name).fill_(torch.nan)


@HOOKS.register_module()
class Explode(Hook):
    """Makes the gradient of an iteration very large, and keeps how far each step moves the weights."""

    def __init__(self, iteration, factor):
        self.iteration, self.factor, self.moved = iteration, factor, []

    def before_train(self, runner):
        for weight in runner.model.parameters():
            weight.register_hook(lambda grad: grad * self.factor if runner.iter == self.iteration else grad)

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.before = flat(runner)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.moved.append((flat(runner) - self.before).norm().item())


def flat(runner):
    return torch.cat([weight.detach().flatten().clone() for weight in runner.model.parameters()])


@HOOKS.register_module()
class LoseAWeight(Hook):
    """Makes a weight infinite after some steps, of which the next would see it."""

    def __init__(self, after):
        self.after = after

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter + 1 == self.after:
            next(runner.model.parameters()).data.view(-1)[0] = float("inf")


def run_of(folder, spoil, **options):
    config = tiny_config(folder, max_epochs=3, custom_hooks=[dict(type="Spoil", priority="HIGHEST", **spoil)])
    config.default_hooks.invalid_loss = dict(type="InvalidLossHook", **options)
    return LandmarkRunner.from_cfg(config)


def test_a_gradient_that_is_not_finite_stops_the_run_before_the_step(tmp_path):
    with pytest.raises(
        FloatingPointError, match=r"epoch 2, iteration 4: the gradient is not finite.*ceph_0_"
    ):
        run_of(tmp_path, dict(iterations=[3])).train()
    weights = load_checkpoint(tmp_path / "epoch_1.pth")["state_dict"]
    assert all(torch.isfinite(w.float()).all() for w in weights.values())
    assert not (tmp_path / "epoch_2.pth").exists()


def test_such_a_step_is_left_out_and_counted(tmp_path, caplog):
    runner = run_of(tmp_path, dict(iterations=[1, 3, 4]), on_invalid="skip", most=2)
    runner.logger.setLevel(logging.WARNING)
    runner.logger.addHandler(caplog.handler)
    runner.train()
    (hook,) = (hook for hook in runner.hooks if isinstance(hook, InvalidLossHook))
    assert hook.skipped == 3
    assert caplog.text.count("This step is left out") == 3
    assert "3 steps were left out" in caplog.text
    weights = load_checkpoint(tmp_path / "epoch_3.pth")["state_dict"]
    assert all(torch.isfinite(w.float()).all() for w in weights.values())


def test_weights_that_become_invalid_leave_earlier_checkpoints_as_they_are(tmp_path):
    """As by a step that is not looked at; the run goes on from what is there."""
    config = tiny_config(tmp_path, max_epochs=3, custom_hooks=[dict(type="LoseAWeight", after=4)])
    config.default_hooks.checkpoint.max_keep_ckpts = 1
    with pytest.raises(FloatingPointError, match=r"^epoch_2\.pth is not saved: 1 weights are NaN"):
        LandmarkRunner.from_cfg(config).train()
    assert [path.name for path in tmp_path.glob("*.pth")] == ["epoch_1.pth"]
    config.custom_hooks, config.resume = [], True
    LandmarkRunner.from_cfg(config).train()
    assert [path.name for path in tmp_path.glob("*.pth")] == ["epoch_3.pth"]


def test_too_many_in_a_row_stop_the_run(tmp_path):
    with pytest.raises(FloatingPointError, match="2 steps in a row were left out"):
        run_of(tmp_path, dict(iterations=[1, 2]), on_invalid="skip", most=1).train()


def test_statistics_that_are_lost_stop_the_run(tmp_path):
    with pytest.raises(FloatingPointError, match=r"running_mean holds numbers of these images"):
        run_of(tmp_path, dict(iterations=[1], buffer=True), on_invalid="skip").train()


def test_every_other_iteration_may_be_looked_at(tmp_path):
    """What is not looked at is the user's choice: here the second step, by a gradient that is NaN."""
    with pytest.raises(FloatingPointError, match="iteration 3"):
        run_of(tmp_path, dict(iterations=[2]), interval=3).train()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(interval=0), "at least 1"),
        (dict(most=-1), "at least 0"),
        (dict(on_invalid="go"), "'stop' or 'skip'"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        InvalidLossHook(**options)
