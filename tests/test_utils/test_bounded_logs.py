"""Logs end at a size, and what stays of them is of use."""

from __future__ import annotations

import json

import pytest

from mmlandmark.utils.bounded_logs import (
    LEFT_OUT,
    Entry,
    bytes_of,
    evenly_kept,
    shorten_text,
    thin_rows,
    total_size,
)


def test_sizes_are_numbers():
    assert bytes_of(None, "x") is None
    assert bytes_of(32, "x") == 32 * 2**20
    assert bytes_of(1 / 64, "x") == 2**14
    for wrong in (0, -1, True, "32", float("nan"), float("inf"), 0.01):
        with pytest.raises(ValueError, match=r"^env_cfg\.log_mib is a size in MiB, at least 1/64"):
            bytes_of(wrong, "env_cfg.log_mib")


def test_a_text_keeps_its_beginning_and_its_end(tmp_path):
    path = tmp_path / "a.log"
    for round_ in range(3):
        with path.open("a") as file:
            file.writelines(f"round {round_}, line {n}\n" for n in range(1000))
        shorten_text(path, 8192)
        lines = path.read_text().splitlines(keepends=True)
        assert path.stat().st_size <= 4096 + len(LEFT_OUT)
        assert lines[0] == "round 0, line 0\n"
        assert lines[-1] == f"round {round_}, line 999\n"
        assert lines.count(LEFT_OUT) == 1
        assert all(line == LEFT_OUT or line.startswith("round ") for line in lines)


def test_rows_stay_evenly_over_the_whole_training_however_often_they_are_thinned(tmp_path):
    path, limit = tmp_path / "scalars.json", 16384
    for step in range(1, 20001):
        row = json.dumps(dict(lr=0.1, loss=1 / step, step=step))
        with path.open("a") as file:
            file.write(row + "\n")
            if step % 1000 == 0:
                file.write(json.dumps(dict(mre=2.0, step=step // 1000)) + "\n")
        if path.stat().st_size > limit - 100:
            thin_rows(path, limit)
            assert path.stat().st_size <= limit / 2
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    steps = [row["step"] for row in rows if "loss" in row]
    assert steps == sorted(steps)
    assert (steps[0], steps[-1]) == (1, 20000)
    early, late = (sum(low < step <= low + 5000 for step in steps) for low in (0, 5000))
    assert early > 10
    assert 0.5 < early / late < 2
    assert [row["step"] for row in rows if "mre" in row] == list(range(1, 21))  # few, and they fit


def test_a_row_that_is_not_whole_is_left_out(tmp_path):
    path = tmp_path / "scalars.json"
    path.write_text('{"a": 1}\n{"a": 2\n[3]\n{"a": 4, "step": NaN}\n')
    thin_rows(path, 2**14)
    assert path.read_text() == '{"a": 1}\n{"a": 4, "step": NaN}\n'


def test_the_largest_kind_is_thinned_and_ends_stay():
    entries = [Entry("large", step, 100) for step in range(50)] + [Entry("small", n, 1) for n in range(50)]
    kept = evenly_kept(entries, 1000)
    assert kept[0] == 0
    assert 49 in kept
    assert 5 <= sum(place < 50 for place in kept) <= 9
    assert [place for place in kept if place >= 50] == list(range(50, 100))
    assert evenly_kept(entries, 10**6) == list(range(100))
    assert evenly_kept([Entry("a", 0, 9)] * 9, 1) == [0, 8]  # all of one step
    assert evenly_kept([Entry("a", 0, 9), Entry("a", 1, 9)], 1) == [0, 1]


def test_files_that_are_gone_have_no_size(tmp_path):
    (tmp_path / "a").write_bytes(bytes(7))
    assert total_size([tmp_path / "a", tmp_path / "b"]) == 7
