"""What a config says about several processes: done, or refused."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper
from mmengine.runner import FlexibleRunner
from torch import nn

from mmlandmark.engine import ConfigError, LandmarkRunner
from mmlandmark.engine.data_parallel import (
    check_wrapping,
    complete_auto_scale,
    with_scaled_rates,
    wrapper_options,
)
from mmlandmark.testing import tiny_config
from mmlandmark.utils.checkpoint import load_checkpoint
from two_processes import in_two

ONE_CYCLE = dict(type="OneCycleLR", eta_max=1e-3, by_epoch=False)
on_a_cpu = pytest.mark.skipif(torch.cuda.is_available(), reason="these are the limits of a CPU")


# ---- what is refused, and why ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (dict(strategy=dict(type="DeepSpeedStrategy")), "strategy=.*DeepSpeedStrategy.* is not supported"),
        (dict(runner_type="FlexibleRunner"), "runner_type='FlexibleRunner': every process holds the whole"),
        (dict(model_wrapper_cfg=dict(type="MMFullyShardedDataParallel")), "model_wrapper_cfg.type='MMFully"),
    ],
)
def test_sharded_training_is_refused_before_it_begins(tmp_path, given, message):
    with pytest.raises(ConfigError, match=message):
        LandmarkRunner.from_cfg(tiny_config(tmp_path, **given))


@on_a_cpu
def test_synchronised_batch_norms_are_refused_where_pytorch_has_none():
    for kind in ("torch", "mmcv"):
        with pytest.raises(ConfigError, match=f"sync_bn='{kind}': PyTorch synchronises batch norms on GPUs"):
            check_wrapping(Config(dict(sync_bn=kind)), several=True)
        check_wrapping(Config(dict(sync_bn=kind)), several=False)  # MMEngine turns them into plain ones


def synchronised():
    """Return what PyTorch says to a synchronised batch norm in several processes without a GPU."""
    said = []
    for layer in (nn.SyncBatchNorm(2), MMDistributedDataParallel):
        try:
            layer(torch.rand(2, 2, 4, 4)) if isinstance(layer, nn.Module) else layer(nn.SyncBatchNorm(2))
        except ValueError as error:
            said.append(str(error))
    return said


@on_a_cpu
def test_pytorch_still_has_no_synchronised_batch_norm_without_a_gpu():
    for said in in_two(synchronised):
        assert len(said) == 2
        assert all("GPU" in line for line in said)


@on_a_cpu
@pytest.mark.parametrize(
    ("strategy", "error"),
    [
        (dict(type="FSDPStrategy", state_dict_cfg="full"), (AttributeError, RuntimeError, AssertionError)),
        (dict(type="DeepSpeedStrategy", zero_optimization=dict(stage=1)), AssertionError),
    ],
)
def test_mmengine_still_shards_no_model_without_a_gpu(tmp_path, monkeypatch, strategy, error):
    environment = dict(RANK=0, LOCAL_RANK=0, WORLD_SIZE=1, MASTER_ADDR="127.0.0.1", MASTER_PORT=1)
    for name, value in dict(environment, MKL_NUM_THREADS=1, OMP_NUM_THREADS=1).items():
        monkeypatch.setenv(name, str(value))
    given = tiny_config(tmp_path)
    with pytest.raises(error):
        FlexibleRunner(
            model=given.model,
            work_dir=str(tmp_path),
            strategy=strategy,
            launcher="pytorch",
            default_scope="mmlandmark",
        )
    assert not torch.distributed.is_initialized()


# ---- how the model is wrapped ------------------------------------------------------------------------------


class _Model(nn.Module):
    leaves_parameters_out = True


def test_the_model_says_whether_steps_leave_parameters_out(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert wrapper_options(Config(), nn.Linear(1, 1), None) is None
    assert wrapper_options(Config(), _Model(), None) == dict(
        broadcast_buffers=False, find_unused_parameters=True
    )
    assert wrapper_options(Config(dict(find_unused_parameters=False)), _Model(), None) is None
    assert wrapper_options(Config(), _Model(), dict(broadcast_buffers=True)) == dict(broadcast_buffers=True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for model, unused in ((nn.Linear(1, 1), False), (_Model(), True)):
        assert wrapper_options(Config(), model, None) == dict(
            device_ids=None, broadcast_buffers=False, find_unused_parameters=unused
        )


# ---- how the learning rate is scaled -----------------------------------------------------------------------


def test_the_rate_is_that_of_one_process_unless_the_config_says_for_which_batch():
    assert complete_auto_scale(None, 4) is None
    assert complete_auto_scale(dict(enable=False, base_batch_size=8), 4) is None
    assert complete_auto_scale(dict(enable=True), 4) == dict(enable=True, base_batch_size=4)
    assert complete_auto_scale(dict(enable=True, base_batch_size=8), 4)["base_batch_size"] == 8
    for wrong in (0, -1, "8", 2.5, True):
        with pytest.raises(ConfigError, match="base_batch_size must be a number of images, got"):
            complete_auto_scale(dict(enable=True, base_batch_size=wrong), 4)


def test_rates_of_schedules_are_scaled_and_momenta_are_not():
    assert with_scaled_rates(dict(ONE_CYCLE), 2)["eta_max"] == 2e-3
    cosine = dict(type="CosineAnnealingLR", eta_min=1e-6, T_max=3)
    assert with_scaled_rates(cosine, 3) == dict(cosine, eta_min=pytest.approx(3e-6))
    momentum = dict(type="CosineAnnealingMomentum", eta_min=0.5)
    assert with_scaled_rates(momentum, 3) == momentum
    assert ONE_CYCLE["eta_max"] == 1e-3


def trained(folder, **changes):
    """Train two epochs, and return the weights."""
    LandmarkRunner.from_cfg(tiny_config(folder, **changes)).train()
    return load_checkpoint(folder / "epoch_2.pth")["state_dict"]


@pytest.mark.parametrize("schedule", [dict(type="ConstantLR", factor=0.5, end=1), ONE_CYCLE])
def test_a_scaled_run_is_one_with_that_rate(tmp_path, schedule):
    """Also if it is resumed: a batch of 2 is twice the batch of 1 that the rate is for."""
    scale = dict(auto_scale_lr=dict(enable=True, base_batch_size=1), param_scheduler=[schedule])
    rate = "optim_wrapper.optimizer.lr"
    scaled = trained(tmp_path / "scaled", **scale)
    LandmarkRunner.from_cfg(tiny_config(tmp_path / "resumed", max_epochs=2, **scale)).train()
    (tmp_path / "resumed" / "epoch_2.pth").unlink()
    resumed = trained(tmp_path / "resumed", resume=True, **scale)
    twice = dict(schedule, eta_max=2e-3) if "eta_max" in schedule else schedule
    wanted = trained(tmp_path / "wanted", param_scheduler=[twice], **{rate: 2e-3})
    plain = trained(tmp_path / "plain", param_scheduler=[schedule])
    for name, value in wanted.items():
        assert torch.equal(scaled[name], value), name
        assert torch.equal(resumed[name], value), name
    assert not all(torch.equal(plain[name], value) for name, value in wanted.items())


def rate_of_a_process(folder):
    given = tiny_config(folder, max_epochs=1, launcher="pytorch", auto_scale_lr=dict(enable=True))
    given.param_scheduler, given.val_cfg = [], None
    given.val_dataloader = given.val_evaluator = None
    runner = LandmarkRunner.from_cfg(given)
    runner.train()
    return runner.optim_wrapper.get_lr()["lr"]


def test_two_processes_learn_twice_as_fast(tmp_path):
    assert in_two(rate_of_a_process, tmp_path) == [[2e-3], [2e-3]]


# ---- gradients of several steps ----------------------------------------------------------------------------


def test_two_accumulated_steps_are_one_of_twice_the_batch():
    torch.manual_seed(0)
    network, images = nn.Conv2d(1, 2, 3), torch.rand(4, 1, 8, 8)
    weights = {}
    for count in (1, 2):
        own = copy.deepcopy(network)
        wrapper = OptimWrapper(torch.optim.SGD(own.parameters(), lr=0.1), accumulative_counts=count)
        wrapper.initialize_count_status(own, 0, count)
        for part in images.chunk(count):
            with wrapper.optim_context(own):
                loss = own(part).square().mean()
            wrapper.update_params(loss)
        weights[count] = own.weight.detach().numpy()
    np.testing.assert_allclose(weights[2], weights[1], rtol=1e-6)
    assert not np.array_equal(weights[1], network.weight.detach().numpy())
