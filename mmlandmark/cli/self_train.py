"""Train a detector on a few annotated images and a folder of others, which it labels itself.

Plans as mmlandmark plan does, then trains: on annotated images, with its own labels of the others, and on
annotated images again. The best of the three by validation is written as a model file. The same command goes
on after a break.

    mmlandmark self-train data/ceph --unlabelled films/ --minutes 60 -o my_run
    mmlandmark predict my_run/detector.mml.pth films/ -o predictions
"""

from __future__ import annotations

import argparse
import os
import shlex
from pathlib import Path

from mmlandmark.cli.plan import add_data_arguments, answers_of, decided_plan

RESUMABLE = True  # a request to stop is taken, and the same command goes on


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mmlandmark self-train``."""
    parser.add_argument(
        "--unlabelled",
        required=True,
        metavar="DIR",
        help="images without annotation, anywhere below a folder",
    )
    parser.add_argument(
        "-o", "--out", type=Path, default=Path("work_dirs/self_train"),
        help="folder for config, trainings and detector; default work_dirs/self_train",
    )  # fmt: skip
    add_data_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Plan, train, compare; return the exit code."""
    from dataclasses import replace

    from mmlandmark.apis import BestStageStep, prepare_config, run_plan
    from mmlandmark.apis.self_training import MODEL, REPORT
    from mmlandmark.engine import plan_of_run
    from mmlandmark.planning import check_folder, find_data, is_planned, write_plan
    from mmlandmark.planning.choice import duration
    from mmlandmark.planning.plan_folder import BESIDE_PLAN, read_plan

    folder = os.path.abspath(os.path.expanduser(args.unlabelled))
    source, answers = find_data(args.data, args.images), replace(answers_of(args), unlabelled=folder)
    if not args.overwrite and is_planned(args.out, source, answers):
        print(f"going on with the plan in {args.out}", flush=True)
    else:
        check_folder(args.out, args.overwrite, (*BESIDE_PLAN, MODEL, REPORT))
        plan = decided_plan(source, answers, args.yes)
        if plan is None:
            return 1
        write_plan(plan, args.out)
        print(f"wrote {args.out / 'config.py'}; training takes about {duration(plan.minutes)}", flush=True)
    config = prepare_config(args.out / "config.py")
    step = BestStageStep(config, args.out, read_plan(args.out)["images"])
    run_plan(plan_of_run(config, config.work_dir, steps=[step]))
    print((args.out / REPORT).read_text(encoding="utf-8"))
    model, images = (shlex.quote(str(path)) for path in (args.out / MODEL, args.unlabelled))
    print(f"This is {args.out / REPORT}. Next:")
    print(f"  mmlandmark predict {model} {images} -o predictions --overlays")
    return 0
