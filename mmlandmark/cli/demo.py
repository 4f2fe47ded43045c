"""Train and test a detector in a few minutes, on generated phantoms or on the ISBI 2015 cephalograms.

    mmlandmark demo
    mmlandmark demo --data /path/to/isbi2015

Run again, it shows the finished result; stopped half way, it goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from mmlandmark.utils.shipped import config_root


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mmlandmark demo``."""
    parser.add_argument("--data", type=Path, help="folder with RawImage and AnnotationsByMD of ISBI 2015")
    parser.add_argument("--out", type=Path, help="work_dirs/demo, or work_dirs/demo_isbi2015 with --data")


def call(*arguments: str | Path, **environment: str) -> None:
    """Run a command in a process of its own and stop if it fails."""
    command = [sys.executable, "-m", "mmlandmark", *map(str, arguments)]
    print("\n$ mmlandmark " + " ".join(map(str, arguments)), flush=True)
    code = subprocess.run(command, env={**os.environ, **environment}).returncode
    if code:
        sys.exit(code)


def run(args: argparse.Namespace) -> None:
    """Run the demo."""
    begin = time.monotonic()
    if args.data is None:
        out = args.out or Path("work_dirs/demo")
        config, trained_on = "unet_phantom-ceph_160x128_cpu", "200 generated head phantoms"
        environment = {"PHANTOM_ROOT": str((out / "data").resolve())}
        call(
            "phantoms", "--kind", "ceph", "--num-train", "200", "--num-val", "20", "--num-test", "50",
            "--size", "480", "384", "--out", out / "data",
        )  # fmt: skip
    else:
        if not args.data.is_dir():
            raise FileNotFoundError(f"--data {args.data}: no such folder")
        out = args.out or Path("work_dirs/demo_isbi2015")
        config, trained_on = "unet_isbi2015_320x256_cpu", "150 cephalograms of the ISBI 2015 training part"
        environment = {"ISBI2015_ROOT": str(args.data.resolve())}
    path = config_root() / "unet" / f"{config}.py"
    call("train", path, "--work-dir", out, "--seed", "0", "--resume", **environment)
    call("test", path, "--work-dir", out, **environment)

    cases = json.loads((out / "test" / "predictions.json").read_text(encoding="utf-8"))["cases"]
    shares = []
    for case in cases:
        side = max(case["ori_shape"])
        pairs = [(p, g) for p, g in zip(case["pred"], case["gt"], strict=True) if None not in (*p, *g)]
        shares += [sum((a - b) ** 2 for a, b in zip(p, g, strict=True)) ** 0.5 / side for p, g in pairs]
    print(f"\nTrained on {trained_on}, tested on {len(cases)} others that training never saw.")
    print(f"Mean radial error: {100 * sum(shares) / len(shares):.2f} % of the image's longer side.")
    print(f"Pictures: {out / 'test'}   ({time.monotonic() - begin:.0f} s)")
