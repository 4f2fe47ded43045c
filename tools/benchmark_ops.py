"""Measure the native operators against plain PyTorch, torch.compile and other packages, in one run.

All contenders take turns in one process; what is compared are ratios within a turn. Packages that are not
installed are listed as absent: pip install kornia dsntnn landmarker

    python tools/benchmark_ops.py --out docs/benchmarks/ops_cpu.json
    python tools/benchmark_ops.py --render docs/benchmarks.md
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmlandmark.utils.command_line import run_tool
from mmlandmark.utils.files import atomic_write_json, atomic_write_text
from mmlandmark.utils.host_memory import keep_freed_memory

ROOT = Path(__file__).resolve().parents[1]
SHAPES = {
    "farnet": (1, 19, 800, 640),
    "hand": (4, 37, 512, 512),
    "spine": (2, 68, 1024, 512),
    "volume": (1, 33, 96, 128, 128),
}
FAMILIES = ("ewc", "expectation", "expectation_backward", "heatmap", "peak")
TITLES = {
    "ewc": "EWC loss and gradient",
    "expectation": "soft-argmax",
    "expectation_backward": "soft-argmax and gradient",
    "heatmap": "target maps",
    "peak": "highest pixel and centroid around it",
    "step": "training step of a U-Net with four levels, EWC loss",
}
SETTINGS = {"default": {}, "huge_pages": {"THP_MEM_ALLOC_ENABLE": "1"}, "kept_memory": {}}
SIGMA, ALPHA, BETA = 6.0, 40.0, 10.0
OURS = "mmlandmark"


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--shapes", nargs="+", choices=tuple(SHAPES), default=list(SHAPES))
    parser.add_argument("--families", nargs="+", choices=(*FAMILIES, "step"), default=[*FAMILIES, "step"])
    parser.add_argument("--rounds", type=int, default=15, help="turns of every contender (default 15)")
    parser.add_argument("--threads", type=int, default=2, help="threads on the CPU (default 2)")
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    parser.add_argument("--render", type=Path, help="write the tables of this page, measure nothing")
    parser.add_argument("--setting", choices=tuple(SETTINGS), help=argparse.SUPPRESS)
    parser.add_argument("--traceback", action="store_true", help="show where an error comes from")
    return parser.parse_args(argv)


def landmarks_of(shape: tuple[int, ...], device: str):
    """Return points inside maps of (B, K, *S)."""
    import torch

    size = torch.tensor(shape[:1:-1], dtype=torch.float32)
    generator = torch.Generator().manual_seed(0)
    return (torch.rand((*shape[:2], len(size)), generator=generator) * size).to(device)


def dense_gaussian(landmarks, shape: tuple[int, ...], sigma: float):
    """Draw Gaussians the plain way: one exponential per pixel."""
    import torch

    axes = [torch.arange(side, dtype=torch.float32, device=landmarks.device) for side in shape[2:]]
    squared = 0
    for axis, grid in enumerate(torch.meshgrid(*axes, indexing="ij")):
        center = landmarks[..., len(axes) - 1 - axis].reshape(*shape[:2], *[1] * len(axes))
        squared = squared + (grid - center) ** 2
    return torch.exp(-squared / (2 * sigma**2))


def ewc_contenders(shape: tuple[int, ...], device: str) -> dict[str, Callable[[], object]]:
    """Return ways to the EWC loss and its gradient."""
    import torch

    from mmlandmark.ops import ewc_loss

    pred = torch.randn(shape, device=device, requires_grad=True)
    landmarks = landmarks_of(shape, device)
    target = dense_gaussian(landmarks, shape, SIGMA)

    def given(pred, target):
        return ((pred - target) ** 2 * ALPHA**target).mean()

    def built(pred, landmarks):
        return given(pred, dense_gaussian(landmarks, shape, SIGMA))

    def both(loss: Callable, *arguments):
        return lambda: torch.autograd.grad(loss(*arguments), pred)

    return {
        OURS: both(lambda: ewc_loss(pred, landmarks, SIGMA, ALPHA)),
        "clone of the maps": lambda: pred.detach().clone(),
        "PyTorch, target given": both(given, pred, target),
        "PyTorch, target built": both(built, pred, landmarks),
        "torch.compile, target given": both(torch.compile(given), pred, target),
        "torch.compile, target built": both(torch.compile(built), pred, landmarks),
    }


def plain_soft_argmax(maps):
    """Return the expected coordinates in plain PyTorch."""
    import torch

    weights = (maps.flatten(2) * BETA).softmax(-1).view(maps.shape)
    found = []
    for axis in range(maps.ndim - 1, 1, -1):
        grid = torch.arange(maps.shape[axis], dtype=maps.dtype, device=maps.device)
        found.append((weights.sum([a for a in range(2, maps.ndim) if a != axis]) * grid).sum(-1))
    return torch.stack(found, -1)


def soft_argmax_functions(shape: tuple[int, ...], device: str) -> dict[str, Callable]:
    """Return ways to the expected coordinates, as functions of the maps."""
    import torch

    from mmlandmark.ops import soft_argmax

    functions = {
        OURS: lambda maps: soft_argmax(maps, BETA),
        "PyTorch": plain_soft_argmax,
        "torch.compile": torch.compile(plain_soft_argmax),
    }
    kornia, dsntnn = optional("kornia"), optional("dsntnn")
    if kornia and len(shape) == 4:
        beta = torch.tensor(BETA, device=device)
        functions["kornia spatial_soft_argmax2d"] = lambda maps: kornia.geometry.subpix.spatial_soft_argmax2d(
            maps, beta, normalized_coordinates=False
        )
    if dsntnn:
        functions["dsntnn flat_softmax + dsnt"] = lambda maps: dsntnn.dsnt(dsntnn.flat_softmax(maps * BETA))
    return functions


def expectation_contenders(shape: tuple[int, ...], device: str) -> dict[str, Callable[[], object]]:
    """Return ways to the expected coordinates."""
    import torch

    maps = torch.randn(shape, device=device)
    calls = {
        name: lambda f=function: f(maps) for name, function in soft_argmax_functions(shape, device).items()
    }
    return {**calls, "amax of the maps": lambda: maps.amax(tuple(range(2, maps.ndim)))}


def expectation_backward_contenders(shape: tuple[int, ...], device: str) -> dict[str, Callable[[], object]]:
    """Return ways to the expected coordinates and their gradient."""
    import torch

    maps = torch.randn(shape, device=device, requires_grad=True)
    return {
        name: lambda f=function: torch.autograd.grad(f(maps).sum(), maps)
        for name, function in soft_argmax_functions(shape, device).items()
    } | {"clone of the maps": lambda: maps.detach().clone()}


def heatmap_contenders(shape: tuple[int, ...], device: str) -> dict[str, Callable[[], object]]:
    """Return ways to the target maps."""
    import torch

    from mmlandmark.ops import gaussian_heatmap
    from mmlandmark.ops.gaussian_heatmap import gaussian_heatmap_reference

    landmarks, ones = landmarks_of(shape, device), torch.ones(shape[:2], device=device)
    calls: dict[str, Callable[[], object]] = {
        OURS: lambda: gaussian_heatmap(landmarks, shape[2:], SIGMA),
        "torch.full": lambda: torch.full(shape, 0.5, device=device),
        "PyTorch": lambda: dense_gaussian(landmarks, shape, SIGMA),
        "PyTorch, separable": lambda: gaussian_heatmap_reference(
            landmarks, SIGMA * ones, ones, shape[2:], "gaussian"
        ),
    }
    if len(shape) != 4:
        return calls
    calls["NumPy, sample by sample as in MMPose"] = lambda: numpy_heatmaps(landmarks, shape)
    if kornia := optional("kornia"):
        std = torch.full((shape[0] * shape[1], 2), SIGMA, device=device)
        calls["kornia render_gaussian2d"] = lambda: kornia.geometry.subpix.render_gaussian2d(
            landmarks.flatten(0, 1), std, shape[2:]
        )
    if landmarker := optional("landmarker.heatmap.generator"):
        generator = landmarker.GaussianHeatmapGenerator(
            nb_landmarks=shape[1], sigmas=SIGMA, heatmap_size=shape[2:], gamma=None, device=device
        )
        calls["landmarker GaussianHeatmapGenerator"] = lambda: generator(landmarks.flip(-1))
    return calls


def numpy_heatmaps(landmarks, shape: tuple[int, ...]):
    """Draw maps as data loaders do: one landmark after the other, in a window of three sigma."""
    import numpy as np
    import torch

    maps = np.zeros(shape, dtype=np.float32)
    radius = int(3 * SIGMA)
    height, width = shape[2:]
    columns = np.arange(0, 2 * radius + 1, dtype=np.float32)
    for index, (x, y) in zip(np.ndindex(*shape[:2]), landmarks.flatten(0, 1).tolist(), strict=True):
        column, row = int(x + 0.5), int(y + 0.5)
        patch = np.exp(-((columns - radius) ** 2 + (columns[:, None] - radius) ** 2) / (2 * SIGMA**2))
        left, top = max(0, column - radius), max(0, row - radius)
        right, bottom = min(width, column + radius + 1), min(height, row + radius + 1)
        if left < right and top < bottom:
            maps[index][top:bottom, left:right] = patch[
                top - row + radius : bottom - row + radius, left - column + radius : right - column + radius
            ]
    return torch.from_numpy(maps)


def peak_contenders(shape: tuple[int, ...], device: str) -> dict[str, Callable[[], object]]:
    """Return ways to refined peaks."""
    from mmlandmark.ops import gaussian_heatmap, refined_peak
    from mmlandmark.ops.soft_argmax import refined_peak_reference

    maps = gaussian_heatmap(landmarks_of(shape, device), shape[2:], SIGMA)
    return {
        OURS: lambda: refined_peak(maps, "centroid", 4),
        "PyTorch": lambda: refined_peak_reference(maps, "centroid", 4, 0.0),
        "amax of the maps": lambda: maps.amax(tuple(range(2, maps.ndim))),
    }


def step_contenders(size: tuple[int, int], device: str) -> dict[str, Callable[[], object]]:
    """Return a training step with the native operators and one with their twins."""
    import torch

    from mmlandmark.codecs import GaussianHeatmapCodec
    from mmlandmark.models import EWCLoss, UNet
    from mmlandmark.ops import backend as room

    torch.manual_seed(0)
    network = UNet(in_channels=1, widths=(16, 32, 64, 128)).to(device)
    head = torch.nn.Conv2d(network.out_channels[0], 19, 1).to(device)
    optimizer = torch.optim.AdamW([*network.parameters(), *head.parameters()])
    image, landmarks = torch.randn(1, 1, *size, device=device), landmarks_of((1, 19, *size), device)
    codec, loss = GaussianHeatmapCodec(sigma=SIGMA), EWCLoss(alpha=ALPHA)
    ones = torch.ones(1, 19, device=device)

    def step() -> None:
        target = codec.encode(landmarks, ones > 0, ones, size, size)
        optimizer.zero_grad(set_to_none=True)
        loss(head(network(image)[0]), target).backward()
        optimizer.step()

    def with_backend(active: room.Backend) -> Callable[[], None]:
        def run() -> None:
            before, room._BACKEND = room._BACKEND, active
            try:
                step()
            finally:
                room._BACKEND = before

        return run

    return {
        OURS: with_backend(room.backend()),
        "PyTorch": with_backend(room.Backend("reference", "measured", {})),
    }


def optional(name: str):
    """Return a module, or None where it is not installed."""
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Measure everything asked for in this process."""
    import torch

    from mmlandmark.testing.measure import median_ratio, paired_times, peak_memory

    torch.set_num_threads(args.threads)
    cases = [(f, s, SHAPES[s]) for f in args.families if f != "step" for s in args.shapes]
    if "step" in args.families:
        cases += [("step", "x".join(map(str, size)), size) for size in ((512, 512), (800, 640))]
    table: dict[str, dict[str, Any]] = {}
    for family, name, shape in cases:
        torch._dynamo.reset()
        functions = globals()[f"{family}_contenders"](shape, args.device)
        seconds = paired_times(functions, args.rounds, args.device)
        maps = 4 * torch.Size(shape).numel() * (19 if family == "step" else 1)
        rows = {}
        for contender, times in seconds.items():
            taken = peak_memory(functions[contender], args.device)
            rows[contender] = dict(
                milliseconds=round(1e3 * statistics.median(times), 3),
                times_ours=round(median_ratio(times, seconds[OURS]), 3),
                memory_in_maps=None if taken is None else round(taken / maps, 2),
            )
            print(f"{family:>22} {name:>8} {contender:<40} {rows[contender]}", flush=True)
        table.setdefault(family, {})[name] = rows
    return table


