"""Every place gets one kind of malicious file here, all kinds by ``mmlandmark.testing.attacks``."""

from __future__ import annotations

import json
import multiprocessing
import os
from pathlib import Path

import pytest

from mmlandmark.cli.entry import COMMANDS, make_parser
from mmlandmark.testing import attacks
from mmlandmark.testing.attacks import Ended, attack, call
from mmlandmark.testing.file_places import BASE, NO_FILES, Place, make_site, places, words_of
from mmlandmark.testing.forks import without_threads
from mmlandmark.testing.malicious_files import KINDS
from part_of_cases import ALL

pytestmark = pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="this system cannot fork"
)
RECORD = Path(__file__).parents[2] / "docs" / "benchmarks" / "attacks.json"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return make_site(tmp_path_factory.mktemp("site"))


def test_no_file_is_run_wherever_it_is_given(site, tmp_path):
    kinds, every = list(KINDS), list(places())
    chosen = [(place, kinds[number % len(kinds)]) for number, place in enumerate(every)]
    rows = attack(chosen if ALL else chosen[::5], site, tmp_path)
    assert [row for row in rows if Ended(row["end"]).is_fault] == []
    assert len(every) > 120
    assert sum(row["end"] == "refused" for row in rows) > len(rows) / 2


OF_CONFIGS = [name for name, base in BASE.items() if any("{config}" in words for words in base.values())]


@pytest.mark.parametrize("command", [*OF_CONFIGS, "sweep"])
def test_every_command_takes_a_frozen_config(site, tmp_path, command):
    with without_threads():
        ended = call(Place(command, words_of(command, BASE[command]), ""), "names.json", site, tmp_path)
    assert ended.end == "done", ended.message


def test_the_commands_of_configs_are_known():
    named = {name for name in COMMANDS for action in make_parser(name)._actions if action.dest == "config"}
    assert named <= {*OF_CONFIGS, *NO_FILES}
    assert len(OF_CONFIGS) > 10


def loads(words):
    import pickle

    pickle.loads(Path(words[0]).read_bytes())


def dies(words):
    os._exit(5)


def raises(words):
    raise AttributeError("not told")


def refuses(words):
    raise ValueError(f"{words[0]}: no")


@pytest.mark.parametrize(
    ("body", "end"),
    [(loads, "trace"), (dies, "crash"), (raises, "traceback"), (refuses, "refused"), (len, "done")],
)
def test_how_a_call_may_end(tmp_path, monkeypatch, body, end):
    monkeypatch.setattr("mmlandmark.cli.entry.invoke", lambda command, words: body(words))
    ended = call(Place("predict", ("{file}",), "model"), "pickle.pth", {}, tmp_path)
    assert ended.end == end
    assert ended.is_fault == (end not in ("refused", "done"))


def test_a_call_that_takes_too_long_is_stopped(tmp_path, monkeypatch):
    def forever(command, words):
        while True:
            pass

    monkeypatch.setattr("mmlandmark.cli.entry.invoke", forever)
    monkeypatch.setattr(attacks, "SECONDS", 1)
    assert call(Place("predict", (), "model"), "pickle.pth", {}, tmp_path).end == "hang"


def test_the_record_counts_by_command(tmp_path, monkeypatch, capsys):
    chosen = [Place("predict", ("{file}",), "model"), Place("test", ("{file}",), "config")]
    monkeypatch.setattr(attacks, "places", lambda: iter(chosen))
    monkeypatch.setattr(attacks, "make_site", lambda root: {})
    monkeypatch.setattr("mmlandmark.cli.entry.invoke", lambda command, words: refuses(words))
    assert attacks.main([str(tmp_path / "a.json"), "--commands", "test"]) == 0
    content = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert (content["calls"], content["faults"]) == (len(KINDS), [])
    assert content["commands"] == {"test": {"refused": len(KINDS)}}
    assert "refused" in capsys.readouterr().out


@pytest.mark.skipif(not RECORD.is_file(), reason="attacks are not recorded yet")
def test_the_record_is_of_all_places_and_no_file_did_harm():
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    assert record["faults"] == []
    assert record["calls"] == sum(sum(ends.values()) for ends in record["commands"].values()) > 1400
