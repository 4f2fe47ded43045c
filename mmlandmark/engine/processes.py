"""Several processes of one run: started, and made to agree."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import torch
import torch.distributed
from mmengine.config import Config
from mmengine.dist import barrier, broadcast_object_list, init_dist, is_main_process
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

T = TypeVar("T")


def default_launcher() -> str:
    """Return ``pytorch`` under torchrun, else ``none``."""
    return "pytorch" if "LOCAL_RANK" in os.environ and "MASTER_ADDR" in os.environ else "none"


def start_processes(config: Config) -> None:
    """Let the processes of a run find each other, unless they have; without GPUs they talk through gloo.

    Raises:
        ValueError: The launcher needs GPUs, and there are none.
    """
    launcher = config.get("launcher", "none")
    started = torch.distributed.is_available() and torch.distributed.is_initialized()
    if launcher == "none" or started:
        return
    if torch.cuda.is_available():
        init_dist(launcher, **((config.get("env_cfg") or {}).get("dist_cfg") or {}))
        return
    if launcher != "pytorch":
        raise ValueError(f"launcher {launcher!r} needs GPUs; without them use torchrun, --launcher pytorch")
    torch.distributed.init_process_group(backend="gloo")


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


def bare(runner: Runner) -> Any:
    """Return the model of a run without the wrapper for several processes."""
    return runner.model.module if is_model_wrapper(runner.model) else runner.model
