"""Predict the landmarks of images, without annotations.

    mmlandmark predict ceph19 film.png
    mmlandmark predict work_dirs/my_run films/ -o predictions --formats json csv --overlays
    mmlandmark predict ceph19 --shards s3://films/index.json --part 3/8 -o predictions

MODEL is a model file, a checkpoint, a run's folder or the name of a shipped detector. INPUTS are image
files, patterns, and folders, which are searched with all folders below. Without -o the landmarks are
printed. With -o the same command goes on where it was stopped, and further images add to the folder. Exit
code 1 if an image failed; the others are predicted all the same. With --shards the images are those of shards
that `mmlandmark pack-data` wrote; parts may run at once, and `mmlandmark convert OUT FILE` joins them.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mmlandmark.utils.command_line import add_trust_argument, natural_number, positive_number

if TYPE_CHECKING:
    from mmlandmark.inference import Failure, LandmarkInferencer
    from mmlandmark.inference.prediction_folder import Outcome
    from mmlandmark.structures import Prediction

_SHOWN = 10  # failures that the terminal lists; summary.json has all


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mmlandmark predict``."""
    parser.add_argument("model", help="model file, checkpoint, run folder or name of a shipped detector")
    parser.add_argument("inputs", nargs="*", help="image files, patterns or folders")
    parser.add_argument(
        "--shards", metavar="INDEX", help="index of shards in place of INPUTS: path or address"
    )
    parser.add_argument(
        "--part", type=_part, metavar="I/N", help="every N-th shard from the I-th on; default all shards"
    )
    parser.add_argument("-o", "--out", help="folder of the results; without one they are printed")
    parser.add_argument("--formats", nargs="+", metavar="FORMAT", help="files to write; default json csv")
    parser.add_argument("--overlays", action="store_true", help="draw the landmarks of every image")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace the results of another model or other options"
    )
    parser.add_argument("--device", help="cpu, cuda or cuda:1; default a GPU if there is one")
    parser.add_argument("--batch-size", type=positive_number, default=4, help="images at once; default 4")
    parser.add_argument(
        "--workers", type=natural_number, help="processes that read images; default 2, for up to 8 images 0"
    )
    parser.add_argument("--flip", action="store_true", help="average with the mirrored image")
    parser.add_argument(
        "--views", nargs="+", type=_view, metavar="VIEW",
        help="average several views: plain, rotation=5 (degrees), scale=0.95 or rotation=5,scale=0.95",
    )  # fmt: skip
    parser.add_argument(
        "--precision", choices=("fp32", "bf16", "fp16"),
        help="of the network; default that of the model's test, fp32 without test_cfg.fp16",
    )  # fmt: skip
    parser.add_argument(
        "--spacing", type=float, nargs="+", metavar="MM",
        help="mm per pixel, x y [z] or one for all, in place of what the files say",
    )  # fmt: skip
    parser.add_argument(
        "--levels", type=float, nargs="+", metavar="LEVEL",
        help="probabilities of the error radii of a calibrated model; default those of its calibration",
    )  # fmt: skip
    parser.add_argument(
        "--window", type=positive_number, nargs="+", metavar="SIDE",
        help="see inputs in windows of so many pixels: HEIGHT WIDTH or DEPTH HEIGHT WIDTH",
    )  # fmt: skip
    add_trust_argument(parser)


def _part(text: str) -> tuple[int, int]:
    """Return a part of the shards from ``3/8``."""
    first, slash, count = text.partition("/")
    if not (slash and first.isdecimal() and count.isdecimal() and 1 <= int(first) <= int(count)):
        raise argparse.ArgumentTypeError(f"{text!r} is no part: write 1/8, 2/8, ... 8/8")
    return int(first), int(count)


def _view(text: str) -> dict[str, Any]:
    """Return a view from its words: ``plain``, ``rotation=5``, ``rotation=0/0/5,scale=1.1``."""
    if text == "plain":
        return {}
    view: dict[str, Any] = {}
    for part in text.split(","):
        key, _, value = part.partition("=")
        try:
            numbers = [float(number) for number in value.split("/")]
        except ValueError:
            numbers = []
        if key not in ("rotation", "scale") or not numbers:
            raise argparse.ArgumentTypeError(f"{text!r} is no view: write plain, rotation=5 or scale=0.95")
        view[key] = numbers[0] if len(numbers) == 1 else numbers
    return view


def run(args: argparse.Namespace) -> int:
    """Predict; return 1 if an image failed."""
    from mmlandmark.inference import LandmarkInferencer, find_cases

    _check(args)
    if args.out is None and (args.formats or args.overlays or args.overwrite):
        raise ValueError("--formats, --overlays and --overwrite need a folder: -o OUT")
    workers = args.workers
    if workers is None:
        workers = 2 if args.shards is not None or len(find_cases(args.inputs)) > 8 else 0
    inferencer = LandmarkInferencer(
        args.model,
        args.device,
        batch_size=args.batch_size,
        num_workers=workers,
        flip=args.flip or None,
        views=args.views,
        precision=args.precision,
        spacing=args.spacing,
        levels=args.levels,
        window=args.window,
    )
    return _print_all(inferencer, args.inputs) if args.out is None else _to_folder(inferencer, args)


