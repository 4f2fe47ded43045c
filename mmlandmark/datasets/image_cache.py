"""A cache of decoded and resized images, so that only the first epoch reads the files."""

from __future__ import annotations

import hashlib
import mmap
import multiprocessing
import os
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from mmlandmark.datasets.image_files import image_parts
from mmlandmark.datasets.image_io import LoadedImage
from mmlandmark.utils.files import atomic_path, expanded, safe_name
from mmlandmark.version import __version__

_ENTRY = np.dtype(
    [
        ("key", "S20"),
        ("start", "<i8"),
        ("dtype", "S4"),
        ("shape", "<i4", (4,)),
        ("ndim", "<i4"),
        ("dims", "<i4"),
    ]
)
_ALIGNMENT = 64
_LAYOUT = 5  # of a stored image, and of how it is read; files of another layout are ignored


class ImageCache:
    """Decoded and resized images in memory or on disk, bit for bit as they were read.

    ``mode="ram"`` keeps them in one block of memory that the main process and all workers forked from it
    share: the process that reads an image first stores it for all. Memory is used as images arrive. A worker
    that was not forked (start method "spawn") has its own cache. Changes of an image file during the run are
    not noticed.

    ``mode="disk"`` keeps one npy file per image in ``folder``, which later runs reuse by mapping it into
    memory. Its name depends on path, modification time and length of the image file, or of all files of the
    image if there are several, the requested size, the layout, and the versions of this package and OpenCV,
    so that a changed image is read again. Nothing is ever deleted from the folder; it can be removed at any
    time.

    Args:
        mode: "ram" or "disk".
        folder: Folder of mode "disk"; ``~`` and ``$VARIABLES`` are expanded.
        max_gb: Size of mode "ram" in GiB. When it is full, there is one warning, and further images are
            read from their files.

    Raises:
        ValueError: The mode is unknown, the folder is missing in mode "disk", or ``max_gb`` is not positive.
        MemoryError: The system does not provide ``max_gb``.
    """

    def __init__(
        self, mode: Literal["ram", "disk"] = "ram", folder: str | Path | None = None, max_gb: float = 4.0
    ) -> None:
        if mode not in ("ram", "disk"):
            raise ValueError(f"image cache: mode must be 'ram' or 'disk', got {mode!r}")
        if (mode == "disk") != (folder is not None):
            raise ValueError(
                f"image cache: mode 'disk' needs a folder and mode 'ram' has none, got {mode}, {folder!r}"
            )
        if not max_gb > 0:
            raise ValueError(f"image cache: max_gb must be positive, got {max_gb!r}")
        self.mode = mode
        self._config = dict(mode=mode, folder=folder, max_gb=max_gb)
        self._store: _RamStore | _DiskStore
        if folder is None:
            self._store = _RamStore(int(max_gb * 2**30))
        else:
            self._store = _DiskStore(Path(expanded(folder)))

    def fetch(self, path: str | Path, variant: Any, read: Callable[[], LoadedImage]) -> LoadedImage:
        """Return the image of ``path``, from the cache or, the first time, from ``read()``.

        Args:
            path: The image file.
            variant: What else the pixels depend on, e.g. the size; anything with a stable ``repr``.
            read: Reads and resizes the image.

        Returns:
            The image; its array is read-only, since others share it.
        """
        return self._store.fetch(str(path), repr(variant), read)

    def __getstate__(self) -> dict:
        # Shared memory is inherited by forking and cannot be pickled: the receiver starts empty.
        return self._config

    def __setstate__(self, config: dict) -> None:
        self.__init__(**config)  # type: ignore[misc]

    def __deepcopy__(self, memo: dict) -> ImageCache:
        return self  # Copies of a dataset share their images.

    def __copy__(self) -> ImageCache:
        return self


def image_cache_of(config: dict | ImageCache | None) -> ImageCache | None:
    """Return the cache that a config describes."""
    return ImageCache(**config) if isinstance(config, dict) else config


@lru_cache(maxsize=256)
def _record_dtype(dtype: str, shape: tuple[int, ...], dims: int) -> np.dtype:
    """Return the layout of one stored image, in memory and in a file."""
    return np.dtype(
        [
            ("img_from_original", "<f8", (dims + 1, dims + 1)),
            ("ori_shape", "<i8", (dims,)),
            ("world_from_original", "<f8", (4, dims + 1)),  # rows that are not needed are NaN
            ("value_range", "<f8", (2,)),
            ("bits", "<i8"),
            ("window", "<f8", (2,)),  # NaN if there is none
            ("array", dtype, shape),
        ]
    )


def _layout(image: LoadedImage) -> tuple[str, tuple[int, ...], int]:
    return image.array.dtype.str, image.array.shape, len(image.ori_shape)


def _fill(record: np.ndarray, image: LoadedImage) -> None:
    record["img_from_original"] = image.img_from_original
    record["ori_shape"] = image.ori_shape
    record["world_from_original"] = np.nan
    if image.world_from_original is not None:
        record["world_from_original"][: len(image.world_from_original)] = image.world_from_original
    record["value_range"] = image.value_range
    record["bits"] = -1 if image.bits is None else image.bits
    record["window"] = np.nan if image.window is None else image.window
    record["array"] = image.array


