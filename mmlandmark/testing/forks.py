"""Forks of a process whose libraries have threads: a fork has none of them, and would wait for them."""

from __future__ import annotations

import gc
import multiprocessing
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import cv2
import torch

from mmlandmark.utils.host_memory import return_freed_memory


@contextmanager
def without_threads() -> Iterator[None]:
    """End the threads of OpenCV and PyTorch for as long as processes are forked."""
    before = cv2.getNumThreads(), torch.get_num_threads()
    cv2.setNumThreads(1)  # which ends them; 0 only leaves them idle
    torch.set_num_threads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before[0])
        torch.set_num_threads(before[1])


def forked(target: Callable[..., Any], *arguments: Any, daemon: bool = False) -> BaseProcess:
    """Start a fork of this process that calls a function, and return it.

    Args:
        target: The function.
        arguments: Its arguments.
        daemon: The fork ends with this process, and has no processes of its own.

    Raises:
        OSError: This system cannot fork.
    """
    if "fork" not in multiprocessing.get_all_start_methods():
        raise OSError("this system cannot fork")
    process = multiprocessing.get_context("fork").Process(
        target=_call, args=(target, *arguments), daemon=daemon
    )
    collects = gc.isenabled()
    gc.disable()  # until the fork has put aside what is not its own
    try:
        _start(process)
    finally:
        if collects:
            gc.enable()
    return process


def _start(process: BaseProcess) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking beside PyTorch's threads
        process.start()


def _call(target: Callable[..., Any], *arguments: Any) -> None:
    """Call a function in a fork, which keeps what its parent has lost.

    That may own threads, such as the server of a process group: who deletes it waits for them, forever.
    """
    gc.freeze()
    gc.enable()
    target(*arguments)


def limit_memory(more: int) -> None:
    """Let this process have no more than so many bytes of address space beyond those that it uses.

    What the C library has kept of freed memory is returned before, or it could be used beside the limit.
    """
    import resource

    return_freed_memory()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    limit = pages * resource.getpagesize() + more
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
