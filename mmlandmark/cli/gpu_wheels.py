"""Download the wheels that `mmlandmark gpu-day` takes to a machine without package registries.

They are for the Python of that machine (--python), whatever this one has. torch and numpy must be there;
leave out what else is, to keep the folder small.

    mmlandmark gpu-wheels --python 3.12 --without opencv-python-headless scipy matplotlib
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from mmlandmark.utils.wheels import normalised

FOLDER = Path("gpu_wheels")
LIMIT = 64  # MiB, what such machines take of ignored files
# With all they need but torch and numpy; a dependency of a package stands in its row.
PACKAGES = {
    "mmengine": (
        "addict", "markdown-it-py", "mdurl", "platformdirs", "pygments", "pyyaml", "rich", "termcolor",
        "yapf",
    ),
    "mmcv-lite": ("packaging",),
    "opencv-python-headless": (),
    "scipy": (),
    "matplotlib": (
        "contourpy", "cycler", "fonttools", "kiwisolver", "pillow", "pyparsing", "python-dateutil", "six",
    ),
    "pytest": ("iniconfig", "pluggy"),
    "pytest-xdist": ("execnet",),
    "hypothesis": ("sortedcontainers",),
    "kornia": ("kornia-rs",),
    "dsntnn": (),
    "ninja": (),
    "setuptools": (),
}  # fmt: skip
PLATFORMS = [
    *(f"manylinux_2_{minor}_x86_64" for minor in (35, 34, 31, 28, 27, 26, 24, 17)),
    "manylinux2014_x86_64",
    "manylinux1_x86_64",
]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mmlandmark gpu-wheels``."""
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    parser.add_argument(
        "--python", default=here, help="version of the other machine's Python (default: here's)"
    )
    parser.add_argument(
        "--without", nargs="+", default=[], choices=tuple(PACKAGES), metavar="PACKAGE",
        help=f"what the machine has: {', '.join(PACKAGES)}",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder (default: gpu_wheels)")


def wanted(without: list[str]) -> list[str]:
    """Return the distributions to download, with what they need."""
    return [
        name for package, needs in PACKAGES.items() if package not in without for name in (package, *needs)
    ]


def download(names: list[str], python: str, folder: Path) -> None:
    """Download one wheel of each.

    Raises:
        ValueError: pip found none for one of them.
    """
    platforms = [word for name in PLATFORMS for word in ("--platform", name)]
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
        "--only-binary=:all:", "--implementation", "cp", "--python-version", python, *platforms,
        "--dest", str(folder), *names,
    ]  # fmt: skip
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise ValueError(f"pip could not download the wheels for Python {python}:\n{done.stderr.strip()}")


def run(args: argparse.Namespace) -> None:
    """Download, and print what was downloaded and its size."""
    args.out.mkdir(parents=True, exist_ok=True)
    known = {normalised(name) for name in wanted([])}
    for old in args.out.glob("*.whl"):
        if normalised(old.name.partition("-")[0]) in known:  # others are not of this command
            old.unlink()
    download(wanted(args.without), args.python, args.out)
    sizes = {path.name: path.stat().st_size / 2**20 for path in args.out.glob("*.whl")}
    for name, size in sorted(sizes.items(), key=lambda item: -item[1]):
        print(f"{size:8.2f} MiB  {name}")
    total = sum(sizes.values())
    print(f"{total:8.2f} MiB  {len(sizes)} wheels in {args.out}")
    if total > LIMIT:
        print(f"more than {LIMIT} MiB: leave out with --without what the machine has")
