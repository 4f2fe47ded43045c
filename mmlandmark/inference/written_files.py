"""What a prediction has written, so that no file that somebody has corrected since is replaced."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mmlandmark.inference.journal import JournalError
from mmlandmark.utils.files import file_hash, read_state, write_state

WRITTEN = "written.json"
_CURE = "remove it: files that were changed by hand are replaced then"


class WrittenFiles:
    """The hashes of the files that earlier calls have written into a folder.

    Predictions are corrected where they lie, in an editor or in 3D Slicer, and the next call writes the
    files anew. A file that is not as it was written, or was not written by a call at all, is not replaced.
    Where the last call was killed while it wrote, nothing is known of its files: they count as written.

    Args:
        folder: Folder of the results; it must exist.
        forget: Take all files for written ones.

    Raises:
        ValueError: The note of earlier calls is damaged.
    """

    def __init__(self, folder: str | Path, forget: bool = False) -> None:
        self.folder, self.path = Path(folder), Path(folder) / WRITTEN
        self._hashes: dict[str, str] = {}
        self._unknown = forget or not self.path.exists()  # versions before this one left no note
        if not self._unknown:
            note = read_state(self.path, _CURE)
            found, whole = note.get("files"), note.get("whole")
            if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
                raise ValueError(
                    f"{self.path}: 'files' must list hashes: restore the file from a copy, or {_CURE}"
                )
            self._hashes, self._unknown = found, whole is not True

    def is_changed(self, path: Path) -> bool:
        """Return whether a file is there, and is not as a call has written it."""
        if self._unknown or not path.is_file():
            return False
        return self._hashes.get(self._name(path)) != file_hash(path)

    def check(self, paths: Iterable[Path]) -> None:
        """Raise JournalError if a file that is to be written was changed since."""
        for path in paths:
            if self.is_changed(path):
                raise JournalError(
                    f"{path} is not what was predicted: move it out of the folder, so that what you have "
                    "changed is kept, or --overwrite predicts all images anew"
                )

    def begin(self) -> None:
        """Note that files are being written."""
        write_state(self.path, dict(files=self._hashes, whole=False))

    def finish(self, paths: Iterable[Path]) -> None:
        """Note what was written, beside what is still there of earlier calls."""
        for path in paths:
            self._hashes[self._name(path)] = file_hash(path)
        self._hashes = {k: v for k, v in sorted(self._hashes.items()) if (self.folder / k).is_file()}
        self._unknown = False
        write_state(self.path, dict(files=self._hashes, whole=True))

    def _name(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()
