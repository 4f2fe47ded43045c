"""Who labels unlabelled images, other than the network that is being trained."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.runner import Runner
from torch import nn

from mmlandmark.datasets import LandmarkDataset
from mmlandmark.engine.config import test_pipeline
from mmlandmark.engine.data_checks import checkpoint_landmarks
from mmlandmark.engine.labelling import predict_parts
from mmlandmark.engine.processes import bare
from mmlandmark.engine.run_checks import RunContext
from mmlandmark.engine.trained_detector import config_of_checkpoint
from mmlandmark.models.detector_weights import detector_with_weights
from mmlandmark.models.detectors import BaseDetector
from mmlandmark.structures import Detection, LandmarkDataSample, name_difference, names_of
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


class Labellers:
    """Trained detectors that label images in place of the network of a run.

    Of several the median of their coordinates is the label, one by one: of three or more one may be far off.
    Detectors that differ in what they have learnt err differently, so their median is nearer to the truth
    than most of them. What one of them does not find has no label.

    Args:
        sources: File of a detector, or files: checkpoints beside the config of their run, model files, or
            references to runs before.

    Raises:
        ValueError: There is no file.
    """

    def __init__(self, sources: str | Sequence[str]) -> None:
        given = [sources] if isinstance(sources, str) else sources
        if not isinstance(given, list | tuple) or not given or not all(isinstance(s, str) for s in given):
            raise ValueError(f"labeller is the file of a detector, or a list of files, got {sources!r:.80}")
        self.sources = list(given)
        self._loaded: list[tuple[BaseDetector, Sequence[dict]]] = []

    def check(
        self, run: RunContext, pipeline: Sequence[Mapping[str, Any]] | None, num_landmarks: int
    ) -> None:
        """Refuse a detector of another number of landmarks, or one of which nobody knows how it sees images.

        Args:
            run: That learns from the labels.
            pipeline: What an image goes through before a detector; None takes its own.
            num_landmarks: K, of the detector that learns.

        Raises:
            ConfigError: A file has no config.
            FileNotFoundError: It does not exist.
            ValueError: It does not fit, or cannot be loaded safely.
        """
        for source in self.sources:
            _check_labeller(run, source, pipeline, num_landmarks)

    def load(self, pipeline: Sequence[dict] | None, metainfo: Mapping[str, Any]) -> None:
        """Load the detectors.

        Args:
            pipeline: What an image goes through before a detector; None takes its own.
            metainfo: Of the data.

        Raises:
            ConfigError: There is no config.
            FileNotFoundError: A file does not exist.
            ValueError: It cannot be loaded safely, holds the weights of another model, or finds other
                landmarks than the data have.
        """
        self._loaded = []
        for source in self.sources:
            labeller, own, landmarks = load_labeller(source)
            difference = name_difference(names_of(landmarks), names_of(metainfo))
            if difference is not None:
                raise ValueError(
                    f"labeller {source}: {difference}; name a detector of the landmarks of this run"
                )
            self._loaded.append((labeller, pipeline or own))

    def predict(self, runner: Runner, parts: Sequence[LandmarkDataset]) -> list[LandmarkDataSample]:
        """Return the predicted samples of the images that all can read; their memory is free afterwards.

        Args:
            runner: Of the run that learns.
            parts: Its data sets without labels.

        Raises:
            ValueError: No image can be read.
        """
        device = next(bare(runner).parameters()).device
        every = []
        while self._loaded:
            labeller, pipeline = self._loaded.pop(0)
            samples = predict_parts(runner, labeller.to(device), parts, pipeline)
            every.append({sample.sample_id: sample for sample in samples})
        first, *others = every
        if not others:
            return list(first.values())
        common = [name for name in first if all(name in other for other in others)]
        if not common:
            raise ValueError(f"no image can be read by all of {len(every)} labellers")
        for name in common:
            found = [one[name].pred_landmarks for one in every]
            said = [Detection(points, points.new_zeros(len(points))) for points in found]
            first[name].pred_landmarks = Detection.mean(said, center="median").points
        return [first[name] for name in common]


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


def _check_labeller(
    run: RunContext, source: str, pipeline: Sequence[Mapping[str, Any]] | None, num_landmarks: int
) -> None:
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
