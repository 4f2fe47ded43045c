"""The journal of a prediction: what is done stays done, whenever the process ends."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from mmlandmark.datasets.image_files import image_parts
from mmlandmark.structures import LandmarkSchema, Prediction
from mmlandmark.utils.disk_space import naming_full_disk
from mmlandmark.utils.files import atomic_path, parse_json
from mmlandmark.utils.json_checksum import with_checksum
from mmlandmark.utils.result_folders import JOURNAL

_FORMAT = "mmlandmark journal"
_VERSION = 1


def listed_ids(folder: str | Path) -> set[str]:
    """Return the names of all predictions that the journal of a folder holds or held, whatever its state."""
    found = set()
    with (Path(folder) / JOURNAL).open("rb") as file:
        for line in file:
            try:
                found.add(str(json.loads(line)["prediction"]["sample_id"]))
            except (ValueError, KeyError, TypeError):
                continue  # the head, a failure, or what a kill or an editor left
    return found


class JournalError(ValueError):
    """A folder holds results that cannot be added to."""


@dataclass(frozen=True)
class _Place:
    """Where the prediction of a file is.

    Attributes:
        offset: Of its line in the journal.
        stamp: Size and time of the file when it was predicted.
        sample_id: Its name.
    """

    offset: int
    stamp: tuple[int, int]
    sample_id: str


class Journal:
    """The finished predictions of a folder, one line of JSON each, appended and synchronised with the disk.

    The first line says which model and options they are of. What is added at once is there as a whole or not
    at all: every line says how many of its call come after it, and if a kill has left fewer, all of the call
    are dropped. Every line ends with a checksum; those of earlier versions have none. A file that has changed
    since, by its size or time, counts as not predicted; one that has moved takes its prediction along, see
    :meth:`relocate`.

    Args:
        folder: Folder of the results; it must exist.
        model: Name and digest of the model, as plain values.
        options: What decides on the predictions, as plain values.
        schema: The landmarks.
        overwrite: Begin anew if the folder holds the results of another model or of other options.

    Raises:
        JournalError: The folder holds such results, or its journal is damaged.
    """

    def __init__(
        self,
        folder: str | Path,
        model: dict[str, Any],
        options: dict[str, Any],
        schema: LandmarkSchema,
        overwrite: bool = False,
    ) -> None:
        self.path, self.schema = Path(folder) / JOURNAL, schema
        self._places: dict[str, _Place] = {}
        self._failed: dict[str, None] = {}  # a set in the order of the last try
        self._seen: dict[
            str, tuple[int, int] | None
        ] = {}  # before they were read, in case they change meanwhile
        self._head = dict(format=_FORMAT, version=_VERSION, model=model, options=options)
        if overwrite or not self.path.exists():
            with atomic_path(self.path) as temporary:
                temporary.write_bytes(_line(self._head))
        else:
            self._read(self._head)

    def _read(self, head: dict[str, Any]) -> None:
        """Find the predictions of a journal, and cut off what a kill left of the last call."""
        with self.path.open("rb") as file:
            line = file.readline()
            self._compare(self._parse(line, 1), head)
            whole = offset = len(line)
            call: list[tuple[str, _Place | None]] = []
            for number, line in enumerate(file, 2):
                if not line.endswith(b"\n"):
                    break
                name, place, left = self._entry(self._parse(line, number), offset, number)
                call.append((name, place))
                offset += len(line)
                if not left:
                    self._note(call)
                    whole, call = offset, []
        os.truncate(self.path, whole)

    def _entry(self, entry: dict[str, Any], offset: int, number: int) -> tuple[str, _Place | None, int]:
        """Return the file of a line, the place of its prediction, and how many lines of its call follow."""
        try:
            file, prediction, left = str(entry["file"]), entry["prediction"], int(entry["left"])
            if prediction is None:
                return file, None, left
            stamp = (int(entry["size"]), int(entry["time"]))
            return file, _Place(offset, stamp, str(prediction["sample_id"])), left
        except (KeyError, TypeError, ValueError) as error:
            raise self._damaged(number) from error

    def _note(self, call: Sequence[tuple[str, _Place | None]]) -> None:
        """Note where the predictions of a call are, or that there is none of a file."""
        for file, place in call:
            self._failed.pop(file, None)
            if place is None:
                self._places.pop(file, None)
                self._failed[file] = None
            else:
                self._places[file] = place

    def _parse(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            entry = parse_json(line.decode("utf-8"), self.path)
        except ValueError as error:
            raise self._damaged(number) from error
        if not isinstance(entry, dict):
            raise self._damaged(number)
        return entry

    def _damaged(self, number: int) -> JournalError:
        return JournalError(f"{self.path}, line {number} is damaged: --overwrite predicts all images anew")

    def _compare(self, found: dict[str, Any], wanted: dict[str, Any]) -> None:
        if found.get("format") != _FORMAT:
            raise self._damaged(1)
        if found.get("version") != _VERSION:
            raise JournalError(
                f"{self.path} is of version {found.get('version')}, this is version {_VERSION}: take another "
                "folder, or --overwrite predicts all images anew"
            )
        cure = "take another folder, or --overwrite replaces them"
        if found.get("model") != wanted["model"]:
            names = [str((side.get("model") or {}).get("name")) for side in (found, wanted)]
            other = f"of the model {names[0]!r}" if names[0] != names[1] else f"of another {names[0]!r}"
            raise JournalError(f"{self.path.parent} holds predictions {other}, not of this one: {cure}")
        old, new = found.get("options") or {}, wanted["options"]
        changed = [key for key in {**old, **new} if old.get(key) != new.get(key)]
        if changed:
            words = ", ".join(f"{key} {old.get(key)} instead of {new.get(key)}" for key in changed)
            raise JournalError(f"{self.path.parent} was predicted with {words}: {cure}")

    def __len__(self) -> int:
        return len(self._places)

    @property
    def names(self) -> dict[str, str]:
        """The file of every prediction by its name."""
        return {place.sample_id: file for file, place in self._places.items()}

    @property
    def failed(self) -> list[str]:
        """Files that could not be predicted, in the order of their last try."""
        return list(self._failed)

    def has(self, file: str) -> bool:
        """Return whether a file is predicted, and is the same file since."""
        place, stamp = self._places.get(file), _stamp(file)
        self._seen[file] = stamp
        return place is not None and place.stamp == stamp

    def relocate(self, files: Sequence[str]) -> int:
        """Let files that have moved keep their predictions; return how many have.

        A folder may be renamed or mounted elsewhere. A prediction goes to a file of the same name, size and
        time if its own file is gone, and if the end of their paths leaves no doubt which belong together.

        Args:
            files: Absolute paths of files that are there now.
        """
        gone = {file: place.stamp for file, place in self._places.items() if not os.path.lexists(file)}
        moves = _moves(gone, [file for file in files if file not in self._places]) if gone else {}
        if not moves:
            return 0
        with atomic_path(self.path) as temporary, temporary.open("wb") as new, self.path.open("rb") as old:
            new.write(old.readline())
            for line in old:
                entry = parse_json(line.decode("utf-8"), self.path)
                if entry["file"] in moves:
                    entry["file"] = moves[entry["file"]]
                    if entry["prediction"] is not None:
                        entry["prediction"]["image"] = entry["file"]
                new.write(_line(entry))
        self._places.clear()
        self._failed.clear()
        self._read(self._head)
        return len(moves)

    def add(self, predictions: Sequence[Prediction], failed: Sequence[str] = ()) -> None:
        """Append predictions of files, and which files failed; all is on the disk when this returns.

        An earlier prediction of a file that failed counts no more: it was of other pixels.
        """
        lines, offset = [], self.path.stat().st_size
        call: list[tuple[str, _Place | None]] = []
        left = len(predictions) + len(failed)
        for prediction in predictions:
            assert prediction.image is not None, "only files have a place in a journal"
            left -= 1
            seen = self._seen.get(prediction.image) or _stamp(prediction.image)
            size, time = stamp = seen or (-1, -1)
            entry = dict(file=prediction.image, size=size, time=time, left=left)
            lines.append(_line(entry | dict(prediction=prediction.to_dict())))
            call.append((prediction.image, _Place(offset, stamp, prediction.sample_id)))
            offset += len(lines[-1])
        for file in failed:
            left -= 1
            lines.append(_line(dict(file=file, left=left, prediction=None)))
            call.append((file, None))
        if not lines:
            return
        data = b"".join(lines)
        with naming_full_disk(self.path, len(data)), self.path.open("ab") as journal:
            journal.write(data)
            journal.flush()
            os.fsync(journal.fileno())
        self._note(call)

    def predictions(self) -> Iterator[Prediction]:
        """Yield all predictions in the order in which their files were first predicted, one at a time."""
        with self.path.open("rb") as file:
            for place in list(self._places.values()):
                file.seek(place.offset)
                entry = json.loads(file.readline())
                yield Prediction.from_dict(entry["prediction"], self.schema)


def _line(entry: dict[str, Any]) -> bytes:
    return with_checksum(entry).encode() + b"\n"


def _moves(gone: dict[str, tuple[int, int]], files: Sequence[str]) -> dict[str, str]:
    """Return the new path by the old one, of files that are the best match of each other."""
    old: dict[tuple[str, tuple[int, int] | None], list[str]] = {}
    for file, stamp in gone.items():
        old.setdefault((os.path.basename(file), stamp), []).append(file)
    pairs = [(a, b) for b in files for a in old.get((os.path.basename(b), _stamp(b)), ())]

    def best(side: int) -> dict[str, set[str]]:
        """Return the partners of every file of a side with the longest common end."""
        longest: dict[str, tuple[int, set[str]]] = {}
        for pair in pairs:
            length = _common_end(*pair)
            most, partners = longest.get(pair[side], (0, set()))
            if length >= most:
                longest[pair[side]] = (length, {*(partners if length == most else ()), pair[1 - side]})
        return {file: partners for file, (_, partners) in longest.items()}

    of_old, of_new = best(0), best(1)
    return {a: b for a, b in pairs if of_old[a] == {b} and of_new[b] == {a}}


def _common_end(one: str, other: str) -> int:
    """Return how many parts at the end of two paths are equal."""
    parts = zip(reversed(Path(one).parts), reversed(Path(other).parts), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], parts))


def _stamp(file: str) -> tuple[int, int] | None:
    """Return size and time of change of an image, sums of its files if it has several; None if it is gone."""
    try:
        parts = [os.stat(part) for part in image_parts(file)]
    except OSError:
        return None
    return sum(one.st_size for one in parts), sum(one.st_mtime_ns for one in parts)
