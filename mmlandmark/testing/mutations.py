"""A seeded mutator: what may become of a file by damage, by a slip, or on purpose."""

from __future__ import annotations

import gzip
import json
import re
import struct
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

_WORDS = (
    "nan inf -inf -1 0 1e999 1e-400 true null [] {} =1+1 1_0 0x10 1,5 1.5 - #REF! ' \" \\ ~ ; , = NaN 1e30 "
    "-0 %s {0} ../../x C:\\x.png 100000 4294967296"
)
_LETTERS = ("\n", "\r", "\t", "\0", "\u0661", "\ufeff", "\u2028", "\U0001f600")
TOKENS = (*_WORDS.split(), *_LETTERS, '""', "9" * 400, "a" * 300)
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1.5, 1e308, -1e30, 10**400, 2**63, 100_000, float("nan"), float("inf")),
    *("", "1", "x\ny", "a" * 300, "\ud800", "..", "/etc/passwd", "nan"),
    *([], {}, [[]], [[[]]], [None], {"a": 1}, [1, 2, 3]),
)
# Extremes of the numbers in a header, by their size in bytes.
EXTREMES = {
    1: (0, 1, 0x7F, 0x80, 0xFF),
    2: (0, 1, 0x7FFF, 0x8000, 0xFFFF),
    4: (0, 1, 100_000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x7F800000, 0x7FC00000),  # inf and NaN, too
    8: (0, 1, 2**31, 2**63 - 1, 2**63, 2**64 - 1, 0x7FF0000000000000, 0x7FF8000000000000),
}
_HEADER = 512  # bytes; most headers are shorter
_LONGEST = 1 << 20  # bytes of a changed file: sizes are the matter of what a file claims, not of what it is

Change = Callable[[bytes, np.random.Generator], bytes]


def mutate(
    data: bytes, rng: np.random.Generator, text: bool = False, others: Sequence[bytes] = ()
) -> tuple[bytes, tuple[str, ...]]:
    """Return a changed copy of a file, and the names of the changes.

    Args:
        data: Content of a valid file.
        rng: Source of the draws; the same state gives the same changes.
        text: Whether the file is text, so that its fields, lines and encoding change, too.
        others: Further valid files, for splices.
    """
    changes: list[tuple[str, Change]] = [*_OF_BYTES, ("splice", partial(_splice, others=(data, *others)))]
    if text:
        changes = [*changes, *_OF_TEXT, *_OF_TEXT]
    names = []
    for _ in range(int(rng.integers(1, 4))):
        name, change = changes[rng.integers(len(changes))]
        data = change(data, rng)[:_LONGEST]
        names.append(name)
    return data, tuple(names)


# ---- any file -------------------------------------------------------------------------------------------


