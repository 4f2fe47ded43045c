"""Refuses files that unpack to far more than their size, before the memory for it is used.

PyTorch never compresses: a file of some hundred kilobytes that unpacks to gigabytes exhausts memory.
"""

from __future__ import annotations

import mmap
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

# Called with a number it makes so many zeros. PyTorch allows it; no checkpoint of ours has any.
_ALLOCATING = b"\nbytearray\n"


def check_archive(path: Path, size: int) -> None:
    """Check the archive of a checkpoint before it is read.

    Args:
        path: The file.
        size: Its bytes.

    Raises:
        ValueError: It unpacks to more than its size, makes arrays of bytes of any length, or is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
            names = [name for name in archive.namelist() if name.endswith("data.pkl")]
            allocates = unpacked <= size and any(_ALLOCATING in archive.read(name) for name in names)
    except Exception as error:  # a damaged directory leads zipfile anywhere
        raise ValueError(
            f"checkpoint {path} cannot be loaded safely: the file is damaged: {error}"
        ) from error
    if unpacked > size:
        raise _too_large(path, size, unpacked)
    if allocates:
        raise _allocates(path)


def check_old_format(path: Path) -> None:
    """Check a checkpoint in torch's format from before 2020, which is no archive.

    Args:
        path: The file.

    Raises:
        ValueError: It makes arrays of bytes of any length.
    """
    if path.stat().st_size == 0:  # which cannot be mapped, nor loaded
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if data.find(_ALLOCATING) >= 0:
            raise _allocates(path)


def check_loaded(content: Any, path: Path, size: int) -> None:
    """Check what was loaded from a checkpoint; memory that was reserved by a mere number is not used yet.

    Args:
        content: Of the file, as loaded.
        path: The file.
        size: Its bytes.

    Raises:
        ValueError: Its tensors take more than its size.
    """
    taken = {storage.data_ptr(): storage.nbytes() for storage in _storages(content)}
    if sum(taken.values()) > size:
        raise _too_large(path, size, sum(taken.values()))


def _storages(content: Any) -> Iterator[Any]:
    """Yield the memory of all tensors in plain containers, each container once."""
    seen: set[int] = set()
    waiting = [content]
    while waiting:
        value = waiting.pop()
        if isinstance(value, torch.Tensor):
            if value.layout is torch.strided and value.device.type != "meta":
                yield value.untyped_storage()
        elif isinstance(value, torch.UntypedStorage | torch.TypedStorage):
            yield value
        elif isinstance(value, Mapping | list | tuple | set) and id(value) not in seen:
            seen.add(id(value))
            waiting.extend(value.values() if isinstance(value, Mapping) else value)


def _too_large(path: Path, size: int, unpacked: int) -> ValueError:
    return ValueError(
        f"checkpoint {path} cannot be loaded safely: its {size} bytes unpack to {unpacked}, which no "
        "checkpoint does"
    )


def _allocates(path: Path) -> ValueError:
    return ValueError(
        f"checkpoint {path} cannot be loaded safely: it makes arrays of bytes, which no checkpoint does"
    )
