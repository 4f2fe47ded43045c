"""Checkpoints are written atomically, and read without running any code in them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, cast
from urllib.parse import urlparse

import torch

from mmlandmark.utils.checkpoint_integrity import HashingFile, check_integrity
from mmlandmark.utils.disk_space import NoSpaceError
from mmlandmark.utils.downloads import download
from mmlandmark.utils.files import atomic_path, file_hash
from mmlandmark.utils.hdf5_weights import HDF5_SUFFIXES, load_hdf5
from mmlandmark.utils.package_files import SCHEME, package_file
from mmlandmark.utils.unpacked_size import check_loaded


def load_checkpoint(path: str | Path, map_location: Any = "cpu", checked: bool = False) -> dict:
    """Check the integrity of a checkpoint file and load it: tensors and plain values only.

    Prefixes that ``torch.compile`` and wrappers for several processes add to names of weights are removed.

    Args:
        path: Local file.
        map_location: See :func:`torch.load`.
        checked: Its integrity has been checked by another hash.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is broken, loading it would run code, it unpacks to more than its size, or
            weights are not finite.
    """
    path = _existing(path)
    check_integrity(path, checked)
    try:
        checkpoint = torch.load(path, map_location=map_location, weights_only=True)
    except Exception as error:
        # The message of torch begins with the advice to load the file unsafely.
        raise ValueError(f"checkpoint {path} cannot be loaded safely{_reason(path, error)}") from None
    check_loaded(checkpoint, path, path.stat().st_size)
    return checked_content(checkpoint, f"checkpoint {path}")


def checked_content(checkpoint: Any, where: str) -> dict:
    """Return the content of a checkpoint, with the weights under the names of the plain model.

    Args:
        checkpoint: Content of the file.
        where: File name for error messages.

    Raises:
        ValueError: It is not a checkpoint, or weights are not finite.
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
    """Whether a value is a dense tensor whose storage has the size that its shape requires."""
    return (
        isinstance(value, torch.Tensor)
        and value.layout is torch.strided
        and not value.is_quantized
        and value.numel() * value.element_size() <= value.untyped_storage().nbytes()
    )


def is_plain_tensor(value: Any) -> bool:
    """Whether a value is a tensor with values that can be read."""
    return holds_its_values(value) and value.device.type != "meta"


def _reason(path: Path, error: Exception) -> str:
    """Return why torch refused a file, without its advice, as the end of a sentence."""
    with path.open("rb") as file:
        start = file.read(8)
    if not start.startswith((b"PK", b"\x80")):  # an archive, or the format from before 2020
        what = f"it begins with {start!r}" if start else "it is empty"
        return f": it is no file that PyTorch has written ({what})"
    unsupported = re.search(r"Unsupported (?:global: GLOBAL|class) ([\w.]+)", str(error))
    reason = f"it holds objects of {unsupported[1]}" if unsupported else type(error).__name__
    return f" (broken, or it holds more than tensors and plain values): {reason}"


def _weights(state: Any, where: str) -> dict[str, torch.Tensor]:
    """Return named weights under the names of the plain model.

    Raises:
        ValueError: They are not weights, not finite, or the file does not hold all of their values.
    """
    if not isinstance(state, dict):
        raise ValueError(f"{where} is a {type(state).__name__}, not named weights")
    strange = [k for k, v in state.items() if not (isinstance(k, str) and isinstance(v, torch.Tensor))]
    if strange:
        raise ValueError(f"{where}[{str(strange[0])[:60]!r}] is not a named tensor")
    strange = [k for k, v in state.items() if not is_plain_tensor(v)]
    if strange:
        raise ValueError(f"{where}[{strange[0][:60]!r}] does not hold as many values as its shape requires")
    bad = names_not_finite(state)
    if bad:
        raise ValueError(
            f"{where} holds {len(bad)} weights that are NaN or infinite: {', '.join(bad[:3])}; "
            "the training had diverged, use an earlier checkpoint"
        )
    wrapped = bool(state) and all(_plain_name(key).startswith("module.") for key in state)
    for key in list(state):  # in place: an OrderedDict keeps its metadata, which loading uses
        value = state.pop(key)
        state[_plain_name(key).removeprefix("module." if wrapped else "")] = value
    return state


