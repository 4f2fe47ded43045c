"""Measure how fast a detector predicts: PyTorch, compiled, exported, with fewer bits; by batch size.

From images in memory to landmarks. All ways, of all models, take turns in one process; what is compared are
ratios within a turn, to the first way of the first model. A config is measured with random weights.

    mmlandmark benchmark-inference work_dirs/my_run --batch 1 4 --out docs/benchmarks/inference_cpu.json
    mmlandmark benchmark-inference --render docs/benchmarks.md
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

from mmlandmark.utils.command_line import add_trust_argument, positive_number
from mmlandmark.utils.files import atomic_write_json, atomic_write_text, read_json
from mmlandmark.utils.host_memory import keep_freed_memory
from mmlandmark.utils.table_text import markdown_table, markdown_text, replaced


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mmlandmark benchmark-inference``."""
    parser.add_argument("models", nargs="*", help="model files, runs, shipped detectors, or configs")
    parser.add_argument(
        "--batch", nargs="+", type=positive_number, default=[1], help="images at once; default 1"
    )
    parser.add_argument("--rounds", type=positive_number, default=5, help="turns of every way; default 5")
    parser.add_argument("--threads", type=positive_number, default=2, help="of every way; default 2")
    parser.add_argument("--ways", nargs="+", metavar="WAY", help="names as in the table; default all")
    parser.add_argument(
        "--images", nargs="+", default=[], metavar="PATH",
        help="images to run and to take the ranges of int8 from; default phantoms",
    )  # fmt: skip
    parser.add_argument(
        "--errors", action="store_true", help="also run every way on the test that the model names"
    )
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    parser.add_argument(
        "--render", type=Path, metavar="PAGE", help="write the tables of a page from its JSON files, and end"
    )
    add_trust_argument(parser)


def run(args: argparse.Namespace) -> None:
    """Measure, print and write; or render."""
    if args.render:
        render(args.render)
        return
    if not args.models:
        raise ValueError("name a model to measure, or a page to --render")
    import torch

    torch.set_num_threads(args.threads)
    keep_freed_memory()
    record = measure(args)
    print(table_of(record))
    if args.out:
        atomic_write_json(args.out, record)
        print(f"wrote {args.out}")


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Return the results of all models, ways and batch sizes."""
    from mmlandmark.inference.export.example_images import image_shape, made_images, read_images
    from mmlandmark.testing.inference_contenders import (
        WAYS,
        errors_of,
        model_or_untrained,
        own_test,
        ways_to_run,
    )

    ways = args.ways or list(WAYS)
    unknown = [way for way in ways if way not in WAYS]
    if unknown:
        raise ValueError(f"--ways: unknown {unknown}; known are {', '.join(WAYS)}")
    load_before = os.getloadavg()
    runs: dict[tuple[str, str], Any] = {}
    images: dict[str, Any] = {}
    errors, shapes = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for source in args.models:
            model = model_or_untrained(source)
            shape = image_shape(model, model.detector())
            own = read_images(model, args.images, shape, 16) if args.images else made_images(model, shape)
            made = ways_to_run(model, ways, shape, own, Path(folder), args.threads)
            runs |= {(model.name, way): run for way, run in made.items()}
            images[model.name], shapes[model.name] = own, list(shape)
            if args.errors:
                data = own_test(model)
                for way, run in made.items():
                    errors[model.name, way] = errors_of(model, run, *data)
        rows = [row for batch in args.batch for row in rows_of(runs, images, batch, args.rounds)]
    for row in rows:
        row["errors"] = errors.get((row["model"], row["way"]))
    return about(args.threads) | dict(rounds=args.rounds, inputs=shapes, load_before=load_before, rows=rows)


def rows_of(runs: dict[tuple[str, str], Any], images: dict[str, Any], batch: int, rounds: int) -> list[dict]:
    """Return time, throughput and ratio of every way for one batch size.

    Args:
        runs: By name of the model and way; the first is what all are compared with.
        images: (C, *S) arrays by name of the model.
        batch: Number of images at once.
        rounds: Turns of every way.
    """
    from functools import partial

    import numpy as np

    from mmlandmark.testing.measure import median_ratio, paired_times

    batches = {
        name: np.stack([arrays[i % len(arrays)] for i in range(batch)]) for name, arrays in images.items()
    }
    calls = {"\n".join(key): partial(run, batches[key[0]]) for key, run in runs.items()}
    seconds = paired_times(calls, rounds)
    first = next(iter(seconds.values()))
    return [
        dict(
            model=name.split("\n")[0],
            way=name.split("\n")[1],
            batch=batch,
            milliseconds_per_image=round(1e3 * statistics.median(times) / batch, 2),
            images_per_second=round(batch / statistics.median(times), 2),
            times_as_fast=round(median_ratio(first, times), 3),
        )
        for name, times in seconds.items()
    ]


def about(threads: int) -> dict[str, Any]:
    """Return what was measured on: machine, versions, commit."""
    from importlib.metadata import PackageNotFoundError, version

    from mmlandmark.evaluation.record import git_commit, machine, versions
    from mmlandmark.ops import backend

    programs = {}
    for name in ("onnxruntime", "openvino", "nncf"):
        try:
            programs[name] = version(name)
        except PackageNotFoundError:
            programs[name] = "absent"
    return dict(
        machine=machine(), versions=versions() | programs, commit=git_commit(), backend=str(backend()),
        threads=threads,
    )  # fmt: skip


def table_of(record: dict[str, Any]) -> str:
    """Return the table of a record, a row per model, way and batch size."""
    from mmlandmark.evaluation.metric_names import format_metric, headline_metrics, metric_title

    rows = record["rows"]
    keys = {key for row in rows for key in (row["errors"] or {})}
    shown = headline_metrics(keys)[:2]  # the mean error and the strictest rate
    titles = [metric_title(key, list(keys)) for key in shown]
    head = ["model", "way", "images at once", "ms per image", "images/s", "times as fast", *titles]
    cells = [
        [
            markdown_text(row["model"]),
            row["way"],
            str(row["batch"]),
            f"{row['milliseconds_per_image']:.1f}",
            f"{row['images_per_second']:.1f}",
            f"{row['times_as_fast']:.2f}",
            *(format_metric(key, row["errors"][key]) if row["errors"] else "" for key in shown),
        ]
        for row in rows
    ]
    return markdown_table(head, cells, left=2, padded=True)


def render(page: Path) -> None:
    """Write the tables between the marks of a page from ``benchmarks/inference_*.json`` beside it."""
    text = page.read_text(encoding="utf-8")
    for path in sorted((page.parent / "benchmarks").glob("inference_*.json")):
        if f"<!-- {path.stem}:begin -->" not in text:
            raise ValueError(f"{page} has no <!-- {path.stem}:begin --> ... <!-- {path.stem}:end -->")
        record = read_json(path)
        inputs = "; ".join(f"{name}: {' x '.join(map(str, s))}" for name, s in record["inputs"].items())
        names = ("torch", "onnxruntime", "openvino", "nncf")
        programs = ", ".join(f"{name} {record['versions'][name]}" for name in names)
        line = (
            f"{record['machine']['cpu']}, {record['threads']} threads, {programs}, commit "
            f"{record['commit']}; medians of {record['rounds']} turns. Inputs: {inputs}."
        )
        text = replaced(text, path.stem, f"{line}\n\n{table_of(record)}")
    atomic_write_text(page, text)
    print(f"wrote the tables of {page}")
