"""Progress: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import io
import time

import pytest

from mmlandmark.utils import progress
from mmlandmark.utils.progress import Progress


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch):
    """Return a clock that a test sets."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_a_line_now_and_then(clock):
    stream = io.StringIO()
    with Progress(1000, before=200, stream=stream) as shown:
        shown.advance(10)
        assert stream.getvalue() == ""
        clock[0] += progress.QUIET_SECONDS
        shown.advance(10)
        shown.advance(10)
    assert stream.getvalue() == "220 of 1,000 images, 2 images/s, ETA 0:06:30\n", (
        "what was done before is not counted"
    )
    shown.say("a word")
    assert stream.getvalue().endswith("a word\n")


def test_the_end_has_no_eta(clock):
    shown = Progress(3, stream=io.StringIO())
    assert shown.line() == "0 of 3 images, 0 images/s"
    clock[0] += 1.5
    shown.advance(3)
    assert shown.line() == "3 of 3 images, 2 images/s"


def test_a_bar_on_a_terminal():
    stream = Terminal()
    with Progress(4, before=1, unit="films", stream=stream) as shown:
        shown.advance(2)
        shown.say("failed: [red] 1.png")
        shown.advance(1)
    assert "4/4" in stream.getvalue()
    assert "films/s" in stream.getvalue()
    assert "failed: [red] 1.png" in stream.getvalue(), "a name is no markup"