def _flip(data: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(data or b"0")
    for _ in range(int(rng.integers(1, 5))):
        changed[rng.integers(len(changed))] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _bytes(data: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(data or b"0")
    for _ in range(int(rng.integers(1, 5))):
        changed[rng.integers(len(changed))] = int(rng.integers(256))
    return bytes(changed)


def _extreme(data: bytes, rng: np.random.Generator) -> bytes:
    """Replace a number, more often one of the header, by an extreme one."""
    size = (1, 2, 4, 8)[rng.integers(4)]
    end = len(data) if rng.integers(4) == 0 else min(len(data), _HEADER)
    if end < size:
        return data
    at = int(rng.integers(end - size + 1))
    if rng.integers(2):
        at -= at % size
    value = EXTREMES[size][rng.integers(len(EXTREMES[size]))]
    number = value.to_bytes(size, ("little", "big")[rng.integers(2)])
    return data[:at] + number + data[at + size :]


def _span(data: bytes, rng: np.random.Generator) -> tuple[int, int]:
    first, last = sorted(int(place) for place in rng.integers(0, len(data) + 1, 2))
    return first, last


def _cut(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: _span(data, rng)[0]]


def _drop(data: bytes, rng: np.random.Generator) -> bytes:
    first, last = _span(data, rng)
    return data[:first] + data[last:]


def _turn(data: bytes, rng: np.random.Generator) -> bytes:
    _, last = _span(data, rng)
    return data[last:] + data[:last]


def _insert(data: bytes, rng: np.random.Generator) -> bytes:
    first, _ = _span(data, rng)
    return data[:first] + rng.bytes(int(rng.integers(1, 40))) + data[first:]


def _repeat(data: bytes, rng: np.random.Generator) -> bytes:
    first, last = _span(data, rng)
    times = (2, 3, 100, 1000)[rng.integers(4)]
    return data[:first] + data[first : first + min(last - first, 400)] * times + data[last:]


def _splice(data: bytes, rng: np.random.Generator, others: Sequence[bytes]) -> bytes:
    """Join the begin of a file and the end of another one."""
    other = others[int(rng.integers(len(others)))]
    return data[: _span(data, rng)[0]] + other[_span(other, rng)[0] :]


# ---- text -----------------------------------------------------------------------------------------------


def _token(data: bytes, rng: np.random.Generator) -> bytes:
    text = data.decode("utf-8", "replace")
    place = _match(r"(?<!\w)(?:-?\d+\.?\d*|\w+)|[^\w\s]", text, rng)
    if place is None:
        return data
    token = TOKENS[rng.integers(len(TOKENS))]
    if rng.integers(3) == 0 and len(place[0]) > 2:  # a slip of the keyboard
        at = int(rng.integers(len(place[0]) - 1))
        token = place[0][:at] + place[0][at + 1] + place[0][at] + place[0][at + 2 :]
    return (text[: place.start()] + token + text[place.end() :]).encode("utf-8", "replace")


def _match(pattern: str, text: str, rng: np.random.Generator) -> re.Match[str] | None:
    """Return the first match behind a place that is drawn, or else the first of all."""
    at = int(rng.integers(len(text) + 1))
    return re.compile(pattern).search(text, at) or re.search(pattern, text)


def _lines(data: bytes, rng: np.random.Generator) -> bytes:
    lines = data.split(b"\n")
    one, other = (int(place) for place in rng.integers(0, len(lines), 2))
    choice = rng.integers(4)
    if choice == 0:
        lines[one], lines[other] = lines[other], lines[one]
    elif choice == 1:
        lines.insert(one, lines[other])
    elif choice == 2:
        del lines[one]
    else:
        lines[one] = b""
    return b"\n".join(lines)


def _nest(data: bytes, rng: np.random.Generator) -> bytes:
    """Put a value of JSON or YAML inside of many others."""
    text = data.decode("utf-8", "replace")
    place = _match(r"(?<=[\[:,] )[^\s,\]}]+", text, rng) or _match(r"\S+", text, rng)
    if place is None:
        return data
    begin, end = (("[", "]"), ('{"a": ', "}"))[rng.integers(2)]
    times = (3, 50, 300, 3000, 30_000)[rng.integers(5)]
    return (text[: place.start()] + begin * times + place[0] + end * times + text[place.end() :]).encode()


def _json(data: bytes, rng: np.random.Generator) -> bytes:
    """Change the type of a value, or add, rename or remove a key, where the text is JSON."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return _token(data, rng)
    places: list[tuple[Any, Any]] = []

    def walk(value: Any) -> None:
        keys = (
            list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
        )
        for key in keys:
            places.append((value, key))
            walk(value[key])

    try:
        walk(content)
        _change_value(places, rng)
        return json.dumps(content if places else VALUES[rng.integers(len(VALUES))]).encode()
    except (RecursionError, ValueError):  # it is nested already, or has a number of thousands of digits
        return data


def _change_value(places: list[tuple[Any, Any]], rng: np.random.Generator) -> None:
    if not places:
        return
    inside, key = places[rng.integers(len(places))]
    choice = rng.integers(5)
    if choice <= 2:
        inside[key] = VALUES[rng.integers(len(VALUES))]
    elif choice == 3:
        del inside[key]
    elif isinstance(inside, dict):
        name = str(key)
        inside[name[:1] + name[2:] + name[1:2]] = inside.pop(key)
    else:
        inside.insert(key, inside[key])


def _encoding(data: bytes, rng: np.random.Generator) -> bytes:
    text = data.decode("utf-8", "replace")
    encodings = ("utf-16", "utf-16-le", "utf-8-sig", "utf-32", "cp1252", "utf-8")
    text = text.replace("\n", ("\n", "\r\n", "\r")[rng.integers(3)])
    return text.encode(encodings[rng.integers(len(encodings))], "replace")


_OF_BYTES: tuple[tuple[str, Change], ...] = (
    ("flip", _flip), ("bytes", _bytes), ("extreme", _extreme), ("extreme", _extreme), ("cut", _cut),
    ("drop", _drop), ("turn", _turn), ("insert", _insert), ("repeat", _repeat),
)  # fmt: skip
_OF_TEXT: tuple[tuple[str, Change], ...] = (
    ("token", _token), ("token", _token), ("lines", _lines), ("nest", _nest), ("json", _json),
    ("json", _json), ("encoding", _encoding),
)  # fmt: skip


# ---- behind a checksum ----------------------------------------------------------------------------------


def with_png_checksums(data: bytes) -> bytes:
    """Return a PNG with the checksums that belong to its chunks, as far as these can be told."""
    fixed, at = bytearray(data), 8
    while at + 12 <= len(fixed):
        end = at + 8 + struct.unpack_from(">I", fixed, at)[0]
        if end + 4 > len(fixed):
            break
        struct.pack_into(">I", fixed, end, zlib.crc32(fixed[at + 4 : end]))
        at = end + 4
    return bytes(fixed)


def gunzipped(data: bytes) -> bytes:
    """Return the content of a gzip file."""
    return gzip.decompress(data)


def gzipped(data: bytes) -> bytes:
    """Return a gzip file, without a time."""
    return gzip.compress(data, compresslevel=1, mtime=0)