def _as_image(record: np.ndarray) -> LoadedImage:
    array = record["array"].view(np.ndarray)
    array.flags.writeable = False
    world, bits = np.array(record["world_from_original"]), int(record["bits"])
    world = world[np.isfinite(world).all(axis=1)]
    return LoadedImage(
        array,
        tuple(record["ori_shape"].tolist()),
        np.array(record["img_from_original"]),
        world if len(world) else None,
        tuple(record["value_range"].tolist()),
        None if bits < 0 else bits,
        window=None if np.isnan(record["window"]).any() else tuple(record["window"].tolist()),
    )


class _DiskStore:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def _file(self, path: str, variant: str) -> Path:
        states = [os.stat(file) for file in image_parts(path)]
        name = (
            os.path.abspath(path),
            *((state.st_mtime_ns, state.st_size) for state in states),
            variant,
            _LAYOUT,
            __version__,
            cv2.__version__,
        )
        return (
            self.folder / f"{safe_name(Path(path).stem)}-{hashlib.sha1(repr(name).encode()).hexdigest()}.npy"
        )

    def fetch(self, path: str, variant: str, read: Callable[[], LoadedImage]) -> LoadedImage:
        if not os.path.exists(path):
            return read()  # which raises the error
        file = self._file(path, variant)
        image = self._load(file)
        if image is not None:
            return image
        image = read()
        record = np.zeros((), _record_dtype(*_layout(image)))
        _fill(record, image)
        with atomic_path(file, durable=False) as temporary, open(temporary, "wb") as stream:
            np.save(stream, record)
        return _as_image(record)

    @staticmethod
    def _load(file: Path) -> LoadedImage | None:
        try:
            return _as_image(np.load(file, mmap_mode="r", allow_pickle=False))
        except FileNotFoundError:
            return None
        except (ValueError, OSError, KeyError, IndexError, EOFError) as error:
            warnings.warn(f"image cache: {file} is broken ({error}) and is written again", stacklevel=4)
            return None


class _RamStore:
    """A hash table and a heap in anonymous shared memory. Images are only added, never moved or removed."""

    SLOTS = 2**17

    def __init__(self, size: int) -> None:
        try:
            # Anonymous memory rather than a file in /dev/shm, which many containers keep at 64 MB. Pages
            # cost nothing until something is written to them.
            self._heap = mmap.mmap(-1, size)
            self._table = np.frombuffer(mmap.mmap(-1, self.SLOTS * _ENTRY.itemsize), _ENTRY)
            self._end = np.frombuffer(mmap.mmap(-1, 16), np.int64)  # end of what is used; full or not
        except (OSError, ValueError, OverflowError) as error:
            raise MemoryError(
                f"image cache: the system grants no {size / 2**30:.2f} GiB of shared memory ({error}); "
                "lower max_gb or use mode='disk'"
            ) from error
        self._size = size
        self._lock = multiprocessing.Lock()

    def _slot(self, key: bytes) -> int | None:
        """Return the slot that holds ``key``, or the free one where it belongs; None if the table is full."""
        start = int(key[:8], 16)
        for step in range(64):
            slot = (start + step) % self.SLOTS
            stored = self._table["key"][slot]
            if stored in (b"", key):
                return slot
        return None

    def fetch(self, path: str, variant: str, read: Callable[[], LoadedImage]) -> LoadedImage:
        name = f"{os.path.abspath(path)}\n{variant}".encode()
        # Twenty hex digits, since numpy would cut trailing zero bytes off a binary digest.
        key = hashlib.sha1(name).hexdigest()[:20].encode()
        slot = self._slot(key)
        if slot is not None and self._table["key"][slot] == key:
            return _as_image(self._record(slot))
        image = read()
        record = self._store(key, image)
        if record is None:
            array = image.array.view()
            array.flags.writeable = False
            return replace(image, array=array)
        return _as_image(record)

    def _record(self, slot: int) -> np.ndarray:
        entry = self._table[slot]
        shape = tuple(entry["shape"][: entry["ndim"]].tolist())
        layout = _record_dtype(entry["dtype"].decode(), shape, int(entry["dims"]))
        return np.ndarray((), layout, self._heap, int(entry["start"]))

    def _store(self, key: bytes, image: LoadedImage) -> np.ndarray | None:
        layout = _record_dtype(*_layout(image))
        with self._lock:
            slot = self._slot(key)
            if slot is not None and self._table["key"][slot] == key:
                return self._record(slot)  # another worker was faster
            start, full = int(self._end[0]), bool(self._end[1])
            if slot is None or start + layout.itemsize > self._size:
                self._end[1] = 1
                if not full:
                    warnings.warn(
                        f"image cache: {self._size / 2**30:.2f} GiB are full, further images are read "
                        "from their files each time; raise max_gb or use mode='disk'",
                        stacklevel=5,
                    )
                return None
            record = np.ndarray((), layout, self._heap, start)
            _fill(record, image)
            self._end[0] = -(-(start + layout.itemsize) // _ALIGNMENT) * _ALIGNMENT
            entry = self._table[slot]
            dtype, shape, dims = _layout(image)
            entry["start"], entry["dtype"], entry["ndim"], entry["dims"] = (
                start,
                dtype.encode(),
                len(shape),
                dims,
            )
            entry["shape"][: len(shape)] = shape
            entry["key"] = (
                key  # Last: a reader that sees the key, without the lock, finds the image complete.
            )
        return record
