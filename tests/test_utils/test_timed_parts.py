"""Parts of a timed run: each leaves its report, whatever happens to it."""

from __future__ import annotations

import json
import sys
import time

import pytest

from mmlandmark.utils import timed_parts
from mmlandmark.utils.timed_parts import Part, run_limited, run_parts


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def part(name: str, *codes: str, minutes: float = 1.0, **options) -> Part:
    return Part(name, lambda _: [python(code) for code in codes], minutes, **options)


def test_a_failing_part_does_not_stop_the_next(tmp_path):
    parts = [
        part("first", "print('one')", "import sys; print('two'); sys.exit(3)", "print('never')"),
        part("second", "import os; print(os.environ['WISH'])", environment={"WISH": "granted"}),
    ]
    reports = run_parts(parts, tmp_path, 1.0, dict(device="cpu"))
    assert [report["status"] for report in reports] == ["failed", "done"]
    first, second = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("first", "second"))
    assert first["exit_codes"] == [0, 3]
    assert first["output_tail"] == "one\ntwo\n"
    assert len(first["commands"]) == 2
    assert (second["device"], second["output_tail"]) == ("cpu", "granted\n")


def test_reports_are_written_as_soon_as_a_part_ends(tmp_path):
    look = f"import pathlib; assert pathlib.Path({str(tmp_path)!r}, 'early.json').exists()"
    reports = run_parts([part("early", "pass"), part("late", look)], tmp_path, 1.0, {})
    assert reports[1]["status"] == "done"


@pytest.mark.slow
def test_a_part_ends_in_time_with_all_it_started(tmp_path, monkeypatch):
    monkeypatch.setattr(timed_parts, "GRACE", 0.2)
    alive = tmp_path / "alive"
    # A grandchild that ignores requests to stop, and would write later.
    stubborn = (
        f"import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(3); open({str(alive)!r}, 'w')"
    )
    code = (
        "import subprocess, sys; print('begun', flush=True); "
        f"subprocess.run([sys.executable, '-c', {stubborn!r}])"
    )
    start = time.monotonic()
    (report,) = run_parts([part("slow", code, minutes=1.5 / 60)], tmp_path, 1.0, {})
    assert time.monotonic() - start < 3
    assert (report["status"], report["exit_codes"], report["output_tail"]) == ("timed out", [None], "begun\n")
    time.sleep(max(0.0, start + 4 - time.monotonic()))
    assert not alive.exists()


def test_what_cannot_run_is_skipped_with_a_reason(tmp_path):
    never = part("never", "raise SystemExit('ran')", missing="no GPU")
    late = part("late", "raise SystemExit('ran')")
    reports = run_parts([never], tmp_path, 1.0, {}) + run_parts([late], tmp_path, 0.0, {})
    assert [(r["status"], r["reason"]) for r in reports] == [
        ("skipped", "no GPU"),
        ("skipped", "no time was left"),
    ]


def test_commands_know_how_many_minutes_are_left(tmp_path):
    timed = Part("timed", lambda minutes: [python(f"print({minutes})")], 2.0)
    (report,) = run_parts([timed], tmp_path, 0.5, {})
    assert 0.4 < float(report["output_tail"]) <= 0.5


def test_an_allowed_code_is_no_failure(tmp_path):
    (report,) = run_parts(
        [part("stopped", "raise SystemExit(75)", "pass", allowed_codes=(0, 75))], tmp_path, 1.0, {}
    )
    assert (report["status"], report["exit_codes"]) == ("done", [75, 0])


@pytest.mark.parametrize(("code", "status"), [("pass", "done"), ("raise SystemExit(1)", "failed")])
def test_results_are_kept_whichever_way_a_part_ends(tmp_path, code, status):
    (report,) = run_parts([part("counted", code, results=lambda: dict(count=3))], tmp_path, 1.0, {})
    assert (report["status"], report["results"]) == (status, {"count": 3})


def test_results_that_cannot_be_read_are_a_failure(tmp_path):
    def broken():
        raise FileNotFoundError("no report.xml")

    (report,) = run_parts([part("broken", "print('ran')", results=broken)], tmp_path, 1.0, {})
    assert report["status"] == "failed"
    assert report["reason"] == "results: FileNotFoundError: no report.xml"
    assert report["output_tail"] == "ran\n"
    (late,) = run_parts(
        [part("late", "import time; time.sleep(9)", minutes=1 / 60 + 0.01, results=broken)], tmp_path, 1.0, {}
    )
    assert late["status"] == "timed out"


def test_a_command_that_does_not_exist_is_a_failure(tmp_path):
    missing = Part("missing", lambda _: [["no-such-program-here"]], 1.0)
    reports = run_parts([missing, part("next", "pass")], tmp_path, 1.0, {})
    assert [report["status"] for report in reports] == ["failed", "done"]
    assert "no-such-program-here" in reports[0]["output_tail"]


def test_output_is_passed_on(capfd):
    assert run_limited(python("print('seen')"), 10, {}) == (0, "seen\n")
    assert "seen" in capfd.readouterr().out
