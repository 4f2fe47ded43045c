"""What a part of each landmark costs: all landmarks against one, and one model against one per landmark.

``python -m mmlandmark.testing.landmark_costs CONFIG RECORD.json --size H W`` measures the detector of a
config whose neck has a part of each landmark, with random weights: from an image in memory to landmarks, of
all of them and of a detector of one, with shared convolutions that see these parts and with those that do
not. All ways take turns in one process; what is compared are ratios within a turn, so that other load affects
all alike. Memory is that of each way in a process of its own.
"""

from __future__ import annotations

import argparse
import copy
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mmlandmark.engine import load_config
from mmlandmark.evaluation.record import git_commit, machine, versions
from mmlandmark.models.assembly import filled
from mmlandmark.registry import MODELS
from mmlandmark.testing.measure import median_ratio, paired_times, peak_memory
from mmlandmark.utils.files import atomic_write_json
from mmlandmark.utils.host_memory import keep_freed_memory

WIRINGS = {"published": False, "independent": True}
ENCODER = "encoder alone"


def detector_of(config: Any, landmarks: int, independent: bool, dims: int) -> Any:
    """Return a detector with random weights, in test mode.

    Args:
        config: Of a run.
        landmarks: How many it has.
        independent: Of its neck.
        dims: Of its images.

    Raises:
        ValueError: The neck has no part of each landmark.
    """
    model = copy.deepcopy(config.model.to_dict())
    model["head"]["num_landmarks"] = landmarks
    model["neck"]["independent"] = independent
    detector: Any = MODELS.build(filled(MODELS, model, dims=dims))
    if not detector.takes_landmarks:
        raise ValueError(
            f"{type(detector.neck).__name__} has no part of each landmark, so nothing to compare"
        )
    for template in detector.head.templates:
        nn.init.normal_(template)
    detector.head.shown.fill_(1)
    return detector.eval()


def ways_of(config: Any, size: Sequence[int], only: str | None = None) -> dict[str, Callable[[], object]]:
    """Return what is measured by its name.

    Args:
        config: Of a run.
        size: (*S) of the image.
        only: Name of one way, where the others are not needed.
    """
    count = config.model.head.num_landmarks
    ways: dict[str, Callable[[], object]] = {}
    for wiring, independent in WIRINGS.items():
        for landmarks in (1, count):
            name = f"{landmarks}, {wiring}"
            if only in (None, name):
                detector = detector_of(config, landmarks, independent, len(size))
                ways[name] = _without_gradient(detector.detect, image_of(detector, size))
    if only in (None, ENCODER):
        detector = detector_of(config, 1, True, len(size))
        ways[ENCODER] = _without_gradient(detector.backbone, image_of(detector, size))
    return ways


def image_of(detector: Any, size: Sequence[int]) -> torch.Tensor:
    """Return a random image (1, C, *S) as the network takes it."""
    channels = getattr(detector.data_preprocessor, "channels", None) or 1
    return torch.rand(1, channels, *size, generator=torch.Generator().manual_seed(0))


def _without_gradient(function: Callable, image: torch.Tensor) -> Callable[[], object]:
    def call() -> object:
        with torch.inference_mode():
            return function(image)

    return call


def sizes_of(config: Any, dims: int) -> dict[str, int]:
    """Return the parameters of one model for all landmarks, and of one model for each."""
    count = config.model.head.num_landmarks
    plain = copy.deepcopy(config)
    plain.model.neck.adapter_channels = 0
    with torch.device("meta"):
        one = MODELS.build(filled(MODELS, plain.model.to_dict(), dims=dims))
        whole = {name: detector_of(config, count, own, dims) for name, own in WIRINGS.items()}
    encoder, all_of_one = (sum(p.numel() for p in part.parameters()) for part in (one.backbone, one))
    return {
        **{f"one model, {name}": sum(p.numel() for p in m.parameters()) for name, m in whole.items()},
        "a model of each": count * all_of_one,
        "a model of each, one encoder": encoder + count * (all_of_one - encoder),
    }


def measured_peak(arguments: Sequence[str], way: str) -> int | None:
    """Return the bytes that a way takes beyond its weights, in a process of its own."""
    command = [sys.executable, "-m", "mmlandmark.testing.landmark_costs", *arguments, "--peak-of", way]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    value = done.stdout.splitlines()[-1]
    return None if value == "None" else int(value)


def rows_of(seconds: dict[str, list[float]], peaks: dict[str, int | None]) -> dict[str, dict[str, Any]]:
    """Return time, memory and, of all landmarks, the ratio to the time of one in the same turn."""
    rows: dict[str, dict[str, Any]] = {}
    for name, times in seconds.items():
        one = f"1, {name.partition(', ')[2]}"
        ratio = round(median_ratio(times, seconds[one]), 3) if one in seconds and one != name else None
        peak = peaks.get(name)
        rows[name] = dict(
            seconds=round(statistics.median(times), 4),
            times_one=ratio,
            peak_gigabytes=None if peak is None else round(peak / 2**30, 3),
        )
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write the record."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", help="of a detector whose neck has a part of each landmark")
    parser.add_argument("record", type=Path, help="JSON file for the result")
    parser.add_argument("--size", nargs="+", type=int, required=True, help="height and width of the image")
    parser.add_argument("--rounds", type=int, default=3, help="turns of every way; default 3")
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch; default 1")
    parser.add_argument("--peak-of", help=argparse.SUPPRESS)
    options = parser.parse_args(given)
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    config = load_config(options.config)
    if options.peak_of:
        (way,) = ways_of(config, options.size, options.peak_of).values()
        print(peak_memory(way, warmup=0))
        return
    made_by = dict(machine=machine(), versions=versions(), commit=git_commit(), load=os.getloadavg())
    ways = ways_of(config, options.size)
    peaks = {name: measured_peak(given, name) for name in ways}
    keep_freed_memory()
    rows = rows_of(paired_times(ways, options.rounds), peaks)
    for name, row in rows.items():
        print(f"{name:<20} {row}")
    what = dict(config=Path(options.config).stem, size=options.size, rounds=options.rounds)
    record = dict(**what, threads=options.threads, **made_by, ways=rows)
    record["parameters"] = sizes_of(config, len(options.size))
    atomic_write_json(options.record, record)


if __name__ == "__main__":
    main()
