"""Measure the memory that volumes take in training and in prediction, against their size.

Every way runs in a process of its own, on a generated CT of 16 bits and a small untrained network of 50
landmarks. What counts is the largest resident memory of that process, from its start to its end: programs,
reading of the file, preparation, network, maps, decoding.

    mmlandmark benchmark-memory --out docs/benchmarks/memory_cpu.json
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from mmlandmark.utils.command_line import command_line, positive_number
from mmlandmark.utils.files import atomic_write_json, read_json
from mmlandmark.utils.table_text import markdown_table, rewrite

SIZES = (64, 96, 128, 192, 256)
LARGEST_WHOLE = {"predict": 192, "train": 128}
CT = (600, 512, 512)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mmlandmark benchmark-memory``."""
    parser.add_argument(
        "--sides", type=positive_number, nargs="*", default=list(SIZES), metavar="N",
        help=f"of cubic volumes, in voxels; default {' '.join(map(str, SIZES))}",
    )  # fmt: skip
    parser.add_argument(
        "--ct", action="store_true", help="also predict a CT of 512 x 512 x 600 voxels, in windows and from "
        "coarse to fine",
    )  # fmt: skip
    parser.add_argument("--landmarks", type=positive_number, default=50, help="default 50")
    parser.add_argument("--threads", type=positive_number, default=1, help="of PyTorch; default 1")
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    parser.add_argument("--plot", type=Path, help="PNG to draw, memory against the number of voxels")
    parser.add_argument("--ways", nargs="+", metavar="WAY", help="names as in the table; default all")
    parser.add_argument("--add", action="store_true", help="keep what OUT holds of other sizes and ways")
    parser.add_argument(
        "--render", type=Path, metavar="PAGE", help="write the table of memory_cpu.json into a page"
    )
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> None:
    """Measure and print, or render."""
    if args.render:
        render(args.render)
        return
    if args.measure:
        part, way, path = args.measure
        print(json.dumps(measure_here(part, way, path, args.landmarks, args.threads)))
        return
    record = measure(args)
    if args.add and args.out and args.out.is_file():
        new = [_key(row) for row in record["rows"]]
        kept = [row for row in read_json(args.out)["rows"] if _key(row) not in new]
        record["rows"] = kept + record["rows"]
    print(table_of(record))
    if args.out:
        atomic_write_json(args.out, record)
        print(f"wrote {args.out}")
    if args.plot:
        from mmlandmark.visualization.memory_figure import plot_memory

        print(f"wrote {plot_memory(record, args.plot)}")


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Return memory and time of every way at every size."""
    from mmlandmark.evaluation.record import git_commit, machine, versions
    from mmlandmark.testing.memory_contenders import WAYS, WHOLE, write_volume

    rows = []
    sizes = [(side,) * 3 for side in args.sides] + [CT] * args.ct
    with tempfile.TemporaryDirectory(prefix="mmlandmark_memory_") as folder:
        for size in sizes:
            path = Path(folder) / "ct.npy"
            write_volume(path, size)
            for part, ways in WAYS.items():
                for way in ways:
                    too_large = way == WHOLE and max(size) > LARGEST_WHOLE[part]
                    left_out = args.ways is not None and way not in args.ways
                    if too_large or left_out or (size == CT and part == "train"):
                        continue
                    row = dict(part=part, way=way, size=list(size))
                    rows.append(row | in_a_process(part, way, path, args))
                    print(rows[-1], flush=True)
    return dict(
        landmarks=args.landmarks, threads=args.threads, machine=machine(), versions=versions(),
        commit=git_commit(), rows=rows,
    )  # fmt: skip


def in_a_process(part: str, way: str, path: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Return what a process of its own has measured."""
    numbers = ["--landmarks", str(args.landmarks), "--threads", str(args.threads)]
    command = command_line("benchmark-memory", "--measure", part, way, str(path), *numbers)
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure_here(part: str, way: str, path: str, landmarks: int, threads: int) -> dict[str, Any]:
    """Run one way; return its time, and the largest memory of this process so far."""
    import torch

    from mmlandmark.testing.measure import peak_resident
    from mmlandmark.testing.memory_contenders import run_way

    torch.set_num_threads(threads)
    before, begin = peak_resident(), time.perf_counter()
    found = run_way(part, way, path, landmarks)
    seconds = time.perf_counter() - begin
    return dict(
        peak_gigabytes=_gigabytes(peak_resident()), programs_gigabytes=_gigabytes(before),
        seconds=round(seconds, 1), landmarks_found=found,
    )  # fmt: skip


def _key(row: dict[str, Any]) -> tuple:
    return row["part"], row["way"], tuple(row["size"])


def _gigabytes(size: int | None) -> float | None:
    return None if size is None else round(size / 2**30, 3)


def table_of(record: dict[str, Any]) -> str:
    """Return the table of a record, a row per way and size."""
    head = ["", "way", "voxels", "peak memory (GiB)", "seconds"]
    cells = [
        [
            row["part"],
            row["way"],
            " x ".join(map(str, reversed(row["size"]))),
            "unknown" if row["peak_gigabytes"] is None else f"{row['peak_gigabytes']:.2f}",
            f"{row['seconds']:.1f}",
        ]
        for row in sorted(record["rows"], key=lambda row: (row["part"], row["way"]))
    ]
    return markdown_table(head, cells, left=3, padded=True)


def render(page: Path) -> None:
    """Write the table between the marks of a page from ``benchmarks/memory_cpu.json`` beside it."""
    record = read_json(page.parent / "benchmarks" / "memory_cpu.json")
    line = (
        f"{record['landmarks']} landmarks, {record['machine']['cpu']}, {record['threads']} thread(s), torch "
        f"{record['versions']['torch']}, commit {record['commit']}. Programs alone take "
        f"{max(row['programs_gigabytes'] for row in record['rows']):.2f} GiB."
    )
    rewrite(page, "memory_cpu", f"{line}\n\n{table_of(record)}")
