"""From a model and images to predictions."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import print_log

from mmlandmark.datasets.records import checked_spacing
from mmlandmark.evaluation import withhold_absent
from mmlandmark.evaluation.calibration import Calibration
from mmlandmark.evaluation.conformal import check_level
from mmlandmark.evaluation.doubt import deviation_reason
from mmlandmark.evaluation.measures import measure_all
from mmlandmark.inference.case_loader import CaseDataset, Failure, Loaded, load_batches, reason_of
from mmlandmark.inference.image_inputs import Case, Inputs, find_cases
from mmlandmark.inference.loading import load_model
from mmlandmark.inference.origin import digest_of
from mmlandmark.inference.predicting import PRECISIONS, precision_of_test, predict_batch
from mmlandmark.inference.sliding_window import use_windows
from mmlandmark.inference.value_watch import ValueWatch
from mmlandmark.models.detectors.augmented_views import checked_views
from mmlandmark.models.model_file import ModelFile
from mmlandmark.structures import LandmarkDataSample, Prediction, spacing_of, world_matrix


class LandmarkInferencer:
    """Predicts the landmarks of images of any size and format, without annotations.

    Images go through the transforms of the model's test and the same ``predict`` of its detector, so that
    the points are those of ``mmlandmark test`` with batches of the same size. For another size of batch,
    libraries may choose other algorithms, and the last digits differ.

    Args:
        model: A model, or what :func:`~mmlandmark.inference.loading.load_model` takes.
        device: ``cpu``, ``cuda`` or ``cuda:1``; a GPU if there is one by default.
        batch_size: Images of one size that the network sees at once.
        num_workers: Processes that read images; 0 reads them in this one.
        flip: Average with the mirrored image; None does as the model's config says.
        views: Average several views of the image, see :class:`~mmlandmark.models.detectors.BaseDetector`;
            None does as the model's config says.
        precision: Of the network: ``fp32``, ``bf16``, or ``fp16``, which is bfloat16 on a CPU. None does as
            a test of the model, which is in fp16 if its config has ``test_cfg.fp16``.
        spacing: mm per pixel, one number or (D,), of all images, in place of what their files say.
        levels: Probabilities of the radii and regions of a calibrated model; those of its calibration by
            default.
        window: (*S) pixels of the network's input: larger inputs are predicted in overlapping windows, see
            :func:`~mmlandmark.inference.sliding_window.windowed_maps`.
        overlap: Part of a window that its neighbour covers too.

    Attributes:
        model: The model.
        detector: Its detector, in test mode.
        options: What decides on the result, as plain values.
        identity: Name of the model, and a digest of all that it is made of.

    Raises:
        ValueError: An option is not valid; or as ``load_model``.
    """

    def __init__(
        self,
        model: str | Path | ModelFile,
        device: str | None = None,
        *,
        batch_size: int = 4,
        num_workers: int = 0,
        flip: bool | None = None,
        views: Sequence[dict[str, Any]] | None = None,
        precision: str | None = None,
        spacing: float | Sequence[float] | None = None,
        levels: Sequence[float] | None = None,
        window: Sequence[int] | None = None,
        overlap: float = 0.5,
    ) -> None:
        if precision not in (None, *PRECISIONS):
            raise ValueError(f"precision must be one of {PRECISIONS}, got {precision!r}")
        if batch_size < 1 or num_workers < 0:
            raise ValueError(
                f"batch_size must be at least 1 and num_workers at least 0, got {batch_size}, {num_workers}"
            )
        self.model = load_model(model)
        self.schema, self.batch_size, self.num_workers = self.model.schema, batch_size, num_workers
        own_precision = precision_of_test(self.model)
        self.device, self.precision = _device(device), precision or own_precision
        self.spacing = checked_spacing(spacing, self.schema.dims, "the given spacing")
        self.calibration = _calibration(self.model, levels)
        self.detector = self.model.detector(self.device)
        settings: dict[str, Any] = dict(spread=True, keep_heatmaps=False)
        if flip is not None:
            settings["flip"] = flip
        if views is not None:
            settings["views"] = checked_views(views)
        own = dict(self.detector.test_cfg, views=checked_views(self.detector.test_cfg["views"]))
        changed: list[str] = [
            key for key in ("flip", "views") if key in settings and settings[key] != own[key]
        ]
        changed += ["precision"] * (self.precision != own_precision) + ["window"] * (window is not None)
        if self.calibration is not None and changed:
            print_log(
                f"model {self.model.name!r} was calibrated with other {', '.join(changed)}: its radii, "
                "regions and flags may not hold",
                "current",
                logging.WARNING,
            )
        self.detector.test_cfg.update(settings)
        if window is not None:
            use_windows(self.detector, window, overlap)
        self.transforms = self.model.transforms()
        self._watch = ValueWatch(self.transforms.transforms)
        self.options: dict[str, Any] = dict(
            flip=bool(self.detector.test_cfg["flip"]),
            views=checked_views(self.detector.test_cfg["views"]),
            precision=self.precision,
            spacing=None if self.spacing is None else list(self.spacing),
            levels=None if self.calibration is None else list(self.calibration.levels),
            window=None if window is None else list(window),
            overlap=None if window is None else overlap,
        )
        self.identity = dict(name=self.model.name, digest=digest_of(self.model))

    def __call__(self, inputs: Inputs) -> list[Prediction]:
        """Return the predictions of all images, in the order of :func:`find_cases`.

        Args:
            inputs: Files, folders, patterns, arrays, or a list of these.

        Raises:
            FileNotFoundError: An input does not exist.
            ValueError: An image could not be predicted; :meth:`stream` goes on with the others.
        """
        results = list(self.stream(inputs))
        failures = [result for result in results if isinstance(result, Failure)]
        if failures:
            first = failures[0]
            raise ValueError(
                f"{len(failures)} of {len(results)} images could not be predicted, first "
                f"{first.sample_id!r}: {first.reason}"
            )
        return [result for result in results if isinstance(result, Prediction)]

    def stream(self, inputs: Inputs) -> Iterator[Prediction | Failure]:
        """Yield a prediction or a failure for every image, in order; memory does not grow with their number.

        Args:
            inputs: As of a call.

        Raises:
            FileNotFoundError: An input does not exist.
        """
        for results in self.batches(find_cases(inputs)):
            yield from results

    def batches(self, cases: Sequence[Case]) -> Iterator[list[Prediction | Failure]]:
        """Yield the results of all cases in their order, as many at a time as are settled.

        A call with the cases that are left after any of them gives the very same results: the network sees
        the same batches. There is one batch at a time or, while sizes differ, what four batches can hold.
        """
        dataset = CaseDataset(cases, self.schema, self.transforms, self.spacing)
        ready: dict[int, Prediction | Failure] = {}
        for item in load_batches(dataset, self.batch_size, min(self.num_workers, len(cases))):
            ready.update(item.failed)
            if item.batch:
                ready.update(self._predict(item.batch, cases))
            if item.settled:
                yield [ready[index] for index in sorted(ready)]
                ready = {}

    def _predict(self, batch: list[Loaded], cases: Sequence[Case]) -> dict[int, Prediction | Failure]:
        """Return the results of a batch by the index of the case."""
        for one in batch:
            self._watch.look(one)
        items = [dict(inputs=one.inputs, data_samples=one.sample) for one in batch]
        try:
            samples = predict_batch(self.detector, items, self.precision)
        except torch.OutOfMemoryError as error:
            raise ValueError(
                f"{self.device} has not enough memory for {len(batch)} images of "
                f"{tuple(batch[0].inputs.shape)}: predict in smaller batches or in windows"
            ) from error
        except (RuntimeError, ValueError) as error:  # such as an image that is too small for the network
            reason = reason_of(error)
            return {
                one.index: Failure(cases[one.index].sample_id, cases[one.index].image, reason)
                for one in batch
            }
        return {one.index: self._prediction(sample) for one, sample in zip(batch, samples, strict=True)}

    def _prediction(self, sample: LandmarkDataSample) -> Prediction:
        world = sample.get("world_from_original")
        if self.spacing is not None:
            world = with_spacing(world, self.spacing)
        elif world is None and sample.get("spacing") is not None:
            world = world_matrix(sample.spacing)
        more = {key: sample.get(f"pred_{key}") for key in ("spread", "presence", "deviation")}
        prediction = Prediction(
            sample_id=sample.sample_id,
            image=sample.get("img_path"),
            shape=sample.ori_shape,
            schema=self.schema,
            points=sample.pred_landmarks.numpy(),
            scores=sample.pred_scores.numpy(),
            world_from_original=world,
            **{key: value.numpy() for key, value in more.items() if value is not None},
        )
        prediction = withhold_absent(prediction)
        if self.calibration is not None:
            prediction = self.calibration.apply(prediction)
        elif self.detector.shape_choice is not None and prediction.deviation is not None:
            far = np.flatnonzero(prediction.deviation > self.detector.shape_choice.gate)
            prediction = prediction.with_reasons(
                {int(k): deviation_reason(prediction.deviation[k]) for k in far}
            )
        # What a map's width says about errors is unknown without a calibration.
        known = self.calibration is not None and self.calibration.temperature is not None
        measures = measure_all(
            self.schema,
            prediction.points,
            prediction.spread if known else None,
            prediction.world_from_original,
            prediction.shape,
        )
        return replace(prediction, measures=measures)


def with_spacing(world: np.ndarray | None, spacing: Sequence[float]) -> np.ndarray:
    """Return a (W+1, D+1) matrix with other mm per pixel; without one, the image's own plane is the world.

    Args:
        world: (W+1, D+1) pixels to mm, or None. Its directions and its origin stay.
        spacing: (D,) mm per pixel, (x, y[, z]).
    """
    if world is None:
        return world_matrix(spacing)
    changed = np.array(world, dtype=np.float64)
    changed[:-1, :-1] *= np.asarray(spacing) / spacing_of(world)
    return changed


def _calibration(model: ModelFile, levels: Sequence[float] | None) -> Calibration | None:
    """Return the calibration of a model at some levels, None if it has none."""
    if model.calibration is None:
        if levels is not None:
            raise ValueError(
                f"the model {model.name!r} is not calibrated, so it knows no radii of the levels "
                f"{list(levels)}: mmlandmark calibrate it first"
            )
        return None
    calibration = Calibration.from_dict(model.calibration)
    if levels is None:
        return calibration
    for level in levels:
        check_level(level)
    return replace(calibration, levels=tuple(float(level) for level in levels))


def _device(name: str | None) -> torch.device:
    """Return a device; a GPU if there is one and none is named.

    Raises:
        ValueError: It does not exist.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"there is no device {name!r}: give cpu, cuda or cuda:1") from error
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device.type == "cuda" and (device.index or 0) >= count:
        raise ValueError(f"there is no device {name!r}: this machine has {count or 'no'} GPUs for PyTorch")
    return device
