"""mmlandmark benchmark-memory: its record, its table, and what the record on the page says."""

from __future__ import annotations

import json
import math
from pathlib import Path

import torch

from mmlandmark.cli import benchmark_memory, invoke
from mmlandmark.testing import memory_contenders
from mmlandmark.testing.memory_contenders import WAYS

RECORD = Path(__file__).parents[2] / "docs" / "benchmarks" / "memory_cpu.json"


def test_writes_a_record_and_its_table(tmp_path, monkeypatch, capsys):
    for name, value in (("PATCH", 8), ("WINDOW", 8)):
        monkeypatch.setattr(memory_contenders, name, value)

    def here(part, way, path, args):  # a process of its own takes seconds to start
        return benchmark_memory.measure_here(part, way, path, args.landmarks, torch.get_num_threads())

    monkeypatch.setattr(benchmark_memory, "in_a_process", here)
    monkeypatch.setattr(benchmark_memory, "LARGEST_WHOLE", dict(predict=12, train=8))
    (tmp_path / "benchmarks").mkdir()
    out, page = tmp_path / "benchmarks" / "memory_cpu.json", tmp_path / "page.md"
    invoke("benchmark-memory", ["--sides", "8", "12", "16", "--landmarks", "2", "--out", str(out)])
    rows = json.loads(out.read_text())["rows"]
    measured = {(row["part"], row["way"], row["size"][0]) for row in rows}
    expected = {(part, way, side) for part, ways in WAYS.items() for way in ways for side in (8, 12, 16)}
    expected -= {("predict", "whole volume", 16)} | {("train", "whole volume", side) for side in (12, 16)}
    assert measured == expected
    assert all(row["peak_gigabytes"] > 0 for row in rows)
    assert "coarse to fine" in capsys.readouterr().out
    words = ["--sides", "10", "--landmarks", "2", "--out", str(out)]
    invoke("benchmark-memory", [*words, "--add"])
    kept = json.loads(out.read_text())["rows"]
    assert {row["size"][0] for row in kept} == {8, 10, 12, 16}, "other sizes are kept"
    invoke("benchmark-memory", [*words, "--add", "--ways", "windows", "--plot", str(tmp_path / "a.png")])
    assert (tmp_path / "a.png").stat().st_size > 1000
    assert len(json.loads(out.read_text())["rows"]) == len(kept)
    page.write_text("<!-- memory_cpu:begin -->\n<!-- memory_cpu:end -->\n")
    invoke("benchmark-memory", ["--render", str(page)])
    assert "2 landmarks" in page.read_text()
    assert "| predict | windows        | 8 x 8 x 8    |" in page.read_text()


def test_a_process_of_its_own_is_measured(tmp_path, capsys):
    memory_contenders.write_volume(tmp_path / "ct.npy", (8, 8, 8))
    words = ["--measure", "train", "whole volume", str(tmp_path / "ct.npy"), "--landmarks", "2"]
    threads = torch.get_num_threads()
    invoke("benchmark-memory", words)
    torch.set_num_threads(threads)
    row = json.loads(capsys.readouterr().out)
    assert row["peak_gigabytes"] >= row["programs_gigabytes"] > 0.1
    assert row["landmarks_found"] == 2


def test_the_record_holds_the_large_ct_below_six_gibibytes():
    record = json.loads(RECORD.read_text())
    large = {row["way"]: row for row in record["rows"] if row["size"] == list(benchmark_memory.CT)}
    assert record["landmarks"] == 50
    assert set(large) == {"windows", "coarse to fine"}
    for way, row in large.items():
        assert row["peak_gigabytes"] < 6, way
        assert row["landmarks_found"] == 50
    whole_maps = 50 * 4 * math.prod(benchmark_memory.CT) / 2**30
    assert max(row["peak_gigabytes"] for row in large.values()) < whole_maps / 4
