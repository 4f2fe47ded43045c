"""A plain detector that learns from a teacher as well as from the annotation."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.logging import print_log
from mmengine.model import ModuleList
from torch import Tensor

from mmlandmark.codecs import GivenTarget
from mmlandmark.models.detectors.base_detector import BaseDetector
from mmlandmark.models.detectors.landmark_detector import LandmarkDetector
from mmlandmark.models.losses.distillation_loss import FeatureLoss, resized
from mmlandmark.models.losses.heatmap_loss import LandmarkLoss
from mmlandmark.models.taps import check_taps, listening
from mmlandmark.registry import MODELS
from mmlandmark.structures import LandmarkDataSample

Weight = float | Sequence[tuple[float, float]]


class _Teacher:
    """Holds the teacher where nobody who walks over a module's children finds it, nor copies it."""

    def __init__(self, detector: BaseDetector) -> None:
        self.detector = detector

    def __deepcopy__(self, memo: dict) -> _Teacher:
        return self


class DistillationTerm:
    """One thing that a student learns from its teacher.

    Args:
        loss: A :class:`~mmlandmark.models.losses.FeatureLoss` compares the features of ``pairs``; any loss on
            heatmaps takes the teacher's maps as the target of the student's (Fast-KD, Zhang et al. 2019).
        pairs: (path in the student, path in the teacher), as in ``named_modules()``; the mean of their losses
            counts.
        weight: Of the loss: a number, or (epoch, weight) points with straight lines between, from which it
            follows for any epoch.

    Raises:
        ValueError: ``loss`` is none, ``pairs`` do not go with it, epochs are not in order or a weight is
            negative.
    """

    def __init__(
        self, loss: FeatureLoss | LandmarkLoss, pairs: Sequence[Sequence[str]], weight: Weight
    ) -> None:
        name = type(loss).__name__
        if not isinstance(loss, FeatureLoss | LandmarkLoss):
            raise ValueError(f"{name} is no loss: it compares neither features nor heatmaps")
        if isinstance(loss, FeatureLoss) != bool(pairs):
            raise ValueError(
                f"{name} compares features: give pairs of (path in the student, path in the teacher)"
                if not pairs
                else f"{name} compares the heatmaps that come out: leave pairs out"
            )
        if any(isinstance(pair, str) or len(pair) != 2 for pair in pairs):
            raise ValueError(f"pairs must be (path in the student, path in the teacher), got {pairs!r}")
        points = [(0.0, weight)] if isinstance(weight, int | float) else list(weight)
        if (
            not points
            or any(not isinstance(p, Sequence) or len(p) != 2 for p in points)
            or [p[0] for p in points] != sorted({p[0] for p in points})
        ):
            raise ValueError(
                f"weight must be a number or (epoch, weight) with growing epochs, got {weight!r}"
            )
        if not all(value >= 0 for _, value in points):
            raise ValueError(f"the weight of a distillation term must not be negative, got {weight!r}")
        self.loss, self.pairs, self.points = loss, [tuple(pair) for pair in pairs], points

    def weight(self, epoch: float) -> float:
        """Return the weight in an epoch, counted from 0."""
        return float(np.interp(epoch, *zip(*self.points, strict=True)))


