"""Errors of libraries as the end of a sentence: one line, of bounded length, without their source files."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

_LONGEST = 1000  # letters of a sentence that quotes a part of a file
_WHERE = (
    r"Exception thrown in SimpleITK \w+: \S+:\d+:\s*",  # the file that was compiled, on another machine
    r"OpenCV\([^)]*\) \S+: error: \([^)]*\)\s*",
)


def one_line(error: BaseException | str, longest: int = 400) -> str:
    """Return an error's message as one line of at most ``longest`` letters."""
    text = str(error.args[0] if isinstance(error, KeyError) and error.args else error)
    text = " ".join(text.split()) or type(error).__name__
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def reason_of(error: BaseException) -> str:
    r"""Return why a library could not read a file, for the end of a sentence that names the file.

    Of the lines of ITK the last one says it; the ones before say which function called which.

    Example:
        >>> reason_of(RuntimeError("Error reading a.nrrd:\n[nrrd] nrrdLoad: no\n[nrrd] _read: it is cut off"))
        'it is cut off'
        >>> reason_of(MemoryError())
        'there is not enough memory for it'
    """
    text = str(error)
    for where in _WHERE:
        text = re.sub(where, "", text)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return "there is not enough memory for it" if isinstance(error, MemoryError) else type(error).__name__
    if isinstance(error, KeyError):
        return f"{lines[-1]} is missing"
    if lines[-1].startswith("[nrrd]"):
        return one_line(re.sub(r"^\[nrrd\] (\w+: ?)?", "", lines[-1]) or "it is broken")
    if lines[-1].startswith("Reason:"):  # that of the last call of the system, which had another
        return "ITK cannot read it"
    return one_line(" ".join(lines))


def in_one_sentence(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Let the ValueErrors of a function be one line of bounded length, whatever they quote."""

    @functools.wraps(function)
    def call(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        try:
            return function(*args, **kwargs)
        except ValueError as error:
            if "\n" not in str(error) and len(str(error)) <= _LONGEST:
                raise
            raise ValueError(one_line(error, _LONGEST)) from error

    return call
