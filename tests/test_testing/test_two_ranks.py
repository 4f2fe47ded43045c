"""A run in two processes is started and ended; whole runs are in ``test_engine/test_rank_watch.py``."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from mmlandmark.testing import two_ranks


def sleeping(seconds=60):
    return subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({seconds})"])


def test_processes_reach_each_other_and_import_this_package(tmp_path):
    found = two_ranks.environment(tmp_path)
    package, more = found["PYTHONPATH"].split(os.pathsep)
    assert os.path.isfile(os.path.join(package, "mmlandmark", "__init__.py"))
    assert more == str(tmp_path)
    assert (found["GLOO_SOCKET_IFNAME"], found["CUDA_VISIBLE_DEVICES"]) == ("lo", "")


def test_the_command_is_launched_in_two_processes(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        two_ranks.subprocess, "Popen", lambda command, **kwargs: seen.append((command, kwargs))
    )
    two_ranks.begin("train", tmp_path / "c.py", "--resume", cwd=tmp_path)
    ((command, kwargs),) = seen
    assert command[1:] == [
        *("-m", "mmlandmark", "launch", "--processes", "2"), "train", str(tmp_path / "c.py"), "--resume",
    ]  # fmt: skip
    assert kwargs["cwd"] == tmp_path
    assert (tmp_path / two_ranks.SAID).is_file()


def test_it_is_ended_whatever_happens():
    with pytest.raises(KeyError), two_ranks.ended(sleeping()) as process:
        raise KeyError
    assert process.returncode == -9


def test_waiting_ends():
    with two_ranks.ended(sleeping()) as process:
        two_ranks.wait_until(lambda: True, process)
        with pytest.raises(RuntimeError, match=r"took more than 0\.1 s"):
            two_ranks.wait_until(lambda: False, process, 0.1)
        process.kill()
        process.wait()
        with pytest.raises(RuntimeError, match="ended with -9 too soon"):
            two_ranks.wait_until(lambda: False, process)
