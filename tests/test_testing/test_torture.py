"""The time is shared, what went wrong is told, and the table is that of the record."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from mmlandmark.testing import torture
from mmlandmark.testing.torture import PARTS, main, table_of

DOCS = Path(__file__).parents[2] / "docs"
RECORD = DOCS / "benchmarks" / "torture.json"


@pytest.fixture
def parts(monkeypatch):
    """Three parts in place of those that take minutes."""

    def works(given):
        while given.goes_on:
            given.note("a kill", None)
            time.sleep(0.01)

    def loses(given):
        given.note("a file", None)
        given.note("another", "2 differ")

    def breaks(given):
        assert not list(given.root.iterdir())
        raise OSError("no room")

    made = {"works": (works, 1), "loses": (loses, 2), "breaks": (breaks, 1)}
    monkeypatch.setattr(torture, "PARTS", made)
    return made


def test_the_time_is_shared_and_faults_are_told(parts, tmp_path):
    found = torture.torture(list(parts), 0.4, 0, tmp_path)
    assert 0.1 <= found["works"]["seconds"] < 0.4
    assert found["works"]["ok"] == found["works"]["tried"] > 2
    assert (found["loses"]["tried"], found["loses"]["ok"]) == (2, 1)
    assert found["loses"]["faults"] == [dict(what="another", fault="2 differ")]
    assert found["breaks"]["faults"] == [dict(what="the part itself", fault="OSError: no room")]
    assert list(tmp_path.iterdir()) == []


def test_every_part_tries_something_however_short_the_time(parts, tmp_path):
    assert torture.torture(["works"], 0.0, 0, tmp_path)["works"]["tried"] == 1


@pytest.mark.parametrize(("names", "code"), [(["works"], 0), (["works", "loses"], 1)])
def test_the_command_writes_the_record_and_the_page(parts, tmp_path, monkeypatch, capsys, names, code):
    monkeypatch.setattr(torture, "torture", lambda *given, f=torture.torture: f(given[0], 0.05, *given[2:]))
    page, path = tmp_path / "page.md", tmp_path / "record.json"
    page.write_text("# Torture\n<!-- torture:begin -->\n<!-- torture:end -->\n")
    words = [str(path), "--minutes", "1", "--seed", "3", "--page", str(page), "--parts", *names]
    assert main(words) == code
    record = json.loads(path.read_text())
    assert (record["minutes"], record["seed"], list(record["parts"])) == (1, 3, names)
    assert {"machine", "versions", "commit"} <= set(record)
    told = capsys.readouterr().out
    assert table_of(record) in told
    assert ('fault in loses: {"what": "another", "fault": "2 differ"}' in told) == bool(code)
    assert table_of(record) in page.read_text()


def test_the_table_has_a_row_for_each_part():
    record = dict(parts={"full disks": dict(tried=12, ok=11)})
    assert table_of(record).splitlines()[-1].split() == ["|", "full", "disks", "|", "12", "|", "11", "|"]


def test_all_that_can_happen_is_a_part():
    kinds = ("kill -9: sweep", "kill -9: one-shot plan", "changed files", "malicious files", "long run")
    harm = ("damaged checkpoints", "damaged notes", "full disks", "killed and stopped processes")
    runs = ("requests to stop", "invalid batches", "claimed sizes", "shards", "two nodes")
    assert {*kinds, *harm, *runs} <= set(PARTS)


@pytest.mark.skipif(not RECORD.is_file(), reason="torture is not recorded yet")
def test_nothing_was_lost_in_the_record_and_the_page_has_its_table():
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    assert list(record["parts"]) == list(PARTS)
    assert all(part["tried"] == part["ok"] > 0 for part in record["parts"].values())
    assert table_of(record) in (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
