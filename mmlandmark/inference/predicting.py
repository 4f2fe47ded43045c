"""A detector and packed samples: the one place where predictions are made outside of MMEngine's loops."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from mmengine.dataset import pseudo_collate

from mmlandmark.models.detectors import BaseDetector
from mmlandmark.models.model_file import ModelFile
from mmlandmark.registry import DATASETS
from mmlandmark.structures import LandmarkDataSample


def predict_dataset(
    detector: BaseDetector, items: Sequence[dict[str, Any]] | Any, batch_size: int = 1
) -> Iterator[list[LandmarkDataSample]]:
    """Yield the samples of a data set with predictions filled in, in their order and in batches.

    Args:
        detector: In test mode.
        items: Packed samples by index: a data set or a list. They stay as they are.
        batch_size: Images that the network sees at once; one of another size begins a batch.
    """
    batch: list[dict[str, Any]] = []
    for index in range(len(items)):
        item = items[index]
        if batch and (len(batch) == batch_size or item["inputs"].shape != batch[0]["inputs"].shape):
            yield predict_batch(detector, batch)
            batch = []
        batch.append(item)
    if batch:
        yield predict_batch(detector, batch)


def items_of_test(model: ModelFile, count: int | None = None) -> list[dict[str, Any]]:
    """Return the packed samples of the test that a model names, the first ones or all.

    Raises:
        KeyError: It names none.
        OSError: The data are not on this machine.
    """
    dataset = DATASETS.build(dict(model.config["test_dataloader"]["dataset"], serialize_data=False))
    return [dataset[i] for i in range(len(dataset) if count is None else min(count, len(dataset)))]


def predict_batch(
    detector: BaseDetector, items: Sequence[dict[str, Any]], precision: str = "fp32"
) -> list[LandmarkDataSample]:
    """Return samples with predictions filled in, those of the items stay as they are.

    Args:
        detector: In test mode.
        items: ``inputs`` (C, *S), all of one size, and ``data_samples`` each.
        precision: ``fp32``, or ``bf16`` for the network in bfloat16.
    """
    data = pseudo_collate([dict(item, data_samples=item["data_samples"].clone()) for item in items])
    device = torch.device(detector.data_preprocessor.device).type
    with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"):
        return list(detector.test_step(data))
