"""The files of pixels that the header of a MetaImage or NRRD names beside itself."""

from __future__ import annotations

import re
from io import BytesIO
from pathlib import PureWindowsPath
from typing import BinaryIO

_LONGEST, _MOST = 2**20, 2**16  # bytes of a list of names, and names that a pattern stands for


def check_data_files(entry: str, rest: BinaryIO) -> None:
    """Refuse pixel files outside of the header's folder, which SimpleITK would open.

    Args:
        entry: Where the pixels are, by the header: ``LOCAL``, a name, a pattern with its range of numbers, or
            ``LIST``.
        rest: The header, where the lines behind the entry begin: the names of a list.

    Raises:
        ValueError: A name is absolute or has ``..``, or a pattern could become such a name.
    """
    names = [entry]
    if entry.startswith("LIST"):
        names += [line.decode("latin-1").strip() for line in rest]
    for name in names:
        if PureWindowsPath(name).anchor or ".." in PureWindowsPath(name).parts:  # takes / and \\ and C:
            raise ValueError(
                f"its header takes the pixels from {name!r}, outside of its folder, which is not allowed: "
                "move that file into the folder of the header, or store both as one .mha or .nrrd"
            )
        # Other formats of printf could produce any name.
        if name.count("%") > 1 or "%" in re.sub(r"%0?\d{0,2}[diu]", "", name):
            raise ValueError(
                f"its header takes the pixels from {name!r}: % may only format one number, such as %03d"
            )


def named_files(entry: str, rest: BinaryIO) -> list[str]:
    """Return the names of the files that an entry stands for; none if the pixels are behind the header.

    Args:
        entry: See :func:`check_data_files`.
        rest: See :func:`check_data_files`.

    Raises:
        ValueError: See :func:`check_data_files`.

    Example:
        >>> named_files("slice%02d.raw 1 5 2", BytesIO())
        ['slice01.raw', 'slice03.raw', 'slice05.raw']
    """
    if entry.upper() == "LOCAL":
        return []
    lines = rest.read(_LONGEST) if entry.startswith("LIST") else b""
    check_data_files(entry, BytesIO(lines))
    if entry.startswith("LIST"):
        return [name for line in lines.decode("latin-1").splitlines() if (name := line.strip())]
    match = re.fullmatch(r"([^%]*%0?\d{0,2}[diu][^%]*?)((?:\s+-?\d{1,9}){3,4})", entry)
    if match is None:
        return [entry]
    first, last, step = (int(number) for number in match[2].split()[:3])
    numbers = range(first, last + (1 if step >= 0 else -1), step or 1)
    return [match[1] % number for number in numbers[:_MOST]]
