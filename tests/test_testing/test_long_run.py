"""Whether a long training stays as small as it was."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook

from mmlandmark.datasets import PhantomDataset
from mmlandmark.testing import long_run
from mmlandmark.testing.forks import forked

RECORD = Path(__file__).parents[2] / "docs" / "benchmarks" / "long_run_cpu.json"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the state of a process is that of Linux")


def test_what_grows_is_found():
    rows = [
        dict.fromkeys(long_run.ALLOWED, 5.0) | dict(resident_mib=100.0 + max(0, n - 10)) for n in range(60)
    ]
    grown = long_run.growth(rows)
    assert grown["resident_mib"] == pytest.approx(1000)
    assert grown["threads"] == pytest.approx(0, abs=1e-6)
    # What is set up in the first half does not count.
    early = [dict(resident_mib=min(100.0 + n, 110.0)) for n in range(60)]
    assert long_run.growth(early)["resident_mib"] == pytest.approx(0, abs=1e-6)


@pytest.mark.slow
def test_a_training_is_watched_and_recorded(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(long_run.importlib.util, "find_spec", lambda name: None)  # it takes long to import
    code = long_run.main([str(tmp_path / "record.json"), "--epochs", "12"])
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["epochs"] == 12
    assert record["growth"].keys() == long_run.ALLOWED.keys()
    assert record["largest"].keys() == long_run.LIMITS.keys()
    assert len(record["rows"]) == 11
    first, last = record["rows"][0], record["rows"][-1]
    assert last["processes"] >= 1  # the worker of the loader
    assert last["worker_resident_mib"] > 20
    assert last["worker_file_descriptors"] > 3
    for key in ("checkpoint_kib", "text_kib", "numbers_kib", "pictures_kib"):
        assert last[key] > first[key]
    assert record["growth"]["file_descriptors"] <= long_run.ALLOWED["file_descriptors"]
    assert code == int(bool(record["failed"]))
    assert "growing:" in capsys.readouterr().out


class SharingLeak(Hook):
    """Keeps a shared tensor of every epoch, whose file PyTorch has removed at once."""

    def __init__(self):
        self.kept = []

    def after_train_epoch(self, runner):
        self.kept.append(torch.zeros(2**16).share_memory_())


@pytest.mark.slow
def test_leaks_of_shared_memory_and_of_workers_are_found(tmp_path, monkeypatch):
    kept, info = [], PhantomDataset.get_data_info

    def hoarding(dataset, index):
        if multiprocessing.parent_process() is not None:
            kept.append(bytearray(os.urandom(2**18)))
        return info(dataset, index)

    monkeypatch.setattr(PhantomDataset, "get_data_info", hoarding)
    listed = len(list(Path("/dev/shm").glob("torch_*")))
    leak = SharingLeak()
    grown = long_run.growth(long_run.watch_training(tmp_path, 12, hooks=[leak]))
    assert len(list(Path("/dev/shm").glob("torch_*"))) == listed, "a list of names shows nothing of it"
    assert len(leak.kept) == 12
    assert 200 < grown["shared_files_mib"] < 300  # 0.25 MiB of each epoch
    assert grown["shared_mapped_mib"] > 200
    assert grown["file_descriptors"] > 500
    assert grown["worker_resident_mib"] > 250  # 0.5 MiB of each epoch, but for what was free before
    assert grown["threads"] <= long_run.ALLOWED["threads"]


def _hold(connection):
    file = os.memfd_create("held")
    os.write(file, bytes(2**21))
    with tempfile.TemporaryFile(dir="/dev/shm") as other:
        other.write(bytes(2**20))
        other.flush()
        connection.send("ready")
        connection.recv()


def test_what_a_child_shares_is_counted_once(tmp_path):
    before = long_run.state_of_process(tmp_path)
    held = torch.zeros(2**18).share_memory_()  # 1 MiB, which the child inherits
    here, there = multiprocessing.Pipe()
    child = forked(_hold, there)
    try:
        assert here.poll(30)
        here.recv()
        after = long_run.state_of_process(tmp_path)
        assert after["processes"] == before["processes"] + 1
        assert after["shared_files_mib"] - before["shared_files_mib"] == pytest.approx(4, abs=0.01)
        assert after["shared_mapped_mib"] - before["shared_mapped_mib"] >= 1
        assert held.is_shared()
    finally:
        here.send("end")
        child.join()
    assert long_run.state_of_process(tmp_path)["processes"] == before["processes"]


def test_sizes_of_logs_are_told_apart(tmp_path):
    sizes = {
        "a/a.log": 1, "a/vis_data/b.json": 2, "a/vis_data/events.out.tfevents.1": 3,
        "a/vis_data/vis_image/c.png": 4, "a/vis_data/pictures/events.out.tfevents.2": 5, "config.json": 9,
    }  # fmt: skip
    for name, size in sizes.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(bytes(1024 * size))
    state = long_run.state_of_process(tmp_path)
    assert [state[key] for key in long_run.LIMITS] == [1, 2, 3, 9]
    assert long_run.largest([state, dict.fromkeys(long_run.LIMITS, 2.0)]) == dict(
        text_kib=2, numbers_kib=2, events_kib=3, pictures_kib=9
    )


def test_nothing_grew_in_the_record():
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    assert record["epochs"] == 500
    assert record["failed"] == []
    assert record["allowed"] == long_run.ALLOWED
    assert record["limits"] == long_run.LIMITS
    assert record["events"]
    for key, limit in record["limits"].items():  # which were reached, or they would say nothing
        assert limit / 2 < record["largest"][key] <= limit
