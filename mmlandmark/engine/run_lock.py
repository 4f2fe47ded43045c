"""The lock of a run's folder: one run at a time writes there."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmlandmark.engine.config import ConfigError
from mmlandmark.engine.rank_watch import end_process
from mmlandmark.utils.disk_space import naming_full_disk
from mmlandmark.utils.process_table import UNKNOWN, began, is_visible, this_process

LOCK_FILE = "run.lock"


class RunBusyError(ConfigError):
    """Another run writes to the folder."""


class RunLock:
    """Lock a folder, so that one run at a time writes to it.

    The lock is a file ``run.lock`` that names host and process and is touched every half minute. It is taken
    over if its process has ended or, on another host or in another container, if it has not been touched for
    some minutes. A process that finds its lock taken over, as after a long suspend, ends at once; a lock that
    was removed is made again.

    Args:
        folder: The run's folder; created if missing.
        option: How a user names another folder, for the message.
        end: Ends this process with a message.

    Raises:
        RunBusyError: On entering: another run writes to the folder; host and process are named.
    """

    every, silent = 30.0, 300.0  # seconds between two touches, and until another host's lock is stale
    writing = 0.5  # seconds until a lock without content is stale

    def __init__(
        self, folder: str | Path, option: str = "--work-dir", end: Callable[[str], Any] = end_process
    ) -> None:
        self.folder, self.path, self.option = Path(folder), Path(folder) / LOCK_FILE, option
        self._end, self._ended = end, threading.Event()
        self._beating = threading.Lock()  # a beat must not make a lock again that was just given back
        self._own: dict[str, Any] | None = None  # what the lock says while it is held

    def __enter__(self) -> RunLock:
        if not self.acquire():
            owner = self._owner()
            raise RunBusyError(
                f"{self.folder}: another run writes here, process {owner.get('pid')} on "
                f"{owner.get('host')}; wait for it, end it, or use another {self.option} "
                f"({self.path} is its lock)"
            )
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def acquire(self) -> bool:
        """Take the lock without waiting; return False if another run holds it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        while not self._create(self.path):
            if self._is_held():
                return False
            self._remove_stale()
        self._own = this_process()  # a host may get another name
        self._ended.clear()
        threading.Thread(target=self._beat, daemon=True).start()
        return True

    def release(self) -> None:
        """Give the lock back."""
        self._ended.set()
        with self._beating:
            if self._own is not None and self._owner() == self._own:
                self.path.unlink(missing_ok=True)
            self._own = None

    def holder(self) -> dict[str, Any] | None:
        """Return ``host`` and ``pid`` of the run that holds the lock, None if nobody does."""
        return self._owner() if self._is_held() else None

    @staticmethod
    def _create(path: Path) -> bool:
        """Create a file that names this process, whole from the start; return False if there is one."""
        text = json.dumps(this_process())
        with naming_full_disk(path, len(text)):
            return RunLock._create_with(path, text)

    @staticmethod
    def _create_with(path: Path, text: str) -> bool:
        handle, temporary = tempfile.mkstemp(prefix=".run-", suffix=".lock", dir=path.parent)
        try:
            with contextlib.suppress(PermissionError):  # a file system without such bits, as FAT
                os.fchmod(handle, 0o644)  # other users of a shared folder read it, too
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            try:
                os.link(temporary, path)
            except FileExistsError:
                return False
            except OSError:  # a file system without hard links
                return _create_exclusively(path, text)
        finally:
            Path(temporary).unlink(missing_ok=True)
        return True

    def _remove_stale(self) -> None:
        """Remove a stale lock; of several processes that find it one does, so that no new lock is removed."""
        guard = self.path.with_name(f"{self.path.name}.takeover")
        if not self._create(guard):
            try:
                age = time.time() - guard.stat().st_mtime
            except FileNotFoundError:
                return
            if age > self.silent:  # its process was killed within these few lines
                guard.unlink(missing_ok=True)
            time.sleep(0.01)
            return
        try:
            if not self._owner():  # broken, or being written on a file system without hard links
                time.sleep(self.writing)
            if not self._is_held():
                self.path.unlink(missing_ok=True)
        finally:
            guard.unlink(missing_ok=True)

    def _owner(self) -> dict[str, Any]:
        """Return what the lock says; nothing if there is none, or if it is broken."""
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}

    def _is_held(self) -> bool:
        owner = self._owner()
        if not owner:
            return False
        if is_visible(owner):
            times = (owner.get("began"), began(owner.get("pid")))
            return None not in times and (times[0] == times[1] or UNKNOWN in times)
        try:
            return time.time() - self.path.stat().st_mtime <= self.silent
        except FileNotFoundError:
            return False

    def _beat(self) -> None:
        while not self._ended.wait(self.every):
            with self._beating:
                if self._ended.is_set():
                    return
                with contextlib.suppress(OSError):  # a file server may be away for a moment
                    self._renew()

    def _renew(self) -> None:
        if not self.path.exists() and self._create(self.path):
            return
        owner = self._owner()
        if owner and owner != self._own:
            self._end(
                f"{self.folder}: process {owner.get('pid')} on {owner.get('host')} has taken over and writes "
                f"there now, as this one gave no sign of life for more than {self.silent:g} s: this one ends"
            )
        else:
            os.utime(self.path)


def _create_exclusively(path: Path, text: str) -> bool:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        return False
    except OSError:
        path.unlink(missing_ok=True)
        raise
    return True
