"""Who labels unlabelled images, other than the network that is being trained."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from mmlandmark.engine.config import test_pipeline
from mmlandmark.engine.data_checks import checkpoint_landmarks
from mmlandmark.engine.run_checks import RunContext
from mmlandmark.engine.trained_detector import config_of_checkpoint
from mmlandmark.models.detector_weights import detector_with_weights
from mmlandmark.models.detectors import BaseDetector
from mmlandmark.structures import LandmarkDataSample, name_difference, names_of
from mmlandmark.utils.checkpoint import load_checkpoint


class RandomPlaces(nn.Module):
    """Says a random place inside of the image of every landmark.

    A place depends on the seed, the sample and the name of the landmark alone.

    Args:
        seed: Of the run.
        names: Of the K landmarks.
    """

    def __init__(self, seed: int, names: Sequence[str]) -> None:
        super().__init__()
        self.seed, self.names = seed, list(names)

    def test_step(self, data: Mapping[str, Any]) -> list[LandmarkDataSample]:
        """Fill ``pred_landmarks`` into the samples of a batch."""
        for sample in data["data_samples"]:
            size = np.array(sample.ori_shape[::-1], dtype=np.float64)
            shares = [self._shares(sample.sample_id, name, len(size)) for name in self.names]
            sample.pred_landmarks = torch.from_numpy(np.stack(shares) * size - 0.5).float()
        return list(data["data_samples"])

    def _shares(self, sample_id: str, name: str, dims: int) -> np.ndarray:
        """Return (D,) numbers from 0 to 1."""
        digest = hashlib.sha256(f"{sample_id}\n{name}".encode()).digest()
        return np.random.default_rng([self.seed, *np.frombuffer(digest, dtype=np.uint32)]).random(dims)


def load_labeller(path: str | Path) -> tuple[BaseDetector, list[dict], dict[str, Any]]:
    """Load a trained detector that is to label images.

    Args:
        path: Its checkpoint, beside the config of its run, or a model file.

    Returns:
        The detector in test mode, what an image goes through before it, and what its checkpoint says about
        the landmarks.

    Raises:
        ConfigError: There is no config.
        FileNotFoundError: The file does not exist.
        ValueError: It cannot be loaded safely, or holds the weights of another model.
    """
    checkpoint = load_checkpoint(path)
    config = config_of_checkpoint(path, checkpoint)
    detector = detector_with_weights(config.model, checkpoint, f"labeller {path}")
    return detector, test_pipeline(config), checkpoint_landmarks(checkpoint)


def check_labeller(
    run: RunContext, source: str, pipeline: Sequence[Mapping[str, Any]] | None, num_landmarks: int
) -> None:
    """Refuse a detector of another number of landmarks, or one of which nobody knows how it sees images.

    Args:
        run: That learns from its labels.
        source: Its file, or a reference to a run that has yet to train it.
        pipeline: What an image goes through before it; None takes its own.
        num_landmarks: K, of the detector that learns.

    Raises:
        ConfigError: A file has no config.
        FileNotFoundError: It does not exist.
        ValueError: It does not fit, or cannot be loaded safely.
    """
    maker = run.maker(source)
    if maker is None:
        labeller, own, _ = load_labeller(source)
    else:
        labeller, own = run.build(maker), test_pipeline(maker)
    there = labeller.head.num_landmarks
    if there != num_landmarks:
        raise ValueError(
            f"labeller {source}: it finds {there} landmarks, and the model that learns from it "
            f"{num_landmarks}: name a detector of the same landmarks"
        )
    if not (pipeline or own):
        raise ValueError(
            f"labeller {source}: its config has neither test_dataloader nor val_dataloader, so nobody knows "
            "how it sees an image: give PseudoLabelHook a pipeline"
        )


def check_names(source: str, there: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    """Refuse a detector that finds other landmarks than data have.

    Args:
        source: What it is, for errors.
        there: Metainfo of the data that it was trained on, empty where that is unknown.
        here: Metainfo of the data.

    Raises:
        ValueError: They differ.
    """
    difference = name_difference(names_of(there), names_of(here))
    if difference is not None:
        raise ValueError(f"labeller {source}: {difference}; name a detector of the landmarks of this run")
