"""Processes of one run agree."""

from __future__ import annotations

import pytest
import torch
from mmengine.config import Config

from mmlandmark.engine import default_launcher, main_process_decides, processes, start_processes


def test_the_launcher_is_that_of_torchrun(monkeypatch):
    for name in ("LOCAL_RANK", "MASTER_ADDR"):
        monkeypatch.delenv(name, raising=False)
    assert default_launcher() == "none"
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    assert default_launcher() == "pytorch"


def test_one_process_decides_for_itself():
    assert main_process_decides(lambda: 3) == 3
    with pytest.raises(KeyError, match="x"):
        main_process_decides(lambda: {}["x"])


def test_others_take_over_what_the_main_process_decided(monkeypatch):
    """As a process that is not the main one sees it."""

    def broadcast(outcome):
        outcome[:] = received

    monkeypatch.setattr(processes, "is_main_process", lambda: False)
    monkeypatch.setattr(processes, "broadcast_object_list", broadcast)
    received = [7, None]
    assert main_process_decides(lambda: pytest.fail("asked")) == 7
    received = [None, ValueError("of the main process")]
    with pytest.raises(ValueError, match="of the main process"):
        main_process_decides(lambda: pytest.fail("asked"))


def test_nothing_is_started_without_a_launcher(monkeypatch):
    start_processes(Config(dict(launcher="none")))
    assert not torch.distributed.is_initialized()
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ValueError, match="launcher 'slurm' needs GPUs"):
        start_processes(Config(dict(launcher="slurm")))


@pytest.mark.parametrize("silence", [0, -30, 0.5, float("nan"), True, "30"])
def test_a_silence_that_would_end_every_process_is_refused(silence):
    with pytest.raises(ValueError, match=r"env_cfg\.rank_silence is the number of seconds, at least 1"):
        start_processes(Config(dict(launcher="none", env_cfg=dict(rank_silence=silence))))
    with pytest.raises(ValueError, match=r"env_cfg\.rank_stall is the number of seconds, at least 1"):
        start_processes(Config(dict(launcher="none", env_cfg=dict(rank_stall=silence))))
    with pytest.raises(ValueError, match=r"env_cfg\.dist_cfg\.timeout is the number of seconds, at least 1"):
        start_processes(Config(dict(launcher="none", env_cfg=dict(dist_cfg=dict(timeout=silence)))))


def test_a_silence_may_be_long_or_without_end():
    for seconds in (1, 120.0, None):
        environment = dict(rank_silence=seconds, rank_stall=seconds, dist_cfg=dict(timeout=seconds))
        start_processes(Config(dict(launcher="none", env_cfg=environment)))