def names_not_finite(state: Mapping[str, Any]) -> list[str]:
    """Return the names of the weights that hold NaN or infinity.

    Args:
        state: Weights by name; what is no tensor is left out.
    """
    tensors = {name: value for name, value in state.items() if isinstance(value, torch.Tensor)}
    return [name for name, value in tensors.items() if not bool(torch.isfinite(value).all())]


def _plain_name(key: str) -> str:
    """Return the name of a weight without the prefixes of compiled modules."""
    return key.replace("_orig_mod.", "")


def fetch_checkpoint(source: str | Path) -> Path:
    """Return the local file of a checkpoint; a URL is downloaded once, into the cache of :mod:`torch.hub`.

    Args:
        source: File, URL with http or https, or ``package://NAME`` for the weights in an installed package,
            see :func:`mmlandmark.utils.package_files.package_file`. In a name ``...-HASH.pth``, HASH must be
            the beginning of the SHA-256 of the content.

    Raises:
        FileNotFoundError: There is no such file or package.
        ValueError: It cannot be downloaded, or its content has another hash.
    """
    if urlparse(str(source)).scheme not in ("http", "https"):
        path = package_file(str(source)) if str(source).startswith(SCHEME) else _existing(source)
        _check_hash(path, path.name)
        return path
    name = Path(urlparse(str(source)).path).name
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    if not _hash_in(name):  # another server may have another file of that name
        folder /= hashlib.sha256(str(source).encode()).hexdigest()[:16]
    path = folder / name
    if path.is_file():
        _check_hash(path, name)
        return path
    try:
        with atomic_path(path) as temporary:
            download(str(source), temporary)
            try:
                _check_hash(temporary, name)
                load_checkpoint(temporary)  # raises if the download was cut off
            except ValueError as error:
                reason = str(error).replace(str(temporary), str(source))
                raise ValueError(f"{reason}; the download was deleted") from error
    except NoSpaceError:
        raise
    except OSError as error:
        raise ValueError(
            f"checkpoint {source} cannot be fetched: {error}; put the file at {path}, or name a local file"
        ) from error
    return path


def load_weights(source: str | Path, prefix: str = "") -> dict[str, torch.Tensor]:
    """Return the weights in a checkpoint; for what names one see :func:`fetch_checkpoint`.

    Args:
        source: What names a file with the state of a training or with weights alone; also one of Keras, see
            :func:`mmlandmark.utils.hdf5_weights.load_hdf5`.
        prefix: Return only the names with this prefix, without it: ``"backbone."`` for a part of a model.

    Raises:
        ValueError: See :func:`fetch_checkpoint` and :func:`load_checkpoint`; or no name has the prefix.
    """
    path = fetch_checkpoint(source)
    if path.suffix in HDF5_SUFFIXES:
        state: dict[str, torch.Tensor] = load_hdf5(path)
    else:
        loaded = load_checkpoint(path, checked=str(source).startswith(SCHEME))
        state = loaded.get("state_dict", loaded)
    part = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    if not part:
        raise ValueError(f"checkpoint {source} has no weights that begin with {prefix!r}")
    return part


def _existing(path: str | Path) -> Path:
    """Return the path of a file; FileNotFoundError if there is none, which lists the files of a folder."""
    path = Path(path).expanduser()
    if path.is_dir():
        names = sorted(file.name for file in path.glob("*.pth"))
        there = f"name one of {', '.join(names)} in it" if names else "there is none in it"
        raise FileNotFoundError(f"checkpoint {path} is a folder: {there}")
    if not path.is_file():
        raise FileNotFoundError(f"checkpoint {path} does not exist")
    return path


