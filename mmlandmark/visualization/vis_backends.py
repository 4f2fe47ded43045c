"""Where a run writes its numbers and pictures: MMEngine's backends, with an end to their size."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.visualization import vis_backend

from mmlandmark.registry import VISBACKENDS
from mmlandmark.utils.bounded_logs import (
    LOG_MIB,
    PICTURES_MIB,
    Entry,
    bytes_of,
    evenly_kept,
    thin_rows,
    total_size,
)


@VISBACKENDS.register_module()
class LocalVisBackend(vis_backend.LocalVisBackend):
    """MMEngine's backend of files in a folder, thinned where numbers or pictures take too much room.

    What stays lies evenly over the whole training, and the first and the last always stay.

    Args:
        options: Arguments of MMEngine's.
        log_mib: Size in MiB of each file of numbers, None for no limit. A runner takes ``env_cfg.log_mib``.
        pictures_mib: Of all pictures. A runner takes ``env_cfg.pictures_mib``.

    Raises:
        ValueError: See :func:`~mmlandmark.utils.bounded_logs.bytes_of`.
    """

    def __init__(
        self,
        *args: Any,
        log_mib: float | None = LOG_MIB,
        pictures_mib: float | None = PICTURES_MIB,
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        self.log_bytes = bytes_of(log_mib, "log_mib")
        self.picture_bytes = bytes_of(pictures_mib, "pictures_mib")
        self._pictures: dict[Path, Entry] = {}

    def _dump(self, value_dict: dict, file_path: str, file_format: str) -> None:
        path = Path(file_path)
        room = len(json.dumps(value_dict, default=str)) + 1
        if self.log_bytes is not None and path.is_file() and path.stat().st_size + room > self.log_bytes:
            thin_rows(path, self.log_bytes)
        super()._dump(value_dict, file_path, file_format)

    def add_image(self, name: str, image: np.ndarray, step: int = 0, **kwargs: Any) -> None:
        """Write a picture, and remove others if all of this run take too much room.

        Args:
            name: Of a series.
            image: (H, W, 3) uint8 RGB.
            step: Of the training.
            kwargs: Not used.
        """
        super().add_image(name, image, step, **kwargs)
        path = Path(self._img_save_dir) / f"{name}_{step}.png"
        self._pictures.pop(path, None)  # the newest of its series
        self._pictures[path] = Entry(name, step, total_size([path]))
        limit = self.picture_bytes
        if limit is not None and sum(entry.size for entry in self._pictures.values()) > limit:
            paths = list(self._pictures)
            kept = {paths[place] for place in evenly_kept(list(self._pictures.values()), limit / 2)}
            for other in set(paths) - kept:
                other.unlink(missing_ok=True)
                del self._pictures[other]


@VISBACKENDS.register_module()
class TensorboardVisBackend(vis_backend.TensorboardVisBackend):
    """MMEngine's backend of TensorBoard, with new files of events in place of the oldest.

    A file of events cannot be thinned: the oldest half is removed. Pictures, which take most room, are in a
    folder of their own, ``pictures``.

    Args:
        save_dir: Folder of the files.
        log_mib: Size in MiB of all numbers, None for no limit. A runner takes ``env_cfg.log_mib``.
        pictures_mib: Of all pictures. A runner takes ``env_cfg.pictures_mib``.

    Raises:
        ValueError: See :func:`~mmlandmark.utils.bounded_logs.bytes_of`.
    """

    def __init__(
        self, save_dir: str, log_mib: float | None = LOG_MIB, pictures_mib: float | None = PICTURES_MIB
    ) -> None:
        super().__init__(save_dir)
        self.log_bytes = bytes_of(log_mib, "log_mib")
        self.picture_bytes = bytes_of(pictures_mib, "pictures_mib")
        self._numbers: _Events | None = None
        self._pictures: _Events | None = None

    def _init_env(self) -> None:
        super()._init_env()
        self._numbers = _Events(Path(self._save_dir), self._tensorboard)

    def add_image(self, name: str, image: np.ndarray, step: int = 0, **kwargs: Any) -> None:
        """Write a picture.

        Args:
            name: Of a series.
            image: (H, W, 3) uint8 RGB.
            step: Of the training.
            kwargs: Not used.
        """
        assert self.experiment is not None  # which makes the folder
        if self._pictures is None:
            folder = Path(self._save_dir) / "pictures"
            self._pictures = _Events(folder, type(self._tensorboard)(str(folder)))
        self._pictures.writer.add_image(name, image, step, dataformats="HWC")
        self._pictures.renew(self.picture_bytes)

    def add_scalar(self, name: str, value: Any, step: int = 0, **kwargs: Any) -> None:
        """Write a number; see MMEngine's."""
        super().add_scalar(name, value, step, **kwargs)
        self._renew_numbers()

    def _renew_numbers(self) -> None:
        assert self._numbers is not None
        self._tensorboard = self._numbers.renew(self.log_bytes)

    def close(self) -> None:
        """Close the files."""
        super().close()
        if self._pictures is not None:
            self._pictures.writer.close()


class _Events:
    """A folder of files of events, of which the newest two stay.

    Args:
        folder: Where they lie.
        writer: Of the first file, made just now.
    """

    def __init__(self, folder: Path, writer: Any) -> None:
        self.folder, self.writer = folder, writer
        self._make: Callable[[str], Any] = type(writer)
        self._files = [_file_of(writer)]

    def renew(self, limit: int | None) -> Any:
        """Return the writer; a new one if two files like the present one would be beyond the limit."""
        if limit is None:
            return self.writer
        self.writer.flush()
        if total_size(self._files[-1:]) > 0.45 * limit:
            self.writer.close()
            self.writer = self._make(str(self.folder))
            self._files.append(_file_of(self.writer))
            for path in self._files[:-2]:
                path.unlink(missing_ok=True)
            self._files = self._files[-2:]
        return self.writer


def _file_of(writer: Any) -> Path:
    return Path(writer.file_writer.event_writer._file_name)
