"""Gradients that wait for a step when a run is stopped."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import nn

from mmlandmark.engine import LandmarkRunner
from mmlandmark.engine.pending_gradients import pending_gradients, restore_gradients
from mmlandmark.testing import tiny_config
from mmlandmark.utils.checkpoint import load_checkpoint
from two_processes import in_two, same_weights


class Break(Hook):
    """End a run before an iteration, as a kill does."""

    def __init__(self, iteration=None):
        self.iteration = iteration

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.iteration:
            raise RuntimeError("killed")


def config_of(folder, by_epoch, **options):
    """Return the config of 8 iterations, 2 in an epoch, of which 3 make a step."""
    hook = dict(type=Break, iteration=options.pop("iteration", None))
    config = tiny_config(folder, max_epochs=4, custom_hooks=[hook], **options)
    config.optim_wrapper.accumulative_counts = 3
    config.experiment_name = f"{folder}_{hook['iteration']}"
    if not by_epoch:
        config.train_dataloader.sampler = dict(type="InfiniteSampler", shuffle=True)
        config.train_cfg = dict(by_epoch=False, max_iters=8, val_interval=8)
        config.log_processor = dict(by_epoch=False)
        config.param_scheduler = []
        config.default_hooks.checkpoint = dict(type="CheckpointHook", interval=1, by_epoch=False)
    return config


@pytest.mark.parametrize(
    ("by_epoch", "newest", "end"),
    [(True, "epoch_2.pth", "epoch_4.pth"), (False, "iter_5.pth", "iter_8.pth")],
)
def test_a_run_that_is_killed_between_two_steps_ends_as_one_without_a_break(
    tmp_path, caplog, by_epoch, newest, end
):
    LandmarkRunner.from_cfg(config_of(tmp_path / "whole", by_epoch)).train()
    with pytest.raises(RuntimeError, match="killed"):
        LandmarkRunner.from_cfg(config_of(tmp_path / "parts", by_epoch, iteration=5)).train()
    (pending,) = load_checkpoint(tmp_path / "parts" / newest)["pending_gradients"].values()
    assert (pending["count"], pending["of"]) == (1 if by_epoch else 2, 3)
    runner = LandmarkRunner.from_cfg(config_of(tmp_path / "parts", by_epoch, resume=True))
    runner.logger.addHandler(caplog.handler)
    runner.train()
    assert "gradient of some iterations is lost" not in caplog.text
    same_weights(tmp_path / "whole" / end, tmp_path / "parts" / end)
    assert "pending_gradients" not in load_checkpoint(tmp_path / "parts" / end), "the last step has used them"


class Steps:
    """A network of one layer and its optimiser, where two iterations make a step."""

    def __init__(self, iteration=0, counts=2):
        torch.manual_seed(0)
        self.model = nn.Linear(2, 1)
        optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
        self.optim_wrapper = OptimWrapper(optimizer, accumulative_counts=counts)
        self.optim_wrapper.initialize_count_status(self.model, iteration, 6)
        self.iter, self.said = iteration, []
        self.logger = SimpleNamespace(warning=self.said.append)

    def take(self, model=None, value=1.0):
        """Train for an iteration."""
        with self.optim_wrapper.optim_context(model or self.model):
            loss = (model or self.model)(torch.tensor([[value, self.iter]])).square().sum()
        self.optim_wrapper.update_params(loss)
        self.iter += 1


def test_what_no_step_has_used():
    steps = Steps()
    assert pending_gradients(steps.optim_wrapper) == {}
    steps.take()
    saved = pending_gradients(steps.optim_wrapper)
    assert list(saved) == ["optimizer"]
    assert (saved["optimizer"]["count"], saved["optimizer"]["of"]) == (1, 2)
    assert torch.equal(saved["optimizer"]["gradients"][0], steps.model.weight.grad)
    other = Steps(1)
    restore_gradients(other, saved, "x.pth")
    for run in (steps, other):
        run.take()
        assert pending_gradients(run.optim_wrapper) == {}
    assert torch.equal(steps.model.weight, other.model.weight)
    assert not other.said


def test_each_of_several_optimisers_has_its_own():
    steps = [Steps(counts=2), Steps(counts=3)]
    for _ in range(4):
        for one in steps:
            one.take()
    saved = pending_gradients(OptimWrapperDict(a=steps[0].optim_wrapper, b=steps[1].optim_wrapper))
    assert list(saved) == ["b"]
    others = [Steps(counts=2), Steps(counts=3)]
    both = OptimWrapperDict(a=others[0].optim_wrapper, b=others[1].optim_wrapper)
    restore_gradients(SimpleNamespace(optim_wrapper=both, iter=4), saved, "x.pth")
    assert others[0].model.weight.grad is None
    assert torch.equal(others[1].model.weight.grad, steps[1].model.weight.grad)
    assert others[1].optim_wrapper._inner_count == 1


@pytest.mark.parametrize(("iteration", "counts"), [(1, 4), (2, 2)])
def test_they_are_left_out_where_other_iterations_make_a_step(iteration, counts):
    steps = Steps()
    steps.take()
    other = Steps(iteration, counts)
    restore_gradients(other, pending_gradients(steps.optim_wrapper), "x.pth")
    assert other.model.weight.grad is None
    assert other.said[0].startswith("the gradients that the last 1 iterations of x.pth have accumulated are")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (3, r"pending_gradients\['optimizer'\] is a int"),
        (dict(count=-1), r"\.count is '-1', no count"),
        (dict(of=None), r"\.of is 'None', no count"),
        (dict(gradients=[torch.zeros(1, 2)]), r"\.gradients is a list"),
        (dict(gradients={7: torch.zeros(1, 2)}), "an entry '7' for no parameter"),
        (dict(gradients={True: torch.zeros(1, 2)}), "an entry 'True' for no parameter"),
        (dict(gradients={0: 3.0}), r"gradients\[0\] is no tensor that holds its values"),
        (
            dict(gradients={0: torch.zeros(2, 1)}),
            r"shape \(2, 1\) instead of torch.float32 of shape \(1, 2\)",
        ),
        (dict(gradients={0: torch.zeros(1, 2).half()}), r"is torch.float16 of shape"),
        (dict(gradients={0: torch.zeros(1, 2).to_sparse()}), "no tensor that holds its values"),
    ],
)
def test_what_cannot_be_is_named(changes, message):
    part = dict(count=1, of=2, gradients={0: torch.zeros(1, 2)})
    saved = dict(optimizer=part | changes if isinstance(changes, dict) else changes)
    steps = Steps(1)
    with pytest.raises(ValueError, match=f"x.pth cannot be resumed, it is broken: .*{message}"):
        restore_gradients(steps, saved, "x.pth")
    assert steps.model.weight.grad is None


def test_no_mapping_is_refused():
    with pytest.raises(ValueError, match="broken: pending_gradients is a list"):
        restore_gradients(Steps(), [], "x.pth")


def train_in_two():
    """Stop and go on between two iterations of a step; return all weights and what was pending."""
    logging.disable(logging.WARNING)
    rank = torch.distributed.get_rank()
    whole = Steps()
    wrapped = MMDistributedDataParallel(whole.model)
    whole.take(wrapped, value=1.0 + rank)
    saved = pending_gradients(whole.optim_wrapper)["optimizer"]
    parts = Steps(1)
    restore_gradients(parts, dict(optimizer=saved), "x.pth")
    for steps, model in ((whole, wrapped), (parts, MMDistributedDataParallel(parts.model))):
        steps.take(model, value=3.0 + rank)
    values = (whole.model.weight, parts.model.weight, saved["gradients"][0])
    return [value.detach().clone().tolist() for value in values]


def test_processes_keep_the_mean_of_theirs():
    first, second = in_two(train_in_two)
    assert first == second
    assert first[0] == first[1]
    single = []
    for value in (1.0, 2.0):
        steps = Steps()
        steps.take(value=value)
        single.append(steps.model.weight.grad)
    torch.testing.assert_close(torch.tensor(first[2]), sum(single) / 2)