def _hash_in(name: str) -> str | None:
    """Return the beginning of a SHA-256 at the end of a name; digits alone are a date or a count."""
    match = re.search(r"-(?=[0-9]*[a-f])([0-9a-f]{8,64})\.(?:pth|pt|pkl)$", name)
    return match[1] if match else None


def _check_hash(path: Path, name: str) -> None:
    """Refuse a file whose content does not have the hash in its name."""
    wanted = _hash_in(name)
    if wanted is None:
        return
    actual = file_hash(path)
    if not actual.startswith(wanted):
        raise ValueError(
            f"checkpoint {path} has SHA-256 {actual[:16]}..., but its name says {wanted}: it is damaged, "
            "download it again"
        )


def save_checkpoint(checkpoint: dict, path: str | Path) -> None:
    """Write a checkpoint with a hash of its content; a crash leaves the previous file as it was.

    Raises:
        OSError: It cannot be written; if the disk is full, the message names path, size and free space.
    """
    size = sum(tensor.numel() * tensor.element_size() for tensor in _tensors(checkpoint))
    way = "; the previous checkpoint is intact: make room, then continue with --resume"
    try:
        with atomic_path(path, size, way) as temporary, HashingFile(temporary) as file:
            torch.save(checkpoint, cast(IO[bytes], file))  # torch only writes to it
    except RuntimeError as error:
        cause: BaseException | None = error  # torch reports a wrong position after a failed write
        while cause is not None and not isinstance(cause, OSError):
            cause = cause.__cause__ or cause.__context__
        if cause is None:
            raise
        raise cause from None


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict | list | tuple):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _tensors(part)


def training_keys(model: torch.nn.Module) -> set[str]:
    """Return the names in a model's ``state_dict`` that only training uses.

    They belong to children that some module of the model lists in ``training_parts``.
    """
    parts = tuple(
        f"{name}.{part}.".lstrip(".")
        for name, module in model.named_modules()
        for part in getattr(module, "training_parts", ())
    )
    return {key for key in model.state_dict() if key.startswith(parts)} if parts else set()


def put_training_apart(checkpoint: dict, model: torch.nn.Module) -> None:
    """Move the weights that only training uses from ``state_dict`` to ``training_state_dict``, in place."""
    state, keys = checkpoint["state_dict"], training_keys(model)
    if keys:
        checkpoint["training_state_dict"] = {key: state.pop(key) for key in sorted(keys & state.keys())}


def put_training_back(checkpoint: dict, model: torch.nn.Module) -> None:
    """Undo :func:`put_training_apart`, in place; weights that the checkpoint lacks come from the model."""
    state, apart = checkpoint.get("state_dict", checkpoint), checkpoint.get("training_state_dict", {})
    own = model.state_dict()
    for key in training_keys(model):
        state.setdefault(key, apart.get(key, own[key]))


def complete_state(checkpoint: dict, model: torch.nn.Module) -> list[str]:
    """Let parts of a model complete the weights of a simpler kind of them, in place.

    A part says how by a method ``complete_state(state, prefix)``; it returns whether something was missing.
    Names of published code are put right in the same way.

    Args:
        checkpoint: Its ``state_dict``, or itself, is completed.
        model: Into which it is to be loaded.

    Returns:
        Names of the parts that were completed.
    """
    state = checkpoint.get("state_dict", checkpoint)
    able = [(name, part) for name, part in model.named_modules() if hasattr(part, "complete_state")]
    return [name for name, part in able if part.complete_state(state, f"{name}." if name else "")]


def check_state_dict(model: torch.nn.Module, state_dict: dict, source: str) -> None:
    """Raise an error if weights do not fit ``model``; those that only training uses may be missing.

    Raises:
        ValueError: Names, shapes or types differ; the message names ``source`` and the first differences.
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
            f"{len(names)} {label} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
            for label, names in (
                ("missing", missing),
                ("unexpected", unexpected),
                ("of another shape", shapes),
                ("of another type", types),
            )
            if names
        ]
        raise ValueError(f"{source} holds the weights of another model: {'; '.join(parts)}")
