"""``mmlandmark benchmark-inference``."""

from __future__ import annotations

import json

import pytest
import torch

from mmlandmark.cli import benchmark_inference, invoke
from mmlandmark.testing import tiny_model

WAYS = ["PyTorch", "torch.export"]


@pytest.fixture
def record(tmp_path, monkeypatch):
    # A process that keeps freed memory keeps it for the tests after this one, too.
    monkeypatch.setattr(benchmark_inference, "keep_freed_memory", lambda: True)
    (tmp_path / "benchmarks").mkdir()
    path = tmp_path / "tiny.mml.pth"
    tiny_model().save(path)
    out = tmp_path / "benchmarks" / "inference_tiny.json"
    words = [str(path), "--ways", *WAYS, "--batch", "1", "2", "--rounds", "1", "--threads", "1"]
    invoke("benchmark-inference", [*words, "--errors", "--out", str(out)])
    return out


@pytest.mark.slow
def test_ways_and_batches_are_recorded_with_errors_and_rendered(record, tmp_path, capsys):
    data = json.loads(record.read_text())
    assert [(row["way"], row["batch"]) for row in data["rows"]] == [(way, b) for b in (1, 2) for way in WAYS]
    assert data["rows"][0]["times_as_fast"] == data["rows"][2]["times_as_fast"] == 1
    assert all(row["images_per_second"] > 0 for row in data["rows"])
    assert data["rows"][0]["errors"]["mre"] == pytest.approx(data["rows"][1]["errors"]["mre"], abs=1e-3)
    assert data["inputs"] == {"untrained": [1, 64, 64]}
    assert data["threads"] == torch.get_num_threads() == 1
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- inference_tiny:begin -->\nold\n<!-- inference_tiny:end -->\nafter\n")
    capsys.readouterr()
    invoke("benchmark-inference", ["--render", str(page)])
    text = page.read_text()
    assert "old" not in text
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "| untrained | torch.export" in text
    assert "MRE (px)" in text
    page.write_text("nothing\n")
    with pytest.raises(ValueError, match=r"page\.md has no <!-- inference_tiny:begin -->"):
        invoke("benchmark-inference", ["--render", str(page)])


def test_ratios_are_those_within_a_turn(monkeypatch):
    times = {"a\nPyTorch": [1.0, 4.0, 2.0], "a\nother": [0.5, 1.0, 1.0]}
    monkeypatch.setattr("mmlandmark.testing.measure.paired_times", lambda calls, rounds: times)
    runs = {("a", "PyTorch"): print, ("a", "other"): print}
    rows = benchmark_inference.rows_of(runs, {"a": [torch.zeros(1).numpy()]}, batch=2, rounds=3)
    assert rows[0]["milliseconds_per_image"] == 1000
    assert rows[1]["images_per_second"] == 2
    assert rows[1]["times_as_fast"] == 2


def test_wrong_words_are_named():
    with pytest.raises(ValueError, match="name a model to measure"):
        invoke("benchmark-inference", [])
    with pytest.raises(ValueError, match=r"--ways: unknown \['TensorRT'\]; known are PyTorch, "):
        invoke("benchmark-inference", ["x", "--ways", "TensorRT"])
