"""Print a config as it is used: bases merged, options applied, stages laid out."""

from __future__ import annotations

import argparse

from mmlandmark.utils.command_line import add_config_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mmlandmark print-config``."""
    add_config_arguments(parser)
    parser.add_argument("--stage", help="of a config with stages: print what this one runs with")


def run(args: argparse.Namespace) -> None:
    """Print."""
    from mmlandmark.apis import prepare_config
    from mmlandmark.engine import plan_stages

    config = prepare_config(
        args.config, options=args.cfg_options, work_dir=args.work_dir, launcher=args.launcher
    )
    if args.stage:
        stages = {stage.name: stage.config for stage in plan_stages(config, config.work_dir)}
        if args.stage not in stages:
            raise ValueError(f"no stage {args.stage!r}; there are {list(stages)}")
        config = stages[args.stage]
    print(config.pretty_text)