def _check(args: argparse.Namespace) -> None:
    """Refuse arguments that do not go together."""
    if bool(args.inputs) == (args.shards is not None):
        raise ValueError("give image files, patterns or folders, or --shards INDEX in their place")
    if args.shards is None and args.part is not None:
        raise ValueError("--part is a part of shards: give --shards INDEX")
    if args.shards is not None and (args.out is None or args.formats or args.overlays):
        raise ValueError(
            "--shards needs a folder, -o OUT, and writes JSON without overlays; mmlandmark convert OUT FILE "
            "--to FORMAT writes other formats"
        )


def _print_all(inferencer: LandmarkInferencer, inputs: Sequence[str]) -> int:
    """Print the landmarks of every image."""
    from mmlandmark.inference import Failure, prediction_table

    failed = 0
    for result in inferencer.stream(inputs):
        if isinstance(result, Failure):
            failed += 1
            _warn(_failed(result))
        else:
            print(prediction_table(result), end="\n\n")
    return int(failed > 0)


def _to_folder(inferencer: LandmarkInferencer, args: argparse.Namespace) -> int:
    """Predict into a folder with progress, and print what came of it."""
    from contextlib import ExitStack

    from mmlandmark.inference import Failure, predict_shards, predict_to_folder
    from mmlandmark.utils.progress import Progress

    shown = 0
    with ExitStack() as stack:
        progress: list[Progress] = []

        def begin(total: int, finished: int) -> None:
            progress.append(stack.enter_context(Progress(total, finished)))
            if finished:
                progress[0].say(f"{args.out}: {finished:,} of {total:,} images are predicted already")

        def advance(results: Sequence[Prediction | Failure]) -> None:
            nonlocal shown
            for result in results:
                if isinstance(result, Failure) and (shown := shown + 1) <= _SHOWN:
                    progress[0].say(_failed(result))
            progress[0].advance(len(results))

        try:
            kept: dict[str, Any] = dict(overwrite=args.overwrite, begin=begin, advance=advance)
            if args.shards is not None:
                outcome = predict_shards(inferencer, args.shards, args.out, args.part or (1, 1), **kept)
            else:
                formats = args.formats or ("json", "csv")
                outcome = predict_to_folder(
                    inferencer, args.inputs, args.out, formats=formats, overlays=args.overlays, **kept
                )
        except KeyboardInterrupt as stop:
            stop.args = (f"stopped: the same command goes on where {args.out} ends",)
            raise
    print(_summary(outcome, args))
    return int(bool(outcome.failures))


def _failed(failure: Failure) -> str:
    name = failure.image or failure.sample_id
    text = f"failed: {failure.reason}" if name in failure.reason else f"failed: {name}: {failure.reason}"
    return "".join(c if c.isprintable() else "?" for c in text)  # a name must not steer the terminal


def _summary(outcome: Outcome, args: argparse.Namespace) -> str:
    """Return what came of the call, in a few lines."""
    done = outcome.asked - outcome.before
    lines = [f"all {outcome.asked:,} images were predicted before"]
    if done:
        speed = f"{outcome.seconds:.1f} s ({done / outcome.seconds:.3g} images/s)"
        before = f", {outcome.before:,} were predicted before" * bool(outcome.before)
        lines = [f"{done:,} of {outcome.asked:,} images in {speed}{before}"]
    if outcome.failures:
        lines[0] += f", {len(outcome.failures):,} FAILED"
    if outcome.flagged:
        lines.append(f"{outcome.flagged:,} landmarks to look at")
    if outcome.unscaled:
        lines.append(
            f"{outcome.unscaled:,} images do not say how large a pixel is, so their radii in mm are unknown: "
            "--spacing MM"
        )
    more = outcome.total - (outcome.asked - len(outcome.failures))
    if more > 0:
        lines.append(f"{args.out} also holds {more:,} images of earlier calls")
    files = outcome.files[:_SHOWN]
    lines += [f"wrote {path}" for path in files]
    if len(outcome.files) > len(files):
        lines.append(f"wrote {len(outcome.files) - len(files)} more files")
    if args.overlays:
        lines.append(f"overlays are in {args.out}/overlays")
    if len(outcome.failures) > _SHOWN:
        where = "summary.json" if args.shards is None else "shard-*.done.json"
        lines.append(f"{args.out}/{where} lists all failures")
    return "\n".join(lines)


def _warn(text: str) -> None:
    import sys

    print(text, file=sys.stderr, flush=True)
