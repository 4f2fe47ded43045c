"""Whether a long training stays as small as it was."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from mmlandmark.testing import long_run

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


def test_a_training_is_watched_and_recorded(tmp_path, capsys):
    code = long_run.main([str(tmp_path / "record.json"), "--epochs", "12"])
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["epochs"] == 12
    assert record["growth"].keys() == long_run.ALLOWED.keys()
    assert len(record["rows"]) == 11
    last = record["rows"][-1]
    assert last["processes"] >= 1  # the worker of the loader
    assert last["checkpoint_kib"] > 0
    assert last["log_kib"] > record["rows"][0]["log_kib"]
    assert record["growth"]["file_descriptors"] <= long_run.ALLOWED["file_descriptors"]
    assert code == int(bool(record["failed"]))
    assert "growing:" in capsys.readouterr().out


def test_nothing_grew_in_the_record():
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    assert record["epochs"] == 500
    assert record["failed"] == []
    assert record["allowed"] == long_run.ALLOWED