@MODELS.register_module()
class DistilledDetector(LandmarkDetector):
    r"""A student: :class:`LandmarkDetector` with losses against a frozen teacher beside its own.

    It is the detector it would be without a teacher: its checkpoints fit the config that leaves the teacher
    out, and keep apart what only the terms need. The teacher is no part of it: not of its
    ``state_dict``, its parameters or what several processes share, and always in the mode of the test.
    :class:`~mmlandmark.engine.hooks.TeacherHook` builds and loads it before training; testing needs none.

    With ``AttentionMapLoss`` on the three finest decoder blocks and ``weight=0.5`` the loss is that of FSF-LD
    (Huang et al. 2022, eq. 10 to 12); with ``HeatmapMSELoss`` of weight :math:`\alpha` and a factor
    :math:`1 - \alpha` at the head's own loss it is that of Fast-KD (Zhang et al. 2019).

    Args:
        terms: Dicts of ``loss``, ``pairs`` and ``weight``, see :class:`DistillationTerm`.
        teacher: ``checkpoint`` and, unless it lies beside it, ``config`` of the teacher: read by the hook.
        **kwargs: See :class:`LandmarkDetector`.

    Raises:
        ValueError: No terms, or one that does not fit; a student's path that names no module.
    """

    training_parts = ("term_losses",)

    def __init__(self, terms: Sequence[dict], teacher: dict | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not terms:
            raise ValueError(
                "DistilledDetector needs at least one distillation term; without, use LandmarkDetector"
            )
        if not isinstance(teacher, dict | None):
            raise ValueError(f"teacher must be a dict(checkpoint=...), got {teacher!r}")
        self.teacher_cfg, self.epoch = dict(teacher or {}), 0
        self._teacher: _Teacher | None = None
        self._widths_compared = False
        for i, term in enumerate(terms):
            unknown = sorted(set(term) - {"loss", "pairs", "weight"})
            if unknown:
                raise ValueError(f"term {i} takes loss, pairs and weight, not {', '.join(unknown)}")
            if "loss" not in term:
                raise ValueError(f"term {i} needs a loss; it has {sorted(term)}")
        losses = [MODELS.build(term["loss"]) for term in terms]
        self.terms = [
            DistillationTerm(loss, term.get("pairs", ()), term.get("weight", 1.0))
            for loss, term in zip(losses, terms, strict=True)
        ]
        check_taps(self, self._paths(0), "the student")
        self.term_losses = ModuleList(losses)  # for what they have to learn themselves

    @property
    def teacher(self) -> BaseDetector:
        """The teacher.

        Raises:
            RuntimeError: It has not been attached.
        """
        if self._teacher is None:
            raise RuntimeError(
                "DistilledDetector has no teacher yet: put dict(type='TeacherHook') into custom_hooks, or "
                "call attach_teacher"
            )
        return self._teacher.detector

    @property
    def has_teacher(self) -> bool:
        """Whether a teacher has been attached."""
        return self._teacher is not None

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """What the terms tap, (path in the student, path in the teacher)."""
        return [pair for term in self.terms for pair in term.pairs]

    @property
    def compares_maps(self) -> bool:
        """Whether a distillation term is about the heatmaps that come out."""
        return any(not term.pairs for term in self.terms)

    def attach_teacher(self, teacher: BaseDetector) -> None:
        """Learn from ``teacher`` from now on; it is frozen.

        Raises:
            ValueError: It finds another number of landmarks, lacks a module that a term names, or its maps
                cannot be compared with the student's.
        """
        own, other = self.head, teacher.head
        if own.num_landmarks != other.num_landmarks:
            raise ValueError(
                f"the teacher finds {other.num_landmarks} landmarks, the student {own.num_landmarks}: a "
                "teacher must be trained on the student's landmarks"
            )
        check_taps(teacher, self._paths(1), "the teacher")
        if self.compares_maps:
            same = ("activation", "shape", "normalize", "scale", "one_based_grid")
            pairs = [(f"codec.{key}", getattr(other.codec, key), getattr(own.codec, key)) for key in same]
            for what, theirs, ours in [("num_annotators", other.num_annotators, own.num_annotators), *pairs]:
                if theirs != ours:
                    raise ValueError(
                        f"the heatmaps of teacher and student cannot be compared: head.{what} is {theirs!r} "
                        f"in the teacher, {ours!r} in the student; give both the same, or pairs of features"
                    )
        self._teacher = _Teacher(teacher.eval().requires_grad_(False))

    def loss(self, inputs: Tensor, data_samples: Sequence[LandmarkDataSample]) -> dict[str, Tensor]:
        """Return the head's losses, and those of all terms as ``loss_distill<i>_<type>``."""
        teacher = self.teacher  # one that is missing is told at once, not when a weight grows
        heard_always = ["head"] if self.compares_maps else []
        with listening(self, [*self._paths(0), *heard_always], where="the student") as own:
            losses = super().loss(inputs, data_samples)
        weights = [term.weight(self.epoch) for term in self.terms]
        taught, maps = self._ask(teacher, inputs) if any(weights) else ({}, None)
        for i, (term, weight) in enumerate(zip(self.terms, weights, strict=True)):
            name = f"loss_distill{i}_{type(term.loss).__name__.removesuffix('Loss').lower()}"
            if not weight:
                # Several processes wait for a gradient of every parameter.
                losses[name] = sum((0 * p.sum() for p in term.loss.parameters()), inputs.new_zeros(()))
            elif term.pairs:
                found = [term.loss(own[mine], taught[theirs]) for mine, theirs in term.pairs]
                losses[name] = weight * sum(found) / len(found)
            else:
                target = self._as_target(maps, data_samples, inputs.shape[2:], own["head"].shape[2:])
                losses[name] = weight * term.loss(own["head"], target)
        return losses

    @torch.no_grad()
    def rehearse(self, image_shape: Sequence[int]) -> None:
        """Compare the features of an empty image, so that what does not fit is told early.

        Args:
            image_shape: (C, *S) of the networks' input, after the preprocessor.

        Raises:
            ValueError: A tapped module does not run, or a loss cannot compare its features.
        """
        inputs, training = next(self.parameters()).new_zeros(1, *image_shape), self.training
        who = "student"
        try:
            self.eval()  # an empty image is nothing for batch norm to remember
            try:
                with listening(self, self._paths(0), where="the student") as own:
                    self.training_maps(inputs)
                who = "teacher"
                taught, _ = self.ask_teacher(inputs)
            except RuntimeError as error:
                raise ValueError(f"the {who} cannot take images of {tuple(image_shape)}: {error}") from error
            for term in self.terms:
                for mine, theirs in term.pairs:
                    term.loss(own[mine], taught[theirs])
        finally:
            self.train(training)

    def ask_teacher(self, inputs: Tensor) -> tuple[dict[str, Tensor], Tensor | None]:
        """Return the teacher's features by path, and its activated maps if a term compares them."""
        return self._ask(self.teacher, inputs)

    @torch.no_grad()
    def _ask(self, teacher: BaseDetector, inputs: Tensor) -> tuple[dict[str, Tensor], Tensor | None]:
        maps = None
        stop = not self.compares_maps
        with listening(teacher, self._paths(1), stop=stop, where="the teacher") as taught:
            maps = teacher.raw_maps(inputs)
        return taught, teacher.head.codec.activate(maps) if self.compares_maps else None

    def _as_target(
        self,
        maps: Tensor | None,
        samples: Sequence[LandmarkDataSample],
        input_size: torch.Size,
        size: torch.Size,
    ) -> GivenTarget:
        """Return the teacher's maps as the target of maps of ``size``; what is masked for one is for both."""
        assert maps is not None
        truth = self.head.encode(samples, input_size, size, maps.device)
        self._compare_widths(maps.shape[2:], size)
        given, codec = resized(maps, size), self.head.codec
        if (
            codec.activation == "softmax" or codec.normalize == "sum"
        ):  # means over areas keep heights, not sums
            given = given * (math.prod(maps.shape[2:]) / math.prod(size))
        return GivenTarget(truth.landmarks, truth.mask, truth.weights, truth.size, truth.sigma, given=given)

    def _compare_widths(self, taught: torch.Size, own: torch.Size) -> None:
        """Warn once of a teacher whose peaks are wider or narrower than those the student learns as well."""
        theirs = self.teacher.head.codec.sigma * own[-1] / taught[-1]
        if not self._widths_compared and abs(theirs / self.head.codec.sigma - 1) > 0.01:
            print_log(
                f"the teacher's peaks have a sigma of {theirs:g} pixels of the student's maps, the student's "
                f"{self.head.codec.sigma:g}: annotation and teacher pull apart unless both are the same",
                "current",
                logging.WARNING,
            )
        self._widths_compared = True

    def _paths(self, side: int) -> list[str]:
        return list(dict.fromkeys(pair[side] for pair in self.pairs))
