"""Test a trained detector: table, predictions, pictures, and a record if asked for."""

from __future__ import annotations

import argparse
from pathlib import Path

from mmlandmark.utils.command_line import add_config_arguments, add_landmarks_argument, add_verbose_argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mmlandmark test``."""
    add_config_arguments(parser)
    add_verbose_argument(parser)
    parser.add_argument(
        "checkpoint", nargs="?", help="a file, last (the default) or best; a model file brings its own"
    )
    parser.add_argument("--flip", action="store_true", help="average with the mirrored image")
    parser.add_argument("--stage", help="test this stage; default the last")
    add_landmarks_argument(parser)
    parser.add_argument("--no-figures", action="store_true", help="write numbers only")
    parser.add_argument(
        "--record", nargs="?", const="auto", metavar="JSON",
        help="record the result; without a file in results/ beside the config",
    )  # fmt: skip


def run(args: argparse.Namespace) -> None:
    """Test, and print the table."""
    from mmengine.dist import is_main_process

    from mmlandmark.apis import (
        check_trained_as,
        draw_test_figures,
        find_checkpoint,
        prepare_config,
        record_test,
        tables_of_test,
        test_config,
    )
    from mmlandmark.apis.tested_run import tested_run
    from mmlandmark.engine import ConfigError, folder_of_test, stage_to_test

    options = dict(args.cfg_options)
    special = options or args.flip or args.stage or args.landmarks or args.checkpoint == "best"
    if args.record == "auto" and special:
        raise ConfigError(
            "--record without a file is for the config as it is: name a file for a result with --flip, "
            "--stage, --landmarks, --cfg-options or the best checkpoint"
        )
    if args.flip:
        options["model.test_cfg"] = dict(flip=True)
    config = prepare_config(
        args.config,
        options=options,
        work_dir=args.work_dir,
        launcher=args.launcher,
        landmarks=args.landmarks,
        verbose=args.verbose,
    )
    if args.stage and config.get("per_landmark"):
        raise ConfigError("mmlandmark test joins the last stages of all landmarks: leave --stage out")
    if args.stage:
        config = stage_to_test(config, config.work_dir, args.stage)
    checkpoint = find_checkpoint(config, args.checkpoint)
    if args.record == "auto":
        check_trained_as(config, checkpoint)
    tested, folder = tested_run(config)
    # Results of a detector of some landmarks lie beside it.
    above = folder if config.get("per_landmark") else Path(config.work_dir)
    out = above / folder_of_test(tested, checkpoint).name
    metrics = test_config(config, checkpoint, out_dir=out)
    if not is_main_process():
        return
    print(tables_of_test(tested, out))
    print(f"results are in {out}")
    if args.record:
        path = None if args.record == "auto" else args.record
        print(f"recorded {record_test(config, checkpoint, metrics, out, path)}")
    if not args.no_figures:
        for path in draw_test_figures(config, out):
            print(f"wrote {path}")
