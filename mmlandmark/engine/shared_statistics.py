"""The statistics of batch norms, averaged over the processes of a run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import EMAHook, Hook
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmlandmark.engine.hooks.landmark_visualization_hook import by_iteration
from mmlandmark.engine.processes import bare


class SharedStatistics(Hook):
    """Gives all processes the mean of their running statistics.

    Each process's batch norms see its own part of every batch. Left alone, every process would validate and
    label its share of the images by a network of its own, and a checkpoint would hold that of the first. The
    runner adds this hook where several processes train. It averages after every epoch, before anything else
    is done then; in a loop by iterations after every step, since anything may follow.
    """

    def after_train_epoch(self, runner: Runner) -> None:
        """Average at the end of an epoch."""
        if not by_iteration(runner):
            share_statistics(networks_of(runner))

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Average after a step of a loop without epochs."""
        if by_iteration(runner):
            share_statistics(networks_of(runner))


def networks_of(runner: Runner) -> list[nn.Module]:
    """Return the detector and, where the run keeps one, that with the mean of its weights."""
    return [bare(runner), *(hook.ema_model.module for hook in runner.hooks if isinstance(hook, EMAHook))]


def share_statistics(networks: Iterable[nn.Module]) -> None:
    """Replace running means and variances by their mean over all processes, all in one exchange.

    Norms that share them in every step (``SyncBatchNorm``), keep none, or are frozen are left as they are.
    """
    own = [buffer for network in networks for buffer in _statistics(network)]
    if not own:
        return
    flat = torch.cat([buffer.flatten() for buffer in own])
    all_reduce(flat, op="mean")
    for buffer, mean in zip(own, flat.split([buffer.numel() for buffer in own]), strict=True):
        buffer.copy_(mean.view_as(buffer))


def _statistics(network: nn.Module) -> list[Tensor]:
    """Return the running statistics that differ from process to process."""
    norms = [
        norm
        for norm in network.modules()
        if isinstance(norm, _BatchNorm) and not isinstance(norm, nn.SyncBatchNorm)
    ]
    moving = [norm for norm in norms if norm.training or not network.training]
    found = [buffer for norm in moving for buffer in (norm.running_mean, norm.running_var)]
    return [buffer for buffer in found if buffer is not None]
