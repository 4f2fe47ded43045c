"""Measure how fast volumes become augmented patches, against MONAI, TorchIO and PyTorch by hand.

All ways read the same NIfTI files, resample them to 1 mm, rotate and scale them alike and cut out the same
patch. They take turns in one process; what is compared are ratios within a turn. Packages that are not
installed are left out. Every result is compared with ours, voxel by voxel.

    mmlandmark benchmark-volumes --out docs/benchmarks/volumes_cpu.json
    mmlandmark benchmark-volumes --render docs/benchmarks.md
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmlandmark.utils.command_line import positive_number
from mmlandmark.utils.files import atomic_write_json, read_json
from mmlandmark.utils.table_text import markdown_table, rewrite

if TYPE_CHECKING:
    from mmlandmark.testing.volume_contenders import Motion, Way

# What is read: suffix of the files, and what stays in memory.
SOURCES = {
    ".nii.gz": (".nii.gz", "nothing"),
    ".nii": (".nii", "nothing"),
    "kept in memory": (".nii.gz", "volumes"),
}
PACKAGES = ("torch", "monai", "torchio", "nibabel")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mmlandmark benchmark-volumes``."""
    parser.add_argument(
        "--side", type=positive_number, default=193,
        help="voxels along x and y, one more than a multiple of 8; half of it along z; default 193",
    )  # fmt: skip
    parser.add_argument("--patch", type=positive_number, default=96, help="side of the patch; default 96")
    parser.add_argument("--volumes", type=positive_number, default=2, help="files of each kind; default 2")
    parser.add_argument("--rounds", type=positive_number, default=5, help="turns of every way; default 5")
    parser.add_argument("--threads", type=positive_number, default=1, help="of every way; default 1")
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    parser.add_argument(
        "--render", type=Path, metavar="PAGE", help="write the table of a page from its JSON file, and end"
    )


def run(args: argparse.Namespace) -> None:
    """Measure, print and write; or render."""
    if args.render:
        render(args.render)
        return
    record = measure(args)
    print(table_of(record))
    if args.out:
        atomic_write_json(args.out, record)
        print(f"wrote {args.out}")


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Return the results of all ways and sources."""
    import cv2
    import torch

    from mmlandmark.testing.volume_contenders import SPACING, draw_motions, volume_ways, write_volumes

    load_before = os.getloadavg()
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(args.threads)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for source, (suffix, kept) in SOURCES.items():
            paths = write_volumes(Path(folder), args.volumes, args.side, suffix)
            ways = volume_ways(args.patch, kept)  # type: ignore[arg-type]
            rows += rows_of(source, ways, paths, draw_motions(len(paths)), args.rounds)
    return about() | dict(
        threads=args.threads,
        rounds=args.rounds,
        volumes=args.volumes,
        size=[args.side // 2 + 1, args.side, args.side],
        spacing=list(SPACING),
        patch=args.patch,
        load_before=load_before,
        rows=rows,
    )


def rows_of(
    source: str, ways: dict[str, Way], paths: Sequence[Path], motions: Sequence[Motion], rounds: int
) -> list[dict[str, Any]]:
    """Return time, ratio and difference of every way for one source; the first way is ours."""
    from functools import partial

    import numpy as np

    from mmlandmark.testing.measure import median_ratio, paired_times

    def all_of(way: Way) -> list[np.ndarray]:
        return [way(path, motion) for path, motion in zip(paths, motions, strict=True)]

    patches = {name: np.asarray(all_of(way), np.float64) for name, way in ways.items()}
    seconds = paired_times({name: partial(all_of, way) for name, way in ways.items()}, rounds)
    own, first = next(iter(patches.values())), next(iter(seconds.values()))
    return [
        dict(
            source=source,
            way=name,
            milliseconds=round(1e3 * statistics.median(times) / len(paths), 2),
            times_ours=round(median_ratio(times, first), 3),
            mean_difference=round(float(np.abs(patches[name] - own).mean() / own.std()), 6),
            largest_difference=round(float(np.abs(patches[name] - own).max() / own.std()), 6),
        )
        for name, times in seconds.items()
    ]


def about() -> dict[str, Any]:
    """Return what was measured on: machine, versions, commit."""
    from importlib.metadata import PackageNotFoundError, version

    from mmlandmark.evaluation.record import git_commit, machine, versions
    from mmlandmark.ops import backend

    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return dict(machine=machine(), versions=versions() | found, commit=git_commit(), backend=str(backend()))


def table_of(record: dict[str, Any]) -> str:
    """Return the table of a record: a row per way, two columns per source."""
    by_way: dict[str, dict[str, dict[str, Any]]] = {}
    for row in record["rows"]:
        by_way.setdefault(row["way"], {})[row["source"]] = row
    head = ["way"]
    for source in SOURCES:
        head += [f"{source}, ms", "times ours"]
    head += ["mean difference, %", "largest, %"]
    cells = []
    for way, rows in by_way.items():
        line = [way]
        for source in SOURCES:
            line += [f"{rows[source]['milliseconds']:.1f}", f"{rows[source]['times_ours']:.2f}"]
        # The files of both kinds hold the same voxels.
        shown = rows[next(iter(SOURCES))]
        line += [f"{100 * shown[key]:.2f}" for key in ("mean_difference", "largest_difference")]
        cells.append(line)
    return markdown_table(head, cells, left=1, padded=True)


def render(page: Path) -> None:
    """Write the table between the marks of a page from ``benchmarks/volumes_cpu.json`` beside it."""
    record = read_json(page.parent / "benchmarks" / "volumes_cpu.json")
    packages = ", ".join(f"{name} {record['versions'][name]}" for name in PACKAGES)
    line = (
        f"{record['machine']['cpu']}, {record['threads']} thread(s), {packages}, commit {record['commit']}; "
        f"medians of {record['rounds']} turns, beside a load of "
        f"{record['load_before'][0]:.1f}. Volumes of {' x '.join(map(str, record['size']))} voxels of "
        f"{' x '.join(f'{mm:g}' for mm in record['spacing'][::-1])} mm, int16; patches of {record['patch']} "
        "voxels of 1 mm along each side."
    )
    rewrite(page, "volumes_cpu", f"{line}\n\n{table_of(record)}")
