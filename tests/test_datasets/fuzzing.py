"""A seeded mutator of small valid files of every reader, and what must hold whatever comes of them.

    python tests/test_datasets/fuzzing.py --count 10000 --seed 0

An input is read, or refused with a ValueError or FileNotFoundError that names its file. What is read makes
sense: points are numbers or missing, as many as the schema has; ids are names; spacings are positive.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import signal
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ALLOWED = (ValueError, FileNotFoundError)
SECONDS = 20  # of one input
TOKENS = (
    *(
        "nan",
        "inf",
        "-inf",
        "-1",
        "0",
        "1e999",
        "1e-400",
        "true",
        "null",
        '""',
        "[]",
        "{}",
        "=1+1",
        "9" * 400,
    ),
    *(
        "1_0",
        "0x10",
        "\u0661",
        "1,5",
        "1.5",
        "-",
        "#REF!",
        "'",
        '"',
        "\\",
        "\n",
        "\r",
        "\0",
        "\ufeff",
        "\u2028",
    ),
    *(
        "../../x",
        "C:\\x.png",
        "~",
        ";",
        ",",
        "\t",
        "=",
        "NaN",
        "1e30",
        "-0",
        "a" * 300,
        "%s",
        "{0}",
        "\U0001f600",
    ),
)
VALUES = (
    *(
        None,
        True,
        False,
        0,
        -1,
        1.5,
        1e308,
        -1e30,
        10**400,
        float("nan"),
        float("inf"),
        "",
        "1",
        "x\ny",
        "a" * 300,
    ),
    *([], {}, [[]], [[[]]], [None], {"a": 1}, [1, 2, 3], "\ud800", "..", "/etc/passwd", "nan", 2**63),
)


@dataclass(frozen=True)
class Case:
    """Files of one reader, one of which is changed.

    Attributes:
        kind: Name of the reader.
        target: The file that is changed, relative to the folder of the case.
        read: Reads the folder and fails with AssertionError if what it read makes no sense.
        text: Whether the file is text.
        told: What an error must name; by default the file. Of a folder that is one image, it is the folder.
    """

    kind: str
    target: str
    read: Callable[[Path], None]
    text: bool = True
    told: str = ""


def mutate(data: bytes, rng: np.random.Generator, text: bool) -> bytes:
    """Return a changed copy of a file: bytes, tokens, lines, types, lengths, or its encoding."""
    for _ in range(int(rng.integers(1, 4))):
        kinds = [_bytes, _bytes, _length]
        if text:
            kinds += [_token, _token, _lines, _json, _json, _encoding]
        data = kinds[rng.integers(len(kinds))](data, rng)
    return data


def _bytes(data: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(data or b"0")
    for _ in range(int(rng.integers(1, 5))):
        changed[rng.integers(len(changed))] = int(rng.integers(256))
    return bytes(changed)


def _length(data: bytes, rng: np.random.Generator) -> bytes:
    a, b = sorted(int(i) for i in rng.integers(0, len(data) + 1, 2))
    choice = rng.integers(4)
    if choice == 0:
        return data[:a]
    if choice == 1:
        return data[:a] + data[b:]
    if choice == 2:
        return data[:b] + data[a:]
    return data[:a] + rng.bytes(int(rng.integers(1, 40))) + data[a:]


def _token(data: bytes, rng: np.random.Generator) -> bytes:
    text = data.decode("utf-8", "replace")
    places = list(re.finditer(r"-?\d+\.?\d*|\w+|[^\w\s]", text))
    if not places:
        return data
    place, token = places[rng.integers(len(places))], TOKENS[rng.integers(len(TOKENS))]
    if rng.integers(3) == 0 and len(place[0]) > 2:  # a slip of the keyboard
        i = int(rng.integers(len(place[0]) - 1))
        token = place[0][:i] + place[0][i + 1] + place[0][i] + place[0][i + 2 :]
    return (text[: place.start()] + token + text[place.end() :]).encode("utf-8", "replace")


def _lines(data: bytes, rng: np.random.Generator) -> bytes:
    lines = data.split(b"\n")
    i, j = (int(n) for n in rng.integers(0, len(lines), 2))
    choice = rng.integers(4)
    if choice == 0:
        lines[i], lines[j] = lines[j], lines[i]
    elif choice == 1:
        lines.insert(i, lines[j])
    elif choice == 2:
        del lines[i]
    else:
        lines[i] = b""
    return b"\n".join(lines)


def _json(data: bytes, rng: np.random.Generator) -> bytes:
    """Change the type of a value, or add, rename or remove a key, where the text is JSON."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return _token(data, rng)
    places: list[tuple[Any, Any]] = []

    def walk(value: Any) -> None:
        items = (
            value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        )
        for key, item in items:
            places.append((value, key))
            walk(item)

    walk(content)
    if not places:
        return json.dumps(VALUES[rng.integers(len(VALUES))]).encode()
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
    return json.dumps(content).encode()