def linearity(args: argparse.Namespace) -> list[dict[str, float]]:
    """Return the time of the fused loss for three sizes and three sigmas."""
    import torch

    from mmlandmark.ops import ewc_loss
    from mmlandmark.testing.measure import paired_times

    torch.set_num_threads(args.threads)
    functions, what = {}, {}
    for count, side, sigma in (
        (8, 512, 6.0),
        (16, 512, 6.0),
        (32, 512, 6.0),
        (16, 512, 1.0),
        (16, 512, 40.0),
    ):
        pred = torch.randn(1, count, side, side, device=args.device, requires_grad=True)
        points = landmarks_of((1, count, side, side), args.device)
        name = f"{count}x{side}x{side} sigma {sigma:g}"
        functions[name] = lambda p=pred, x=points, s=sigma: torch.autograd.grad(ewc_loss(p, x, s), p)
        what[name] = dict(megapixels=round(pred.numel() / 1e6, 3), sigma=sigma)
    times = paired_times(functions, args.rounds, args.device)
    return [dict(what[n], milliseconds=round(1e3 * statistics.median(t), 3)) for n, t in times.items()]


def run_settings(args: argparse.Namespace) -> dict[str, Any]:
    """Measure in a process of its own for every setting, since memory is set up when it starts."""
    results = {}
    settings = SETTINGS if args.device == "cpu" else {"default": {}}
    for setting, variables in settings.items():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "result.json"
            command = [
                sys.executable, __file__, "--setting", setting, "--out", path, "--device", args.device,
                "--shapes", *args.shapes, "--families", *args.families, "--rounds", args.rounds,
                "--threads", args.threads,
            ]  # fmt: skip
            subprocess.run([str(word) for word in command], env={**os.environ, **variables}, check=True)
            results[setting] = json.loads(path.read_text(encoding="utf-8"))
    return results


