"""``mmlandmark benchmark-volumes``."""

from __future__ import annotations

import json

import pytest

from mmlandmark.cli import benchmark_volumes, invoke

pytest.importorskip("nibabel")


def test_all_sources_are_recorded_and_rendered(tmp_path, capsys):
    out = tmp_path / "benchmarks" / "volumes_cpu.json"
    out.parent.mkdir()
    words = ["--side", "25", "--patch", "8", "--volumes", "1", "--rounds", "1", "--out", str(out)]
    invoke("benchmark-volumes", words)
    record = json.loads(out.read_text())
    assert {row["source"] for row in record["rows"]} == set(benchmark_volumes.SOURCES)
    own = [row for row in record["rows"] if row["way"] == "mmlandmark"]
    assert [row["times_ours"] for row in own] == [1, 1, 1]
    assert all(row["milliseconds"] > 0 for row in record["rows"])
    assert all(row["mean_difference"] == 0 for row in own)
    assert max(row["largest_difference"] for row in record["rows"]) < 0.5
    assert record["size"] == [13, 25, 25]
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- volumes_cpu:begin -->\nold\n<!-- volumes_cpu:end -->\nafter\n")
    invoke("benchmark-volumes", ["--render", str(page)])
    text = page.read_text()
    assert "old" not in text
    assert "| mmlandmark " in text
    assert "by hand" in text
    assert "13 x 25 x 25 voxels of 1.5 x 0.75 x 0.75 mm" in text
    assert text.startswith("before\n")
    assert text.endswith("after\n")


def test_ratios_are_those_within_a_turn(monkeypatch):
    import numpy as np

    times = {"ours": [1.0, 4.0, 2.0], "other": [2.0, 12.0, 5.0]}
    monkeypatch.setattr("mmlandmark.testing.measure.paired_times", lambda calls, rounds: times)
    ways = {
        "ours": lambda path, motion: np.array([0.0, 2.0]),
        "other": lambda path, motion: np.array([0.0, 1.0]),
    }
    ours, other = benchmark_volumes.rows_of("x", ways, ["a", "b"], [None, None], 3)
    assert (ours["milliseconds"], ours["times_ours"]) == (1000, 1)
    assert (other["milliseconds"], other["times_ours"]) == (2500, 2.5)
    assert (other["mean_difference"], other["largest_difference"]) == (0.5, 1.0)
