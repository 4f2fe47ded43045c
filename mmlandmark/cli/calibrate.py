"""Measure how sure a detector is: error radii that hold, from data that training has not seen.

DATA are annotated images (JSON or CSV, or a config, whose tested images count), the folder of a test, or the
folder of a cross-validation. The latter calibrates a detector that was trained on all images of the folds.
Without DATA the calibration of MODEL is evaluated:

    mmlandmark calibrate ceph.mml.pth work_dirs/ceph_cv --evaluate test1.json
    mmlandmark calibrate ceph.mml.pth --evaluate test1.json
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from mmlandmark.utils.command_line import add_trust_argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mmlandmark calibrate``."""
    parser.add_argument("model", metavar="MODEL", help="model file, checkpoint, work folder or name")
    parser.add_argument("data", nargs="*", metavar="DATA", help="to calibrate on")
    parser.add_argument("--evaluate", nargs="+", metavar="DATA", default=[], help="to measure coverage on")
    parser.add_argument("-o", "--out", metavar="FILE", help="model file to write; default MODEL itself")
    parser.add_argument(
        "--levels", nargs="+", type=float, default=[0.9, 0.95], metavar="P",
        help="probability with which a radius holds the true position; default 0.9 0.95",
    )  # fmt: skip
    parser.add_argument(
        "--kind", choices=("auto", "absolute", "scaled", "elliptic"), default="auto",
        help="of radii and regions; auto takes the smallest ones",
    )  # fmt: skip
    parser.add_argument(
        "--limit", type=float, metavar="MM",
        help="error beyond which a person should look, in pixels without a spacing; default 4 mm, in pixels "
        "the one that the part to flag exceeds",
    )  # fmt: skip
    parser.add_argument(
        "--flag-rate", type=float, default=0.05, metavar="P", help="part of the points to flag; default 0.05"
    )
    parser.add_argument("--report", metavar="FOLDER", help="of tables and figures; default beside the file")
    parser.add_argument("--allow-seen", action="store_true", help="take images of the training set, too")
    parser.add_argument("--allow-other", action="store_true", help="take predictions of another detector")
    add_trust_argument(parser)


def run(args: argparse.Namespace) -> None:
    """Calibrate, evaluate, write the model file."""
    from dataclasses import replace

    from mmlandmark.apis.calibration import (
        calibrate,
        describe_calibration,
        measure_coverage,
        save_coverage,
        source_name,
    )
    from mmlandmark.apis.tested_data import check_tested, read_tested
    from mmlandmark.engine import ConfigError
    from mmlandmark.evaluation import TestedCases
    from mmlandmark.inference.loading import load_model

    if not args.data and not args.evaluate:
        raise ConfigError("nothing to do: give DATA to calibrate on, or --evaluate DATA, or both")
    model = load_model(args.model)
    out = _out_file(args)

    def read(sources: list[str]) -> TestedCases:
        parts = [part for source in sources for part in read_tested(model, source)]
        for note in check_tested(model, parts, args.allow_seen, args.allow_other):
            print(f"note: {note}")
        return TestedCases.joined([part.cases for part in parts])

    if args.data:
        cases = read(args.data)
        options = dict(levels=args.levels, limit=args.limit, flag_rate=args.flag_rate)
        model = calibrate(model, cases, args.data, kind=None if args.kind == "auto" else args.kind, **options)
        print(describe_calibration(model, cases))
    report = None
    if args.evaluate:
        tested = ", ".join(map(source_name, args.evaluate))
        report = measure_coverage(model, read(args.evaluate), tested)
        print(report.to_markdown())
        covered = report.overall["observed"].items()
        observed = {level: round(part, 4) for level, part in covered if math.isfinite(part)}
        noted = dict(images=report.about["images"], coverage=observed)
        model = replace(model, measured={**model.measured, f"coverage on {tested}": noted})
    if args.data:
        model.save(out)
        print(f"wrote {out}")
    if report is not None:
        for path in save_coverage(report, args.report or out.with_name(f"{_stem(out)}_coverage")):
            print(f"wrote {path}")


def _out_file(args: argparse.Namespace) -> Path:
    """Return the file to write, beside which reports go."""
    from mmlandmark.engine import ConfigError

    if args.out:
        return Path(args.out)
    path = Path(args.model)
    if path.name.endswith(".mml.pth") and path.is_file():
        return path
    if args.data or not args.report:
        raise ConfigError(
            f"{args.model} is no model file (*.mml.pth) that could be replaced: name one to write with -o"
            + ("" if args.data else ", or a folder with --report")
        )
    return path


def _stem(path: Path) -> str:
    return path.name.removesuffix(".pth").removesuffix(".mml")
