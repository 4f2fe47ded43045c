"""Say what a config's detector costs: parameters, multiply-adds, memory and time, module by module.

Multiply-adds are those of convolutions and linear layers for one image. They are given in units of 10^9 and
of 2^30, since publications use either and call both G.

    mmlandmark flops configs/unet/unet_isbi2015_320x256_cpu.py
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import Any

from mmlandmark.utils.command_line import add_config_arguments
from mmlandmark.utils.files import atomic_write_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mmlandmark flops``."""
    add_config_arguments(parser)
    parser.add_argument("--size", nargs="+", type=int, help="of the image (*S); that of the test by default")
    parser.add_argument("--training", action="store_true", help="count branches that only training runs, too")
    parser.add_argument("--stage", help="of a config with stages: count this one, not the last")
    parser.add_argument("--depth", type=int, default=2, help="levels of modules in the table (default 2)")
    parser.add_argument("--rounds", type=int, default=5, help="measured predictions, 0 for none (default 5)")
    parser.add_argument("--threads", type=int, help="threads on the CPU")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--out", type=Path, help="JSON file for the results")


def measure(model: Any, inputs: Any, args: argparse.Namespace) -> dict[str, Any]:
    """Return median seconds and highest memory of predicting one image."""
    import torch

    from mmlandmark.testing.measure import paired_times, peak_memory

    def predict() -> None:
        with torch.no_grad():
            model.predict(inputs)

    memory = peak_memory(predict, args.device, warmup=0)
    seconds = paired_times({"predict": predict}, args.rounds, args.device)["predict"]
    return dict(
        latency_seconds=round(statistics.median(seconds), 5),
        peak_memory_megabytes=None if memory is None else round(memory / 2**20, 1),
        device=args.device,
        threads=torch.get_num_threads(),
    )


def run(args: argparse.Namespace) -> None:
    """Count and measure."""
    import torch

    from mmlandmark.apis import count_costs
    from mmlandmark.engine import ConfigError, input_size, load_config, stage_to_test, test_pipeline
    from mmlandmark.evaluation.record import git_commit, machine, versions
    from mmlandmark.registry import MODELS
    from mmlandmark.utils.host_memory import keep_freed_memory

    config = load_config(args.config, args.cfg_options)
    if args.stage or config.get("stages"):
        config = stage_to_test(config, config.get("work_dir") or "work_dirs", args.stage)
    size = tuple(args.size or input_size(config) or ())
    if not size:
        raise ConfigError(f"{args.config}: the test's pipeline fixes no size; give --size H W")
    if args.threads:
        torch.set_num_threads(args.threads)
    model = MODELS.build(config.model).eval()
    loaded = [step["channels"] for step in test_pipeline(config) if step.get("channels")]
    image = torch.rand(1, loaded[0] if loaded else 1, *size)
    inputs = model.data_preprocessor.pad(model.data_preprocessor.normalize(image))
    measured: dict[str, Any] = {}
    if args.rounds:
        if args.device == "cpu":
            keep_freed_memory()
        measured = measure(model.to(args.device), inputs.to(args.device), args)
    costs = count_costs(model, inputs.shape[1:], args.training, args.depth)
    print(f"{Path(args.config).stem}: one image of {' x '.join(map(str, inputs.shape[1:]))}")
    print(f"{'module':<36} {'parameters':>12} {'MACs / 1e9':>12} {'MACs / 2^30':>12}  output")
    for cost in [*costs[1:], costs[0]]:
        shape = "" if cost.output is None else " x ".join(map(str, cost.output))
        print(
            f"{cost.name or 'total':<36} {cost.parameters:>12,} {cost.macs / 1e9:>12.5g} "
            f"{cost.macs / 2**30:>12.10g}  {shape}"
        )
    for name, value in measured.items():
        print(f"{name.replace('_', ' ')}: {value}")
    if args.out:
        rows = [
            dict(module=c.name or "total", parameters=c.parameters, macs=c.macs, output=c.output)
            for c in costs
        ]
        about = dict(
            config=Path(args.config).stem, input=list(inputs.shape[1:]), training=args.training, **measured,
            machine=machine(), versions=versions(), commit=git_commit(),
        )  # fmt: skip
        atomic_write_json(args.out, dict(about, modules=rows))
        print(f"wrote {args.out}")
