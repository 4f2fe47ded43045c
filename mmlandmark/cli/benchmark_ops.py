"""Measure the native operators against plain PyTorch, torch.compile and other packages, in one run.

All contenders take turns in one process; what is compared are ratios within a turn. Packages that are not
installed are listed as absent: pip install kornia dsntnn landmarker

    mmlandmark benchmark-ops --out docs/benchmarks/ops_cpu.json
    mmlandmark benchmark-ops --level avx2 --out docs/benchmarks/ops_cpu_avx2.json
    mmlandmark benchmark-ops --render docs/benchmarks.md
"""

from __future__ import annotations

import argparse
import hashlib
import math
import os
import re
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from mmlandmark.utils.command_line import command_line
from mmlandmark.utils.files import atomic_write_json, atomic_write_text, read_json
from mmlandmark.utils.host_memory import keep_freed_memory
from mmlandmark.utils.shipped import native_sources
from mmlandmark.utils.table_text import markdown_table, replaced

SHAPES = {
    "farnet": (1, 19, 800, 640),
    "hand": (4, 37, 512, 512),
    "spine": (2, 68, 1024, 512),
    "volume": (1, 33, 96, 128, 128),
}
STEPS = {"512x512": (512, 512), "800x640": (800, 640)}
TITLES = {
    "ewc": "EWC loss and gradient",
    "expectation": "Soft-argmax",
    "expectation_backward": "Soft-argmax and gradient",
    "heatmap": "Target maps",
    "peak": "Highest pixel and centroid around it",
    "step": "Training step of a U-Net with four levels, 19 landmarks, EWC loss",
}
# How memory is handed out, which a process settles when it starts; all but the first with one shape only.
SETTINGS = {
    "default": {},
    "system_pages": {"MMLANDMARK_HUGE_PAGES": "0"},
    "torch_huge_pages": {"THP_MEM_ALLOC_ENABLE": "1"},
    "kept_memory": {},
}
# Hold everybody to the instructions of a level: ours, PyTorch and what it compiles, and its libraries.
LEVELS = {
    name: {
        "MMLANDMARK_CPU_LEVEL": name,
        "ATEN_CPU_CAPABILITY": torch_name,
        "ONEDNN_MAX_CPU_ISA": onednn_name,
        "MKL_ENABLE_INSTRUCTIONS": mkl_name,
    }
    for name, torch_name, onednn_name, mkl_name in (
        ("base", "default", "SSE41", "SSE4_2"),
        ("avx2", "avx2", "AVX2", "AVX2"),
        ("avx512", "avx512", "AVX512_CORE", "AVX512"),
    )
}
# Where the operators come from that are measured on a device; common/ holds what both share.
SOURCES = {"cpu": ("common", "cpu"), "cuda": ("common", "cuda")}
# Maps that a call reads and writes at the least; on a GPU the gradient of the loss reads the maps again.
TRAFFIC = {"ewc": 2, "expectation": 1, "expectation_backward": 3, "heatmap": 1, "peak": 1}
COPY = "copy into a given tensor"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mmlandmark benchmark-ops``."""
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--shapes", nargs="+", choices=tuple(SHAPES), default=list(SHAPES))
    parser.add_argument("--families", nargs="+", choices=tuple(TITLES), default=list(TITLES))
    parser.add_argument("--rounds", type=int, default=15, help="turns of every contender (default 15)")
    parser.add_argument("--threads", type=int, default=2, help="threads on the CPU (default 2)")
    parser.add_argument(
        "--level",
        choices=tuple(LEVELS),
        help="hold all contenders to these instructions of the CPU (default: what the processor has)",
    )
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    parser.add_argument("--render", type=Path, help="write the tables of this page, measure nothing")
    parser.add_argument("--setting", choices=tuple(SETTINGS), help=argparse.SUPPRESS)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Measure everything asked for in this process; what is known is written after every family."""
    import torch

    from mmlandmark.testing.op_contenders import FAMILIES, OURS

    torch.set_num_threads(args.threads)
    result: dict[str, Any] = dict(instructions=instructions(), table={}, failed={})
    for family in args.families:
        shapes = STEPS if family == "step" else {name: SHAPES[name] for name in args.shapes}
        for name, shape in shapes.items():
            torch._dynamo.reset()
            calls, failed = working(FAMILIES[family](shape, args.device), args.device)
            result["failed"].update(
                {f"{family} {name} {contender}": why for contender, why in failed.items()}
            )
            if OURS in calls:
                rows = measure_calls(args, family, name, shape, calls)
                result["table"].setdefault(family, {})[name] = rows
            atomic_write_json(args.out, result)
    return dict(result, linearity=linearity(args))


