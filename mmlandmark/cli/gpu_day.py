"""Build, test, measure and train on a machine that has a GPU for minutes, in one command.

The parts run one after another: the native operators are built, tests/test_ops runs, the operators are
measured against copy bandwidth, kornia and torch.compile, a training step against the published recipe, and
FARNet trains on packed cephalograms in the time that is left. Each writes <part>.json when it ends; one that
fails does not stop the next. Only torch and numpy must be installed; `mmlandmark gpu-wheels` downloads the
rest beforehand.

    mmlandmark gpu-day --minutes 8 --packed data/packed --out work_dirs/gpu_day
    mmlandmark gpu-day --device cpu --minutes 20 --out work_dirs/rehearsal
"""

from __future__ import annotations

import argparse
import importlib
import os
import shutil
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mmlandmark.cli.gpu_wheels import FOLDER
from mmlandmark.utils.command_line import command_line
from mmlandmark.utils.shipped import config_root, native_sources
from mmlandmark.utils.timed_parts import Part, run_parts
from mmlandmark.utils.wheels import SCRIPTS, unpack_missing

# Most that a part may take of all minutes; training takes what the others leave, and a test after it.
SHARES = {"build": 0.3, "tests": 0.25, "operators": 0.3, "step": 0.2, "training": 1.0}
# What the parts write beside their reports.
RESULTS = ("farnet_result", "ops_cuda", "ops_cpu", "farnet_step_cuda", "farnet_step_cpu")
FAMILIES = ("ewc", "expectation", "expectation_backward", "heatmap", "peak")
STEP_CONFIG = "farnet/farnet_densenet121_isbi2015_800x640.py"
TRAINING_CONFIG = "farnet/farnet_densenet121_packed-isbi2015_800x640_gpu.py"
TESTS = "tests.xml"  # report of pytest in the work folder
STOPPED_IN_TIME = 75  # exit code of a training that has used up its minutes
# A CPU shows that everything runs; it has no time for all images.
REHEARSAL = (
    "train_dataloader.dataset.indices=4",
    "test_dataloader.dataset.indices=4",
    "train_dataloader.num_workers=1",
    "test_dataloader.num_workers=1",
)
Commands = Callable[[float], Sequence[Sequence[str]]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mmlandmark gpu-day``."""
    parser.add_argument(
        "--device", choices=("cuda", "cpu"), default="cuda", help="cpu rehearses, and every JSON says so"
    )
    parser.add_argument("--minutes", type=float, default=8.0, help="for everything (default 8)")
    parser.add_argument("--parts", nargs="+", choices=tuple(SHARES), default=list(SHARES))
    parser.add_argument(
        "--packed",
        type=Path,
        default=Path("data/packed"),
        help="folder of `mmlandmark pack-data` (data/packed)",
    )
    parser.add_argument("--wheels", type=Path, default=FOLDER, help="folder of `mmlandmark gpu-wheels`")
    parser.add_argument(
        "--out", type=Path, default=Path("work_dirs/gpu_day"), help="folder of the JSON files"
    )
    parser.add_argument(
        "--work-dir", type=Path, default=Path("work_dirs/gpu_day_run"), help="of the training"
    )


def run(args: argparse.Namespace) -> int:
    """Run the parts; the exit code is 0 if all of them did what they should."""
    start = time.monotonic()
    root = native_sources().parent
    args.out.mkdir(parents=True, exist_ok=True)
    for name in (*SHARES, *RESULTS):  # of an earlier day
        (args.out / f"{name}.json").unlink(missing_ok=True)
    site = args.work_dir.resolve() / "site-packages"
    shutil.rmtree(site, ignore_errors=True)
    wheels = unpack_missing(args.wheels, site)
    sys.path.append(str(site))
    about = dict(device=args.device, rehearsal=args.device == "cpu", machine=describe(), wheels=wheels)
    parts = {part.name: part for part in all_parts(args, root, site)}
    spent = (time.monotonic() - start) / 60
    reports = run_parts([parts[name] for name in args.parts], args.out, args.minutes - spent, about)
    for report in reports:
        print(
            f"{report['part']:<12}{report['status']:<12}{report['seconds']:>8.1f} s",
            report.get("reason", ""),
        )
    return int(any(report["status"] != "done" for report in reports))


def describe() -> dict[str, Any]:
    """Return Python, torch and the GPU of this machine."""
    try:
        torch = importlib.import_module("torch")
    except ImportError as error:
        return dict(python=sys.version.split()[0], torch=f"absent: {error}", gpu=None)
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return dict(python=sys.version.split()[0], torch=torch.__version__, gpu=gpu, cores=os.cpu_count())


def all_parts(args: argparse.Namespace, root: Path, site: Path) -> list[Part]:
    """Return all parts, in their order.

    Args:
        args: Of the command line.
        root: Checkout.
        site: Folder of unpacked packages.
    """
    cuda = args.device == "cuda"
    paths = [str(root), str(site), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    environment = {
        "PATH": os.pathsep.join([str(site / SCRIPTS), os.environ.get("PATH", os.defpath)]),
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "PYTHONUNBUFFERED": "1",
        "MMLANDMARK_WITH_EXT": "1",
        "MMLANDMARK_WITH_CUDA": "1" if cuda else "0",
        "PACKED_ROOT": str(args.packed.resolve()),
    }
    if not cuda:
        environment["CUDA_VISIBLE_DEVICES"] = ""
    missing = (
        "" if not cuda or describe()["gpu"] else "PyTorch sees no GPU; --device cpu rehearses without one"
    )

    def part(name: str, commands: Commands, **options: Any) -> Part:
        return Part(
            name, commands, SHARES[name] * args.minutes, environment, **{"missing": missing, **options}
        )

    unpacked = (
        {} if (args.packed / "annotations.json").is_file() else {"missing": f"{args.packed} has no images"}
    )
    return [
        part("build", lambda _: build_commands(root)),
        part(
            "tests", lambda _: [tests_command(args, root)], results=lambda: counts_of(args.work_dir / TESTS)
        ),
        part("operators", lambda _: [operators_command(args)]),
        part("step", lambda _: [step_command(args)]),
        part(
            "training",
            lambda minutes: training_commands(args, minutes),
            allowed_codes=(0, STOPPED_IN_TIME),
            **({"missing": missing} if missing else unpacked),
        ),
    ]


def build_commands(root: Path) -> list[list[str]]:
    """Return what builds the operators, and what shows how they were built."""
    build = [sys.executable, str(root / "setup.py"), "build_ext", "--inplace"]
    show = "import torch; from mmlandmark.ops import backend; print(backend()); print(backend().build)"
    return [build, [sys.executable, "-c", f"{show}; assert backend().name == 'native'"]]


def tests_command(args: argparse.Namespace, root: Path) -> list[str]:
    """Return what runs the tests of the operators on all cores."""
    report = args.work_dir.resolve() / TESTS
    report.unlink(missing_ok=True)
    workers = str(min(os.cpu_count() or 1, 12))
    return [
        sys.executable, "-m", "pytest", "-q", "-n", workers, "-p", "no:cacheprovider",
        f"--junitxml={report}", str(root / "tests" / "test_ops"),
    ]  # fmt: skip


def counts_of(report: Path) -> dict[str, Any]:
    """Return how many tests ran, and the names of those that failed, from a report of pytest.

    Raises:
        FileNotFoundError: The tests did not come to an end.
    """
    suite = next(ElementTree.parse(report).iter("testsuite"))
    failed = [
        f"{case.get('classname')}::{case.get('name')}"
        for case in suite.iter("testcase")
        if case.find("failure") is not None or case.find("error") is not None
    ]
    numbers = {name: int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")}
    return dict(
        numbers, on_cuda=sum("cuda" in (c.get("name") or "") for c in suite.iter("testcase")), failed=failed
    )


def operators_command(args: argparse.Namespace) -> list[str]:
    """Return what measures the operators, on one size of maps."""
    return command_line(
        "benchmark-ops", "--device", args.device, "--shapes", "farnet", "--families", *FAMILIES,
        "--rounds", 15 if args.device == "cuda" else 3, "--out", args.out / f"ops_{args.device}.json",
    )  # fmt: skip


def step_command(args: argparse.Namespace) -> list[str]:
    """Return what measures a training step of FARNet against the published recipe."""
    return command_line(
        "benchmark-training", config_root() / STEP_CONFIG, "--size", 800, 640, "--device", args.device,
        "--rounds", 10 if args.device == "cuda" else 1, "--out", args.out / f"farnet_step_{args.device}.json",
    )  # fmt: skip


def training_commands(args: argparse.Namespace, minutes: float) -> list[list[str]]:
    """Return what trains FARNet in the minutes that are left and tests it; a second call resumes.

    A fifth of the time, but at least a minute, is kept for the test.
    """
    cuda = args.device == "cuda"
    options = [] if cuda else list(REHEARSAL)
    config, work_dir = config_root() / TRAINING_CONFIG, args.work_dir / "training"
    budget = max(minutes - max(1.0, minutes / 5), 0.1)
    train = command_line(
        "train", config, "--resume", "auto", "--work-dir", work_dir, "--cfg-options",
        f"default_hooks.checkpoint.budget_minutes={budget:.2f}", *options,
    )  # fmt: skip
    # What a rehearsal finds on four images is no result.
    record = ["--record", args.out / "farnet_result.json"] if cuda else ["--cfg-options", *options]
    return [train, command_line("test", config, "--work-dir", work_dir, "--no-figures", *record)]
