"""Count parameters and multiply-adds of a detector, and measure memory and time.

Multiply-adds are those of convolutions and linear layers for one image, in units of 10^9 and of 2^30:
publications use either and call both G.

    mmlandmark flops configs/unet/unet_isbi2015_320x256_cpu.py

With --record, number of models, parameters, memory and time get columns in the table that mmlandmark collect
writes.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmlandmark.utils.command_line import add_config_arguments, natural_number, positive_number
from mmlandmark.utils.files import atomic_write_json

_BESIDE = Path()  # what --record stands for without a file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mmlandmark flops``."""
    add_config_arguments(parser)
    parser.add_argument(
        "--size", nargs="+", type=positive_number, help="(*S) of the image; default that of the test"
    )
    parser.add_argument("--training", action="store_true", help="also count branches that only training runs")
    parser.add_argument("--stage", help="count this stage; default the last")
    parser.add_argument("--depth", type=natural_number, default=2, help="levels of modules; default 2")
    parser.add_argument("--rounds", type=natural_number, default=5, help="predictions to time; default 5")
    parser.add_argument("--threads", type=positive_number, help="threads on the CPU")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    files = parser.add_mutually_exclusive_group()
    files.add_argument("--out", type=Path, help="JSON file for the results")
    files.add_argument(
        "--record", nargs="?", const=_BESIDE, type=Path, metavar="JSON",
        help="the same file for mmlandmark collect; by default costs/<config>.json beside the config",
    )  # fmt: skip


def run(args: argparse.Namespace) -> None:
    """Count, measure and print."""
    import torch

    from mmlandmark.apis import count_costs, count_models
    from mmlandmark.engine import joined_config, load_config, stage_to_test
    from mmlandmark.models.assembly import filled
    from mmlandmark.registry import MODELS

    config = load_config(args.config, args.cfg_options)
    work_dir = config.get("work_dir") or Path("work_dirs") / Path(args.config).stem
    if config.get("per_landmark") and not args.stage:
        config = joined_config(config, work_dir)
    elif args.stage or config.get("stages"):
        config = stage_to_test(config, work_dir, args.stage)
    if args.threads:
        torch.set_num_threads(args.threads)
    image = random_image(config, args.size, args.config)
    model = MODELS.build(filled(MODELS, config.model, dims=image.ndim - 2)).eval()
    inputs = model.data_preprocessor.pad(model.data_preprocessor.normalize(image))
    measured = measure(model.to(args.device), inputs.to(args.device), args) if args.rounds else {}
    measured = dict(models=count_models(model), **measured)
    costs = count_costs(model, inputs.shape[1:], args.training, args.depth)
    print(f"{Path(args.config).stem}: one image of {' x '.join(map(str, inputs.shape[1:]))}")
    print_table(costs)
    for name, value in measured.items():
        print(f"{name.replace('_', ' ')}: {value}")
    source = Path(args.config)
    out = (
        source.parent / "costs" / f"{source.stem}.json" if args.record == _BESIDE else args.record or args.out
    )
    if out:
        write_record(out, args, inputs.shape[1:], costs, measured)
        print(f"wrote {out}")


def random_image(config: Any, size: Sequence[int] | None, source: str) -> Any:
    """Return noise (1, C, *S) as large as the images of the config's test, or of ``size``."""
    import torch

    from mmlandmark.engine import ConfigError, input_size, test_pipeline

    size = tuple(size or input_size(config) or ())
    if not size:
        raise ConfigError(f"{source}: the pipeline of the test fixes no size; give --size H W")
    channels = [step["channels"] for step in test_pipeline(config) if step.get("channels")]
    return torch.rand(1, channels[0] if channels else 1, *size)


def measure(model: Any, inputs: Any, args: argparse.Namespace) -> dict[str, Any]:
    """Return median seconds and peak memory of predicting one image."""
    import torch

    from mmlandmark.testing.measure import paired_times, peak_memory
    from mmlandmark.utils.host_memory import keep_freed_memory

    def predict() -> None:
        with torch.no_grad():
            model.predict(inputs)

    if args.device == "cpu":
        keep_freed_memory()
    memory = peak_memory(predict, args.device, warmup=0)
    seconds = paired_times({"predict": predict}, args.rounds, args.device)["predict"]
    return dict(
        latency_seconds=round(statistics.median(seconds), 5),
        peak_memory_megabytes=None if memory is None else round(memory / 2**20, 1),
        device=args.device,
        threads=torch.get_num_threads(),
    )


def print_table(costs: Sequence[Any]) -> None:
    """Print a row per module, the total last."""
    print(f"{'module':<36} {'parameters':>12} {'MACs / 1e9':>12} {'MACs / 2^30':>12}  output")
    for cost in [*costs[1:], costs[0]]:
        shape = "" if cost.output is None else " x ".join(map(str, cost.output))
        print(
            f"{cost.name or 'total':<36} {cost.parameters:>12,} {cost.macs / 1e9:>12.5g} "
            f"{cost.macs / 2**30:>12.10g}  {shape}"
        )


def write_record(
    path: Path,
    args: argparse.Namespace,
    shape: Sequence[int],
    costs: Sequence[Any],
    measured: dict[str, Any],
) -> None:
    """Write the results as JSON, with machine, versions and commit."""
    from mmlandmark.evaluation.record import git_commit, machine, versions

    modules = [
        dict(module=cost.name or "total", parameters=cost.parameters, macs=cost.macs, output=cost.output)
        for cost in costs
    ]
    record = dict(
        config=Path(args.config).stem, input=list(shape), training=args.training,
        parameters=costs[0].parameters, **measured,
        machine=machine(), versions=versions(), commit=git_commit(), modules=modules,
    )  # fmt: skip
    atomic_write_json(path, record)
