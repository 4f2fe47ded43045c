"""Checkpoints are written whole, and read without running any code in them."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch

from mmlandmark.utils.files import atomic_path


def load_checkpoint(path: str | Path, map_location: Any = "cpu") -> dict:
    """Load a checkpoint of tensors and plain values.

    Args:
        path: Local file.
        map_location: See :func:`torch.load`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is broken, or holds objects whose loading would run code.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint {path} does not exist")
    try:
        checkpoint = torch.load(path, map_location=map_location, weights_only=True)
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(
            f"checkpoint {path} cannot be loaded safely (broken, or it holds more than tensors and plain "
            f"values): {reason}"
        ) from error
    if not isinstance(checkpoint, dict):
        raise ValueError(f"checkpoint {path} holds a {type(checkpoint).__name__}, not a dict")
    return checkpoint


def fetch_checkpoint(source: str | Path) -> Path:
    """Return the local file of a checkpoint; a URL is downloaded once, into the cache of :mod:`torch.hub`.

    Args:
        source: File, or URL with http or https. Where the name ends in ``-HASH.pth``, HASH must be how the
            SHA-256 of the content begins.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It cannot be downloaded, or its content has another hash.
    """
    if urlparse(str(source)).scheme not in ("http", "https"):
        path = Path(source).expanduser()
        if not path.is_file():
            raise FileNotFoundError(f"checkpoint {path} does not exist")
        _check_hash(path, path.name)
        return path
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(str(source)).path).name
    if path.is_file():
        _check_hash(path, path.name)
        return path
    try:
        with atomic_path(path) as temporary:
            torch.hub.download_url_to_file(str(source), str(temporary))
            _check_hash(temporary, path.name)
    except OSError as error:
        raise ValueError(
            f"{source} cannot be downloaded ({error}): put the file at {path}, or name a local file"
        ) from error
    return path


def _check_hash(path: Path, name: str) -> None:
    """Refuse a file whose content does not have the hash in its name."""
    wanted = re.search(r"-([0-9a-f]{8,64})\.(?:pth|pt|pkl)$", name)
    if wanted is None:
        return
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    if not digest.hexdigest().startswith(wanted[1]):
        raise ValueError(
            f"checkpoint {path} has SHA-256 {digest.hexdigest()[:16]}..., its name says "
            f"{wanted[1]}: it is broken, fetch it again"
        )


def save_checkpoint(checkpoint: dict, path: str | Path) -> None:
    """Write a checkpoint; a crash leaves the file that was there before."""
    with atomic_path(path) as temporary:
        torch.save(checkpoint, temporary)


def check_state_dict(model: torch.nn.Module, state_dict: dict, source: str) -> None:
    """Refuse weights that are not those of ``model``.

    Raises:
        ValueError: Names or shapes differ; ``source`` and the first differences are named.
    """
    own = model.state_dict()
    missing = [k for k in own if k not in state_dict]
    unexpected = [k for k in state_dict if k not in own]
    shapes = [
        f"{k} {tuple(state_dict[k].shape)} instead of {tuple(v.shape)}"
        for k, v in own.items()
        if k in state_dict and tuple(state_dict[k].shape) != tuple(v.shape)
    ]
    if missing or unexpected or shapes:
        parts = [
            f"{len(found)} {label} ({', '.join(found[:3])}{', ...' if len(found) > 3 else ''})"
            for label, found in (
                ("missing", missing),
                ("unexpected", unexpected),
                ("of another shape", shapes),
            )
            if found
        ]
        raise ValueError(f"{source} holds the weights of another model: {'; '.join(parts)}")
