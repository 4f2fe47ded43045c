"""Measure training steps of a config on random images: time and memory, in one run.

Compared are the step as it is and with the operators in plain PyTorch; with the EWC loss a minimal loop as
published code has it, targets drawn by NumPy, sample by sample, and the loss written out; with a backbone
that can, the step that recomputes activations instead of storing them; with a model that consists of parts
(a network and one that it learns from) each part alone; with --against the config with other values.

    mmlandmark benchmark-training configs/farnet/farnet_densenet121_isbi2015_800x640.py --size 800 640
"""

from __future__ import annotations

import argparse
import copy
import statistics
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmlandmark.utils.command_line import CfgOptions, add_config_arguments, command_line
from mmlandmark.utils.files import atomic_write_json
from mmlandmark.utils.host_memory import keep_freed_memory

OURS = "mmlandmark"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mmlandmark benchmark-training``."""
    add_config_arguments(parser)
    parser.add_argument("--size", nargs=2, type=int, required=True, metavar=("H", "W"), help="of the image")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5, help="turns of every contender (default 5)")
    parser.add_argument("--threads", type=int, help="threads on the CPU")
    parser.add_argument(
        "--against",
        nargs="+",
        action=CfgOptions,
        default={},
        metavar="KEY=VALUE",
        help="also measure the config with these values",
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)


def contenders(config: Any, args: argparse.Namespace) -> tuple[Any, dict[str, Any]]:
    """Return a model, and by name steps that train it, or a rival of it, on the same images."""
    import torch

    from mmlandmark.engine import plan_of_run
    from mmlandmark.models.losses import EWCLoss

    torch.manual_seed(0)
    run = plan_of_run(config, "work_dirs").last_run
    model = built_with_inputs(run, run.config, args)
    inputs, samples, points = random_batch(run.config, model, args)
    ours = step(model, lambda: model.loss(inputs, samples))
    steps = {OURS: ours, "operators in plain PyTorch": with_reference(ours)}
    parts = model.measured_parts(inputs, samples)
    if [type(loss) for loss in model.head.losses.values()] == [EWCLoss] and not parts:
        steps["published recipe"] = step(model, lambda: published_loss(model, inputs, points))
    if hasattr(getattr(model, "backbone", None), "with_checkpoint"):
        steps["backbone recomputed"] = recomputed(model, ours)
    for name, part in parts.items():
        steps[name] = step(model, part.function) if part.trains else part.function
    if args.against:
        other = copy.deepcopy(run.config)
        other.merge_from_dict(args.against)
        rival = built_with_inputs(run, other, args)
        name = " ".join(f"{key}={value}" for key, value in args.against.items())
        steps[name] = step(rival, lambda: rival.loss(inputs, samples))
    return model, steps


def built_with_inputs(run: Any, config: Any, args: argparse.Namespace) -> Any:
    """Return a model, with untrained models of the runs that make its inputs.

    Raises:
        ValueError: A run that makes an input is not part of the config.
    """
    from mmlandmark.engine.given_inputs import input_value
    from mmlandmark.registry import MODELS

    model = MODELS.build(config.model).to(args.device).train()
    for name in getattr(model, "run_inputs", {}):
        maker, _ = run.references.get(input_value(config, name), (None, ""))
        if maker is None:
            raise ValueError(
                f"{args.config}: a step of {type(model).__name__} is measured with the stage that makes its "
                f"input {name!r}"
            )
        model.receive_input(name, MODELS.build(maker.config.model).to(args.device))
    return model


def random_batch(config: Any, model: Any, args: argparse.Namespace) -> tuple[Any, Any, Any]:
    """Return preprocessed random images, their samples, and the points (B, K, 2) in pixels."""
    import torch

    from mmlandmark.structures import LandmarkDataSample

    size = tuple(args.size)
    channels = config.model.get("data_preprocessor", {}).get("channels") or 3
    images = torch.rand(args.batch, channels, *size)
    points = torch.rand(args.batch, model.head.num_landmarks, 2).mul(torch.tensor(size[::-1])).numpy()
    samples = [
        LandmarkDataSample.from_landmarks(p, sample_id=str(i), ori_shape=size) for i, p in enumerate(points)
    ]
    return model.data_preprocessor.normalize(images.to(args.device)), samples, points


def step(module: Any, loss: Callable[[], Any]) -> Callable[[], None]:
    """Return a training step: ``loss`` returns a loss, or a dict of losses."""
    import torch

    optimizer = torch.optim.Adam(module.parameters(), lr=1e-4)

    def learn() -> None:
        optimizer.zero_grad(set_to_none=True)
        losses = loss()
        (sum(losses.values()) if isinstance(losses, dict) else losses).backward()
        optimizer.step()

    return learn


def with_reference(function: Callable[[], None]) -> Callable[[], None]:
    """Return a step that computes with the operators in plain PyTorch."""
    from mmlandmark.ops.backend import using_reference

    def run() -> None:
        with using_reference():
            function()

    return run


def recomputed(model: Any, function: Callable[[], None]) -> Callable[[], None]:
    """Return a step that recomputes activations of the backbone instead of storing them."""

    def run() -> None:
        model.backbone.with_checkpoint = True
        try:
            function()
        finally:
            model.backbone.with_checkpoint = False

    return run


def published_loss(model: Any, inputs: Any, points: Any) -> Any:
    """Return the EWC loss as published code has it: targets drawn one by one, at every level's size."""
    import numpy as np
    import torch

    sigma, alpha, total = model.head.codec.sigma, 40.0, 0
    for maps in model.head(model.extract_features(inputs)):
        rows, columns = (np.arange(side, dtype=np.float64) for side in maps.shape[2:])
        scale = maps.shape[2] / inputs.shape[2]
        drawn = np.zeros(maps.shape)
        for b, k in np.ndindex(points.shape[:2]):
            x, y = scale * points[b, k]
            drawn[b, k] = np.exp(-((columns - x) ** 2 + (rows[:, None] - y) ** 2) / (2 * sigma**2))
        target = torch.from_numpy(drawn.astype(np.float32)).to(maps.device)
        total = total + ((maps - target) ** 2 * alpha**target).mean()
    return total


