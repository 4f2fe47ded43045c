"""Plant faults in clean annotations, and count how many `mmlandmark check` finds.

mmlandmark measure-checks
mmlandmark measure-checks --seeds 5 --options landmark=6 --out work_dirs/measure_checks
mmlandmark measure-checks --abnormal
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
        "--abnormal", action="store_true",
        help="instead: move landmarks of shapes, and count how many are found abnormal by the other shapes",
    )  # fmt: skip
    parser.add_argument(
        "--options", nargs="+", action=KeyValues, default={}, metavar="KEY=VALUE", help="thresholds"
    )
    parser.add_argument("--out", type=Path, default=Path("work_dirs/measure_checks"), help="folder")


def run(args: argparse.Namespace) -> None:
    """Measure every family, write a table and print it."""
    if args.abnormal:
        _measure_abnormal(args)
        return
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


def _measure_abnormal(args: argparse.Namespace) -> None:
    """Write abnormal.json and abnormal.md, and print the table."""
    from mmlandmark.testing.abnormal_landmarks import measure, to_markdown
    from mmlandmark.utils.files import atomic_write_json, atomic_write_text

    rows = []
    for name, (points, sizes) in shapes_in_mm(args.count, args.real).items():
        held_out = points[max(sizes) :]
        for size in sizes:
            given = dict(data=name, learnt=size, held_out=len(held_out))
            rows += [given | row for row in measure(points[:size], held_out, range(args.seeds))]
        print(f"{name}: {len(points)} shapes done", flush=True)
    atomic_write_json(args.out / "abnormal.json", dict(seeds=args.seeds, rows=rows))
    text = to_markdown(rows) + "\n"
    atomic_write_text(args.out / "abnormal.md", text)
    print(f"\n{text}\n{args.out / 'abnormal.md'}")


def shapes_in_mm(count: int, real: bool) -> dict[str, tuple[Any, tuple[int, ...]]]:
    """Return shuffled complete shapes (N, K, D) in mm, and from how many of them to learn.

    The others are held out. The published folds of the hands are of 895 of them.
    """
    import numpy as np
    from mmengine.dataset import ConcatDataset

    from mmlandmark.datasets import PhantomDataset
    from mmlandmark.datasets.releases import DigitalHandAtlas, Isbi2015Cephalogram
    from mmlandmark.engine.physical_shapes import physical_shapes

    data: dict[str, tuple[Any, tuple[int, ...]]] = {
        f"{kind} phantoms": (PhantomDataset(kind, num_samples=count), ()) for kind in ("ceph", "hand", "head")
    }
    hands, films = (os.environ.get(name) if real else None for name in ("HAND_ATLAS_ROOT", "ISBI2015_ROOT"))
    if hands:
        parts = [
            DigitalHandAtlas(data_root=hands, fold=1, split=split, missing_images="keep")
            for split in ("train", "test")
        ]
        data["hands"] = ConcatDataset(parts), (20, 100, 600)
    if films:
        data["cephalograms"] = Isbi2015Cephalogram(data_root=films, missing_images="keep"), (20, 50, 150)
    result = {}
    for name, (dataset, sizes) in data.items():
        points, unit = physical_shapes(dataset)
        assert unit == "mm", "these data have a scale"
        points = points[np.isfinite(points).all(axis=(1, 2))]
        if len(points) < 20:
            raise ValueError(f"{name}: {len(points)} complete shapes are too few, give a larger --count")
        points = points[np.random.default_rng(0).permutation(len(points))]
        result[name] = points, sizes or (max(10, len(points) // 10), len(points) // 2)
    return result


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
