"""A folder of predictions: found again after a kill, written in every format that is asked for."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmlandmark.engine import RunBusyError, RunLock
from mmlandmark.inference.case_files import case_file
from mmlandmark.inference.case_loader import Failure, reason_of
from mmlandmark.inference.image_inputs import Case, Inputs, find_cases
from mmlandmark.inference.inferencer import LandmarkInferencer
from mmlandmark.inference.journal import Journal, JournalError, listed_ids
from mmlandmark.inference.overlays import draw_prediction
from mmlandmark.inference.writers import (
    case_output,
    case_outputs,
    check_formats,
    output_path,
    write_predictions,
)
from mmlandmark.inference.written_files import WrittenFiles
from mmlandmark.structures import Prediction
from mmlandmark.utils.files import read_state, write_state
from mmlandmark.utils.result_folders import JOURNAL, OVERLAYS
from mmlandmark.visualization import save_image

SUMMARY = "summary.json"


@dataclass
class Outcome:
    """What came of a call.

    Attributes:
        asked: Images.
        before: How many of them an earlier call had finished.
        failures: Those that could not be predicted or drawn.
        flagged: Landmarks of all predictions in the folder that a person should look at.
        unscaled: Predictions in the folder with radii in mm of images without the size of a pixel.
        total: Predictions in the folder.
        seconds: Duration.
        files: What was written.
    """

    asked: int
    before: int = 0
    failures: list[Failure] = field(default_factory=list)
    flagged: int = 0
    unscaled: int = 0
    total: int = 0
    seconds: float = 0.0
    files: list[Path] = field(default_factory=list)


def predict_to_folder(
    inferencer: LandmarkInferencer,
    inputs: Inputs,
    folder: str | Path,
    *,
    formats: Sequence[str] = ("json", "csv"),
    overlays: bool = False,
    overwrite: bool = False,
    begin: Callable[[int, int], Any] = lambda total, finished: None,
    advance: Callable[[Sequence[Prediction | Failure]], Any] = lambda results: None,
) -> Outcome:
    """Predict images into a folder; what an earlier call has finished is not predicted again.

    The folder adds up: it lists all images that were predicted into it, in the order in which they were.

    Args:
        inferencer: The model with its options.
        inputs: See :func:`~mmlandmark.inference.image_inputs.find_cases`; files only.
        folder: Folder of the results, created if missing.
        formats: See :func:`~mmlandmark.inference.writers.write_predictions`; they name images relative to the
            folder that holds them all, which the summary names as ``image_dir``. Formats of earlier calls are
            written again too, so that all list the same images.
        overlays: Draw every image with its landmarks.
        overwrite: Replace the results of another model or of other options.
        begin: Called with the number of images and of those that are finished already.
        advance: Called with the results of every batch, once they are on the disk.

    Raises:
        FileNotFoundError: An input does not exist.
        NotRegisteredError: There is no such format.
        ValueError: A format cannot hold these landmarks.
        JournalError: The folder holds other or corrected results, or another process predicts into it.
        PermissionError: The folder cannot be written.
    """
    started, folder = time.monotonic(), Path(folder)
    check_formats(formats, inferencer.schema)
    files = [_file(case) for case in find_cases(inputs)]  # what does not exist leaves no folder behind
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with RunLock(folder, option="-o OUT"):
            journal = _open_journal(inferencer, folder, overwrite, formats)
            written, wanted = _open_files(folder, overwrite, formats)
            journal.relocate(files)
            cases = find_cases(inputs, taken=journal.names)
            todo = _todo(cases, journal)
            outcome = Outcome(len(cases), before=len(cases) - len(todo))
            begin(len(cases), outcome.before)
            for results in inferencer.batches(todo):
                outcome.failures += _keep(results, journal, folder, written)
                if overlays:
                    outcome.failures += _draw(results, folder)
                advance(results)
            if overlays:
                outcome.failures += _draw_rest(journal, folder, outcome.failures)
            outcome.failures = _in_order(outcome.failures, cases)
            _finish(journal, inferencer, folder, wanted, outcome, written)
    except RunBusyError as error:
        raise JournalError(str(error)) from error
    outcome.seconds = time.monotonic() - started
    return outcome


def _file(case: Case) -> str:
    if case.image is None:
        raise ValueError("arrays have no file that a folder of predictions could name: call the inferencer")
    return case.image


def _open_journal(
    inferencer: LandmarkInferencer, folder: Path, overwrite: bool, formats: Sequence[str]
) -> Journal:
    """Return the journal of a folder that is ours or has nothing in the way.

    Raises:
        JournalError: A file would be replaced that is not of an earlier call; or as :class:`Journal`.
    """
    ours = (folder / JOURNAL).exists()
    if not ours and not overwrite:
        foreign = [
            path
            for path in (folder / SUMMARY, *(output_path(folder, name) for name in formats))
            if path.exists()
        ]
        if foreign:
            raise JournalError(
                f"{foreign[0]} exists and is not of a prediction: take another folder, or --overwrite "
                "replaces it"
            )
    if overwrite and ours:
        _clear(folder, listed_ids(folder), WrittenFiles(folder, forget=True))
    return Journal(folder, inferencer.identity, inferencer.options, inferencer.schema, overwrite)


def _open_files(folder: Path, overwrite: bool, formats: Sequence[str]) -> tuple[WrittenFiles, list[str]]:
    """Return what is known of the files of a folder, and the formats of all calls.

    Raises:
        JournalError: One of them was changed since it was written.
    """
    written = WrittenFiles(folder, forget=overwrite)
    if overwrite:
        written.begin()  # a call that goes on after a kill may replace them as well
    wanted = list(dict.fromkeys([*_earlier_formats(folder / SUMMARY), *formats]))
    written.check(output_path(folder, name) for name in wanted)
    return written, wanted


def _todo(cases: Sequence[Case], journal: Journal) -> list[Case]:
    """Return what is to be predicted: first what never was, so that a kill does not change its batches."""
    tried = {file: number for number, file in enumerate(journal.failed)}
    missing = [case for case in cases if not journal.has(_file(case))]
    return sorted(missing, key=lambda case: tried.get(_file(case), -1))


def _in_order(failures: Sequence[Failure], cases: Sequence[Case]) -> list[Failure]:
    """Return failures in the order of the cases; those of an earlier call's images come last."""
    place = {case.sample_id: number for number, case in enumerate(cases)}
    return sorted(failures, key=lambda failure: place.get(failure.sample_id, len(place)))


