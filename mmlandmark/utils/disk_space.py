"""Errors of a full disk, which name the file and how much room it takes."""

from __future__ import annotations

import contextlib
import errno
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

_NO_SPACE = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
_OF_NUMPY = re.compile(r"\d+ requested and \d+ written")  # has no number of an error


class NoSpaceError(OSError):
    """A file cannot be written for lack of space, or is larger than the system or a quota allows."""


@contextlib.contextmanager
def naming_full_disk(path: str | Path, size: int | Callable[[], int] = 0, way: str = "") -> Iterator[None]:
    """Turn an error of a full disk into one that names the file.

    Args:
        path: What is written in the block.
        size: Bytes that it takes at least, or what returns them afterwards; 0 if unknown.
        way: What the user can do besides making room, for the end of the message.

    Raises:
        NoSpaceError: There is no space; the message names path, size and free space.
    """
    try:
        yield
    except NoSpaceError:
        raise
    except (OSError, RuntimeError) as error:
        reason = reason_of(error)
        if reason is None:
            raise
        least = size() if callable(size) else size
        takes = f"it takes {amount(least)} at least, " if least else ""
        free = f"{amount(free_space(path))} are free"
        raise NoSpaceError(
            reason.errno or errno.ENOSPC,
            f"{path} cannot be written: {reason.strerror or 'No space left on device'} ({takes}{free}){way}",
        ) from error


def reason_of(error: BaseException | None) -> OSError | None:
    """Return the error of a full disk that has caused another one, None if there is none.

    Libraries that write report it as an error of their own.
    """
    while error is not None:
        if isinstance(error, OSError) and (error.errno in _NO_SPACE or _OF_NUMPY.search(str(error))):
            return error
        error = error.__cause__ or error.__context__
    return None


def free_space(path: str | Path) -> int:
    """Return the free bytes where a file is, or will be."""
    path = Path(path).absolute()
    folder = next(folder for folder in (path, *path.parents) if folder.is_dir())
    return shutil.disk_usage(folder).free


def amount(size: int) -> str:
    """Return a number of bytes for people, with three digits: ``3.52 MiB``."""
    value, units = float(size), ["bytes", "KiB", "MiB", "GiB", "TiB"]
    while value >= 1000 and len(units) > 1:
        value /= 1024
        del units[0]
    return f"{value:.3g} {units[0]}"
