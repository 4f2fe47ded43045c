"""Logs that end at a size: a training may go on for months.

Of a text the beginning and the end are kept; of numbers over steps, and of pictures, some evenly over all.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmlandmark.utils.files import atomic_path

LOG_MIB = 32.0  # of the text of a run, and of its numbers
PICTURES_MIB = 512.0  # of the pictures of a run
LEFT_OUT = "[lines are left out here, to keep the log below env_cfg.log_mib]\n"


def bytes_of(mib: Any, name: str) -> int | None:
    """Return the bytes of a limit in MiB; None for no limit.

    Raises:
        ValueError: It is no number of at least 1/64, or not None; the message says ``name``.
    """
    if mib is None:
        return None
    if isinstance(mib, bool) or not isinstance(mib, int | float) or not 1 / 64 <= mib < math.inf:
        raise ValueError(
            f"{name} is a size in MiB, at least 1/64 (0.015625), or None for no limit; got {mib!r}"
        )
    return int(mib * 2**20)


def shorten_text(path: Path, limit: int) -> None:
    """Leave out the middle of a text file: its first and its last quarter of ``limit`` bytes stay."""
    data, part = path.read_bytes(), limit // 4
    head, tail = data[:part], data[-part:]
    first = head[: head.rfind(b"\n") + 1]
    last = tail[tail.find(b"\n") + 1 :]
    _write(path, first + LEFT_OUT.encode() + last.replace(LEFT_OUT.encode(), b""))


class Entry(NamedTuple):
    """Something that was logged.

    Attributes:
        kind: What has the same is thinned together.
        step: Of the training.
        size: Bytes.
    """

    kind: Hashable
    step: float
    size: int


def evenly_kept(entries: Sequence[Entry], room: float) -> list[int]:
    """Return the places of entries that stay, evenly over the steps of each kind.

    The kind that takes most room is thinned first. The first and the last entry of each stay, whatever their
    size.

    Args:
        entries: In the order in which they were logged.
        room: Bytes for all that stay.
    """
    places: dict[Hashable, list[int]] = defaultdict(list)
    for place, entry in enumerate(entries):
        places[entry.kind].append(place)
    sizes = {kind: sum(entries[place].size for place in of_kind) for kind, of_kind in places.items()}
    gaps = {
        kind: abs(entries[of_kind[-1]].step - entries[of_kind[0]].step) / len(of_kind)
        for kind, of_kind in places.items()
    }
    while sum(sizes.values()) > room and any(len(of_kind) > 2 for of_kind in places.values()):
        kind = max((one for one in places if len(places[one]) > 2), key=lambda one: sizes[one])
        gaps[kind] *= 1.25
        steps = [entries[place].step for place in places[kind]]
        places[kind] = [places[kind][n] for n in _apart(steps, gaps[kind])]
        sizes[kind] = sum(entries[place].size for place in places[kind])
    return sorted(place for of_kind in places.values() for place in of_kind)


def _apart(steps: Sequence[float], gap: float) -> list[int]:
    """Return the places of the first and the last step, and of others that lie a gap or more apart."""
    if not gap:  # all are of one step
        return [0, len(steps) - 1]
    kept = [0]
    for place, step in enumerate(steps[:-1]):
        if abs(step - steps[kept[-1]]) >= gap:
            kept.append(place)
    return [*kept, len(steps) - 1]


def thin_rows(path: Path, limit: int) -> None:
    """Leave out rows of a file of JSON objects, one a line, until half of ``limit`` is enough for it.

    Rows of the same keys are of one kind, such as those of steps and those of validations. A row that is
    not whole, as a kill may leave it, is left out.
    """
    lines, entries = [], []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(keepends=True)):
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(row, dict):
            lines.append(line)
            step = row["step"] if _is_number(row.get("step")) else number
            entries.append(Entry(tuple(sorted(row)), step, len(line.encode())))
    _write(path, "".join(lines[place] for place in evenly_kept(entries, limit / 2)).encode())


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _write(path: Path, data: bytes) -> None:
    with atomic_path(path, len(data), durable=False) as temporary:
        temporary.write_bytes(data)


def total_size(paths: Iterable[Path]) -> int:
    """Return the bytes of files; one that is gone has none."""
    return sum(path.stat().st_size for path in paths if path.is_file())
