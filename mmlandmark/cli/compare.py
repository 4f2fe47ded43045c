"""Compare recorded results image by image: paired t-test and Wilcoxon's signed-rank test.

Records are files that `mmlandmark test --record` wrote, or folders of them, as a sweep's; those that differ
in the seed only are one method, whose mean per image is compared:

    mmlandmark compare configs/method/results/sweep --against baseline --figure differences.png
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mmlandmark compare``."""
    parser.add_argument("records", nargs="+", type=Path, help="records, or folders of them")
    parser.add_argument("--against", required=True, metavar="NAME", help="what the others stand against")
    parser.add_argument("--figure", type=Path, metavar="PNG", help="draw the differences")


def run(args: argparse.Namespace) -> None:
    """Compare."""
    from mmlandmark.evaluation import compare_records, read_records

    files = [f for path in args.records for f in (path.glob("*.json") if path.is_dir() else [path])]
    groups = read_records(files, by_file=True)
    base = groups.pop(args.against, None)
    if base is None or not groups:
        raise ValueError(f"--against {args.against}: compare {sorted(groups)} with what? name one of several")
    tests = {name: compare_records(records, base) for name, records in groups.items()}
    unit = base[0]["image_errors"]["unit"]
    print(f"Mean error of an image, difference to {args.against} ({unit}):")
    for name, test in tests.items():
        low, high = test.interval
        print(
            f"{name}: {test.difference:+.4f}, 95 % {low:+.4f} to {high:+.4f}, {test.images} images, "
            f"t-test p = {test.t_p:.2g}, Wilcoxon p = {test.wilcoxon_p:.2g}"
        )
    if args.figure:
        from mmlandmark.visualization import plot_differences

        print(f"wrote {plot_differences(tests, args.figure, against=args.against, unit=unit)}")
