"""Writing predictions in the formats of other programs, and in the project's own; see docs/formats.md."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mmlandmark.inference.case_files import case_file
from mmlandmark.inference.writers.base_writer import BaseWriter
from mmlandmark.inference.writers.coco_writer import CocoWriter
from mmlandmark.inference.writers.csv_writer import CsvWriter
from mmlandmark.inference.writers.cvat_writer import CvatWriter
from mmlandmark.inference.writers.json_writer import JsonWriter
from mmlandmark.inference.writers.slicer_writer import SlicerWriter
from mmlandmark.registry import WRITERS
from mmlandmark.structures import LandmarkSchema, Prediction

__all__ = [
    "BaseWriter",
    "CocoWriter",
    "CsvWriter",
    "CvatWriter",
    "JsonWriter",
    "SlicerWriter",
    "case_output",
    "case_outputs",
    "check_formats",
    "output_path",
    "write_predictions",
]


def write_predictions(
    predictions: Iterable[Prediction],
    schema: LandmarkSchema,
    path: str | Path,
    format: str,
    image_dir: str | Path | None = None,
) -> int:
    """Write predictions to a file, or to a folder with a file per case; return their number.

    Args:
        predictions: One per image, with unique ids; an iterator is consumed once, in bounded memory.
        schema: The landmarks of all predictions.
        path: File or folder to write, see :func:`output_path`. An existing file is replaced when the new
            one is whole.
        format: Name of a writer in the registry ``WRITERS``, such as ``json`` or ``slicer``.
        image_dir: Folder to which names of images are relative in the files; None keeps the paths of the
            predictions.

    Raises:
        NotRegisteredError: There is no such format.
        ValueError: The format cannot hold points of so many coordinates, a prediction has other landmarks
            than ``schema``, or an id is there twice.
    """
    return WRITERS.build(dict(type=format, image_dir=image_dir)).write(predictions, schema, path)


def check_formats(formats: Iterable[str], schema: LandmarkSchema) -> None:
    """Refuse formats that do not exist or cannot hold these landmarks, before an image is predicted.

    Raises:
        NotRegisteredError: There is no such format.
        ValueError: It cannot hold these landmarks; the message names the file.
    """
    for name in formats:
        WRITERS.build(dict(type=name)).check(schema)


def output_path(folder: str | Path, format: str) -> Path:
    """Return where a format is written in an output folder.

    Example:
        >>> output_path("out", "csv").as_posix()
        'out/predictions.csv'
    """
    return Path(folder, WRITERS.get(format).FILE_NAME)


def case_output(folder: str | Path, format: str, sample_id: str) -> Path | None:
    """Return where a format writes the file of a case in an output folder; None if it has one file for all.

    Example:
        >>> case_output("out", "slicer", "films/1").as_posix()
        'out/slicer/films/1.mrk.json'
    """
    writer = WRITERS.get(format)
    if not writer.CASE_SUFFIX:
        return None
    return case_file(Path(folder, writer.FILE_NAME), sample_id, writer.CASE_SUFFIX)


def case_outputs(folder: str | Path, sample_id: str) -> list[Path]:
    """Return where formats with a file per case write that of a case in an output folder.

    Example:
        >>> [path.as_posix() for path in case_outputs("out", "films/1")]
        ['out/slicer/films/1.mrk.json']
    """
    paths = (case_output(folder, name, sample_id) for name in sorted(WRITERS.module_dict))
    return [path for path in paths if path is not None]