def working(calls: dict[str, Any], device: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the contenders that can be called, and of the others why not."""
    import torch

    failed = {}
    for name, call in calls.items():
        try:
            call()
            if device == "cuda":
                torch.cuda.synchronize()
        except Exception as error:  # of a compiler or another package, whatever it may be
            failed[name] = f"{type(error).__name__}: {error}"[:500]
            print(f"{name} failed: {failed[name]}", flush=True)
    return {name: call for name, call in calls.items() if name not in failed}, failed


def measure_calls(args: argparse.Namespace, family: str, name: str, shape: tuple[int, ...], calls: dict):
    """Return a row per contender: time, ratio, memory, and on what bandwidth ours runs."""
    import torch

    from mmlandmark.testing.measure import kernel_launches, median_ratio, paired_times, peak_memory
    from mmlandmark.testing.op_contenders import OURS

    moved = TRAFFIC.get(family)
    if moved:
        one, other = (torch.rand(shape, device=args.device) for _ in range(2))
        calls = {**calls, COPY: lambda: one.copy_(other)}
    seconds = paired_times(calls, args.rounds, args.device)
    pixels = math.prod(shape) * (19 if family == "step" else 1)
    rows = {}
    for contender, times in seconds.items():
        taken = peak_memory(calls[contender], args.device)
        row = dict(
            milliseconds=round(1e3 * statistics.median(times), 3),
            times_ours=round(median_ratio(times, seconds[OURS]), 3),
            memory_in_maps=None if taken is None else round(taken / (4 * pixels), 2),
        )
        if moved and contender in (OURS, COPY):
            maps = 2 if contender == COPY else moved + (family == "ewc" and args.device == "cuda")
            row["gigabytes_per_second"] = round(maps * 4 * pixels / statistics.median(times) / 1e9, 1)
        if moved and contender == OURS:
            row["share_of_copy"] = round(median_ratio(seconds[COPY], times) * maps / 2, 3)
            if args.device == "cuda":
                row["kernel_launches"] = kernel_launches(calls[contender])
        rows[contender] = row
        print(f"{family:>22} {name:>8} {contender:<52} {row}", flush=True)
    return rows


def linearity(args: argparse.Namespace) -> list[dict[str, float]]:
    """Return the time of the fused loss for three sizes and three sigmas."""
    import torch

    from mmlandmark.ops import ewc_loss
    from mmlandmark.testing.measure import paired_times
    from mmlandmark.testing.op_contenders import landmarks_of

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
    """Measure in a process of its own for every setting."""
    results = {}
    level = LEVELS[args.level] if args.level else {}
    for setting, variables in SETTINGS.items() if args.device == "cpu" else [("default", {})]:
        shapes = args.shapes if setting == "default" else args.shapes[:1]
        with tempfile.TemporaryDirectory() as folder:
            # Beside the result, so that a run that is cut short leaves what it had measured.
            path = args.out.with_suffix(f".{setting}.json") if args.out else Path(folder) / "result.json"
            command = command_line(
                "benchmark-ops", "--setting", setting, "--out", path, "--device", args.device,
                "--shapes", *shapes, "--families", *args.families, "--rounds", args.rounds,
                "--threads", args.threads,
            )  # fmt: skip
            print(f"{setting} {variables or ''}", flush=True)
            # Code that torch.compile keeps from other runs may be of another level, or broken.
            cache = {"TORCHINDUCTOR_CACHE_DIR": str(Path(folder) / "compiled")}
            environment = {**os.environ, **cache, **level, **variables}
            subprocess.run(command, env=environment, check=True)
            results[setting] = read_json(path)
            path.unlink()
    return results


def sources_digest(device: str) -> str:
    """Return a hash of what the operators of a device are compiled from, comments and line breaks aside."""
    root = native_sources()
    files = [path for folder in SOURCES[device] for path in (root / folder).rglob("*") if path.is_file()]
    digest = hashlib.sha256()
    for path in sorted(files):
        code = re.sub(r"//.*", "", path.read_text(encoding="utf-8"))
        digest.update(f"{path.relative_to(root.parent).as_posix()}:{' '.join(code.split())};".encode())
    return digest.hexdigest()


def instructions() -> dict[str, str]:
    """Return which instructions of the CPU ours and PyTorch use in this process."""
    import torch

    from mmlandmark.ops import backend

    return dict(backend=str(backend()), torch=torch.backends.cpu.get_cpu_capability())


def about() -> dict[str, Any]:
    """Return what was measured: machine, versions, commit, peers."""
    from importlib.metadata import PackageNotFoundError, version

    from mmlandmark.evaluation.record import git_commit, machine, versions

    peers = {}
    for name in ("kornia", "dsntnn", "landmarker"):
        try:
            peers[name] = version(name)
        except PackageNotFoundError:
            peers[name] = "absent"
    return dict(
        machine=machine(), versions=versions(), commit=git_commit(), peers=peers, load_before=os.getloadavg()
    )


def render(page: Path) -> None:
    """Write the tables between the marks of a page from the JSON files of the runs.

    They lie in ``benchmarks`` beside the page or in ``docs/benchmarks``. A page has marks for the file of
    every run, or for ``ops_levels``, what comes out at every level, or both.
    """
    text = page.read_text(encoding="utf-8")
    folder = page.parent / "benchmarks"
    folder = folder if folder.is_dir() else page.parent / "docs" / "benchmarks"
    results = {path.stem: read_json(path) for path in sorted(folder.glob("ops_*.json"))}
    summarised = "<!-- ops_levels:begin -->" in text
    if summarised:
        text = replaced(text, "ops_levels", levels_table(results))
    for name, result in results.items():
        if f"<!-- {name}:begin -->" in text:
            text = replaced(text, name, tables_of(result))
        elif not summarised:
            raise ValueError(f"{page} has no <!-- {name}:begin --> ... <!-- {name}:end --> for {name}.json")
    atomic_write_text(page, text)
    print(f"wrote the tables of {page}")


def levels_table(results: dict[str, Any]) -> str:
    """Return how many times ours the other ways take at every level of instructions, new and kept memory."""
    runs = {
        f"{result['settings']['default']['instructions']['torch']}, {setting.replace('_', ' ')}": (
            result["settings"][setting]["table"]
        )
        for result in results.values()
        if result["device"] == "cpu"
        for setting in ("default", "kept_memory")
    }
    rows = []
    first = next(iter(runs.values()))
    for family in ("ewc", "expectation", "expectation_backward"):
        (name, contenders), *_ = first[family].items()
        for contender in contenders:
            if contender.startswith(("PyTorch", "torch.compile", "kornia", "dsntnn")):
                times = [run[family][name][contender]["times_ours"] for run in runs.values()]
                rows.append([f"{TITLES[family]}: {contender}", *(f"{t:.1f}" for t in times)])
    return markdown_table(["what", *runs], rows)


def tables_of(result: dict[str, Any]) -> str:
    """Return Markdown tables: one per family, one of the settings, one of sizes and sigmas."""
    settings, table = result["settings"], result["settings"]["default"]["table"]
    machine, commit = result["machine"], (result["commit"] or "unknown")[:8]
    peers = "; ".join(f"{name} {version}" for name, version in result["peers"].items())
    lines = [
        f"{machine['gpu'] or machine['cpu']}, {result['threads']} threads, torch "
        f"{result['versions']['torch']}, commit {commit}; medians of {result['rounds']} turns. {peers}. "
        f"PyTorch used {instructions_used(result)}."
    ]
    for family, shapes in table.items():
        lines += ["", f"#### {TITLES[family]}", "", family_table(shapes)]
    if len(settings) > 1:
        lines += ["", "#### How memory is handed out", "", settings_table(settings)]
    linearity = [
        [str(row["megapixels"]), f"{row['sigma']:g}", f"{row['milliseconds']:.2f}"]
        for row in settings["default"]["linearity"]
    ]
    lines += ["", "#### Fused EWC loss and gradient by size and sigma", ""]
    lines.append(markdown_table(["megapixels", "sigma", "ms"], linearity, left=0))
    return "\n".join(lines)


def family_table(shapes: dict[str, Any]) -> str:
    """Return the table of one family of operators."""
    rows = [
        [
            size_of(name),
            contender,
            f"{row['milliseconds']:.2f}",
            f"{row['times_ours']:.2f}",
            "" if row["memory_in_maps"] is None else f"{row['memory_in_maps']:.2f}",
            str(row.get("gigabytes_per_second", "")),
        ]
        for name, contenders in shapes.items()
        for contender, row in contenders.items()
    ]
    return markdown_table(["maps", "what", "ms", "times ours", "memory, maps", "GB/s"], rows, left=2)


def settings_table(settings: dict[str, Any]) -> str:
    """Return the times of all families under every setting of the allocator."""
    rows = [
        [
            size_of(name),
            f"{TITLES[family]}: {contender}",
            *(f"{s['table'][family][name][contender]['milliseconds']:.2f}" for s in settings.values()),
        ]
        for family, shapes in settings[list(settings)[-1]]["table"].items()
        for name, contenders in shapes.items()
        for contender in contenders
    ]
    return markdown_table(["maps", "what", *(f"{n.replace('_', ' ')}, ms" for n in settings)], rows, left=2)


def instructions_used(result: dict[str, Any]) -> str:
    """Return in words which instructions of the CPU were used, and what held them to it."""
    used = result["settings"]["default"]["instructions"]
    held = ", ".join(f"`{name}={value}`" for name, value in result["environment"].items())
    return f"{used['torch']}, ours is {used['backend']}{f'; set were {held}' if held else ''}"


def size_of(name: str) -> str:
    """Return a shape as words."""
    return "x".join(map(str, SHAPES[name])) if name in SHAPES else name


def run(args: argparse.Namespace) -> None:
    """Measure, or render what was measured."""
    if args.render:
        render(args.render)
        return
    if args.setting:
        if args.setting == "kept_memory":
            keep_freed_memory()
        atomic_write_json(args.out, measure(args))
        return
    if args.level and args.device != "cpu":
        raise ValueError("--level is about instructions of the CPU; it does not go with --device cuda")
    result = about()
    settings = run_settings(args)
    result.update(
        device=args.device,
        threads=args.threads,
        rounds=args.rounds,
        level=args.level,
        environment=LEVELS[args.level] if args.level else {},
        sources=sources_digest(args.device),
        load_after=os.getloadavg(),
        settings=settings,
    )
    if args.out:
        atomic_write_json(args.out, result)
        print(f"wrote {args.out}")
