"""Test several trained detectors as one model, and save that model.

mmlandmark ensemble work_dirs/a work_dirs/b --out work_dirs/a_and_b
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mmlandmark.utils.command_line import add_options_argument, add_trust_argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mmlandmark ensemble``."""
    parser.add_argument("runs", nargs="+", type=Path, help="work folders of trained runs, and model files")
    parser.add_argument("--out", type=Path, required=True, help="folder of the ensemble and its test")
    parser.add_argument(
        "--average",
        choices=("points", "median", "heatmaps"),
        default="points",
        help="what is averaged, or the median of the points; default points",
    )
    parser.add_argument("--checkpoint", choices=("last", "best"), default="last", help="default last")
    parser.add_argument("--flip", action="store_true", help="average with the mirrored image")
    parser.add_argument("--record", type=Path, metavar="JSON", help="record the result")
    add_options_argument(parser, "override values in the configs of all runs")
    add_trust_argument(parser)


def run(args: argparse.Namespace) -> None:
    """Build the ensemble and test it."""
    from mmlandmark.apis import build_ensemble, record_test, tables_of_test, test_config

    options = dict(args.cfg_options)
    if args.flip:
        options["model.test_cfg.flip"] = True
    config, checkpoint = build_ensemble(
        args.runs, args.out, average=args.average, which=args.checkpoint, options=options
    )
    out = args.out / "test"
    metrics = test_config(config, checkpoint, out_dir=out)
    print(tables_of_test(config, out))
    if args.record:
        print(f"recorded {record_test(config, checkpoint, metrics, out, args.record)}")
