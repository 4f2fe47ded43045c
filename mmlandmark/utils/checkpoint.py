"""Checkpoints are written whole, and read without running any code in them."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast
from urllib.parse import urlparse

import torch

from mmlandmark.utils.files import atomic_path, file_hash
from mmlandmark.utils.whole_files import HashingFile, check_whole


def load_checkpoint(path: str | Path, map_location: Any = "cpu") -> dict:
    """Load a checkpoint of tensors and plain values, after a look whether the file is whole.

    Names of weights lose the prefixes that ``torch.compile`` and wrappers for several processes give them.

    Args:
        path: Local file.
        map_location: See :func:`torch.load`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is broken, holds objects whose loading would run code, or weights that are not
            finite numbers.
    """
    path = _existing(path)
    check_whole(path)
    try:
        checkpoint = torch.load(path, map_location=map_location, weights_only=True)
    except Exception as error:
        # What torch says begins with the advice to load it unsafely.
        raise ValueError(
            f"checkpoint {path} cannot be loaded safely (broken, or it holds more than tensors and plain "
            f"values): {_reason(error)}"
        ) from None
    return checked_content(checkpoint, f"checkpoint {path}")


def is_whole(path: str | Path) -> bool:
    """Whether :func:`load_checkpoint` reads a file."""
    try:
        load_checkpoint(path)
    except (FileNotFoundError, ValueError):
        return False
    return True


def checked_content(checkpoint: Any, where: str) -> dict:
    """Return what a checkpoint holds, its weights under the names of the plain model.

    Args:
        checkpoint: As it was read.
        where: To begin an error with.

    Raises:
        ValueError: It is no checkpoint, or holds weights that are not finite numbers.
    """
    if not isinstance(checkpoint, dict):
        raise ValueError(f"{where} holds a {type(checkpoint).__name__}, not a dict")
    for key in ("state_dict", "training_state_dict"):
        if key in checkpoint:
            checkpoint[key] = _weights(checkpoint[key], f"{where}: {key}")
    if "state_dict" not in checkpoint and all(isinstance(v, torch.Tensor) for v in checkpoint.values()):
        checkpoint = _weights(checkpoint, where)
    return checkpoint


def holds_its_values(value: Any) -> bool:
    """Whether a value is a tensor whose storage is as large as its shape says, as any that was trained."""
    return (
        isinstance(value, torch.Tensor)
        and value.layout is torch.strided
        and not value.is_quantized
        and value.numel() * value.element_size() <= value.untyped_storage().nbytes()
    )


def is_plain_tensor(value: Any) -> bool:
    """Whether a value is a tensor that holds its values, and somewhere where they can be read."""
    return holds_its_values(value) and value.device.type != "meta"


def _reason(error: Exception) -> str:
    """Return why torch refused a file, without its advice."""
    found = re.search(r"Unsupported (?:global: GLOBAL|class) ([\w.]+)", str(error))
    return f"it holds objects of {found[1]}" if found else type(error).__name__


def _weights(state: Any, where: str) -> dict[str, torch.Tensor]:
    """Return named weights under the names of the plain model.

    Raises:
        ValueError: They are no weights, not finite, or larger than what the file holds of them.
    """
    if not isinstance(state, dict):
        raise ValueError(f"{where} is a {type(state).__name__}, not named weights")
    strange = [k for k, v in state.items() if not (isinstance(k, str) and isinstance(v, torch.Tensor))]
    if strange:
        raise ValueError(f"{where}[{str(strange[0])[:60]!r}] is no tensor with a name")
    strange = [k for k, v in state.items() if not is_plain_tensor(v)]
    if strange:
        raise ValueError(f"{where}[{strange[0][:60]!r}] does not hold as many values as its shape says")
    bad = [k for k, v in state.items() if not bool(torch.isfinite(v).all())]
    if bad:
        raise ValueError(
            f"{where} holds {len(bad)} weights that are NaN or infinite: {', '.join(bad[:3])}; "
            "the training that wrote them had diverged, take an earlier checkpoint"
        )
    wrapped = bool(state) and all(_plain_name(key).startswith("module.") for key in state)
    for key in list(state):  # in place: an OrderedDict keeps its metadata, which loading uses
        value = state.pop(key)
        state[_plain_name(key).removeprefix("module." if wrapped else "")] = value
    return state


def _plain_name(key: str) -> str:
    """Return the name of a weight without what ``torch.compile`` puts in front of the parts it compiled."""
    return key.replace("_orig_mod.", "")


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
    """Write a checkpoint with a hash of its content; a crash leaves the file that was there before.

    Raises:
        OSError: It cannot be written; path, size and what is free are named.
    """
    try:
        with atomic_path(path) as temporary, HashingFile(temporary) as file:
            torch.save(checkpoint, cast(IO[bytes], file))  # torch writes, and does no more
    except (OSError, RuntimeError) as error:
        reason = _os_error(error)
        if reason is None:
            raise
        raise _unsaved(reason, checkpoint, Path(path)) from error


def _os_error(error: BaseException | None) -> OSError | None:
    """Return the OSError behind an error: torch complains of a wrong position when a write has failed."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__ or error.__context__
    return error


def _unsaved(error: OSError, checkpoint: dict, path: Path) -> OSError:
    """Return an error that says what did not fit where."""
    size = sum(t.numel() * t.element_size() for t in _tensors(checkpoint)) / 2**20
    free = shutil.disk_usage(path.parent).free / 2**20 if path.parent.is_dir() else 0.0
    reason = error.strerror or str(error)
    return OSError(
        error.errno,
        f"checkpoint {path} cannot be written: {reason} (it takes {size:.0f} MiB, {free:.0f} MiB are free); "
        "the checkpoint before is whole, make room and go on with --resume",
    )


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict | list | tuple):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _tensors(part)


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
    types = [
        f"{k} {state_dict[k].dtype} instead of {v.dtype}"
        for k, v in own.items()
        if k in state_dict and state_dict[k].is_floating_point() != v.is_floating_point()
    ]
    if missing or unexpected or shapes or types:
        parts = [
            f"{len(found)} {label} ({', '.join(found[:3])}{', ...' if len(found) > 3 else ''})"
            for label, found in (
                ("missing", missing),
                ("unexpected", unexpected),
                ("of another shape", shapes),
                ("of another type", types),
            )
            if found
        ]
        raise ValueError(f"{source} holds the weights of another model: {'; '.join(parts)}")
