"""Train a detector from a config, on one CPU or on many machines."""

from __future__ import annotations

import argparse
from pathlib import Path

from mmlandmark.utils.command_line import (
    NamedFiles,
    add_config_arguments,
    add_landmarks_argument,
    add_verbose_argument,
)

RESUMABLE = True  # a request to stop is taken, and the same command goes on


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mmlandmark train``."""
    add_config_arguments(parser)
    add_verbose_argument(parser)
    parser.add_argument(
        "--resume",
        nargs="?",
        const="auto",
        help="resume from the newest checkpoint of the work folder, or from this one",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="train anew in a work folder that holds a training"
    )
    parser.add_argument("--amp", action="store_true", help="train in bfloat16 autocast")
    parser.add_argument(
        "--auto-scale-lr", action="store_true", help="scale the learning rate with the batch of all processes"
    )
    parser.add_argument("--seed", type=int, help="seed of all that is random; default 0")
    parser.add_argument("--deterministic", action="store_true", help="use deterministic algorithms only")
    parser.add_argument("--stage", help="train only this stage")
    add_landmarks_argument(parser)
    parser.add_argument(
        "--input",
        nargs="+",
        action=NamedFiles,
        default={},
        metavar="NAME=FILE",
        help="an input of the model, such as a checkpoint to learn from; the stage that makes it is skipped",
    )
    parser.add_argument("--list", action="store_true", help="show the state of every run, train nothing")


def run(args: argparse.Namespace) -> None:
    """Train, or list the runs.

    Raises:
        ConfigError: The work folder holds a training, and neither ``--resume`` nor ``--overwrite`` is given;
            or as :func:`~mmlandmark.apis.train_config`.
    """
    from mmlandmark.apis import prepare_config, train_config
    from mmlandmark.engine import describe_plan, plan_of_run

    config = prepare_config(
        args.config,
        options=args.cfg_options,
        work_dir=args.work_dir,
        launcher=args.launcher,
        seed=args.seed,
        deterministic=args.deterministic,
        amp=args.amp,
        auto_scale_lr=args.auto_scale_lr,
        inputs=args.input,
        landmarks=args.landmarks,
        verbose=args.verbose,
    )
    if args.list:
        print(describe_plan(plan_of_run(config, config.work_dir)))
        return
    if (
        args.resume is None
        and not args.overwrite
        and not (config.get("stages") or config.get("per_landmark"))
    ):
        _refuse_to_replace(Path(config.work_dir))
    train_config(config, resume=args.resume, stage=args.stage)


def _refuse_to_replace(folder: Path) -> None:
    """Raise ConfigError if a run that starts from the beginning would replace a training."""
    from mmlandmark.engine import ConfigError, latest_checkpoint

    newest = latest_checkpoint(folder)
    if newest is not None:
        raise ConfigError(
            f"{folder} holds a training, up to {newest.name}: --resume continues it, --work-dir takes "
            "another folder, --overwrite trains anew in its place"
        )
