"""The lock of a run's folder: one run at a time, and a killed one blocks nobody."""

from __future__ import annotations

import json
import os
import time

import pytest

from mmlandmark.apis import train_config
from mmlandmark.engine import ConfigError, RunBusyError, RunLock, run_lock
from mmlandmark.testing import tiny_config
from mmlandmark.testing.forks import forked
from waiting import wait_until


def test_two_runs_in_one_folder_are_refused(tmp_path):
    with RunLock(tmp_path):
        with pytest.raises(
            ConfigError, match=rf"another run writes here, process {os.getpid()} on .*--work-dir"
        ):
            train_config(tiny_config(tmp_path, max_epochs=1))
        assert not list(tmp_path.glob("*.pth"))
    assert not (tmp_path / "run.lock").exists()
    train_config(tiny_config(tmp_path, max_epochs=1))
    assert not (tmp_path / "run.lock").exists()


def test_a_lock_is_left_by_a_run_that_fails(tmp_path):
    with pytest.raises(RuntimeError, match="x"), RunLock(tmp_path):
        raise RuntimeError("x")
    assert not (tmp_path / "run.lock").exists()


def lock_and_die(folder):
    RunLock(folder).__enter__()
    os._exit(9)


def test_a_lock_of_a_killed_process_is_taken_over(tmp_path):
    process = forked(lock_and_die, tmp_path)
    process.join(60)
    assert process.exitcode == 9
    assert (tmp_path / "run.lock").is_file()
    with RunLock(tmp_path):
        owner = json.loads((tmp_path / "run.lock").read_text())
        assert owner["pid"] == os.getpid()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": "x"}'])
def test_a_lock_that_was_cut_off_is_taken_over(tmp_path, text):
    (tmp_path / "run.lock").write_text(text)
    if text == '{"pid": "x"}':
        os.utime(tmp_path / "run.lock", (1, 1))
    with RunLock(tmp_path):
        pass


def test_a_lock_that_is_being_written_is_not_taken_over(tmp_path, monkeypatch):
    lock, other = RunLock(tmp_path), RunLock(tmp_path)
    assert lock.acquire()
    whole = lock.path.read_text()
    lock.path.write_text("")
    monkeypatch.setattr(run_lock.time, "sleep", lambda seconds: lock.path.write_text(whole))
    assert not other.acquire()
    lock.release()


def test_a_number_that_was_given_anew_is_another_process(tmp_path):
    with RunLock(tmp_path):
        owner = json.loads((tmp_path / "run.lock").read_text())
    (tmp_path / "run.lock").write_text(json.dumps(dict(owner, began="1")))
    with RunLock(tmp_path):
        pass


def test_a_process_that_does_not_show_when_it_began_is_believed(tmp_path, monkeypatch):
    with RunLock(tmp_path):
        monkeypatch.setattr(run_lock, "began", lambda pid: "unknown")  # as another user's, with hidepid
        assert not RunLock(tmp_path).acquire()
        monkeypatch.setattr(run_lock, "began", lambda pid: None)
        assert RunLock(tmp_path).holder() is None
        monkeypatch.undo()


def test_another_host_is_believed_while_its_heart_beats(tmp_path):
    lock = tmp_path / "run.lock"
    lock.write_text(json.dumps(dict(host="elsewhere", pid=1, began="1")))
    with pytest.raises(ConfigError, match="process 1 on elsewhere"), RunLock(tmp_path):
        pass
    os.utime(lock, (time.time() - 3600,) * 2)
    with RunLock(tmp_path):
        pass


def touched(lock):
    """Wait until a lock is touched."""
    os.utime(lock, (1, 1))
    wait_until(lambda: lock.stat().st_mtime > 2)


def test_the_heart_beats(tmp_path, monkeypatch):
    monkeypatch.setattr(RunLock, "every", 0.01)
    with RunLock(tmp_path):
        touched(tmp_path / "run.lock")


def test_a_container_of_the_same_host_name_is_believed_while_its_heart_beats(tmp_path):
    lock = tmp_path / "run.lock"
    with RunLock(tmp_path):
        owner = json.loads(lock.read_text())
    if owner["pid_namespace"] is None:
        pytest.skip("this system has no namespaces")
    other = dict(owner, pid_namespace="pid:[1]", pid=2**22 + 1)  # a number that no process here has
    lock.write_text(json.dumps(other))
    assert RunLock(tmp_path).holder() == other
    with pytest.raises(RunBusyError, match=f"process {2**22 + 1} on "), RunLock(tmp_path):
        pass
    os.utime(lock, (1, 1))
    with RunLock(tmp_path):
        pass


