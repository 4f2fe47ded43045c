"""Names of what commands write into folders, so that no picture of a result is taken for an image."""

from __future__ import annotations

from collections.abc import Iterable

JOURNAL = "journal.jsonl"  # of predictions
OVERLAYS = "overlays"  # folder beside it, of pictures with landmarks
CONFIG, PLAN = "config.py", "plan.json"
RUN, CACHE = "run", "cache"  # folders beside these


def result_folders(files: Iterable[str]) -> tuple[str, ...]:
    """Return the names of folders with pictures of results, by the names of the files beside them.

    Example:
        >>> result_folders(["a.png", "journal.jsonl"])
        ('overlays',)
    """
    names = set(files)
    found: tuple[str, ...] = (OVERLAYS,) if JOURNAL in names else ()
    return (*found, RUN, CACHE) if {CONFIG, PLAN} <= names else found
