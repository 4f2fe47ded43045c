"""Train and test a detector in a few minutes, on generated phantoms or on the ISBI 2015 cephalograms.

    python tools/demo.py
    python tools/demo.py --data /path/to/isbi2015

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

from mmlandmark.utils.command_line import run_tool

ROOT = Path(__file__).resolve().parents[1]


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder with RawImage and AnnotationsByMD of ISBI 2015")
    parser.add_argument("--out", type=Path, help="work_dirs/demo, or work_dirs/demo_isbi2015 with --data")
    parser.add_argument("--traceback", action="store_true", help="show where an error comes from")
    return parser.parse_args(argv)


def call(*arguments: str | Path, **environment: str) -> None:
    """Run one of the tools and stop if it fails."""
    command = [sys.executable, str(ROOT / "tools" / arguments[0]), *map(str, arguments[1:])]
    print("\n$ python tools/" + " ".join(map(str, arguments)), flush=True)
    code = subprocess.run(command, env={**os.environ, **environment}).returncode
    if code:
        sys.exit(code)


def main(argv: list[str] | None = None) -> None:
    """Run the demo."""
    args = parse_args(argv)
    begin = time.monotonic()
    if args.data is None:
        out = args.out or ROOT / "work_dirs" / "demo"
        config, trained_on = "unet_phantom-ceph_160x128_cpu", "200 generated head phantoms"
        environment = {"PHANTOM_ROOT": str(out / "data")}
        call(
            "make_phantoms.py", "--kind", "ceph", "--num-train", "200", "--num-val", "20", "--num-test", "50",
            "--size", "480", "384", "--out", out / "data",
        )  # fmt: skip
    else:
        if not args.data.is_dir():
            raise FileNotFoundError(f"--data {args.data}: no such folder")
        out = args.out or ROOT / "work_dirs" / "demo_isbi2015"
        config, trained_on = "unet_isbi2015_320x256_cpu", "150 cephalograms of the ISBI 2015 training part"
        environment = {"ISBI2015_ROOT": str(args.data.resolve())}
    path = ROOT / "configs" / "unet" / f"{config}.py"
    call("train.py", path, "--work-dir", out, "--seed", "0", "--resume", **environment)
    call("test.py", path, "--work-dir", out, **environment)

    cases = json.loads((out / "test" / "predictions.json").read_text(encoding="utf-8"))["cases"]
    shares = []
    for case in cases:
        side = max(case["ori_shape"])
        pairs = [(p, g) for p, g in zip(case["pred"], case["gt"], strict=True) if None not in (*p, *g)]
        shares += [sum((a - b) ** 2 for a, b in zip(p, g, strict=True)) ** 0.5 / side for p, g in pairs]
    print(f"\nTrained on {trained_on}, tested on {len(cases)} others that training never saw.")
    print(f"Mean radial error: {100 * sum(shares) / len(shares):.2f} % of the image's longer side.")
    print(f"Pictures: {out / 'test'}   ({time.monotonic() - begin:.0f} s)")


if __name__ == "__main__":
    run_tool(main)
