"""Two processes are measured against one, and the page shows what the record says."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from pathlib import Path

import pytest

from mmlandmark.testing import rank_speed, tiny_config
from mmlandmark.testing.forks import forked
from mmlandmark.testing.rank_speed import APART, NOT_YET, ONE, THREADS, TWO, summary, table_of
from mmlandmark.utils.files import read_json

ROOT = Path(__file__).parents[2]


def turn(one, two, threads, apart=2.0):
    ways = {ONE: (one, 0.2), TWO: (two, 0.3), APART: (apart, 0.2), THREADS: (threads, 0.1)}
    return dict(ways, exchange=0.1, labelling=0.5)


def other(two, apart=2.0):
    return {TWO: (two, 0.1), APART: (apart, 0.1)}


def test_ways_are_compared_turn_by_turn_and_the_slower_process_counts():
    first = dict(
        parameters=1000, turns=[turn(2.0, 2.0, 1.0), turn(4.0, 5.0, 4.0, 4.0), turn(1.0, 1.0, 1.0, 1.0)]
    )
    second = dict(parameters=1000, turns=[other(2.5, 2.2), other(4.0, 4.4), other(1.25, 1.1)])
    found = summary(first, second, batch=4, steps=2)
    assert found["ways"][ONE]["images_per_second"] == 4.0  # of 4, 2 and 8
    assert found["ways"][TWO]["times_one"] == pytest.approx(2 * 0.8)
    assert found["ways"][APART]["times_one"] == pytest.approx(2 / 1.1, abs=1e-3)
    assert found["ways"][THREADS]["times_one"] == 1.0
    assert found["ways"][ONE]["reading_share"] == pytest.approx(0.1)
    assert found["step_seconds"] == 1.0
    assert found["reading_seconds_per_image"] == pytest.approx(0.2 / 8)
    assert found["labelling_seconds_per_image"] == pytest.approx(0.5 / 4)
    assert found["exchange_gigabytes_per_second"] == pytest.approx(4000 / 0.1 / 1e9, abs=1e-4)
    assert found["predicted_times_one"] == pytest.approx(2 * 1.0 / 1.1, abs=1e-3)


def test_a_table_says_how_busy_the_machine_was():
    first = dict(parameters=1_000_000, turns=[turn(2.0, 2.0, 1.0)])
    record = dict(
        summary(first, dict(turns=[other(2.5, 2.5)]), batch=4, steps=2),
        config="c", batch=4, steps=2, rounds=1, load_before=3.0,
        machine=dict(cpu="A CPU"), versions=dict(torch="2"), commit="abc",
    )  # fmt: skip
    text = table_of(record)
    assert "beside a load of 3.0, a machine busy with other work" in text
    assert "1,000,000 parameters: an exchange of 4.0 MB takes 100.0 ms, a step of one process 1000 ms" in text
    assert "| two processes, one core each |      6.4 |              1.60 |" in text
    assert "busy" not in table_of(dict(record, load_before=0.1))
    assert "Two that exchange nothing train 1.60 times as fast" in text
    del record["ways"][APART]
    assert "Two that exchange nothing" not in table_of(record)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="processes cannot be put on cores here")
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two cores")
def test_it_measures_and_prints(tmp_path, capsys):
    tiny_config(tmp_path / "run").dump(tmp_path / "tiny.py")
    before = os.sched_getaffinity(0)
    words = [tmp_path / "tiny.py", tmp_path / "record.json", "--rounds", "2", "--steps", "1"]
    rank_speed.main([str(word) for word in words])
    assert os.sched_getaffinity(0) == before
    record = json.loads((tmp_path / "record.json").read_text())
    assert (record["config"], record["batch"], record["rounds"]) == ("tiny", 2, 2)
    assert list(record["ways"]) == [ONE, TWO, APART, THREADS]
    for row in record["ways"].values():
        assert row["images_per_second"] > 0
        assert 0 < row["reading_share"] < 1
    assert record["ways"][ONE]["times_one"] == 1
    assert record["exchange_seconds"] > 0
    assert table_of(record) in capsys.readouterr().out


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system cannot fork")
def test_the_other_process_does_not_wait_for_one_that_failed():
    ranks = [forked(os._exit, 3), forked(time.sleep, 600)]
    with pytest.raises(ValueError, match="a process failed"):
        rank_speed._wait_for(ranks)
    assert [process.exitcode for process in ranks] == [3, -9]
    # Also of one that has failed before anybody waits.
    ranks = [forked(os._exit, 3), forked(time.sleep, 600)]
    ranks[0].join()
    with pytest.raises(ValueError, match="a process failed"):
        rank_speed._wait_for(ranks)


def test_one_core_is_too_few(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)
    with pytest.raises(ValueError, match="two processes are measured on two cores, this machine has one"):
        rank_speed.measure(tiny_config(tmp_path))


def test_the_page_is_written_from_the_record(tmp_path):
    record = ROOT / "docs" / "benchmarks" / "two_ranks_cpu.json"
    (tmp_path / "benchmarks").mkdir()
    if record.is_file():
        (tmp_path / "benchmarks" / record.name).write_bytes(record.read_bytes())
    page = tmp_path / "scaling.md"
    text = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
    head, rest = text.split("<!-- two_ranks_cpu:begin -->")
    page.write_text(
        f"{head}<!-- two_ranks_cpu:begin --><!-- two_ranks_cpu:end -->{rest.split(':end -->', 1)[1]}"
    )
    rank_speed.main(["--render", str(page)])
    assert page.read_text(encoding="utf-8") == text, "run python -m mmlandmark.testing.rank_speed --render"
    assert (table_of(read_json(record)) if record.is_file() else NOT_YET) in text


def test_a_missing_argument_is_told(capsys):
    with pytest.raises(SystemExit):
        rank_speed.main(["config.py"])
    assert "give a config and a JSON file" in capsys.readouterr().err
