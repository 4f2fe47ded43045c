"""Train and test on every fold of the data, and report on all folds together.

Folds are those of the data (published lists, a `fold` in the annotations) or, with --num-folds, random ones
by group. Every fold has a work folder of its own; if it was stopped, the same command resumes:

    mmlandmark cross-validate configs/spatial_configuration/sc_unet_hand_800x640.py
    mmlandmark cross-validate configs/unet/unet_isbi2015_320x256_cpu.py --num-folds 4 --all-splits
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mmlandmark.utils.command_line import add_config_arguments, add_verbose_argument

RESUMABLE = True  # a request to stop is taken, and the same command goes on


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mmlandmark cross-validate``."""
    add_config_arguments(parser)
    add_verbose_argument(parser)
    parser.add_argument("--folds", nargs="+", metavar="NAME", help="run only these folds; default all")
    parser.add_argument(
        "--num-folds", type=int, metavar="K", help="divide the data at random into folds 0 to K - 1"
    )
    parser.add_argument("--fold-seed", type=int, default=0, metavar="N", help="seed of --num-folds")
    parser.add_argument(
        "--all-splits", action="store_true", help="with --num-folds: divide the test splits of the data, too"
    )
    parser.add_argument(
        "--group-pattern",
        metavar="REGEX",
        help="with --num-folds: matches the patient at the start of sample ids",
    )
    parser.add_argument("--seed", type=int, help="seed of all that is random in training")
    parser.add_argument(
        "--record", nargs="?", const="auto", metavar="JSON",
        help="record the result; without a file in results/ beside the config",
    )  # fmt: skip
    parser.add_argument(
        "--list", action="store_true", help="check the folds and show the state of each, run nothing"
    )


def run(args: argparse.Namespace) -> None:
    """Train, test and report on the folds."""
    from mmengine.dist import is_main_process

    from mmlandmark.apis import cross_validate, fold_configs, plan_of_folds, prepare_config, record_folds
    from mmlandmark.engine import ConfigError, describe_plan

    unusual = args.cfg_options or args.folds or args.fold_seed or args.all_splits or args.group_pattern
    if args.record == "auto" and unusual:
        raise ConfigError(
            "--record without a file is for all folds of the config as it is: name a file for a result with "
            "--folds, --fold-seed, --all-splits, --group-pattern or --cfg-options"
        )
    if (args.all_splits or args.group_pattern) and args.num_folds is None:
        raise ConfigError(
            "--all-splits and --group-pattern need --num-folds: the folds of the data are fixed"
        )
    config = prepare_config(
        args.config,
        options=args.cfg_options,
        work_dir=args.work_dir,
        launcher=args.launcher,
        seed=args.seed,
        verbose=args.verbose,
    )
    if args.work_dir is None:
        config.work_dir += "_cv"  # beside the training of the same config
    deal = None
    if args.num_folds is not None:
        deal = dict(num_folds=args.num_folds, fold_seed=args.fold_seed)
        deal.update(dict(fold_split=None) if args.all_splits else {})
        deal.update(dict(group_pattern=args.group_pattern) if args.group_pattern else {})
    folds = fold_configs(config, args.folds, deal)
    if args.list:
        print(describe_plan(plan_of_folds(folds, config.work_dir)))
        return
    report = cross_validate(folds, config.work_dir)
    if not is_main_process():
        return
    print(report.to_markdown())
    for path in report.save(config.work_dir):
        print(f"wrote {path}")
    if args.record:
        target = None if args.record == "auto" else Path(args.record)
        print(f"recorded {record_folds(report, folds, config, target, deal)}")