def test_a_lock_of_an_earlier_version_is_read(tmp_path):
    lock = tmp_path / "run.lock"
    with RunLock(tmp_path):
        owner = json.loads(lock.read_text())
    del owner["pid_namespace"]
    lock.write_text(json.dumps(owner))
    assert RunLock(tmp_path).holder() == owner
    lock.write_text(json.dumps(dict(owner, pid=2**22 + 1)))
    with RunLock(tmp_path):
        pass


def test_a_run_whose_lock_was_taken_over_ends_and_leaves_it_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(RunLock, "every", 0.01)
    said = []
    lock = RunLock(tmp_path, end=said.append)
    assert lock.acquire()
    other = json.dumps(dict(host="elsewhere", pid=7, began="1"))
    (tmp_path / "new").write_text(other)
    os.utime(tmp_path / "new", (1, 1))
    (tmp_path / "new").replace(lock.path)
    wait_until(lambda: said)
    assert said[0] == (
        f"{tmp_path}: process 7 on elsewhere has taken over and writes there now, as this one gave no sign "
        "of life for more than 300 s: this one ends"
    )
    lock.release()
    assert lock.path.read_text() == other
    assert lock.path.stat().st_mtime == 1, "the new owner's own touches count"


def hold_and_lose(folder):
    """Hold a lock, let it be taken over, and go on for long."""
    RunLock.every = 0.01
    RunLock(folder).acquire()
    (folder / "run.lock").write_text(json.dumps(dict(host="elsewhere", pid=7, began="1")))
    time.sleep(60)
    os._exit(0)


def test_its_process_is_ended(tmp_path, capfd):
    process = forked(hold_and_lose, tmp_path)
    process.join(30)
    assert process.exitcode == 1
    assert capfd.readouterr().err.startswith(f"error: {tmp_path}: process 7 on elsewhere has taken over")


def test_the_heart_beats_on_after_an_error_and_makes_a_removed_lock_again(tmp_path, monkeypatch):
    monkeypatch.setattr(RunLock, "every", 0.01)
    real, calls = os.utime, []

    def utime(*arguments):
        calls.append(arguments)
        if len(calls) < 3:
            raise OSError(5, "Input/output error")
        real(*arguments)

    with RunLock(tmp_path) as lock:
        with monkeypatch.context() as patch:
            patch.setattr(run_lock.os, "utime", utime)
            wait_until(lambda: len(calls) > 3)
        lock.path.unlink()
        wait_until(lock.path.exists)
        touched(lock.path)
    assert not lock.path.exists()


def test_a_lock_is_taken_without_waiting(tmp_path):
    lock, other = RunLock(tmp_path), RunLock(tmp_path)
    assert lock.acquire()
    assert not other.acquire()
    assert other.holder()["pid"] == os.getpid()
    other.release()  # of somebody else: nothing happens
    assert lock.holder() is not None
    lock.release()
    assert lock.holder() is None
    assert other.acquire()
    other.release()
    with RunLock(tmp_path), pytest.raises(RunBusyError, match="another run writes here"), RunLock(tmp_path):
        pass


def acquire_together(folder, number):
    """Take a lock at the moment when five others do; keep it until all have tried."""
    (folder / "go" / str(number)).touch()
    while len(list((folder / "go").iterdir())) < 6:
        time.sleep(0.001)
    taken = RunLock(folder).acquire()
    (folder / "done" / str(number)).touch()
    while len(list((folder / "done").iterdir())) < 6:
        time.sleep(0.01)
    os._exit(int(taken))


def test_of_many_processes_that_find_a_stale_lock_one_takes_it(tmp_path):
    (tmp_path / "run.lock").write_text(json.dumps(dict(host="elsewhere", pid=1, began="1")))
    os.utime(tmp_path / "run.lock", (1, 1))
    for name in ("go", "done"):
        (tmp_path / name).mkdir()
    processes = [forked(acquire_together, tmp_path, number) for number in range(6)]
    for process in processes:
        process.join(60)
    assert sorted(process.exitcode for process in processes) == [0, 0, 0, 0, 0, 1]
    assert {p.name for p in tmp_path.iterdir()} == {"go", "done", "run.lock"}


def test_a_killed_takeover_does_not_block_for_ever(tmp_path):
    for name in ("run.lock", "run.lock.takeover"):
        (tmp_path / name).write_text(json.dumps(dict(host="elsewhere", pid=1, began="1")))
        os.utime(tmp_path / name, (1, 1))
    with RunLock(tmp_path):
        pass
    assert not list(tmp_path.iterdir())
