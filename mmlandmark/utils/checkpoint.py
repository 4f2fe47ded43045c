"""Checkpoints are written whole, and read without running any code in them."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch

from mmlandmark.utils.files import atomic_path, file_hash


def load_checkpoint(path: str | Path, map_location: Any = "cpu") -> dict:
    """Load a checkpoint of tensors and plain values.

    Args:
        path: Local file.
        map_location: See :func:`torch.load`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is broken, or holds objects whose loading would run code.
    """
    path = _existing(path)
    try:
        checkpoint = torch.load(path, map_location=map_location, weights_only=True)
    except Exception as error:
        # torch begins with the advice to load it unsafely; what it stumbled on stands behind.
        text = str(error).rpartition("WeightsUnpickler error:")[2].strip()
        reason = text.splitlines()[0] if text else type(error).__name__
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
        path = _existing(source)
        _check_hash(path, path.name)
        return path
    name = Path(urlparse(str(source)).path).name
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    if not _hash_in(name):  # Other places may have other files of that name.
        folder /= hashlib.sha256(str(source).encode()).hexdigest()[:16]
    path = folder / name
    if path.is_file():
        _check_hash(path, name)
        return path
    try:
        with atomic_path(path) as temporary:
            torch.hub.download_url_to_file(str(source), str(temporary))
            try:
                _check_hash(temporary, name)
                load_checkpoint(temporary)  # A download that was cut off is found here.
            except ValueError as error:
                reason = str(error).replace(str(temporary), str(source))
                raise ValueError(f"{reason}; nothing is kept of it") from error
    except OSError as error:
        raise ValueError(
            f"checkpoint {source} cannot be fetched: {error}; put the file at {path}, or name a local file"
        ) from error
    return path


def load_weights(source: str | Path, prefix: str = "") -> dict[str, torch.Tensor]:
    """Return the weights in a checkpoint, a file or a URL, see :func:`fetch_checkpoint`.

    Args:
        source: File or URL; of a whole training or of the weights alone.
        prefix: Of the names that are wanted, for a part of a model: ``"backbone."``. It is taken off.

    Raises:
        ValueError: As :func:`fetch_checkpoint` and :func:`load_checkpoint`, or no name has the prefix.
    """
    loaded = load_checkpoint(fetch_checkpoint(source))
    state = loaded.get("state_dict", loaded)
    found = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    if not found:
        raise ValueError(f"checkpoint {source} has no weights that begin with {prefix!r}")
    return found


def _existing(path: str | Path) -> Path:
    """Return the path of a file; FileNotFoundError if it is none, and in a folder, what there is."""
    path = Path(path).expanduser()
    if path.is_dir():
        found = sorted(file.name for file in path.glob("*.pth"))
        there = f"name one of {', '.join(found)} in it" if found else "there is none in it"
        raise FileNotFoundError(f"checkpoint {path} is a folder: {there}")
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint {path} does not exist")
    return path


def _hash_in(name: str) -> str | None:
    """Return the beginning of a SHA-256 at the end of a name; digits alone are a date or a count."""
    found = re.search(r"-(?=[0-9]*[a-f])([0-9a-f]{8,64})\.(?:pth|pt|pkl)$", name)
    return found[1] if found else None


def _check_hash(path: Path, name: str) -> None:
    """Refuse a file whose content does not have the hash in its name."""
    wanted = _hash_in(name)
    if wanted is None:
        return
    found = file_hash(path)
    if not found.startswith(wanted):
        raise ValueError(
            f"checkpoint {path} has SHA-256 {found[:16]}..., its name says "
            f"{wanted}: it is broken, fetch it again"
        )


def save_checkpoint(checkpoint: dict, path: str | Path) -> None:
    """Write a checkpoint; a crash leaves the file that was there before."""
    with atomic_path(path) as temporary:
        torch.save(checkpoint, temporary)


def training_keys(model: torch.nn.Module) -> set[str]:
    """Return the names in a model's ``state_dict`` that only its training uses.

    They belong to children that a module inside names in ``training_parts``.
    """
    parts = tuple(
        f"{name}.{part}.".lstrip(".")
        for name, module in model.named_modules()
        for part in getattr(module, "training_parts", ())
    )
    return {key for key in model.state_dict() if key.startswith(parts)} if parts else set()


def put_training_apart(checkpoint: dict, model: torch.nn.Module) -> None:
    """Move what only training uses from ``state_dict`` to ``training_state_dict``, in place."""
    state, keys = checkpoint["state_dict"], training_keys(model)
    if keys:
        checkpoint["training_state_dict"] = {key: state.pop(key) for key in sorted(keys & state.keys())}


def put_training_back(checkpoint: dict, model: torch.nn.Module) -> None:
    """Undo :func:`put_training_apart`, in place; what the checkpoint lacks stays as it is in the model."""
    state, apart = checkpoint.get("state_dict", checkpoint), checkpoint.get("training_state_dict", {})
    own = model.state_dict()
    for key in training_keys(model):
        state.setdefault(key, apart.get(key, own[key]))


def check_state_dict(model: torch.nn.Module, state_dict: dict, source: str) -> None:
    """Refuse weights that are not those of ``model``; what only training uses may be missing.

    Raises:
        ValueError: Names or shapes differ; ``source`` and the first differences are named.
    """
    own = model.state_dict()
    optional = training_keys(model)
    missing = [k for k in own if k not in state_dict and k not in optional]
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
