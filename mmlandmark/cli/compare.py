"""Compare recorded results image by image, with paired tests.

The tests are the paired t-test and Wilcoxon's signed-rank test.

Records are files written by `mmlandmark test --record`, or folders of them, such as those of a sweep. Records
that differ only in the seed are one method, and its mean per image is compared; of two methods that share
some seeds, those that both have.

    mmlandmark compare configs/method/results/sweep --against baseline --figure differences.png
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mmlandmark compare``."""
    parser.add_argument("records", nargs="+", type=Path, help="records, or folders of them")
    parser.add_argument("--against", required=True, metavar="NAME", help="the method to compare with")
    parser.add_argument("--figure", type=Path, metavar="PNG", help="plot the differences")


def run(args: argparse.Namespace) -> None:
    """Compare and print."""
    from mmlandmark.evaluation import compare_records, read_records

    files = [file for path in args.records for file in (path.glob("*.json") if path.is_dir() else [path])]
    groups = read_records(files, by_file=True)
    baseline = groups.pop(args.against, None)
    if baseline is None or not groups:
        raise ValueError(f"--against {args.against}: name one of several methods, here {sorted(groups)}")
    tests = {name: compare_records(records, baseline) for name, records in groups.items()}
    unit = baseline[0]["image_errors"]["unit"]
    print(f"Mean error per image, difference to {args.against} ({unit}):")
    for name, test in tests.items():
        low, high = test.interval
        spread = f"95 % {low:+.4f} to {high:+.4f}"
        if math.isnan(test.t_p):
            spread = f"of all {test.units} alike (no 95 % interval, no t-test)"
        print(
            f"{name}: {test.difference:+.4f}, {spread}, {test.images} {test.units}, "
            f"t-test p = {test.t_text}, Wilcoxon p = {test.wilcoxon_p:.2g}"
        )
        for note in _notes({name: groups[name], args.against: baseline}):
            print(f"  note: {note}")
    if args.figure:
        from mmlandmark.visualization import plot_differences

        print(f"wrote {plot_differences(tests, args.figure, against=args.against, unit=unit)}")


def _notes(methods: dict[str, Sequence[dict[str, Any]]]) -> list[str]:
    """Return what a reader of the difference of two methods must know: runs and points that are no part."""
    from mmlandmark.evaluation.record import compared_runs

    first, second = methods.values()
    notes = []
    for (name, runs), used in zip(methods.items(), compared_runs(first, second), strict=True):
        lost = [str(run["seed"]) for run in runs if run not in used]
        if lost:
            notes.append(f"seeds {', '.join(lost)} of {name} are left out, which the other one lacks")
        missed = [int(run["metrics"].get("num_missing_pred") or 0) for run in used]
        if any(missed):
            notes.append(
                f"{name} does not predict {', '.join(map(str, missed))} of the annotated points (by run); "
                "they have no error, so what it leaves out does not count against it"
            )
    return notes
