"""Progress of a long command: a bar with rate and remaining time on a terminal, else a line now and then."""

from __future__ import annotations

import datetime
import sys
import time
from typing import Any, TextIO

QUIET_SECONDS = 10.0  # shortest time between two lines where there is no terminal


class Progress:
    """Shows how many of a number of things are done, how fast, and when the rest will be.

    What was done before does not count for the speed.

    Args:
        total: Number of things.
        before: How many of them were done before.
        unit: What they are, in the plural.
        stream: Where to write; standard error by default, so that results on standard output stay alone.
    """

    def __init__(
        self, total: int, before: int = 0, unit: str = "images", stream: TextIO | None = None
    ) -> None:
        self.total, self.before, self.done, self.unit = total, before, before, unit
        self.stream = sys.stderr if stream is None else stream
        self._begun = self._said = time.monotonic()
        self._bar = _bar(total, before, unit, self.stream) if self.stream.isatty() else None

    def __enter__(self) -> Progress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    @property
    def rate(self) -> float:
        """Things per second in this call; 0 before the first."""
        seconds = time.monotonic() - self._begun
        return (self.done - self.before) / seconds if seconds > 0 else 0.0

    def advance(self, count: int) -> None:
        """Count things that are done, and show it."""
        self.done += count
        if self._bar is not None:
            self._bar.update(
                self._bar.task_ids[0], completed=self.done, rate=f"{self.rate:.3g} {self.unit}/s"
            )
        elif time.monotonic() - self._said >= QUIET_SECONDS:
            self._said = time.monotonic()
            print(self.line(), file=self.stream, flush=True)

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            print(text, file=self.stream, flush=True)

    def line(self) -> str:
        """Return the state in one line."""
        text = f"{self.done:,} of {self.total:,} {self.unit}, {self.rate:.3g} {self.unit}/s"
        left = self.total - self.done
        if not left or not self.rate:
            return text
        return f"{text}, ETA {datetime.timedelta(seconds=round(left / self.rate))}"


def _bar(total: int, before: int, unit: str, stream: TextIO) -> Any:
    from rich import progress
    from rich.console import Console

    columns = (
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TextColumn(unit),
        progress.TextColumn("{task.fields[rate]}"),
        progress.TextColumn("ETA"),
        progress.TimeRemainingColumn(),
    )
    bar = progress.Progress(*columns, console=Console(file=stream))
    bar.add_task("", total=total, completed=before, rate="")
    return bar
