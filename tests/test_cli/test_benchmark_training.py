"""mmlandmark benchmark-training: what it prints and records of the measured steps."""

from __future__ import annotations

import json

import pytest
import torch

from mmlandmark.cli import benchmark_training, invoke
from mmlandmark.testing import tiny_config
from mmlandmark.testing.step_contenders import OURS


@pytest.mark.slow
def test_writes_a_record(tmp_path, monkeypatch, capsys):
    # A process that keeps freed memory keeps it for the tests after this one, too.
    monkeypatch.setattr(benchmark_training, "keep_freed_memory", lambda: True)
    # A process for each step takes seconds; one shows how they are measured.
    measured, memory_of = [], benchmark_training.memory_of
    monkeypatch.setattr(
        benchmark_training,
        "memory_of",
        lambda name, words: measured.append(name) or (memory_of(name, words) if name == OURS else 2**30),
    )
    tiny_config("unused").dump(tmp_path / "tiny.py")
    out = tmp_path / "steps.json"
    threads = torch.get_num_threads()
    words = [str(tmp_path / "tiny.py"), "--size", "64", "64", "--rounds", "1", "--out", str(out)]
    words += ["--compile", "eager"]
    invoke("benchmark-training", words)
    assert torch.get_num_threads() == threads
    record = json.loads(out.read_text())
    assert record["config"] == "tiny"
    assert set(record["steps"]) == {
        "mmlandmark",
        "operators in plain PyTorch",
        "published recipe",
        "backbone recomputed",
        "torch.compile",
    }
    assert measured == list(record["steps"])
    assert record["steps"]["mmlandmark"]["times_ours"] == 1
    assert record["steps"]["published recipe"]["peak_gigabytes"] == 1
    assert all(row["peak_gigabytes"] > 0 for row in record["steps"].values())
    assert "published recipe" in capsys.readouterr().out


def test_sides_of_neither_image_nor_volume_are_refused(tmp_path):
    tiny_config("unused").dump(tmp_path / "tiny.py")
    with pytest.raises(ValueError, match="two sides of an image or three of a volume, got 1"):
        invoke("benchmark-training", [str(tmp_path / "tiny.py"), "--size", "64"])


def test_ratios_compare_steps_of_the_same_round():
    seconds = {OURS: [1.0, 4.0, 1.5], "one": [0.5, 3.0, 1.0], "other": [0.5, 1.0, 0.25]}
    rows = benchmark_training.rows_of(seconds, dict.fromkeys(seconds, 2**29), parts=["one", "other"])
    assert rows[OURS] == dict(seconds=1.5, times_ours=1.0, peak_gigabytes=0.5, times_parts=1.0)
    assert rows["one"] == dict(seconds=1.0, times_ours=0.667, peak_gigabytes=0.5)
    assert "times_parts" not in benchmark_training.rows_of({OURS: [1.0]}, {OURS: 0})[OURS]
