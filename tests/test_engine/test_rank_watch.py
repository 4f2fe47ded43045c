"""Processes of a run watch over each other: what is a stall, and what is slow."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import socket
import threading
import time

import pytest
import torch
import torch.distributed

from mmlandmark.engine import latest_checkpoint, rank_watch
from mmlandmark.engine.rank_stall import Standstill
from mmlandmark.engine.rank_watch import RankWatch, watch_ranks
from mmlandmark.testing import tiny_config
from mmlandmark.testing.forks import forked
from slow_rank import busy_for
from two_processes import begin, ended, free_port, need_two_processes, ranks_of, wait_until

SILENCE = 2.0
pytestmark = [
    pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs the processes of Linux"),
]


def connect(port):
    return torch.distributed.TCPStore("127.0.0.1", port, is_master=False, wait_for_workers=False)


def compute_until(event):
    while not event.is_set():
        sum(range(10000))


class Run:
    """A store, the watch of the first process, which is this one, and others in forks."""

    def __init__(self, size):
        need_two_processes()
        self.port, self.size = free_port(), size
        self.store = torch.distributed.TCPStore(
            "127.0.0.1", self.port, is_master=True, wait_for_workers=False
        )
        self.said, self.watches, self.children = [], [], []

    def watch(self, rank, **options):
        """Let a process of a rank, this one, watch."""
        store = connect(self.port)
        options = dict(dict(silence=SILENCE, beat=0.1, end=self.said.append), **options)
        self.watches.append(RankWatch(store, rank, self.size, **options))
        self.watches[-1].begin()
        return self.watches[-1]

    def fork(self, rank, act=time.sleep, *arguments, standstill=None):
        """Let a fork of this process watch, and do something."""
        ready = multiprocessing.get_context("fork").Event()

        def run():
            store = connect(self.port)
            RankWatch(store, rank, self.size, silence=SILENCE, beat=0.1, standstill=standstill).begin()
            ready.set()
            act(*(arguments or (60,)))
            time.sleep(60)

        self.children.append(forked(run, daemon=True))
        assert ready.wait(60)
        return self.children[-1].pid

    def wait(self, seconds=20 * SILENCE):
        """Wait until something is said, and return it."""
        end = time.monotonic() + seconds
        while not self.said and time.monotonic() < end:
            time.sleep(0.05)
        return self.said[0] if self.said else None


@pytest.fixture
def run_of():
    """Return what starts a run of some processes."""
    runs = []
    yield lambda size: runs.append(Run(size)) or runs[-1]
    for run in runs:
        for watch in run.watches:
            watch.leave()
        for child in run.children:
            child.kill()
            child.join()


@pytest.mark.slow
def test_a_stopped_process_is_named_and_ended(run_of):
    run = run_of(2)
    pid = run.fork(1)
    run.watch(0)
    assert run.wait(SILENCE / 2) is None
    os.kill(pid, signal.SIGSTOP)
    begun = time.monotonic()
    assert run.wait() == (
        f"rank 1 of the run, process {pid} on {socket.gethostname()}, has given no sign of life for 2 s: it "
        "is stopped, hangs or is gone, so rank 0 ends, too; the run can be resumed"
    )
    assert time.monotonic() - begun > SILENCE - 0.3
    run.children[0].join(20)
    assert run.children[0].exitcode == -signal.SIGKILL, "it would not hear another signal"


def test_a_killed_process_is_named(run_of):
    run = run_of(2)
    pid = run.fork(1)
    run.watch(0)
    assert run.wait(0.5) is None
    os.kill(pid, signal.SIGKILL)
    run.children[0].join()
    assert f"rank 1 of the run, process {pid} on" in run.wait()


@pytest.mark.slow
def test_a_process_that_computes_without_a_break_is_not_lost(run_of):
    run = run_of(2)
    run.fork(1, busy_for, 2.5 * SILENCE)
    run.watch(0)
    assert run.wait(2 * SILENCE) is None


@pytest.mark.parametrize("entered", [(4, 3), (3, 3), (3, 4)])
def test_a_process_that_does_nothing_is_named_if_others_wait_for_it(run_of, entered):
    run = run_of(2)
    mine, others = entered
    pid = run.fork(1, standstill=Standstill(SILENCE / 2, lambda: others))
    run.watch(0, standstill=Standstill(SILENCE / 2, lambda: mine))
    computing = threading.Event()
    thread = threading.Thread(target=compute_until, args=(computing,))
    thread.start()  # this process may be slow, it does something
    said = run.wait(1.5 * SILENCE)
    computing.set()
    thread.join()
    if others < mine:
        assert said.startswith(
            f"rank 1 of the run, process {pid} on {socket.gethostname()}, has done nothing for 1 s, in "
        )
        assert " (test_rank_watch.py:" in said
        assert said.endswith("so rank 0 ends, too; the run can be resumed")
    else:
        assert said is None


@pytest.mark.slow
def test_processes_that_were_all_stopped_go_on(run_of):
    run = run_of(2)
    pids = [run.fork(rank) for rank in (0, 1)]
    time.sleep(0.5)
    for number in (signal.SIGSTOP, signal.SIGCONT):
        for pid in pids:
            os.kill(pid, number)
        time.sleep(1.5 * SILENCE)
    assert [child.exitcode for child in run.children] == [None, None]


@pytest.mark.slow
def test_a_process_that_ends_as_it_should_is_not_lost(run_of):
    run = run_of(2)
    run.watch(0)
    run.watch(1).leave()
    assert run.wait(2 * SILENCE) is None


@pytest.mark.slow
def test_who_keeps_the_store_may_end_first(run_of):
    run = run_of(2)
    watch = run.watch(1)
    run.store = None
    gc.collect()
    assert run.wait(2 * SILENCE) is None
    assert watch.store is None


@pytest.mark.slow
def test_a_store_that_does_not_answer_stands_for_who_keeps_it(run_of):
    run = run_of(2)
    for owned, rank, lost in ((True, 1, True), (True, 0, False), (False, 1, False)):
        run.said.clear()
        watch = RankWatch(None, rank, 2, 0.5, owned=owned, end=run.said.append, beat=0.1)
        watch.begin()
        run.watches.append(watch)
        watch.store = Silent()
        watch._answered = time.monotonic()
        watch.others[1 - rank].seen = time.monotonic() + 60
        assert (run.wait(1.5) is not None) == lost
        watch._left.set()
        if lost:
            assert run.said[0].startswith("rank 0 of the run has given no sign of life for 0.5 s")


class Silent:
    """A store that does not answer."""

    def __getattr__(self, _):
        return lambda *_: time.sleep(60)


@pytest.mark.parametrize("machine", ["there", "lost"])
def test_a_machine_that_keeps_the_store_is_missed_but_no_stopped_agent(run_of, machine):
    run = run_of(2)
    with socket.create_server(("127.0.0.1", 0)) as agent:  # it accepts nothing, the system does
        keeper = agent.getsockname()
        if machine == "lost":
            agent.close()
        watch = RankWatch(None, 1, 2, 0.5, owned=False, end=run.said.append, beat=0.1, keeper=keeper)
        watch.begin()
        run.watches.append(watch)
        watch.store = Silent()
        said = run.wait(SILENCE)
        watch._left.set()
    if machine == "there":
        assert said is None
    else:
        assert said.startswith("127.0.0.1, where the processes of the run meet, has not answered for 0.5 s (")
        assert said.endswith("it is lost, so rank 1 ends, too; the run can be resumed")


def test_a_process_of_another_container_is_no_process_of_this_one():
    here = rank_watch.this_process()
    assert rank_watch._Other(who=here).is_here
    assert not rank_watch._Other(who=dict(here, pid_namespace="pid:[1]")).is_here


def test_a_process_ends_with_its_agent(run_of):
    run = run_of(1)
    run.watch(0, agent=os.getpid())  # which has not started this one
    assert run.wait() == f"process {os.getpid()}, which has started this one, is gone: this one ends, too"


def test_one_process_watches_nobody(monkeypatch):
    monkeypatch.setattr(rank_watch, "RankWatch", lambda *_: pytest.fail("watches"))
    watch_ranks()
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 0)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 1)
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    watch_ranks()
    watch_ranks(None)


def long_run(tmp_path, custom_hooks=(), rank_stall=6.0):
    """Return the config of a long training in two processes."""
    need_two_processes()
    without = dict(val_cfg=None, val_dataloader=None, val_evaluator=None)
    without["custom_hooks"] = list(custom_hooks)
    config = tiny_config(tmp_path / "run", max_epochs=9999, launcher="pytorch", **without)
    config.env_cfg.update(rank_silence=6.0, rank_stall=rank_stall)
    config.default_hooks.checkpoint.max_keep_ckpts = 1
    config.dump(tmp_path / "long.py")
    return tmp_path / "long.py"


def step_of(folder):
    """Return the epoch of the newest checkpoint."""
    newest = latest_checkpoint(folder / "run")
    return 0 if newest is None else int(newest.stem.split("_")[1])


@pytest.mark.slow
def test_a_run_with_a_stopped_process_ends_within_a_minute_and_a_slow_one_goes_on(tmp_path):
    config = long_run(tmp_path, [dict(type="slow_rank.SlowRank", seconds=8.0)], rank_stall=30.0)
    with ended(begin("train", config, cwd=tmp_path)) as process:
        wait_until(lambda: step_of(tmp_path) > 3, process)
        first, second = ranks_of(process)
        os.kill(second, signal.SIGSTOP)
        begun = time.monotonic()
        assert process.wait(timeout=60) != 0
        assert time.monotonic() - begun < 60
    said = (tmp_path / "said").read_text()
    assert f"error: rank 1 of the run, process {second} on" in said
    for pid in (first, second):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.slow
def test_a_run_with_a_process_that_waits_for_ever_ends_within_a_minute(tmp_path):
    config = long_run(tmp_path, [dict(type="slow_rank.WaitingRank")])
    with ended(begin("train", config, cwd=tmp_path)) as process:
        wait_until(lambda: step_of(tmp_path) > 0, process)
        begun = time.monotonic()
        first, second = ranks_of(process)
        assert process.wait(timeout=60) != 0
        assert 4 < time.monotonic() - begun < 30
    said = (tmp_path / "said").read_text()
    assert (
        f"error: rank 1 of the run, process {second} on {socket.gethostname()}, has done nothing for 6 s"
        in said
    )
    assert "after_train_iter (slow_rank.py:" in said
    assert "rank 0 of the run" not in said, "which only waits for the other"
    for pid in (first, second):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.slow
def test_a_run_with_a_process_that_works_for_long_goes_on(tmp_path):
    config = long_run(tmp_path, [dict(type="slow_rank.WorkingRank", seconds=8.0)])
    with ended(begin("train", config, cwd=tmp_path)) as process:
        wait_until(lambda: step_of(tmp_path) > 3, process)


@pytest.mark.slow
def test_a_run_with_a_killed_process_ends_with_its_name(tmp_path):
    with ended(begin("train", long_run(tmp_path), cwd=tmp_path)) as process:
        wait_until(lambda: step_of(tmp_path) > 0, process)
        first, second = ranks_of(process)
        os.kill(second, signal.SIGKILL)
        begun = time.monotonic()
        assert process.wait(timeout=60) == 128 + signal.SIGKILL
        assert time.monotonic() - begun < 30
    assert (
        f"process 1 (number 1 of this machine, pid {second}) was ended by SIGKILL"
        in (tmp_path / "said").read_text()
    )
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)


@pytest.mark.slow
def test_processes_end_when_their_agent_is_killed(tmp_path):
    with ended(begin("train", long_run(tmp_path), cwd=tmp_path)) as process:
        wait_until(lambda: step_of(tmp_path) > 0, process)
        ranks = ranks_of(process)
        process.kill()
        process.wait()
    end = time.monotonic() + 60
    while any(os.path.exists(f"/proc/{rank}") for rank in ranks):
        assert time.monotonic() < end
        time.sleep(0.1)
    assert "which has started this one, is gone" in (tmp_path / "said").read_text()
