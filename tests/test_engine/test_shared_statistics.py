"""Batch norms of several processes have the same statistics whenever something is predicted or saved."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmengine.hooks import EMAHook
from torch import nn

from mmlandmark import apis
from mmlandmark.engine import LandmarkRunner, runner, shared_statistics
from mmlandmark.engine.shared_statistics import networks_of, share_statistics
from mmlandmark.testing import phantom_dataloader, tiny_config
from mmlandmark.utils.checkpoint import load_checkpoint
from two_processes import in_two

LOADER = dict(phantom_dataloader(num_samples=6, train=False, offset=100), batch_size=1)


def config(folder, epochs=2, **changes):
    average = dict(type="EMAHook", momentum=0.1, update_buffers=True)
    given = dict(val_dataloader=LOADER, custom_hooks=[average], launcher="pytorch")
    return tiny_config(folder, max_epochs=epochs, **dict(given, **changes))


def by_iteration(folder):
    return config(
        folder,
        train_cfg=dict(_delete_=True, by_epoch=False, max_iters=3, val_interval=2),
        train_dataloader=dict(sampler=dict(_delete_=True, type="mmengine.InfiniteSampler")),
        param_scheduler=[],
        default_hooks=dict(checkpoint=dict(by_epoch=False, interval=3)),
    )


def train(given):
    """Train in this process, and return the statistics of the detector and of its average, and the error."""
    trained = LandmarkRunner.from_cfg(given)
    trained.train()
    kinds = {type(hook) for hook in trained.hooks}
    assert EMAHook in kinds
    found = [torch.cat(shared_statistics._statistics(network)).numpy() for network in networks_of(trained)]
    return found, float(trained.message_hub.get_scalar("val/mre").current())


def train_in_all_ways(folder):
    """Train by epochs, resumed after one, by iterations, and by epochs without the hook."""
    found = dict(
        epochs=train(config(folder / "epochs")), iterations=train(by_iteration(folder / "iterations"))
    )
    train(config(folder / "resumed", epochs=1))
    again = config(folder / "resumed")
    again.resume = True
    found["resumed"] = train(again)
    runner.SharedStatistics = lambda: shared_statistics.Hook()  # this process is a fork
    found["left alone"] = train(config(folder / "alone"))
    return found


@pytest.fixture(scope="module")
def of_two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("both")
    return folder, in_two(train_in_all_ways, folder)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["epochs", "iterations", "resumed"])
def test_processes_have_the_same_statistics(of_two, way):
    _, (first, second) = of_two
    for one, other in zip(first[way][0], second[way][0], strict=True):
        np.testing.assert_array_equal(one, other)
    one, other = (np.concatenate(part["left alone"][0]) for part in (first, second))
    assert np.abs(one - other).max() > 1e-4, "the test would see no difference"


def test_the_error_of_two_processes_is_that_of_their_checkpoint_to_the_last_digit(of_two, tmp_path):
    folder, (first, second) = of_two
    tested = config(tmp_path, launcher="none", test_dataloader=LOADER)
    alone = apis.test_config(tested, folder / "epochs" / "epoch_2.pth", out_dir=tmp_path)
    assert first["epochs"][1] == second["epochs"][1] == alone["mre"]


def test_a_resumed_run_of_two_processes_ends_with_the_same_weights(of_two):
    folder, _ = of_two
    whole, resumed = (load_checkpoint(folder / name / "epoch_2.pth") for name in ("epochs", "resumed"))
    assert resumed["state_dict"].keys() == whole["state_dict"].keys()
    for name, value in whole["state_dict"].items():
        assert torch.equal(resumed["state_dict"][name], value), name


def test_frozen_shared_and_absent_statistics_are_left_as_they_are(monkeypatch):
    asked = []
    monkeypatch.setattr(shared_statistics, "all_reduce", lambda flat, op: asked.append(len(flat)))
    absent = nn.BatchNorm2d(2, track_running_stats=False)
    network = nn.Sequential(nn.BatchNorm2d(3), nn.BatchNorm2d(4), nn.SyncBatchNorm(5), absent)
    network[1].eval()
    share_statistics([network])
    share_statistics([nn.Linear(1, 1)])
    assert asked == [6]
    share_statistics([network.eval()])
    assert asked == [6, 14]