def _keep(
    results: Sequence[Prediction | Failure], journal: Journal, folder: Path, written: WrittenFiles
) -> list[Failure]:
    """Put results into the journal in place of what was made of earlier ones; return the failures."""
    failures = [result for result in results if isinstance(result, Failure)]
    # First, so that whenever a kill comes, there is no picture of another prediction.
    _clear(folder, [result.sample_id for result in results], written)
    journal.add(
        [result for result in results if isinstance(result, Prediction)],
        [failure.image for failure in failures if failure.image is not None],
    )
    return failures


def _picture(folder: Path, sample_id: str) -> Path:
    return case_file(folder / OVERLAYS, sample_id, ".png")


def _clear(folder: Path, sample_ids: Iterable[str], written: WrittenFiles) -> None:
    """Delete the pictures of cases, and the files of formats that have one per case and were not changed."""
    for sample_id in sample_ids:
        cases = [path for path in case_outputs(folder, sample_id) if not written.is_changed(path)]
        for path in (_picture(folder, sample_id), *cases):
            with suppress(FileNotFoundError, NotADirectoryError):
                path.unlink()


def _draw(results: Iterable[Prediction | Failure], folder: Path, missing: bool = False) -> Iterator[Failure]:
    """Draw predictions, or those without a picture; yield what could not be drawn."""
    for result in results:
        if isinstance(result, Failure):
            continue
        path = _picture(folder, result.sample_id)
        if missing and path.exists():
            continue
        try:
            save_image(draw_prediction(result), path)
        except (OSError, ValueError) as error:
            yield Failure(
                result.sample_id, result.image, f"it is predicted, but not drawn: {reason_of(error)}"
            )


def _draw_rest(journal: Journal, folder: Path, failures: Sequence[Failure]) -> list[Failure]:
    """Draw what has no picture, such as predictions of earlier calls; return what could not be drawn."""
    tried = {failure.sample_id for failure in failures}
    rest = (one for one in journal.predictions() if one.sample_id not in tried)
    return list(_draw(rest, folder, missing=True))


def _earlier_formats(summary: Path) -> list[str]:
    """Return the formats of earlier calls."""
    cure = "remove it and name all formats with --formats"
    if not summary.exists():
        return []
    found = read_state(summary, cure).get("formats", [])
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise JournalError(f"{summary}: 'formats' must list names: restore the file from a copy, or {cure}")
    return found


def _finish(
    journal: Journal,
    inferencer: LandmarkInferencer,
    folder: Path,
    formats: Sequence[str],
    outcome: Outcome,
    written: WrittenFiles,
) -> None:
    """Write all predictions of a folder in all formats, and the summary."""
    files = list(journal.names.values())
    image_dir = os.path.commonpath([os.path.dirname(file) for file in files]) if files else None
    changed = {
        path for one in journal.names for path in case_outputs(folder, one) if written.is_changed(path)
    }
    written.begin()
    for name in formats:
        path = output_path(folder, name)
        kept = (
            one for one in journal.predictions() if case_output(folder, name, one.sample_id) not in changed
        )
        write_predictions(kept, inferencer.schema, path, name, image_dir)
        outcome.files.append(path)
    made = [case_output(folder, name, one) for name in formats for one in journal.names]
    single = [path for path in outcome.files if path.is_file()]
    written.finish([*single, *(path for path in made if path is not None and path not in changed)])
    outcome.total = len(journal)
    for one in journal.predictions():
        outcome.flagged += int(one.flagged.sum())
        outcome.unscaled += bool(one.radii) and one.radius_unit == "mm" and one.spacing is None
    write_state(
        folder / SUMMARY,
        dict(
            model=inferencer.identity,
            options=inferencer.options,
            image_dir=image_dir,
            formats=list(formats),
            images=outcome.total,
            flagged_landmarks=outcome.flagged,
            failures=[vars(failure) for failure in outcome.failures],
        ),
    )
    outcome.files.append(folder / SUMMARY)
