"""Everything that may happen to trainings and files, for some minutes: nothing may be lost or pass unnoticed.

``python -m mmlandmark.testing.torture RECORD.json --minutes 30`` shares its time over kills of every method,
changed and malicious files, damaged checkpoints, full disks, processes and nodes that are killed or stopped,
requests to stop, invalid batches, huge claims of headers, shards, and a long run. The record counts what was
tried and what ended well, for every part; each part tries one thing at least.
The exit code is 1 if there are faults.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from mmlandmark.evaluation.record import git_commit, machine, versions
from mmlandmark.testing import torture_parts
from mmlandmark.testing.torture_notes import NOTE_PARTS
from mmlandmark.testing.torture_parts import Try
from mmlandmark.testing.torture_runs import MORE_PARTS
from mmlandmark.utils.command_line import natural_number, positive_number
from mmlandmark.utils.files import atomic_write_json
from mmlandmark.utils.table_text import markdown_table, rewrite

PARTS = torture_parts.PARTS | NOTE_PARTS | MORE_PARTS


def torture(names: Sequence[str], seconds: float, seed: int, root: Path) -> dict[str, dict[str, Any]]:
    """Go through parts; return for each how much was ``tried`` and ``ok``, its ``seconds`` and ``faults``.

    Args:
        names: Keys of :data:`PARTS`.
        seconds: For all of them; what one leaves or takes too much is shared by those after it.
        seed: Of everything random.
        root: Folder for all of them.
    """
    end, found = time.monotonic() + seconds, dict[str, dict[str, Any]]()
    for place, name in enumerate(names):
        part, share = PARTS[name]
        began = time.monotonic()
        left = sum(PARTS[other][1] for other in names[place:])
        folder = root / str(place)
        folder.mkdir()
        given = Try(folder, began + max(0.0, end - began) * share / left, seed)
        try:
            part(given)
        except Exception as error:  # whatever it is, the other parts have their turn
            given.note("the part itself", f"{type(error).__name__}: {error}")
        shutil.rmtree(folder, ignore_errors=True)
        wrong = [row for row in given.rows if row["fault"] is not None]
        found[name] = dict(
            tried=len(given.rows),
            ok=len(given.rows) - len(wrong),
            seconds=round(time.monotonic() - began, 1),
            faults=wrong,
        )
        print(f"{name:<32} {found[name]['ok']:>6} of {found[name]['tried']}", flush=True)
    return found


def table_of(record: Mapping[str, Any]) -> str:
    """Return the counts of a record as a table."""
    rows = [[name, f"{part['tried']}", f"{part['ok']}"] for name, part in record["parts"].items()]
    return markdown_table(["what", "tried", "ended well"], rows, padded=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Torture, print the table, and write the record; return 1 if there are faults."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("record", type=Path, help="JSON file for the result")
    parser.add_argument("--minutes", type=positive_number, default=30, help="for all parts; default 30")
    parser.add_argument("--seed", type=natural_number, default=0, help="of everything random; default 0")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), metavar="PART", help="only these")
    parser.add_argument(
        "--page", type=Path, help="also write the table between the marks of a page, <!-- torture:begin -->"
    )
    args = parser.parse_args(arguments)
    made_by = dict(machine=machine(), versions=versions(), commit=git_commit())
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="mmlandmark_") as folder:
        parts = torture(args.parts or list(PARTS), 60.0 * args.minutes, args.seed, Path(folder))
    record = dict(made_by, minutes=args.minutes, seed=args.seed, parts=parts)
    atomic_write_json(args.record, record)
    print(table_of(record))
    for name, part in parts.items():  # last, where a reader of a long log looks first
        for row in part["faults"]:
            print(f"fault in {name}: {json.dumps(row)}", flush=True)
    if args.page is not None:
        rewrite(args.page, "torture", table_of(record))
    return int(any(part["faults"] for part in parts.values()))


if __name__ == "__main__":
    sys.exit(main())
