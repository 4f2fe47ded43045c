"""Print a config as it is used: bases merged, options applied, stages listed."""

from __future__ import annotations

import argparse

from mmlandmark.utils.command_line import add_config_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mmlandmark print-config``."""
    add_config_arguments(parser)
    parser.add_argument("--stage", help="print the config of this stage")


def run(args: argparse.Namespace) -> None:
    """Print the config."""
    from mmlandmark.apis import prepare_config
    from mmlandmark.engine import plan_of_stages, stage_named
    from mmlandmark.utils.config_source import config_source

    config = prepare_config(
        args.config, options=args.cfg_options, work_dir=args.work_dir, launcher=args.launcher
    )
    if args.stage:
        config = stage_named(plan_of_stages(config, config.work_dir), args.stage).config
    print(config_source(config.to_dict()), end="")
