"""Measure time and memory of training steps, of several kinds in one run.

Compared are the step as it is and with the operators in plain PyTorch; for the EWC loss, a minimal loop as
published code has it, with targets drawn by NumPy sample by sample; for a backbone that can recompute
activations, the step that does; for a model of several parts, such as a network and one that it learns from,
each part alone; with --amp, the step in bfloat16; with --compile, the step of networks that went through
torch.compile; with --against, the config with other values.

    mmlandmark benchmark-training configs/farnet/farnet_densenet121_isbi2015_800x640.py --size 800 640
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmlandmark.utils.command_line import KeyValues, add_config_arguments, command_line, positive_number
from mmlandmark.utils.files import atomic_write_json
from mmlandmark.utils.host_memory import keep_freed_memory


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mmlandmark benchmark-training``."""
    add_config_arguments(parser)
    parser.add_argument(
        "--size", nargs="+", type=positive_number, required=True, metavar="SIDE",
        help="of the images: height and width, in volumes depth, height and width",
    )  # fmt: skip
    parser.add_argument("--batch", type=positive_number, default=1, help="number of images; default 1")
    parser.add_argument("--rounds", type=positive_number, default=5, help="steps of each kind; default 5")
    parser.add_argument("--amp", action="store_true", help="also measure the step in bfloat16")
    parser.add_argument(
        "--compile", nargs="?", const="inductor", metavar="BACKEND",
        help="also measure networks compiled by torch.compile; default backend inductor",
    )  # fmt: skip
    parser.add_argument("--threads", type=positive_number, help="threads on the CPU")
    parser.add_argument(
        "--against", nargs="+", action=KeyValues, default={}, metavar="KEY=VALUE",
        help="also measure the config with these values",
    )  # fmt: skip
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> None:
    """Measure and print."""
    import torch

    from mmlandmark.engine import load_config
    from mmlandmark.testing.measure import paired_times, peak_memory
    from mmlandmark.testing.step_contenders import training_steps

    if len(args.size) not in (2, 3):
        raise ValueError(f"--size takes two sides of an image or three of a volume, got {len(args.size)}")
    config = load_config(args.config, args.cfg_options)
    if args.threads:
        torch.set_num_threads(args.threads)
    model, steps = training_steps(
        config, args.size, args.batch, args.device, args.against, args.amp, args.compile
    )
    if args.memory_of:
        step = steps[args.memory_of]
        print(peak_memory(lambda: (step(), step()), args.device, warmup=0) or 0)
        return
    memory = {name: memory_of(name, args.words) for name in steps}
    if args.device == "cpu":
        keep_freed_memory()
    seconds = paired_times(steps, args.rounds, args.device)
    rows = rows_of(seconds, memory, parts=list(model.measured_parts(None, None)))
    for name, row in rows.items():
        print(f"{name:<30} {row}")
    if args.out:
        write_record(args, rows)
        print(f"wrote {args.out}")


def memory_of(name: str, words: Sequence[str]) -> int:
    """Return the bytes that two steps take, in a process of their own in which nothing was freed before."""
    command = command_line("benchmark-training", *words, "--memory-of", name)
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return int(done.stdout.splitlines()[-1])


def rows_of(
    seconds: Mapping[str, Sequence[float]], memory: dict[str, int], parts: Sequence[str] = ()
) -> dict[str, dict[str, float]]:
    """Return median time, ratio to ours and memory of every step.

    Args:
        seconds: Times of every step, round by round.
        memory: Bytes that every step takes.
        parts: Steps that together do what ours does.
    """
    from mmlandmark.testing.measure import median_ratio
    from mmlandmark.testing.step_contenders import OURS

    rows = {
        name: dict(
            seconds=round(statistics.median(times), 4),
            times_ours=round(median_ratio(times, seconds[OURS]), 3),
            peak_gigabytes=round(memory[name] / 2**30, 3),
        )
        for name, times in seconds.items()
    }
    if parts:
        together = [sum(times) for times in zip(*(seconds[part] for part in parts), strict=True)]
        rows[OURS]["times_parts"] = round(median_ratio(seconds[OURS], together), 3)
    return rows


def write_record(args: argparse.Namespace, rows: dict[str, Any]) -> None:
    """Write the results as JSON, with machine, versions and commit."""
    import torch

    from mmlandmark.evaluation.record import git_commit, machine, versions
    from mmlandmark.ops import backend

    record = dict(
        config=Path(args.config).stem, size=args.size, batch=args.batch, rounds=args.rounds,
        threads=torch.get_num_threads(), backend=str(backend()), machine=machine(), versions=versions(),
        commit=git_commit(), steps=rows,
    )  # fmt: skip
    atomic_write_json(args.out, record)
