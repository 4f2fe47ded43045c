"""Prediction over shards, by many processes or machines that know nothing of each other.

Every shard has a file of predictions and a note that it is finished. A part of the work is every n-th shard;
what is finished is not predicted again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mmlandmark.datasets import LandmarkDataset
from mmlandmark.datasets.records import checked_spacing
from mmlandmark.datasets.shards import Shard, ShardError, ShardIndex, ShardStore, StoredImage
from mmlandmark.datasets.shards.shard_index import STORED
from mmlandmark.inference.annotated_cases import annotated_cases
from mmlandmark.inference.case_loader import Failure, Unavailable
from mmlandmark.inference.image_inputs import Case
from mmlandmark.inference.inferencer import LandmarkInferencer
from mmlandmark.inference.journal import JournalError
from mmlandmark.inference.prediction_folder import Outcome
from mmlandmark.inference.writers import write_predictions
from mmlandmark.structures import LandmarkSchema, Prediction
from mmlandmark.utils.files import file_hash, read_state, write_state

HEAD = "shards.json"  # of a folder of predictions over shards
_CURE = "run mmlandmark predict --shards with --overwrite again"
_COUNTED = {"failures", "flagged", "unscaled"}  # in the note that a shard is finished


def predict_shards(
    inferencer: LandmarkInferencer,
    index: str,
    folder: str | Path,
    part: tuple[int, int] = (1, 1),
    *,
    backend_args: dict[str, Any] | None = None,
    overwrite: bool = False,
    begin: Callable[[int, int], Any] = lambda total, finished: None,
    advance: Callable[[Sequence[Prediction | Failure]], Any] = lambda results: None,
) -> Outcome:
    """Predict a part of the shards of an index into a folder; :func:`joined_predictions` reads all parts.

    Args:
        inferencer: The model with its options.
        index: Path or address of the index.
        folder: Folder of the results of all parts, created if missing.
        part: (i, n): every n-th shard, from the i-th on, counted from 1.
        backend_args: See :func:`~mmlandmark.utils.file_backends.open_backend`.
        overwrite: Replace the results of another model, other options or other shards.
        begin: Called with the number of images of this part and of those that are finished already.
        advance: Called with the results of every batch.

    Raises:
        FileNotFoundError: There is no index.
        JournalError: The folder holds results of another model, other options or other shards.
        ShardError: A shard is missing, cut off or altered, or the server does not answer; no result of it is
            written.
        ValueError: The index or the part is not valid.
    """
    if not 1 <= part[0] <= part[1]:
        raise ValueError(f"there is no part {part[0]} of {part[1]}: parts are counted from 1")
    started, folder = time.monotonic(), Path(folder)
    known = ShardIndex.read(index, backend_args)
    head = dict(model=inferencer.identity, options=inferencer.options, schema=inferencer.schema.to_dict())
    _begin_folder(folder, head | dict(shards=[asdict(shard) for shard in known.shards]), overwrite)
    own = range(part[0] - 1, len(known.shards), part[1])
    notes = {number: _note_of(folder, known.shards[number], head) for number in own}
    outcome = Outcome(sum(known.shards[number].count for number in own))
    outcome.before = sum(known.shards[number].count for number in own if notes[number] is not None)
    begin(outcome.asked, outcome.before)
    store = ShardStore(known, backend_args)
    for number in own:
        note = notes[number]
        if note is None:
            note = _predict_one(inferencer, store, number, folder, head, advance)
        outcome.failures += [Failure(**failure) for failure in note["failures"]]
        outcome.flagged += note["flagged"]
        outcome.unscaled += note["unscaled"]
        outcome.files.append(_file(folder, known.shards[number]))
    outcome.total = outcome.asked - len(outcome.failures)
    outcome.seconds = time.monotonic() - started
    return outcome


def _file(folder: Path, shard: Shard) -> Path:
    return folder / f"{Path(shard.name).stem}.predictions.json"


def _note(folder: Path, shard: Shard) -> Path:
    return folder / f"{Path(shard.name).stem}.done.json"


def _begin_folder(folder: Path, head: dict[str, Any], overwrite: bool) -> None:
    """Write what the folder holds; JournalError if it holds something else."""
    path = folder / HEAD
    found = read_state(path, _CURE) if path.exists() and not overwrite else head
    changed = [key for key in head if found.get(key) != head[key]]
    if changed:
        raise JournalError(
            f"{folder} holds predictions with other {', '.join(changed)}: take another folder, or "
            "--overwrite replaces them"
        )
    write_state(path, head)


def _note_of(folder: Path, shard: Shard, head: dict[str, Any]) -> dict[str, Any] | None:
    """Return the note that a shard is finished, None if it is not, or was of something else."""
    path = _note(folder, shard)
    if not (path.exists() and _file(folder, shard).exists()):
        return None
    cure = f"remove {path}: the shard is predicted again"
    note = read_state(path, cure)
    if note.get("of") != _of(shard, head) or not set(note) >= _COUNTED:
        return None
    if note.get("file", "") not in ("", file_hash(_file(folder, shard))):  # earlier versions do not say it
        raise JournalError(
            f"{_file(folder, shard)} is not what was predicted: restore it from a copy, or {cure}"
        )
    return note


def _of(shard: Shard, head: dict[str, Any]) -> dict[str, Any]:
    """Return what decides on the predictions of a shard."""
    return dict(shard=asdict(shard), model=head["model"], options=head["options"])


def _predict_one(
    inferencer: LandmarkInferencer,
    store: ShardStore,
    number: int,
    folder: Path,
    head: dict[str, Any],
    advance: Callable[[Sequence[Prediction | Failure]], Any],
) -> dict[str, Any]:
    """Predict a shard, write its file and then its note; return the note."""
    shard = store.index.shards[number]
    cases = [
        Case(
            str(sample["id"]),
            source=StoredImage(store, sample[STORED]),
            spacing=checked_spacing(
                sample.get("spacing"), inferencer.schema.dims, f"{shard.name}, {sample['id']!r}"
            ),
        )
        for sample in store.index.samples
        if sample[STORED].shard == number
    ]
    note: dict[str, Any] = dict(of=_of(shard, head), failures=[], flagged=0, unscaled=0)
    _note(folder, shard).unlink(missing_ok=True)

    def predictions() -> Iterator[Prediction]:
        for results in inferencer.batches(cases):
            for one in results:
                if isinstance(one, Unavailable):
                    raise ShardError(one.reason)
                if isinstance(one, Failure):
                    note["failures"].append(vars(one))
                else:
                    note["flagged"] += int(one.flagged.sum())
                    note["unscaled"] += bool(one.radii) and one.radius_unit == "mm" and one.spacing is None
                    yield one
            advance(results)

    write_predictions(predictions(), inferencer.schema, _file(folder, shard), "json")
    write_state(_note(folder, shard), note | dict(file=file_hash(_file(folder, shard))))
    return note


def joined_predictions(folder: str | Path) -> tuple[LandmarkSchema, Iterator[Prediction]]:
    """Return the landmarks and, one at a time, the predictions of all shards of a folder, in their order.

    Args:
        folder: Where :func:`predict_shards` wrote all parts.

    Raises:
        FileNotFoundError: It holds no such predictions.
        ValueError: Some shards are not finished, and the message names the first of them; or a file in it is
            damaged.
    """
    folder = Path(folder)
    head = read_state(folder / HEAD, _CURE)
    try:
        shards = [Shard(**shard) for shard in head["shards"]]
        schema, _ = LandmarkSchema.from_dict(head["schema"]), (head["model"], head["options"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"{folder / HEAD} is damaged: restore it from a copy, or {_CURE}") from error
    missing = [shard.name for shard in shards if _note_of(folder, shard, head) is None]
    if missing:
        raise ValueError(
            f"{folder}: {len(missing)} of {len(shards)} shards are not finished, first {missing[:3]}: run "
            "mmlandmark predict --shards for their parts again"
        )
    return schema, _all_of([_file(folder, shard) for shard in shards])


def _all_of(files: Sequence[Path]) -> Iterator[Prediction]:
    for file in files:
        yield from annotated_cases(LandmarkDataset(str(file), missing_images="keep"))
