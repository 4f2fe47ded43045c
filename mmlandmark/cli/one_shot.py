"""Train a detector on one annotated image and a folder of others.

First a network learns from all images, without annotation, which pixels are alike. With it the landmarks of
the template are found in the others; where they agree, a plain detector learns from these labels. It is
written as a model file. The same command goes on after a break; the rules are in docs/one_shot.md.

    mmlandmark one-shot --template films/17.png --points 17.json --images films/ --minutes 60 -o my.mml.pth
    mmlandmark predict my.mml.pth films/ -o predictions
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmlandmark.cli.plan import positive

if TYPE_CHECKING:
    from mmlandmark.planning import OneShotAnswers

_MODEL = ".mml.pth"
RESUMABLE = True  # a request to stop is taken, and the same command goes on


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mmlandmark one-shot``."""
    parser.add_argument("--template", required=True, metavar="IMAGE", help="the annotated image")
    parser.add_argument(
        "--points",
        required=True,
        metavar="FILE",
        help='its landmarks: JSON {"name": [x, y], ...}, or an annotation file that has a row for it',
    )
    parser.add_argument(
        "--images", required=True, metavar="DIR", help="images without annotation, anywhere below a folder"
    )
    parser.add_argument("--minutes", type=positive, default=60.0, help="time for the training; default 60")
    parser.add_argument(
        "-o", "--out", type=Path, default=Path("detector.mml.pth"),
        help="model file; all else goes into the folder of that name; default detector.mml.pth",
    )  # fmt: skip
    parser.add_argument(
        "--known", metavar="DATA", help="annotation of some of the images, to measure by and nothing else"
    )
    parser.add_argument(
        "--spacing",
        nargs="+",
        type=positive,
        metavar="MM",
        help="mm per pixel of images without: one, or x y",
    )
    parser.add_argument("--random-start", action="store_true", help="no ImageNet weights, also if installed")
    parser.add_argument("--overwrite", action="store_true", help="replace a plan that was not trained yet")


def run(args: argparse.Namespace) -> int:
    """Plan, train, write; return the exit code."""
    from mmlandmark.apis import OneShotStep, prepare_config, run_plan
    from mmlandmark.apis.one_shot import REPORT
    from mmlandmark.engine import plan_of_run
    from mmlandmark.planning import check_folder, is_one_shot_planned
    from mmlandmark.planning.one_shot import BESIDE_ONE_SHOT
    from mmlandmark.planning.plan_folder import read_plan

    if not args.out.name.endswith(_MODEL) or args.out.name == _MODEL:
        raise ValueError(f"-o {args.out}: name a model file, such as detector{_MODEL}")
    folder, answers = args.out.with_name(args.out.name.removesuffix(_MODEL)), _answers(args)
    if not args.overwrite and is_one_shot_planned(folder, answers):
        print(f"going on with the plan in {folder}", flush=True)
    else:
        check_folder(folder, args.overwrite, (*BESIDE_ONE_SHOT, REPORT, args.out.absolute()))
        _plan(answers, folder)
    config = prepare_config(folder / "config.py")
    step = OneShotStep(config, folder, args.out, read_plan(folder))
    run_plan(plan_of_run(config, config.work_dir, steps=[step]))
    print((folder / REPORT).read_text(encoding="utf-8"))
    print(f"This is {folder / REPORT}. Next:")
    words = (shlex.quote(str(path)) for path in (args.out, args.images))
    print(f"  mmlandmark predict {' '.join(words)} -o predictions --overlays")
    return 0


def _plan(answers: OneShotAnswers, folder: Path) -> None:
    """Read, decide, tell and write."""
    from mmlandmark.planning import decide_one_shot, read_one_shot
    from mmlandmark.planning import one_shot as planning
    from mmlandmark.planning.choice import duration
    from mmlandmark.planning.speed import busy_note

    plan = read_one_shot(answers)
    print(plan.title())
    for name in plan.template.left_out:
        print(f"landmark left out: {name}")
    for line in plan.images.left_out:
        print(f"image left out: {line}")
    for line in [] if plan.known is None else plan.known.left_out:
        print(f"image of --known left out: {line}")
    for line in plan.warnings:
        print(f"warning: {line}", file=sys.stderr)
    print("measuring steps on this machine ...", flush=True)
    decide_one_shot(plan, planning.measure_one_shot)
    for name in ("size", "start", "aspect", "selector", "ssl", "student"):
        print(f"  {name:<9} {plan.choices[name].why}")
    if note := busy_note():
        print(f"warning: {note}", file=sys.stderr)
    plan.write(folder)
    print(f"wrote {folder / 'config.py'}; training takes about {duration(plan.minutes)}", flush=True)


def _answers(args: argparse.Namespace) -> OneShotAnswers:
    import torch

    from mmlandmark.planning import OneShotAnswers
    from mmlandmark.planning.speed import available_memory, weights_installed

    def absolute(path: str | None) -> Any:
        return None if path is None else os.path.abspath(os.path.expanduser(path))

    return OneShotAnswers(
        template=absolute(args.template),
        points=absolute(args.points),
        images=absolute(args.images),
        minutes=args.minutes,
        known=absolute(args.known),
        spacing=None if args.spacing is None else tuple(args.spacing),
        published_weights=not args.random_start and weights_installed(),
        memory=available_memory(),
        on_gpu=torch.cuda.is_available(),
        cores=os.cpu_count() or 1,
    )
