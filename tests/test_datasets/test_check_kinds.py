"""The table of kinds of fault."""

from __future__ import annotations

import re
from pathlib import Path

from mmlandmark.datasets.check_kinds import KINDS, SEVERITIES

FOLDER = Path(__file__).parents[2] / "mmlandmark" / "datasets"


def test_every_kind_says_what_it_means_and_what_to_do():
    for name, kind in KINDS.items():
        assert kind.severity in SEVERITIES, name
        assert kind.meaning.endswith("."), name
        assert kind.advice, name
        assert kind.advice[-1] != ".", name  # it ends a sentence of the report


def test_every_kind_is_found_by_some_check():
    readers = [FOLDER / "readers", FOLDER]
    sources = [p for folder in readers for p in folder.glob("*.py") if p.name != "check_kinds.py"]
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    used = set(re.findall(r'"([a-z][a-z -]+)"', text))
    made = {f"{kind} leak" for kind in ("sample", "group", "image")}  # their names are put together
    assert set(KINDS) - used - made == set()
