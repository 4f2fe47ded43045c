"""How much of a training is logged and remembered, so that a long one stays as small as it was."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.visualization import Visualizer

from mmlandmark.utils.bounded_logs import LEFT_OUT, LOG_MIB, bytes_of, shorten_text
from mmlandmark.visualization.vis_backends import LocalVisBackend, TensorboardVisBackend

_LEAST = 100  # values of a history that stay, however short an epoch is


class BoundedFileHandler(logging.FileHandler):
    """A log file that keeps its first and its last lines.

    Args:
        filename: The log.
        limit: Its bytes.
    """

    def __init__(self, filename: str, limit: int) -> None:
        super().__init__(filename, "a", encoding="utf-8")  # open from now on: MMEngine writes to its stream
        self.limit = limit

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, cut if it alone is too large; leave out others where the file would be too long."""
        try:
            text = self.format(record) + self.terminator
            text = text.encode("utf-8", "replace")[: self.limit // 4].decode("utf-8", "ignore")
            if self.stream is None:
                self.stream = self._open()
            size = os.fstat(self.stream.fileno()).st_size + len(text.encode()) + len(LEFT_OUT)
            if size > self.limit:
                self._shorten()
            self.stream.write(text)
            self.flush()
        except Exception:
            self.handleError(record)

    def _shorten(self) -> None:
        self.close()  # the file: the handler goes on
        try:
            if os.path.isfile(self.baseFilename):
                shorten_text(Path(self.baseFilename), self.limit)
        finally:
            self.stream = self._open()


def bound_text(logger: logging.Logger, environment: Mapping[str, Any]) -> None:
    """Give the log files of a logger an end.

    Args:
        logger: Of MMEngine.
        environment: ``env_cfg`` of a config; its ``log_mib`` is the size.

    Raises:
        ValueError: See :func:`~mmlandmark.utils.bounded_logs.bytes_of`.
    """
    limit = bytes_of(environment.get("log_mib", LOG_MIB), "env_cfg.log_mib")
    for place, handler in enumerate(logger.handlers):
        if limit is not None and type(handler) is logging.FileHandler:
            handler.close()
            bounded = BoundedFileHandler(handler.baseFilename, limit)
            bounded.setFormatter(handler.formatter)
            bounded.setLevel(handler.level)
            bounded.filters = handler.filters
            logger.handlers[place] = bounded


def bound_backends(visualizer: Visualizer, environment: Mapping[str, Any]) -> None:
    """Give what a visualizer writes the bounds of a config; those of its backends count without them.

    Args:
        visualizer: Of a run.
        environment: ``env_cfg``, with ``log_mib`` and ``pictures_mib`` or without.

    Raises:
        ValueError: See :func:`~mmlandmark.utils.bounded_logs.bytes_of`.
    """
    for backend in visualizer._vis_backends.values():
        if isinstance(backend, LocalVisBackend | TensorboardVisBackend):
            if "log_mib" in environment:
                backend.log_bytes = bytes_of(environment["log_mib"], "env_cfg.log_mib")
            if "pictures_mib" in environment:
                backend.picture_bytes = bytes_of(environment["pictures_mib"], "env_cfg.pictures_mib")


class HistoryBounds(Hook):
    """Let the message hub, and so every checkpoint, hold no more values of a history than are used.

    MMEngine keeps a million of each. Of an epoch, or of the longest window of the log, all stay, and 100 at
    least; a history whose mean over the whole run the log shows (``window_size="global"``) stays whole.
    """

    priority = "LOW"  # after those that log, before those that save

    def before_train(self, runner: Runner) -> None:
        """Look at the windows of the log."""
        windows = [
            (config["data_src"], config.get("window_size")) for config in runner.log_processor.custom_cfg
        ]
        self._whole = {source for source, window in windows if window == "global"}
        loaders = [loop.dataloader for loop in (runner.train_loop, runner.val_loop) if loop is not None]
        lengths = [runner.log_processor.window_size, *(len(loader) for loader in loaders)]
        self._most = max(_LEAST, *lengths, *(window for _, window in windows if isinstance(window, int)))

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Bound histories that are new, or were read from a checkpoint."""
        for name, history in runner.message_hub.log_scalars.items():
            if history.max_length != self._most and name.partition("/")[2] not in self._whole:
                history.max_length = self._most
                history._log_history = history._log_history[-self._most :]
                history._count_history = history._count_history[-self._most :]
