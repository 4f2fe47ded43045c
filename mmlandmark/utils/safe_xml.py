"""Reading XML without entities and document types, which can read other files or fill the memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

_DEEPEST = 32


@dataclass
class Element:
    """An element of an XML file.

    Attributes:
        path: Names of the elements from the root to this one, joined by ``/``.
        attributes: Its attributes.
        line: Where it begins, from 1.
        text: The text directly in it.
        children: The elements in it, if they are wanted.
    """

    path: str
    attributes: dict[str, str]
    line: int
    text: str = ""
    children: list[Element] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rsplit("/", 1)[-1]


def read_elements(path: str | Path, wanted: set[str]) -> Iterator[Element]:
    """Yield the elements at some paths, with all that is in them, in the order of the file.

    The memory holds the file as it is read, and the wanted elements not yet taken.

    Args:
        path: The file.
        wanted: Paths from the root, such as ``annotations/image``; none of them is inside of another.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not well-formed, too deep, or has a document type or an entity; the message names
            file and line.
    """
    reader = _Reader(path, wanted)
    with Path(path).open("rb") as file:
        while part := file.read(1 << 16):
            reader.parse(part)
            yield from reader.taken()
        reader.parse(b"", last=True)
        yield from reader.taken()


class _Reader:
    """Collects wanted elements from parts of a file."""

    def __init__(self, path: str | Path, wanted: set[str]) -> None:
        self.path, self.wanted = path, wanted
        self.names: list[str] = []
        self.open: list[Element] = []  # a wanted element and those in it that have begun
        self.done: list[Element] = []
        self.parser = expat.ParserCreate()
        self.parser.StartDoctypeDeclHandler = self._refuse
        self.parser.EntityDeclHandler = self._refuse
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text

    def parse(self, part: bytes, last: bool = False) -> None:
        try:
            self.parser.Parse(part, last)
        except expat.ExpatError as error:
            reason = expat.ErrorString(error.code)
            raise ValueError(f"{self.path}, line {error.lineno}: not valid XML: {reason}") from error
        except LookupError as error:
            raise ValueError(f"{self._where}: not valid XML: {error}") from error

    def taken(self) -> list[Element]:
        done, self.done = self.done, []
        return done

    @property
    def _where(self) -> str:
        return f"{self.path}, line {self.parser.CurrentLineNumber}"

    def _refuse(self, *_: object) -> None:
        raise ValueError(
            f"{self._where}: document types and entities are not read; remove them from the file"
        )

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self.names.append(name)
        if len(self.names) > _DEEPEST:
            raise ValueError(f"{self._where}: elements are nested too deeply")
        path = "/".join(self.names)
        if self.open or path in self.wanted:
            element = Element(path, attributes, self.parser.CurrentLineNumber)
            if self.open:
                self.open[-1].children.append(element)
            self.open.append(element)

    def _text(self, text: str) -> None:
        if self.open:
            self.open[-1].text += text

    def _end(self, _: str) -> None:
        self.names.pop()
        if self.open:
            element = self.open.pop()
            if not self.open:
                self.done.append(element)