def _encoding(data: bytes, rng: np.random.Generator) -> bytes:
    text = data.decode("utf-8", "replace")
    encodings = ("utf-16", "utf-16-le", "utf-8-sig", "utf-32", "cp1252", "utf-8")
    text = text.replace("\n", ("\n", "\r\n", "\r")[rng.integers(3)])
    return text.encode(encodings[rng.integers(len(encodings))], "replace")


class TooSlow(Exception):
    """One input took too long."""


def attempt(case: Case, folder: Path, data: bytes) -> str | None:
    """Read a case with one file changed; return what is wrong with how that ended, or None."""
    path = folder / case.target
    path.write_bytes(data)
    start = time.monotonic()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            case.read(folder)
    except AssertionError as error:
        return f"silent: {error}"
    except TooSlow:
        return "hang"
    except ALLOWED as error:
        if (case.told or path.name) not in str(error):
            return f"no file name: {error}"
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        return f"traceback: {type(error).__name__}: {error} at {place.filename}:{place.lineno}"
    return "hang" if time.monotonic() - start > SECONDS else None


def run(cases: list[Case], folder: Path, count: int, seed: int) -> tuple[Counter, list[str]]:
    """Read ``count`` changed inputs, the cases in turn; return how they ended, and what was wrong.

    Args:
        cases: Their files lie in folders named after their kinds.
        folder: Above those folders.
        count: Inputs.
        seed: Of all changes.
    """
    ends: Counter = Counter()
    faults = []
    for number in range(count):
        case = cases[number % len(cases)]
        path = folder / case.kind / case.target
        original = path.read_bytes()
        rng = np.random.default_rng((seed, number))
        changed = mutate(original, rng, case.text)
        try:
            fault = attempt(case, folder / case.kind, changed)
        finally:
            path.write_bytes(original)
        ends[fault.split(":")[0] if fault else "right"] += 1
        if fault:
            faults.append(f"{case.kind} {case.target} seed=({seed}, {number}): {fault[:400]}")
    return ends, faults


def main() -> None:
    """Run many inputs and print what was wrong."""
    import mmengine  # noqa: F401  before memory is limited

    from test_datasets.fuzz_cases import make_cases

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=10000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", help="only these readers")
    args = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (12 << 30, 12 << 30))

    def too_slow(*_: Any) -> None:
        signal.alarm(SECONDS)
        raise TooSlow

    signal.signal(signal.SIGALRM, too_slow)
    with tempfile.TemporaryDirectory() as folder:
        cases = [c for c in make_cases(Path(folder)) if not args.kinds or c.kind in args.kinds]
        ends, faults = run(cases, Path(folder), args.count, args.seed)
    print("\n".join(faults))
    print(dict(ends), f"in {len(cases)} kinds of files")


if __name__ == "__main__":
    main()
