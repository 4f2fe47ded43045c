"""Hundreds of changed files here; ten thousand by ``python -m mmlandmark.testing.fuzz``."""

from __future__ import annotations

import json
import mmap
import multiprocessing
import os
import time
from pathlib import Path

import pytest

from mmlandmark.testing import fuzz
from mmlandmark.testing.fuzz import Job, Limits, Plan, counts, faults, run
from mmlandmark.testing.fuzz_annotations import annotation_cases
from mmlandmark.testing.fuzz_case import Case
from mmlandmark.testing.fuzz_images import image_cases
from mmlandmark.testing.fuzz_models import model_cases
from mmlandmark.testing.fuzz_shards import shard_cases

pytestmark = pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="this system cannot fork"
)


def test_no_file_is_a_surprise(tmp_path):
    cases = annotation_cases(tmp_path)
    for package, make in (("SimpleITK", image_cases), ("torch", model_cases), ("torch", shard_cases)):
        pytest.importorskip(package)
        cases += make(tmp_path)
    plan = Plan(cases, tmp_path, seed=0)
    outcomes = run(plan, 300)
    assert faults(plan, outcomes) == []
    rows = counts(plan, outcomes)
    assert sum(row["tried"] for row in rows.values()) == 300
    assert set(rows) == {case.format for case in cases}
    assert all(row["tried"] == row["read"] + row["refused"] for row in rows.values())
    assert sum(row["refused"] for row in rows.values()) > 150


def strange(root, name, read):
    (root / name).mkdir()
    (root / name / "a.bin").write_bytes(bytes(100))
    return Case(name, name, "a.bin", read)


def is_valid(folder):
    return (folder / "a.bin").read_bytes() == bytes(100)


def hangs(folder):
    if not is_valid(folder):
        time.sleep(60)


def dies(folder):
    if not is_valid(folder):
        os._exit(7)


def takes_memory(folder):
    if not is_valid(folder):
        try:
            mmap.mmap(-1, 1 << 28)  # new addresses: a heap might have some to give again
        except OSError as error:
            raise MemoryError from error


def refuses(folder):
    if not is_valid(folder):
        raise ValueError(f"{folder / 'a.bin'} is not valid")


@pytest.mark.slow
def test_hangs_crashes_and_memory_are_faults_and_the_rest_goes_on(tmp_path):
    kinds = dict(hangs=hangs, dies=dies, takes_memory=takes_memory, refuses=refuses)
    plan = Plan([strange(tmp_path, name, read) for name, read in kinds.items()], tmp_path, seed=0)
    outcomes = run(plan, 8, workers=2, limits=Limits(seconds=2, memory=1 << 27))
    ends = {plan.cases[job.case].name: outcome.end for job, outcome in outcomes.items()}
    assert ends == dict(hangs="hang", dies="crash", takes_memory="memory", refuses="refused")
    assert len(outcomes) == 8
    wrong = faults(plan, outcomes, tmp_path / "kept")
    assert [row["fault"] for row in wrong] == ["hang", "hang", "crash", "crash", "memory", "memory"]
    assert wrong[2]["message"] == "the process ended with 7"
    for row in wrong:  # a line of the record is enough to make the file again
        kept = tmp_path / "kept" / f"{row['case']}_{row['number']}" / row["file"]
        again = plan.input(Job(list(kinds).index(row["case"]), row["number"]))
        assert kept.read_bytes() == again.data
        assert row["changes"] == list(again.changes)


def test_a_case_that_is_not_valid_is_no_case(tmp_path):
    case = strange(tmp_path, "one", refuses)
    (tmp_path / "one" / "a.bin").write_bytes(b"other")
    with pytest.raises(ValueError, match=r"a\.bin is not valid"):
        Plan([case], tmp_path, seed=0)


def test_the_record_has_counts_and_faults(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        fuzz, "all_cases", lambda root: [strange(root, "refuses", refuses), strange(root, "dies", dies)]
    )
    record = tmp_path / "record.json"
    assert fuzz.main([str(record), "--count", "4", "--seed", "3"]) == 1
    content = json.loads(record.read_text(encoding="utf-8"))
    assert content["formats"]["refuses"] == dict(tried=2, read=0, refused=2, faults=0)
    assert content["formats"]["dies"]["faults"] == 2
    assert {row["seed"] for row in content["faults"]} == {3}
    assert content["commit"]
    assert "2 refused" in capsys.readouterr().out
    assert fuzz.main([str(record), "--count", "2", "--formats", "refuses"]) == 0
    with pytest.raises(SystemExit):
        fuzz.main([str(record), "--formats", "none"])
    assert "formats are dies, refuses" in capsys.readouterr().err


def test_the_record_is_of_ten_thousand_files_and_none_was_a_fault():
    record = json.loads((Path(__file__).parents[2] / "docs" / "benchmarks" / "fuzz.json").read_text())
    rows = record["formats"].values()
    assert record["count"] == sum(row["tried"] for row in rows) == 10_000
    assert (record["faults"], sum(row["faults"] for row in rows)) == ([], 0)