def about() -> dict[str, Any]:
    """Return what was measured: machine, versions, commit, peers."""
    from importlib.metadata import PackageNotFoundError, version

    from mmlandmark.evaluation.record import git_commit, machine, versions
    from mmlandmark.ops import backend

    peers = {}
    for name in ("kornia", "dsntnn", "landmarker"):
        try:
            peers[name] = version(name)
        except PackageNotFoundError:
            peers[name] = "absent"
    return dict(
        machine=machine(), versions=versions(), commit=git_commit(), backend=str(backend()), peers=peers
    )


def render(page: Path) -> None:
    """Write the tables between the marks of a page from the JSON files beside it."""
    text = page.read_text(encoding="utf-8")
    for path in sorted((page.parent / "benchmarks").glob("ops_*.json")):
        begin, end = f"<!-- {path.stem}:begin -->", f"<!-- {path.stem}:end -->"
        if begin not in text or end not in text:
            raise ValueError(f"{page} has no {begin} ... {end} for {path.name}")
        tables = tables_of(json.loads(path.read_text(encoding="utf-8")))
        head, rest = text.split(begin, 1)
        text = f"{head}{begin}\n{tables}\n{end}{rest.split(end, 1)[1]}"
    atomic_write_text(page, text)
    print(f"wrote the tables of {page}")


