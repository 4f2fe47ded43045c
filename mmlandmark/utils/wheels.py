"""Wheels that travel with a checkout to a machine that reaches no package registry."""

from __future__ import annotations

import re
import sys
import zipfile
from importlib.metadata import distributions
from pathlib import Path
from typing import NamedTuple

SCRIPTS = "bin"  # folder of programs, for PATH


class Wheel(NamedTuple):
    """A wheel by its file name.

    Attributes:
        path: File.
        name: Normalised name of the distribution.
        version: Version.
        python: Python tags, such as ``cp312`` or ``py3``.
        abi: ABI tags, such as ``abi3`` or ``none``.
    """

    path: Path
    name: str
    version: str
    python: tuple[str, ...]
    abi: str

    @property
    def fits(self) -> bool:
        """Whether this Python can import it; the platform is taken on trust."""
        version = sys.version_info[:2]
        for tag in self.python:
            kind, digits = tag[:2], tag[2:]
            if kind == "py" and digits in ("3", "{}{}".format(*version)):
                return True
            if kind == "cp" and digits == "{}{}".format(*version):
                return True
            if kind == "cp" and self.abi == "abi3" and int(digits[1:] or 0) <= version[1]:
                return True
        return False


def normalised(name: str) -> str:
    """Return the name of a distribution as all its spellings compare equal.

    Example:
        >>> normalised("Opencv_Python.Headless")
        'opencv-python-headless'
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def wheels_in(folder: Path) -> list[Wheel]:
    """Return the wheels of a folder by their names; none where the folder does not exist.

    Raises:
        ValueError: A file name is not that of a wheel.
    """
    wheels = []
    for path in sorted(folder.glob("*.whl")):
        parts = path.stem.split("-")
        if len(parts) not in (5, 6):
            raise ValueError(f"{path} has not the name of a wheel: name-version-python-abi-platform.whl")
        name, version, python, abi = parts[0], parts[1], parts[-3], parts[-2]
        wheels.append(Wheel(path, normalised(name), version, tuple(python.split(".")), abi))
    return wheels


def unpack_missing(folder: Path, target: Path) -> dict[str, str]:
    """Unpack the wheels whose distribution is not installed, for ``PYTHONPATH``; pip is not needed.

    What is installed is left as it is, whatever version a wheel has.

    Args:
        folder: Wheels.
        target: Folder to unpack into; programs go to its folder ``bin``.

    Returns:
        What became of every wheel, by distribution.

    Raises:
        ValueError: A file name is not that of a wheel, or a wheel holds a path outside of it.
    """
    # opencv-python and opencv-python-headless are one module under two names.
    installed = {normalised(d.metadata["Name"] or "") for d in distributions()}
    if installed & {"opencv-python", "opencv-python-headless"}:
        installed |= {"opencv-python", "opencv-python-headless"}
    report = {}
    for wheel in wheels_in(folder):
        if wheel.name in installed:
            report[wheel.name] = "installed"
        elif not wheel.fits:
            report[wheel.name] = (
                f"{wheel.path.name} is not for Python {sys.version_info[0]}.{sys.version_info[1]}"
            )
        else:
            _unpack(wheel.path, target)
            report[wheel.name] = f"unpacked, {wheel.version}"
    return report


def _unpack(wheel: Path, target: Path) -> None:
    root = target.resolve()
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            place = _place(entry.filename)
            path = (root / place).resolve()
            if entry.is_dir() or not place:
                continue
            if root not in path.parents:
                raise ValueError(f"{wheel} holds {entry.filename!r}, which would lie outside of {target}")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(archive.read(entry))
            path.chmod(0o755 if path.parent == root / SCRIPTS else entry.external_attr >> 16 & 0o777 | 0o600)


def _place(name: str) -> str:
    """Return where a file of a wheel goes; empty for what Python does not import or run."""
    first, _, rest = name.partition("/")
    if not first.endswith(".data"):
        return name
    kind, _, rest = rest.partition("/")
    return {"scripts": f"{SCRIPTS}/{rest}", "purelib": rest, "platlib": rest}.get(kind, "")
