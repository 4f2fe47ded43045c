"""Hashes that tell detectors apart."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor

from mmlandmark.engine import ConfigError
from mmlandmark.evaluation import Origin
from mmlandmark.inference.packing import pack_checkpoint
from mmlandmark.inference.predicting import precision_of_test
from mmlandmark.models.model_file import ModelFile, in_half_precision, is_model_file, meta_of
from mmlandmark.utils.checkpoint import load_checkpoint

_DIGITS = 16
_NO_ANSWERS = ("spread", "keep_heatmaps")  # of test_cfg: what is returned beside the points


def digest_of(model: ModelFile) -> str:
    """Return a hash of what decides on a model's predictions: weights, config, landmarks and calibration."""
    return _hash([model.config, asdict(model.schema), model.calibration], model.state_dict)


def origin_of(model: ModelFile) -> Origin:
    """Return what tells the answers of a model from those of others."""
    detector = dict(model.config["model"])
    options = {k: v for k, v in (detector.pop("test_cfg", None) or {}).items() if k not in _NO_ANSWERS}
    options |= {"fp16": True} if precision_of_test(model) == "fp16" else {}
    options = {key: value for key, value in options.items() if value not in (None, False)}
    rounded = {
        key: in_half_precision(value.float()) if value.ndim > 1 and value.is_floating_point() else value
        for key, value in model.state_dict.items()
    }
    training = model.training
    return Origin(
        weights=_hash([], rounded),
        answers=_hash([detector, model.config["pipeline"], options], {}),
        recipe=str(training.get("recipe_hash") or training.get("config_hash") or ""),
        options=options,
        trained_on=training.get("trained_on"),
    )


def origin_of_test(config: Config, checkpoint: str | Path) -> Origin | None:
    """Return the origin of what a config and a checkpoint predict; None if they make no model file.

    Args:
        config: Of one run or of a model file, with the options of the test.
        checkpoint: The tested weights.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no checkpoint.
    """
    content = load_checkpoint(checkpoint)
    try:
        model = pack_checkpoint(config, content, f"checkpoint {checkpoint}")
        if is_model_file(content):
            model = replace(model, training=meta_of(content))
        return origin_of(model)
    except (ConfigError, ValueError):  # a detector of another kind, which no calibration takes
        return None


def _hash(plain: Any, state_dict: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(json.dumps(plain, sort_keys=True).encode())
    for name, value in sorted(state_dict.items()):
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:_DIGITS]