def tables_of(result: dict[str, Any]) -> str:
    """Return one Markdown table per family: times, what others take in times of ours, memory."""
    settings = result["settings"]
    machine, commit = result["machine"], (result["commit"] or "unknown")[:8]
    peers = "; ".join(f"{name} {found}" for name, found in result["peers"].items())
    lines = [
        f"{machine['gpu'] or machine['cpu']}, {result['threads']} threads, torch "
        f"{result['versions']['torch']}, commit {commit}; medians of {result['rounds']} turns. {peers}."
    ]
    for family in settings["default"]["table"]:
        lines += ["", f"### {TITLES[family][0].upper()}{TITLES[family][1:]}", ""]
        heads = [f"{s.replace('_', ' ')}: ms | times ours" for s in settings]
        lines.append("| maps | contender | " + " | ".join(heads) + " | memory, in maps |")
        lines.append("| --- | --- | " + " | ".join("---: | ---:" for _ in settings) + " | ---: |")
        for name, rows in settings["default"]["table"][family].items():
            size = "x".join(map(str, SHAPES[name])) if name in SHAPES else name
            for contender, row in rows.items():
                cells = []
                for setting in settings.values():
                    found = setting["table"][family][name][contender]
                    cells.append(f"{found['milliseconds']:.2f} | {found['times_ours']:.2f}")
                memory = "" if row["memory_in_maps"] is None else f"{row['memory_in_maps']:.2f}"
                lines.append(f"| {size} | {contender} | {' | '.join(cells)} | {memory} |")
    lines += [
        "",
        "### Fused EWC loss and gradient by size and sigma",
        "",
        "| megapixels | sigma | ms |",
        "| ---: | ---: | ---: |",
    ]
    for row in settings["default"]["linearity"]:
        lines.append(f"| {row['megapixels']} | {row['sigma']:g} | {row['milliseconds']:.2f} |")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> None:
    """Measure, or render what was measured."""
    args = parse_args(argv)
    if args.render:
        render(args.render)
        return
    if args.setting:
        if args.setting == "kept_memory":
            keep_freed_memory()
        atomic_write_json(args.out, dict(table=measure(args), linearity=linearity(args)))
        return
    settings = run_settings(args)
    result = dict(about(), device=args.device, threads=args.threads, rounds=args.rounds, settings=settings)
    if args.out:
        atomic_write_json(args.out, result)
        print(f"wrote {args.out}")


if __name__ == "__main__":
    run_tool(main)
