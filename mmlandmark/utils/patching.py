"""Temporary changes to other packages, undone when the last user leaves."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, ContextDecorator, ExitStack
from types import TracebackType


class SharedPatch(ContextDecorator):
    """A context manager, and a decorator, that applies a patch once, however many users are inside it.

    The first user to enter applies the patch and the last one to leave undoes it, in whatever order and in
    whichever thread they leave. Two plain context managers that overlap would each restore what they saw, and
    the patch would stay.

    Args:
        patch: Returns a fresh context manager that applies the patch and undoes it.
    """

    def __init__(self, patch: Callable[[], AbstractContextManager]) -> None:
        self._patch, self._undo = patch, ExitStack()
        self._users, self._lock = 0, threading.Lock()
        self.__doc__ = patch.__doc__

    def __enter__(self) -> None:
        with self._lock:
            if not self._users:
                self._undo.enter_context(self._patch())
            self._users += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._users -= 1
            if not self._users:
                self._undo.close()
