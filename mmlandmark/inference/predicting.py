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

PRECISIONS = ("fp32", "bf16", "fp16")


def precision_of_test(model: ModelFile) -> str:
    """Return the precision in which ``mmlandmark test`` runs the network: ``test_cfg.fp16`` of the config."""
    return "fp16" if (model.config.get("test_cfg") or {}).get("fp16") else "fp32"


def predict_dataset(
    detector: BaseDetector,
    items: Sequence[dict[str, Any]] | Any,
    batch_size: int = 1,
    precision: str = "fp32",
) -> Iterator[list[LandmarkDataSample]]:
    """Yield the samples of a data set with predictions filled in, in their order and in batches.

    Args:
        detector: In test mode.
        items: Packed samples by index: a data set or a list. They stay as they are.
        batch_size: Images that the network sees at once; one of another size begins a batch.
        precision: See :func:`predict_batch`.
    """
    batch: list[dict[str, Any]] = []
    for index in range(len(items)):
        item = items[index]
        if batch and (len(batch) == batch_size or item["inputs"].shape != batch[0]["inputs"].shape):
            yield predict_batch(detector, batch, precision)
            batch = []
        batch.append(item)
    if batch:
        yield predict_batch(detector, batch, precision)


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
        precision: Of the network: ``fp32``, ``bf16``, or ``fp16``, which is bfloat16 on a CPU as in a test.
    """
    data = pseudo_collate([dict(item, data_samples=item["data_samples"].clone()) for item in items])
    device = torch.device(detector.data_preprocessor.device).type
    # MMEngine, whose loop tests in fp16, has no float16 for CPUs either.
    dtype = torch.float16 if precision == "fp16" and device != "cpu" else torch.bfloat16
    with torch.inference_mode(), torch.autocast(device, dtype, enabled=precision != "fp32"):
        return list(detector.test_step(data))