def memory_of(name: str, words: list[str]) -> int:
    """Return the bytes that two steps of a contender take, in a process where nothing was freed before."""
    command = command_line("benchmark-training", *words, "--memory-of", name)
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return int(done.stdout.splitlines()[-1])


def run(args: argparse.Namespace) -> None:
    """Measure."""
    import torch

    from mmlandmark.engine import load_config
    from mmlandmark.evaluation.record import git_commit, machine, versions
    from mmlandmark.ops import backend
    from mmlandmark.testing.measure import median_ratio, paired_times, peak_memory

    config = load_config(args.config, args.cfg_options)
    if args.threads:
        torch.set_num_threads(args.threads)
    model, functions = contenders(config, args)
    if args.memory_of:
        function = functions[args.memory_of]
        print(peak_memory(lambda: (function(), function()), args.device, warmup=0) or 0)
        return
    memory = {name: memory_of(name, args.words) for name in functions}
    if args.device == "cpu":
        keep_freed_memory()
    seconds = paired_times(functions, args.rounds, args.device)
    rows = {
        name: dict(
            seconds=round(statistics.median(times), 4),
            times_ours=round(median_ratio(times, seconds[OURS]), 3),
            peak_gigabytes=round(memory[name] / 2**30, 3),
        )
        for name, times in seconds.items()
    }
    parts = [seconds[name] for name in model.measured_parts(None, None)]
    if parts:
        together = [sum(times) for times in zip(*parts, strict=True)]
        rows[OURS]["times_parts"] = round(median_ratio(seconds[OURS], together), 3)
    for name, row in rows.items():
        print(f"{name:<30} {row}")
    if args.out:
        about = dict(
            config=Path(args.config).stem, size=args.size, batch=args.batch, rounds=args.rounds,
            threads=torch.get_num_threads(), backend=str(backend()), machine=machine(), versions=versions(),
            commit=git_commit(),
        )  # fmt: skip
        atomic_write_json(args.out, dict(about, steps=rows))
        print(f"wrote {args.out}")
