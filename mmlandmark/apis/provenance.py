"""The origin of test results: weights, annotation and images, identified by hashes of their content."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmlandmark.datasets import LandmarkDataset
from mmlandmark.datasets.image_digest import digest_images
from mmlandmark.registry import DATASETS
from mmlandmark.utils.dataset_tree import bare_dataset, leaf_datasets
from mmlandmark.utils.files import file_hash

_DIGITS = 16


def describe_tested(config: Config, checkpoint: str | Path) -> dict[str, Any]:
    """Return hashes of the tested weights and of the test data, for a record.

    Args:
        config: The tested config.
        checkpoint: The tested weights.

    Returns:
        ``weights``, the beginning of the SHA-256 of the checkpoint; ``annotation``, the number of annotation
        files and a hash of their content; ``images``, see
        :func:`~mmlandmark.datasets.image_digest.digest_images`. The last two are missing if the test set is
        not read from files.
    """
    described: dict[str, Any] = dict(weights=file_hash(checkpoint)[:_DIGITS])
    datasets = leaf_datasets(DATASETS.build(bare_dataset(config.test_dataloader.dataset)))
    datasets = [dataset for dataset in datasets if isinstance(dataset, LandmarkDataset)]
    records = [dataset.get_data_info(i) for dataset in datasets for i in range(len(dataset))]
    sources = {path for dataset in datasets for path in annotation_files(dataset)}
    if sources:
        described["annotation"] = dict(files=len(sources), digest=_digest(sources))
    images = {record["sample_id"]: record["img_path"] for record in records if record.get("img_path")}
    if images:
        described["images"] = digest_images(images)
    return described


def annotation_files(dataset: LandmarkDataset) -> set[str]:
    """Return the annotation files of a dataset: those that its records name as their source."""
    files = set()
    for index in range(len(dataset)):
        words = str(dataset.get_data_info(index).get("source") or "").split(", ")
        # A source is a file, followed by a comma and a line or key; the path itself may contain commas.
        paths = (", ".join(words[:n]) for n in range(len(words), 0, -1))
        path = next((path for path in paths if os.path.isfile(path)), None)
        if path is not None:
            files.add(path)
    return files


def _digest(paths: set[str]) -> str:
    """Return a hash of files that depends on their relative names and content, not on their folder."""
    root = os.path.commonpath([os.path.dirname(path) for path in paths])
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(f"{Path(os.path.relpath(path, root)).as_posix()}\n{file_hash(path)}\n".encode())
    return digest.hexdigest()[:_DIGITS]
