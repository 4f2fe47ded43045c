"""Train a detector: any config, any method, one CPU or many machines."""

from __future__ import annotations

import argparse

from mmlandmark.utils.command_line import add_config_arguments, add_verbose_argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mmlandmark train``."""
    add_config_arguments(parser)
    add_verbose_argument(parser)
    parser.add_argument(
        "--resume",
        nargs="?",
        const="auto",
        help="go on from the newest checkpoint in the work folder, or from this one",
    )
    parser.add_argument("--amp", action="store_true", help="train in bfloat16 autocast")
    parser.add_argument("--seed", type=int, help="seed of everything random")
    parser.add_argument("--deterministic", action="store_true", help="use deterministic algorithms only")
    parser.add_argument("--stage", help="of a config with stages: train this one only")
    parser.add_argument(
        "--teacher",
        metavar="CKPT",
        help="of a config with a distilled detector: learn from this teacher, skip the stage that trains it",
    )


def run(args: argparse.Namespace) -> None:
    """Train."""
    from mmlandmark.apis import prepare_config, train_config

    config = prepare_config(
        args.config,
        options=args.cfg_options,
        work_dir=args.work_dir,
        launcher=args.launcher,
        seed=args.seed,
        deterministic=args.deterministic,
        amp=args.amp,
        teacher=args.teacher,
        verbose=args.verbose,
    )
    train_config(config, resume=args.resume, stage=args.stage)
