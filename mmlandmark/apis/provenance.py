"""Where the numbers of a test come from: weights, annotation and images, known by their content."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmlandmark.datasets import LandmarkDataset
from mmlandmark.datasets.image_digest import digest_images
from mmlandmark.registry import DATASETS
from mmlandmark.utils.dataset_tree import change_leaves, leaf_datasets
from mmlandmark.utils.files import file_hash

_DIGITS = 16


def describe_tested(config: Config, checkpoint: str | Path) -> dict[str, Any]:
    """Return what was tested on what, for a record.

    Args:
        config: The tested config.
        checkpoint: The tested weights.

    Returns:
        ``weights``, the beginning of the SHA-256 of the checkpoint; ``annotation``, the number of files that
        the points were read from and a hash of their content; ``images``, see
        :func:`~mmlandmark.datasets.image_digest.digest_images`. The last two are left out where the test set
        is not read from files.
    """
    found: dict[str, Any] = dict(weights=file_hash(checkpoint)[:_DIGITS])
    datasets = leaf_datasets(DATASETS.build(bare_dataset(config.test_dataloader.dataset)))
    datasets = [dataset for dataset in datasets if isinstance(dataset, LandmarkDataset)]
    records = [dataset.get_data_info(i) for dataset in datasets for i in range(len(dataset))]
    sources = {path for dataset in datasets for path in annotation_files(dataset)}
    if sources:
        found["annotation"] = dict(files=len(sources), digest=_digest(sources))
    images = {record["sample_id"]: record["img_path"] for record in records if record.get("img_path")}
    if images:
        found["images"] = digest_images(images)
    return found


def annotation_files(dataset: LandmarkDataset) -> set[str]:
    """Return the files that a dataset's points were read from: what its records name as their source."""
    found = set()
    for index in range(len(dataset)):
        words = str(dataset.get_data_info(index).get("source") or "").split(", ")
        # A source is a file, and a line or a key behind a comma; a path may hold commas of its own.
        paths = (", ".join(words[:n]) for n in range(len(words), 0, -1))
        path = next((path for path in paths if os.path.isfile(path)), None)
        if path is not None:
            found.add(path)
    return found


def _digest(paths: set[str]) -> str:
    """Return a hash of files, which depends on their names and content but not on where they lie."""
    root = os.path.commonpath([os.path.dirname(path) for path in paths])
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(f"{Path(os.path.relpath(path, root)).as_posix()}\n{file_hash(path)}\n".encode())
    return digest.hexdigest()[:_DIGITS]


def bare_dataset(dataset: dict, pipeline: Sequence[dict] = ()) -> dict:
    """Return a dataset's config with another pipeline and without its cache, also inside of wrappers."""
    return change_leaves(
        dataset,
        lambda leaf: {**{k: v for k, v in leaf.items() if k != "image_cache"}, "pipeline": list(pipeline)},
    )
