"""How reading a changed file may end: it is read, or refused in a sentence that names it; or in a fault."""

from __future__ import annotations

import re
import traceback
import warnings
import zlib
from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mmlandmark.testing.mutations import mutate

ALLOWED = (ValueError, FileNotFoundError)
LONGEST_SENTENCE = 2000
# What libraries say when they get no memory; it may stand inside of an error that names the file.
_NO_MEMORY = re.compile(
    r"bad.?alloc|(un|not )able to allocate|failed to allocate|cannot allocate|can't allocate"
    r"|insufficient memory|out of memory|not enough memory",
    re.IGNORECASE,
)


class Nonsense(Exception):
    """What was read makes no sense."""


@dataclass(frozen=True)
class Case:
    """Small valid files in a folder, one of which is changed.

    Attributes:
        format: As users call it, for counts.
        name: Unique.
        target: The file that is changed, relative to the folder.
        read: Reads the folder by the function that users call, and returns what can be compared; raises
            :class:`Nonsense` if that makes no sense.
        text: Whether the file is text.
        told: What an error must name; by default the file. Of a folder that is one image, it is the folder.
        sealed: Whether checksums guard the whole content, so that a changed file never reads as something
            else.
        inside: Functions that take the content out of its checksums and put it back; half of the changes are
            made in between.
        folder: Where the files are; by default it is called like the case.
    """

    format: str
    name: str
    target: str
    read: Callable[[Path], Hashable]
    text: bool = False
    told: str = ""
    sealed: bool = False
    inside: tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]] | None = None
    folder: str = ""

    def place(self, root: Path) -> Path:
        """Return the folder of the case below that of all cases."""
        return root / (self.folder or self.name)


class Input(NamedTuple):
    """A changed file.

    Attributes:
        data: Its content.
        changes: What was changed; begins with ``inside`` if it was behind a checksum.
    """

    data: bytes
    changes: tuple[str, ...]


class Outcome(NamedTuple):
    """How reading a changed file ended.

    Attributes:
        end: ``read``, ``refused``, or the kind of fault.
        message: The error, or what is wrong.
    """

    end: str
    message: str = ""

    @property
    def is_fault(self) -> bool:
        """Whether it is neither read nor refused as it should be."""
        return self.end not in ("read", "refused")


def make_input(case: Case, data: bytes, seed: int, number: int, others: Sequence[bytes] = ()) -> Input:
    """Return one changed file of a case; the same seed and number give the same one.

    Args:
        case: Whose file is changed.
        data: Its valid content.
        seed: Of all inputs.
        number: Of this input among those of the case.
        others: Further valid files, for splices.
    """
    rng = np.random.default_rng((seed, zlib.crc32(case.name.encode()), number))
    if case.inside is None or rng.integers(2):
        return Input(*mutate(data, rng, case.text, others))
    take_out, put_back = case.inside
    changed, names = mutate(take_out(data), rng, case.text, [take_out(data)])
    return Input(put_back(changed), ("inside", *names))


def attempt(case: Case, root: Path, given: Input, known: Collection[Hashable] = ()) -> Outcome:
    """Read a case with its file changed, and put the valid file back.

    Args:
        case: Its folder lies below ``root``.
        root: Folder of all cases.
        given: The changed file.
        known: What the valid files of this format read as; empty to compare nothing.
    """
    path = case.place(root) / case.target
    valid = path.read_bytes()
    path.write_bytes(given.data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            answer = case.read(case.place(root))
    except Nonsense as error:
        return Outcome("silent", str(error))
    except Exception as error:
        return _judged(error, case.told or path.name)
    finally:
        path.write_bytes(valid)
    # A file that is only shorter lacks something, unless it ended with what nobody reads.
    exact = (case.sealed and "inside" not in given.changes) or (
        not case.text and set(given.changes) <= {"cut", "inside"}
    )
    if exact and known and answer not in known:
        return Outcome("silent", "it reads as something else than the valid file")
    return Outcome("read")


def _judged(error: Exception, name: str) -> Outcome:
    text = f"{type(error).__name__}: {error}"
    if any(isinstance(one, MemoryError) or _NO_MEMORY.search(str(one)) for one in _chain(error)):
        return Outcome("memory", text)
    if not isinstance(error, ALLOWED):
        place = traceback.extract_tb(error.__traceback__)[-1]
        return Outcome("traceback", f"{text} at {Path(place.filename).name}:{place.lineno}")
    if name not in str(error):
        return Outcome("no file name", text)
    if "\n" in str(error) or len(str(error)) > LONGEST_SENTENCE:
        return Outcome("no sentence", text)
    return Outcome("refused", text)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
