"""Write annotations or predictions in another format.

IN is what `mmlandmark plan` takes: an annotation file (JSON, COCO, CVAT, CSV, TPS), or a folder with one or
with markups of 3D Slicer, and its images, which state their sizes and frames. The formats are in
docs/formats.md. A folder of `mmlandmark predict --shards` is joined.

    mmlandmark convert data/skulls annotations.json --to json
    mmlandmark convert predictions.json markups --to slicer --images films
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

FORMATS = ("json", "csv", "slicer", "coco", "cvat")
# What every format holds, or what is made from other fields.
_WRITTEN = {
    *("sample_id", "img_path", "landmarks", "visibility", "spacing", "ori_shape", "predicted"),
    *("source", "sample_idx"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mmlandmark convert``."""
    parser.add_argument("data", metavar="IN", help="annotation file or folder")
    parser.add_argument("out", type=Path, metavar="OUT", help="file to write; for slicer, a folder")
    parser.add_argument("--to", required=True, choices=FORMATS, help="format of OUT")
    parser.add_argument("--images", metavar="DIR", help="folder of the images; default: beside IN")
    parser.add_argument("--schema", help="name or JSON file of the landmarks; default: those of IN")
    parser.add_argument(
        "--spacing", nargs="+", type=float, metavar="MM", help="mm per pixel of images without"
    )
    parser.add_argument("--scale-to-mm", type=float, metavar="MM", help="mm per unit of SCALE= in a TPS file")
    parser.add_argument("--y-up", action="store_true", default=None, help="y counts from the bottom row")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace OUT; slicer: the files of its cases"
    )


def run(args: argparse.Namespace) -> None:
    """Read, write, and say what the format does not hold."""
    from mmlandmark.inference.annotated_cases import annotated_cases
    from mmlandmark.inference.shard_prediction import HEAD
    from mmlandmark.inference.writers import write_predictions
    from mmlandmark.planning import find_data

    if Path(args.data, HEAD).is_file():
        _join(args)
        return
    source = find_data(args.data, args.images)
    if args.out.exists() and args.out.samefile(source.ann_file):
        raise ValueError(f"{args.out}: IN and OUT are the same; write to another place")
    _check_out(args)
    options = dict(schema=args.schema, spacing=args.spacing, y_up=args.y_up, scale_to_mm=args.scale_to_mm)
    dataset = source.build(**options)
    root = source.ann_file if source.ann_file.is_dir() else source.ann_file.parent
    count = write_predictions(
        annotated_cases(dataset), dataset.schema, args.out, args.to, root / source.image_dir
    )
    print(f"{args.data}: {count} cases with {len(dataset.schema)} landmarks, read as {source.kind}")
    print(f"{args.out}: written as {args.to}")
    lost = _not_written(dataset)
    if lost:
        shown = [f"{key} ({number})" for key, number in sorted(lost.items())[:5]]
        more = f" and {len(lost) - 5} more" if len(lost) > 5 else ""
        print(f"not written, since predictions do not have them: {', '.join(shown)}{more}")


def _check_out(args: argparse.Namespace) -> None:
    """Refuse a place in which something is that may be replaced only if that is said.

    Raises:
        ValueError: OUT is a folder in the place of a file, or the other way round, or it is there already.
    """
    from mmlandmark.registry import WRITERS

    wants_folder = bool(WRITERS.get(args.to).CASE_SUFFIX)
    if args.out.exists() and args.out.is_dir() != wants_folder:
        what, wanted = ("a file", "a folder") if wants_folder else ("a folder", "a file")
        raise ValueError(f"{args.out} is {what}; --to {args.to} writes {wanted}, choose another OUT")
    there = any(args.out.iterdir()) if args.out.is_dir() else args.out.exists()
    if there and not args.overwrite:
        said = "is not empty" if wants_folder else "exists"
        raise ValueError(f"{args.out} {said}; choose another OUT, or replace it with --overwrite")


def _join(args: argparse.Namespace) -> None:
    """Write the predictions of all shards of a folder to one file."""
    from mmlandmark.inference.shard_prediction import joined_predictions
    from mmlandmark.inference.writers import write_predictions

    given = (args.images, args.schema, args.spacing, args.scale_to_mm, args.y_up)
    if any(option is not None for option in given):
        raise ValueError(
            f"{args.data} holds predictions over shards: they are joined with --to and no other option but "
            "--overwrite"
        )
    _check_out(args)
    schema, predictions = joined_predictions(args.data)
    count = write_predictions(predictions, schema, args.out, args.to)
    print(f"{args.data}: {count} cases with {len(schema)} landmarks, joined from predictions over shards")
    print(f"{args.out}: written as {args.to}")


def _not_written(dataset: Any) -> Counter[str]:
    """Return how many cases have a field that no format gets."""
    from mmlandmark.datasets.table_columns import is_world

    lost: Counter[str] = Counter()
    for index in range(len(dataset)):
        kept = {key for key, value in dataset.get_data_info(index).items() if value is not None}
        lost.update(key for key in kept - _WRITTEN if not is_world(key))
    return lost
