"""Batches with pixels, losses or gradients that are not finite, planted into a training."""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path
from typing import Any

import torch
from mmengine.model import BaseModel

from mmlandmark.models import LandmarkDataPreprocessor

KINDS = ("NaN in an image", "infinity in an image", "a loss of NaN", "an infinite gradient")
_PIXELS = {KINDS[0]: torch.nan, KINDS[1]: torch.inf}


def plant(kind: str, step: int, note: Path) -> None:
    """Let this process meet something that is not finite in a step of its training.

    Args:
        kind: One of :data:`KINDS`.
        step: Of the training, counted from 1.
        note: File that the ids of the samples of the step are written to, as JSON.
    """
    forward, parse, steps, now = LandmarkDataPreprocessor.forward, BaseModel.parse_losses, count(1), [0]

    def prepared(self: LandmarkDataPreprocessor, data: dict, training: bool = False) -> dict:
        batch = forward(self, data, training)
        if training:
            now[0] = next(steps)
            if now[0] == step:
                note.write_text(json.dumps([sample.sample_id for sample in batch["data_samples"]]))
                if kind in _PIXELS:
                    first = batch["inputs"][0].view(-1)
                    first[len(first) // 2] = _PIXELS[kind]
        return batch

    def parsed(self: BaseModel, losses: dict[str, Any]) -> Any:
        if now[0] == step and kind not in _PIXELS:
            name = next(iter(losses))
            losses = {**losses, name: _spoilt(losses[name], kind)}
        return parse(self, losses)

    LandmarkDataPreprocessor.forward = prepared  # type: ignore[method-assign]
    BaseModel.parse_losses = parsed


def _spoilt(loss: torch.Tensor, kind: str) -> torch.Tensor:
    if kind == "a loss of NaN":
        return loss * torch.nan
    loss = loss.clone()
    loss.register_hook(lambda gradient: gradient * torch.inf)
    return loss
