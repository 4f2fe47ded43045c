"""Which images of a training could not be read, and were left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.dist import all_gather_object, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmlandmark.datasets import LandmarkDataset, leaf_datasets
from mmlandmark.utils.files import write_state

FILE = "left_out.json"
_SHOWN = 5  # images that the log names


class LeftOutReport(Hook):
    """Count the images that data sets with ``on_error="skip"``, or without annotation, have left out.

    The work folder gets ``left_out.json`` with their ids and files, after every epoch in which there are
    more, and the log a line at the end. All processes and workers count together.
    """

    priority = "LOWEST"

    def __init__(self) -> None:
        self._known: dict[str, str | None] = {}

    def after_train_epoch(self, runner: Runner) -> None:
        """Write the file if there are more of them."""
        parts = skipping_parts(runner.train_dataloader.dataset)
        if not parts:
            return
        found = _of_all_processes(parts)
        if set(found) <= set(self._known):
            return
        self._known.update(found)
        if is_main_process():
            rows = [dict(sample_id=name, image=image) for name, image in sorted(self._known.items())]
            count = sum(len(part) for part in parts)
            write_state(Path(runner.work_dir, FILE), dict(images=count, left_out=rows))

    def after_train(self, runner: Runner) -> None:
        """Write the file, and say how many there were."""
        self.after_train_epoch(runner)
        if not self._known:
            return
        count = sum(len(part) for part in skipping_parts(runner.train_dataloader.dataset))
        names = ", ".join(sorted(self._known)[:_SHOWN]) + ", ..." * (len(self._known) > _SHOWN)
        runner.logger.warning(
            f"{len(self._known)} of {count} images could not be read and were left out ({names}): "
            f"{Path(runner.work_dir, FILE)} lists them"
        )


def skipping_parts(dataset: Any) -> list[LandmarkDataset]:
    """Return the data sets inside of one that leave out what cannot be read."""
    leaves = leaf_datasets(dataset)
    return [leaf for leaf in leaves if isinstance(leaf, LandmarkDataset) and leaf.skips_unreadable]


def skipped_ids(dataset: Any) -> set[str]:
    """Return the ids of the samples that are left out if they cannot be read."""
    parts = skipping_parts(dataset)
    return {LandmarkDataset.get_data_info(part, n)["sample_id"] for part in parts for n in range(len(part))}


def _of_all_processes(parts: list[LandmarkDataset]) -> dict[str, str | None]:
    """Return the files of all images that were left out, by their ids."""
    own: dict[str, str | None] = {}
    for part in parts:
        for index in part.left_out.indices:
            # The record alone: the method of a subclass may make the image, which is slow.
            record = LandmarkDataset.get_data_info(part, index)
            own[record["sample_id"]] = record["img_path"]
    return {name: image for one in all_gather_object(own) for name, image in one.items()}
