"""Plant faults in clean annotations, and count how many `mmlandmark check` finds.

mmlandmark measure-checks
mmlandmark measure-checks --seeds 5 --options landmark=6 --out work_dirs/measure_checks
ISBI2015_ROOT=data/isbi HAND_ATLAS_ROOT=data/hand SPINE_ROOT=data/spine mmlandmark measure-checks --real
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from mmlandmark.utils.command_line import KeyValues, positive_number
from mmlandmark.utils.table_text import markdown_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mmlandmark measure-checks``."""
    parser.add_argument("--count", type=positive_number, default=200, help="shapes per family; default 200")
    parser.add_argument("--seeds", type=positive_number, default=5, help="repetitions; default 5")
    parser.add_argument("--fraction", type=float, default=0.15, help="share of faulty records; default 0.15")
    parser.add_argument("--real", action="store_true", help="also the releases whose folders are set")
    parser.add_argument(
        "--options", nargs="+", action=KeyValues, default={}, metavar="KEY=VALUE", help="thresholds"
    )
    parser.add_argument("--out", type=Path, default=Path("work_dirs/measure_checks"), help="folder")


def run(args: argparse.Namespace) -> None:
    """Measure every family, write table.md and print it."""
    from mmlandmark.testing.planted_faults import alarms, measure
    from mmlandmark.utils.files import atomic_write_text

    families = generated_families(args.count) + (real_families() if args.real else [])
    tallies = {}
    for family in families:
        tallies[family.name] = (
            len(family.points),
            alarms(family, **args.options),
            measure(family, range(args.seeds), args.fraction, **args.options),
        )
        print(f"{family.name}: {len(family.points)} records done", flush=True)
    text = to_table(tallies)
    atomic_write_text(args.out / "table.md", text)
    print(f"\n{text}\n{args.out / 'table.md'}")


def generated_families(count: int) -> list[Any]:
    """Return annotations of phantoms and of generated shapes."""
    from mmlandmark.testing.planted_faults import (
        phantom_annotations,
        ultrasound_annotations,
        wing_annotations,
    )

    phantoms = [phantom_annotations(kind, count) for kind in ("ceph", "hand", "spine", "head")]
    return [*phantoms, wing_annotations(count), ultrasound_annotations(count)]


def real_families() -> list[Any]:
    """Return the annotations of the releases whose folders the environment names.

    Raises:
        ValueError: It names none.
    """
    from mmlandmark.datasets.releases import DigitalHandAtlas, Isbi2015Cephalogram, SpineAasce2019
    from mmlandmark.testing.planted_faults import from_datasets

    releases: dict[str, tuple[str, Any]] = {
        "ISBI2015_ROOT": ("cephalograms", Isbi2015Cephalogram),
        "HAND_ATLAS_ROOT": ("hands", DigitalHandAtlas),
        "SPINE_ROOT": ("spines", SpineAasce2019),
    }
    families = [
        from_datasets(name, release(data_root=os.environ[variable], missing_images="keep"))
        for variable, (name, release) in releases.items()
        if os.environ.get(variable)
    ]
    if not families:
        raise ValueError("--real needs ISBI2015_ROOT, HAND_ATLAS_ROOT or SPINE_ROOT in the environment")
    return families


def to_table(tallies: dict[str, Any]) -> str:
    """Return precision, recall and false alarms by family, and recall by kind of fault, as Markdown."""
    names = list(tallies)
    kinds = list(dict.fromkeys(kind for _, _, tally in tallies.values() for kind in tally.counts))
    rows = [["records", *(str(count) for count, _, _ in tallies.values())]]
    rows.append(["findings in 100 clean records", *(f"{rate:.1f}" for _, rate, _ in tallies.values())])
    rows.append(["precision", *(f"{tally.precision:.2f}" for _, _, tally in tallies.values())])
    rows.append(["recall, all kinds", *(f"{tally.recall:.2f}" for _, _, tally in tallies.values())])
    for kind in sorted(kinds):
        cells = [tally.counts.get(kind) for _, _, tally in tallies.values()]
        rows.append([kind, *("-" if cell is None else f"{cell[0] / cell[1]:.2f}" for cell in cells)])
    return markdown_table(["", *names], rows) + "\n"
