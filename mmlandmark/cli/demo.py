"""Train and test a detector in a few minutes.

It uses generated phantoms or, with --data, the cephalograms of ISBI 2015.

    mmlandmark demo
    mmlandmark demo --quick
    mmlandmark demo --data /path/to/isbi2015

If it was interrupted, the same command resumes it; once finished, it prints the result again.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from mmlandmark.utils.command_line import command_line
from mmlandmark.utils.shipped import config_root


@dataclass(frozen=True)
class Demo:
    """What a demo trains on, and how.

    Attributes:
        config: Name of a config in ``configs/unet``.
        images: What the training images are, for the summary.
        root: Folder of the data, and the environment variable through which the config finds it.
        phantoms: Arguments that generate the data, none if they exist.
        options: Config values to override.
    """

    config: str
    images: str
    root: tuple[str, Path]
    phantoms: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mmlandmark demo``."""
    parser.add_argument("--data", type=Path, help="folder with RawImage and AnnotationsByMD of ISBI 2015")
    parser.add_argument("--quick", action="store_true", help="fewer phantoms and epochs: about a minute")
    parser.add_argument(
        "--out", type=Path, help="work folder; default work_dirs/demo, with _quick or _isbi2015 behind it"
    )


def run(args: argparse.Namespace) -> None:
    """Run the demo."""
    begin = time.monotonic()
    if args.data is not None and args.quick:
        raise ValueError("--quick is for phantoms: leave out --data")
    if args.data is not None and not args.data.is_dir():
        raise FileNotFoundError(f"--data {args.data}: no such folder")
    suffix = "_quick" if args.quick else "" if args.data is None else "_isbi2015"
    out = args.out or Path(f"work_dirs/demo{suffix}")
    demo = plan_demo(args.data, args.quick, out)
    train_and_test(demo, out)
    error, count = mean_error(out / "test" / "predictions.json")
    print(f"\nTrained on {demo.images}, tested on {count} others that training never saw.")
    print(f"Mean radial error: {100 * error:.2f} % of the image's longer side.")
    print(f"Pictures: {out / 'test'}   ({time.monotonic() - begin:.0f} s)")


def plan_demo(data: Path | None, quick: bool, out: Path) -> Demo:
    """Return what to run: on the cephalograms in ``data``, or else on phantoms."""
    if data is not None:
        images = "150 cephalograms of the ISBI 2015 training part"
        return Demo("unet_isbi2015_320x256_cpu", images, ("ISBI2015_ROOT", data))
    train, val, test = ("80", "8", "20") if quick else ("200", "20", "50")
    return Demo(
        "unet_phantom-ceph_160x128_cpu",
        f"{train} generated head phantoms",
        ("PHANTOM_ROOT", out / "data"),
        phantoms=(
            "--kind", "ceph", "--num-train", train, "--num-val", val, "--num-test", test,
            "--size", "480", "384", "--out", str(out / "data"),
        ),
        options=("--cfg-options", "train_cfg.max_epochs=5") if quick else (),
    )  # fmt: skip


def train_and_test(demo: Demo, out: Path) -> None:
    """Generate the data where needed, train and test."""
    variable, folder = demo.root
    environment = {**os.environ, variable: str(folder.resolve())}
    config = str(config_root() / "unet" / f"{demo.config}.py")
    if demo.phantoms:
        _call("phantoms", *demo.phantoms, environment=environment)
    words = (config, "--work-dir", str(out), *demo.options)
    _call("train", *words, "--seed", "0", "--resume", environment=environment)
    _call("test", *words, environment=environment)


def mean_error(predictions: Path) -> tuple[float, int]:
    """Return the mean radial error in longer sides of the image, and the number of images."""
    from mmlandmark.utils.files import read_json

    cases = read_json(predictions)["cases"]
    errors = [
        math.dist(predicted, annotated) / max(case["ori_shape"])
        for case in cases
        for predicted, annotated in zip(case["pred"], case["gt"], strict=True)
        if None not in (*predicted, *annotated)
    ]
    return sum(errors) / len(errors), len(cases)


def _call(name: str, *words: str, environment: dict[str, str]) -> None:
    print(f"\n$ mmlandmark {name} {' '.join(words)}", flush=True)
    code = subprocess.run(command_line(name, *words), env=environment).returncode
    if code:
        sys.exit(code)
