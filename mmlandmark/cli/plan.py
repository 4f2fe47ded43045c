"""Write a config for a data set: what it needs is read from the data and measured on this machine.

DATA is an annotation file (JSON, COCO, CVAT, CSV, TPS), a folder with one and its images, or a folder of
images and markups of 3D Slicer. Images may be volumes. Assumptions are printed before anything is written;
the rules are in docs/plan.md.

    mmlandmark plan data/wings --out my_run --minutes 30
    mmlandmark train my_run/config.py
    mmlandmark predict my_run/run images/ -o predictions
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mmlandmark plan``."""
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder for the config")
    add_data_arguments(parser)


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments on data, time and machine of a command that plans."""
    parser.add_argument("data", metavar="DATA", help="annotation file, or the folder of one with its images")
    parser.add_argument("--minutes", type=positive, default=30.0, help="time for the training; default 30")
    parser.add_argument(
        "--memory", type=positive, metavar="GB", help="for the training; default: what is free"
    )
    parser.add_argument(
        "--images", metavar="DIR", help="folder of the images; default: beside the annotation"
    )
    parser.add_argument(
        "--pairs", nargs="+", default=(), metavar="A:B", help="landmarks that swap in a mirror image"
    )
    parser.add_argument(
        "--spacing",
        nargs="+",
        type=positive,
        metavar="MM",
        help="mm per pixel of images without: one, or x y [z]; refused if volumes state others",
    )
    parser.add_argument(
        "--reference-length", nargs=3, metavar=("A", "B", "MM"), help="two landmarks and their distance in mm"
    )
    parser.add_argument(
        "--scale-to-mm", type=positive, metavar="MM", help="mm per unit of SCALE= in a TPS file"
    )
    direction = parser.add_mutually_exclusive_group()
    direction.add_argument("--y-up", action="store_true", default=None, help="y counts from the bottom row")
    direction.add_argument("--y-down", action="store_true", help="y counts from the top row")
    parser.add_argument("--group-pattern", metavar="REGEX", help="finds the patient at the start of an id")
    parser.add_argument(
        "--random-start",
        action="store_true",
        help="no ImageNet weights, also if the extra 'weights' is installed",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the split; default 0")
    parser.add_argument("--yes", action="store_true", help="do not ask whether to go on")
    parser.add_argument("--overwrite", action="store_true", help="replace a plan that was not trained yet")


def positive(text: str) -> float:
    """Return a positive number that an argument gives."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return value


def run(args: argparse.Namespace) -> int:
    """Read, ask, decide, write; return the exit code."""
    from mmlandmark.planning import check_folder, find_data, write_plan
    from mmlandmark.planning.choice import duration

    check_folder(args.out, args.overwrite)
    plan = decided_plan(find_data(args.data, args.images), answers_of(args), args.yes)
    if plan is None:
        return 1
    write_plan(plan, args.out)
    last = "run/02_fine" if plan.fine else "run"
    config, run_folder = (shlex.quote(str(args.out / name)) for name in ("config.py", last))
    print(f"wrote {args.out / 'config.py'} (also plan.json and the lists of ids). Next:")
    print(f"  mmlandmark train {config}    # about {duration(plan.minutes)}")
    print(f"  mmlandmark test {config}")
    print(f"  mmlandmark predict {run_folder} IMAGES -o predictions")
    return 0


def decided_plan(source: Any, answers: Any, yes: bool) -> Any:
    """Print what is assumed, ask, measure and print what is decided.

    Args:
        source: The :class:`~mmlandmark.planning.DataSource`.
        answers: The :class:`~mmlandmark.planning.Answers`.
        yes: Do not ask whether to go on.

    Returns:
        The :class:`~mmlandmark.planning.Plan`; None if the user does not want to go on.
    """
    from mmlandmark.planning import (
        assumptions,
        decide_network,
        decisions,
        measure_plan,
        questions,
        read_data,
    )
    from mmlandmark.planning.plan_folder import title_of
    from mmlandmark.planning.speed import busy_note

    plan = read_data(source, answers)
    print(title_of(plan))
    _print_block("assumed", assumptions(plan))
    _print_block(
        "found by the check (mmlandmark check shows all)", [f"  {line}" for line in plan.findings[:5]]
    )
    _print_block("not known; a flag answers", [f"  {line}" for line in questions(plan)])
    if not yes and sys.stdin.isatty() and not _agreed():
        print("nothing was written")
        return None
    print("measuring steps on this machine ...", flush=True)
    decide_network(plan, measure_plan)
    _print_block("decided", decisions(plan))
    if note := busy_note():
        print(f"warning: {note}", file=sys.stderr)
    return plan


def answers_of(args: argparse.Namespace) -> Any:
    """Return the :class:`~mmlandmark.planning.Answers` that the arguments give."""
    import torch

    from mmlandmark.planning import Answers, OpenQuestion
    from mmlandmark.planning.speed import available_memory, weights_installed

    reference = None
    if args.reference_length is not None:
        first, second, mm = args.reference_length
        try:
            reference = (first, second, positive(mm))
        except argparse.ArgumentTypeError as error:
            raise OpenQuestion(f"--reference-length {first} {second}: {error} of mm") from None
    return Answers(
        minutes=args.minutes,
        memory=args.memory * 2**30 if args.memory else available_memory(),
        on_gpu=torch.cuda.is_available(),
        cores=os.cpu_count() or 1,
        pairs=tuple(args.pairs),
        spacing=None if args.spacing is None else tuple(args.spacing),
        reference=reference,
        scale_to_mm=args.scale_to_mm,
        y_up=True if args.y_up else False if args.y_down else None,
        group_pattern=args.group_pattern,
        published_weights=not args.random_start and weights_installed(),
        seed=args.seed,
    )


def _print_block(title: str, lines: list[str]) -> None:
    if lines:
        print("\n".join([f"{title}:", *lines]), flush=True)


def _agreed() -> bool:
    return input("go on with these assumptions? [Y/n] ").strip().lower() in ("", "y", "yes")
