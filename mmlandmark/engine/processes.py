"""Several processes of one run: started, and made to agree."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

import torch
import torch.distributed
from mmengine.config import Config
from mmengine.dist import all_reduce, barrier, broadcast_object_list, init_dist, is_main_process
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from mmlandmark.engine.rank_stall import STALL
from mmlandmark.engine.rank_watch import SILENCE, watch_ranks
from mmlandmark.utils import stop_requests
from mmlandmark.utils.stop_requests import StopRequested

T = TypeVar("T")


def default_launcher() -> str:
    """Return ``pytorch`` under torchrun, else ``none``."""
    return "pytorch" if "LOCAL_RANK" in os.environ and "MASTER_ADDR" in os.environ else "none"


def start_processes(config: Config) -> None:
    """Let the processes of a run find each other, unless they have, and watch over each other.

    Without GPUs they talk through gloo. ``env_cfg.rank_silence`` says after how many seconds without a sign
    of life a process counts as lost, ``env_cfg.rank_stall`` after how many without any work, while others
    wait for it, see :mod:`mmlandmark.engine.rank_watch`.

    Raises:
        ValueError: The launcher needs GPUs, and there are none; or ``env_cfg.rank_silence``,
            ``env_cfg.rank_stall`` or ``env_cfg.dist_cfg.timeout`` is no number of seconds from 1 on.
    """
    environment = config.get("env_cfg") or {}
    silence, stall = environment.get("rank_silence", SILENCE), environment.get("rank_stall", STALL)
    limit = (environment.get("dist_cfg") or {}).get("timeout")
    _check_seconds("rank_silence", silence, "a silent process counts as lost, or None for no end")
    _check_seconds("rank_stall", stall, "a process that does nothing counts as lost, or None for no end")
    _check_seconds("dist_cfg.timeout", limit, "waiting for other processes fails, or None for PyTorch's")
    launcher = config.get("launcher", "none")
    if launcher == "none":
        return
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        _meet(launcher, environment.get("dist_cfg") or {})
    watch_ranks(silence, stall)


def _check_seconds(key: str, seconds: Any, what: str) -> None:
    number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if seconds is not None and not (number and seconds >= 1):
        raise ValueError(
            f"env_cfg.{key} is the number of seconds, at least 1, after which {what}; got {seconds!r}"
        )


def _meet(launcher: str, options: Mapping[str, Any]) -> None:
    if torch.cuda.is_available():
        init_dist(launcher, **options)
        return
    if launcher != "pytorch":
        raise ValueError(f"launcher {launcher!r} needs GPUs; without them use torchrun, --launcher pytorch")
    limit = options.get("timeout")
    torch.distributed.init_process_group(
        backend="gloo", timeout=None if limit is None else timedelta(seconds=limit)
    )


def main_process_decides(decide: Callable[[], T]) -> T:
    """Call a function in the main process, and return what it returned, or raise what it raised, in all."""
    outcome: list[Any] = [None, None]
    if is_main_process():
        try:
            outcome[0] = decide()
        except Exception as error:
            outcome[1] = error
    broadcast_object_list(outcome)
    if outcome[1] is not None:
        raise outcome[1]
    return outcome[0]


def wait_for_all() -> None:
    """Wait until all processes of the run are here."""
    barrier()


def stop_if_asked() -> None:
    """Stop if a process of the run was asked to; all processes must come here at the same place.

    Raises:
        StopRequested: One was.
    """
    if not stop_requests.taken():
        return
    asked = torch.tensor([stop_requests.requested()], dtype=torch.int64)
    all_reduce(asked, op="max")
    if asked.item():
        raise StopRequested


def leave_requests_to_parent(loader: DataLoader) -> None:
    """Let the workers of a loader go on when a request to stop reaches them, too."""
    if stop_requests.taken() and loader.num_workers > 0:
        loader.worker_init_fn = partial(_begin_worker, loader.worker_init_fn)


def _begin_worker(initialize: Callable[[int], None] | None, number: int) -> None:
    stop_requests.leave_to_parent()
    if initialize is not None:
        initialize(number)


def bare(runner: Runner) -> Any:
    """Return the model of a run without the wrapper for several processes."""
    return runner.model.module if is_model_wrapper(runner.model) else runner.model
