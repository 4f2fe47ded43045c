"""A damaged file that trainings go on from is refused by its name, or changes nothing."""

from __future__ import annotations

import multiprocessing
import time

import numpy as np
import pytest

from mmlandmark.testing import torture_notes
from mmlandmark.testing.torture_parts import Try
from mmlandmark.utils.files import write_state

pytestmark = pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="this system cannot fork"
)


@pytest.mark.slow
def test_a_training_with_a_damaged_note_ends_like_one_without(tmp_path):
    given = Try(tmp_path, time.monotonic(), 1)
    torture_notes.damaged_notes(given)
    (row,) = given.rows
    assert row["fault"] is None, row


@pytest.mark.parametrize(
    ("ends", "fault"),
    [
        ([(0, "")], None),  # it was not read
        ([(1, "error: run.json: the file is damaged"), (0, "")], None),
        ([(1, "error: run.json: the file is damaged"), (1, "error: again")], "it ended with 1: error: again"),
        ([(1, "error: a file is damaged")], "it was not refused by its name: error: a file is damaged"),
        ([(1, "Traceback\nKeyError: run.json")], "it was not refused by its name: Traceback"),
        ([(-11, "")], "it ended with -11: "),
    ],
)
def test_how_a_training_with_a_damaged_note_may_end(tmp_path, monkeypatch, ends, fault):
    left, whole, calls = iter(ends), tmp_path / "whole", []
    write_state(whole / "run.json", dict(config_hash="abc"))
    damaged = tmp_path / "damaged" / "run.json"

    def run_forked(words, moment, log):
        status, text = next(left)
        calls.append(damaged.read_bytes() == (whole / "run.json").read_bytes())
        log.write_text(text)
        return status

    monkeypatch.setattr(torture_notes, "run_forked", run_forked)
    monkeypatch.setattr(torture_notes, "left_behind", lambda folder: {})
    site = torture_notes._Noted(["train"], (whole, whole), {})
    what, found = torture_notes._with_damaged_note(site, tmp_path / "damaged", np.random.default_rng(0))
    assert what.startswith("run.json: ")
    assert calls == [False, True][: len(ends)], "then with the file as it was"
    assert found is None if fault is None else str(found).startswith(fault)
