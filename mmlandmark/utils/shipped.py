"""Files that are shipped with the package."""

from __future__ import annotations

from pathlib import Path

_SCOPE = "mmlandmark::"


def config_root() -> Path:
    """Return the folder of the configs: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    return package / "configs" if (package / "configs").is_dir() else package.parent / "configs"


def detector_root() -> Path:
    """Return the folder of the trained detectors that come with the package; it may not exist."""
    return Path(__file__).resolve().parents[1] / "detectors"


def shipped_detectors() -> dict[str, Path]:
    """Return the model files that come with the package, by name."""
    return {path.name.removesuffix(".mml.pth"): path for path in sorted(detector_root().glob("*.mml.pth"))}


def shipped_detector(name: str | Path) -> Path | None:
    """Return the model file that comes with the package under a name, None if there is none."""
    return shipped_detectors().get(str(name))


def native_sources() -> Path:
    """Return the folder of the native operators' sources.

    Raises:
        FileNotFoundError: The package is installed, and not from a checkout.
    """
    folder = Path(__file__).resolve().parents[2] / "csrc"
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder} does not exist: the sources are in a checkout only, not in a wheel"
        )
    return folder


def shipped_file(name: str) -> Path | None:
    """Return the file below the configs that ``mmlandmark::<path>`` names; None for any other name.

    Raises:
        FileNotFoundError: There is no such file.
    """
    if not name.startswith(_SCOPE):
        return None
    root = config_root().resolve()
    path = (root / name.removeprefix(_SCOPE)).resolve()
    if not path.is_file() or root not in path.parents:
        raise FileNotFoundError(f"{name!r} is not among the configs in {root}")
    return path
