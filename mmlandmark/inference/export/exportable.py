"""A detector as a function of images alone, which other programs can run."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from mmlandmark.models.detectors import BaseDetector
from mmlandmark.models.detectors.augmented_views import checked_views
from mmlandmark.ops.backend import using_reference

OUTPUTS = ("points", "scores", "spread", "presence")


class ExportError(ValueError):
    """A detector cannot be exported, or what was exported does not do what the detector does."""


class ExportableDetector(nn.Module):
    """A detector as a function of images alone: it normalises, predicts and decodes.

    It answers as the detector's ``test_cfg`` says, with flip and views, and its answer is the mean over
    annotators and members, as that of :meth:`~mmlandmark.models.detectors.BaseDetector.predict`. The choice
    among several peaks (``test_cfg.shape_prior``) is left out: it is a search, no function of tensors.

    Args:
        detector: In test mode. Its weights take no gradient from now on.
        flip_pairs: Pairs of landmarks that a mirror swaps, needed with ``test_cfg.flip``.

    Raises:
        ExportError: The detector is no function of an image alone.
    """

    def __init__(self, detector: BaseDetector, flip_pairs: Sequence[tuple[int, int]] = ()) -> None:
        super().__init__()
        if detector.not_exportable:
            raise ExportError(
                f"{type(detector).__name__} cannot be exported: {detector.not_exportable}; predict with the "
                "model file, by mmlandmark predict or LandmarkInferencer"
            )
        views = checked_views(detector.test_cfg["views"])
        if detector.head.dims == 3 and any(np.any(view.get("rotation", 0)) for view in views):
            raise ExportError(
                f"{type(detector).__name__} cannot be exported: volumes are turned in mm, and a file does "
                "not know the size of a voxel: leave the views with a rotation out of model.test_cfg.views"
            )
        self.detector, self.flip_pairs = detector.requires_grad_(False), tuple(flip_pairs)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Detect the landmarks.

        Args:
            images: (B, C, *S) float32, 0 is black and 1 is white.

        Returns:
            ``points`` (B, K, D) in pixels of the images, (x, y[, z]), ``scores`` (B, K), and where the
            detector knows them ``spread`` (B, K, D, D) in pixels^2 and ``presence`` (B, K).
        """
        own = self.detector.data_preprocessor
        inputs = own.pad(own.normalize(images))
        answer = self.detector.detect_in_views(inputs, self.flip_pairs, spread=True).over_annotators()
        values = {name: getattr(answer, name) for name in OUTPUTS}
        return {name: value for name, value in values.items() if value is not None}


class _Widened(nn.Module):
    """Hands out a float16 weight as float32."""

    def forward(self, weight: Tensor) -> Tensor:
        return weight.float()


def with_half_weights(module: nn.Module) -> nn.Module:
    """Return a copy of a module with kernels in float16: half the file, the same arithmetic in float32."""
    module = copy.deepcopy(module)
    for part in list(module.modules()):
        for name, value in list(part.named_parameters(recurse=False)):
            if value.ndim > 1:
                setattr(part, name, nn.Parameter(value.detach().half(), requires_grad=False))
                parametrize.register_parametrization(part, name, _Widened(), unsafe=True)
    return module


class Traced(NamedTuple):
    """An exported program and what it takes and returns.

    Attributes:
        program: Of ``torch.export``, for any number of images, in plain PyTorch.
        module: What it was made of.
        shape: (C, *S) of its images.
        outputs: Names of its outputs, in order.
    """

    program: torch.export.ExportedProgram
    module: nn.Module
    shape: tuple[int, ...]
    outputs: tuple[str, ...]


def traced(module: nn.Module, shape: Sequence[int]) -> Traced:
    """Trace an :class:`ExportableDetector`.

    Args:
        module: In test mode, on the CPU.
        shape: (C, *S) of the images.

    Raises:
        ExportError: The detector, or a part of it, cannot be traced; the message says what PyTorch says.
    """
    images = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))
    batch = torch.export.Dim("batch", min=1)
    try:
        with torch.no_grad(), using_reference():
            outputs = tuple(module(images))
            program = torch.export.export(module, (images,), dynamic_shapes=({0: batch},), strict=False)
    except Exception as error:  # torch.export raises whatever a module or one of its own parts raises
        reason = next(iter(str(error).strip().splitlines()), "")
        raise ExportError(
            f"{_described(module)} cannot be exported with images of {' x '.join(map(str, shape))}: "
            f"{type(error).__name__}: {reason}"
        ) from error
    return Traced(program, module, tuple(shape), outputs)


def _described(module: nn.Module) -> str:
    """Return the types of a detector and of the parts that decide whether it can be traced."""
    detector = getattr(module, "detector", None)
    if detector is None:
        return type(module).__name__
    codec = detector.head.codec
    decoder = getattr(codec, "decoder", None)
    parts = [detector, detector.head, codec] + ([] if decoder is None else [decoder])
    return " / ".join(type(part).__name__ for part in parts)


def network_channels(detector: BaseDetector) -> int:
    """Return the channels of the images that the network of a detector takes; 1 where it does not say."""
    members = getattr(detector, "members", ())
    for one in (detector, *members):
        channels = getattr(one.data_preprocessor, "channels", None)
        if channels is not None:
            return int(channels)
    return 1
