"""A plain detector that learns from a teacher as well as from the annotation."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.model import ModuleList
from torch import Tensor

from mmlandmark.models.detectors.base_detector import BaseDetector, MeasuredPart
from mmlandmark.models.detectors.landmark_detector import LandmarkDetector
from mmlandmark.models.losses.distillation_term import DistillationTerm
from mmlandmark.models.taps import check_taps, record_outputs
from mmlandmark.registry import MODELS
from mmlandmark.structures import LandmarkDataSample
from mmlandmark.utils.run_inputs import RunInput


class _Teacher:
    """Keeps the teacher out of the student's children: it is neither listed nor copied with them."""

    def __init__(self, detector: BaseDetector) -> None:
        self.detector = detector

    def __deepcopy__(self, memo: dict) -> _Teacher:
        return self


@MODELS.register_module()
class DistilledDetector(LandmarkDetector):
    r"""A student: :class:`LandmarkDetector` with distillation terms against a frozen teacher.

    The result is a plain detector: its checkpoints fit the config without the teacher, and keep what only the
    terms need separate. The teacher is not part of the model: not of its ``state_dict``, its parameters or
    what several processes share, and it is always in test mode. :class:`~mmlandmark.engine.hooks.TeacherHook`
    builds and loads it before training; testing needs none.

    With ``AttentionMapLoss`` on the three finest decoder blocks and ``weight=0.5`` the loss is that of FSF-LD
    (Huang et al. 2022, eq. 10 to 12); with ``HeatmapMSELoss`` of weight :math:`\alpha` and a factor
    :math:`1 - \alpha` at the head's own loss it is that of Fast-KD (Zhang et al. 2019).

    Args:
        terms: Dicts of ``loss``, ``pairs`` and ``weight``, see
            :class:`~mmlandmark.models.losses.DistillationTerm`.
        teacher: ``checkpoint`` and, unless it lies beside it, ``config`` of the teacher: read by the hook.
        **kwargs: See :class:`LandmarkDetector`.

    Raises:
        ValueError: No terms, one is wrong, or a student's path names no module.
    """

    training_parts = ("term_losses",)
    taps_modules = True
    run_inputs = {"teacher": RunInput("teacher.checkpoint", config="teacher.config")}

    def __init__(self, terms: Sequence[dict], teacher: dict | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not terms:
            raise ValueError(
                "DistilledDetector needs at least one distillation term; without, use LandmarkDetector"
            )
        if not isinstance(teacher, dict | None):
            raise ValueError(f"teacher must be a dict(checkpoint=...), got {teacher!r}")
        self.teacher_cfg = dict(teacher or {})
        self.epoch: float = 0  # set by the hook
        self._teacher: _Teacher | None = None
        self._widths_compared = False
        self.terms = [DistillationTerm.from_config(term, i, self.dims) for i, term in enumerate(terms)]
        check_taps(self, self._paths(0), "the student")
        self.term_losses = ModuleList(term.loss for term in self.terms)  # for their own parameters

    @classmethod
    def plain_config(cls, config: dict[str, Any]) -> dict[str, Any]:
        """Return the config of the student alone."""
        if cls is not DistilledDetector:
            return config
        plain = {key: value for key, value in config.items() if key not in ("terms", "teacher")}
        return plain | dict(type="LandmarkDetector")

    def check_run(self, run: Any) -> None:
        """Raise ValueError unless a hook brings the teacher, see :mod:`mmlandmark.engine.run_checks`."""
        if not run.provides("teacher"):
            raise ValueError(
                "a DistilledDetector needs its teacher: put dict(type='TeacherHook') into custom_hooks"
            )

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
        """The tapped modules of all terms, (path in the student, path in the teacher)."""
        return [pair for term in self.terms for pair in term.pairs]

    @property
    def compares_maps(self) -> bool:
        """Whether a term compares the predicted heatmaps."""
        return any(not term.pairs for term in self.terms)

    def attach_teacher(self, teacher: BaseDetector) -> None:
        """Freeze ``teacher`` and learn from it from now on.

        Raises:
            ValueError: It predicts another number of landmarks, lacks a module that a term names, or its maps
                cannot be compared with the student's.
        """
        own, other = self.head, teacher.head
        if own.num_landmarks != other.num_landmarks:
            raise ValueError(
                f"the teacher predicts {other.num_landmarks} landmarks, the student {own.num_landmarks}: a "
                "teacher must be trained on the student's landmarks"
            )
        check_taps(teacher, self._paths(1), "the teacher")
        if self.compares_maps:
            ours, theirs = _map_settings(self), _map_settings(teacher)
            for key in {**ours, **theirs}:
                if ours.get(key) != theirs.get(key):
                    raise ValueError(
                        f"the heatmaps of teacher and student cannot be compared: head.{key} is "
                        f"{theirs.get(key)!r} in the teacher, {ours.get(key)!r} in the student; give both "
                        "the same, or pairs of features"
                    )
        self._teacher = _Teacher(teacher.eval().requires_grad_(False))

    def receive_input(self, name: str, detector: BaseDetector) -> None:
        """Take a teacher for a benchmark, and go to the epoch in which the terms weigh most."""
        if name != "teacher":
            raise ValueError(f"DistilledDetector takes the input 'teacher', not {name!r}")
        self.attach_teacher(detector)
        epochs = [epoch for term in self.terms for epoch, _ in term.points]
        self.epoch = max(epochs, key=lambda epoch: sum(term.weight(epoch) for term in self.terms))

    def measured_parts(
        self, inputs: Tensor, data_samples: Sequence[LandmarkDataSample]
    ) -> dict[str, MeasuredPart]:
        """Return the step of the student without its teacher, and the pass of the teacher."""
        alone = MeasuredPart(lambda: LandmarkDetector.loss(self, inputs, data_samples), trains=True)
        return {
            "student alone": alone,
            "teacher's pass": MeasuredPart(lambda: self.teacher_outputs(inputs), False),
        }

    def loss(self, inputs: Tensor, data_samples: Sequence[LandmarkDataSample]) -> dict[str, Tensor]:
        """Return the head's losses, and those of all terms as ``loss_distill<i>_<type>``."""
        self.teacher  # noqa: B018  a missing teacher must fail at once, not when a weight grows
        paths = [*self._paths(0), *(["head"] if self.compares_maps else [])]
        with record_outputs(self, paths, where="the student") as own:
            losses = super().loss(inputs, data_samples)
        weights = [term.weight(self.epoch) for term in self.terms]
        features, maps = self.teacher_outputs(inputs) if any(weights) else ({}, None)
        for i, (term, weight) in enumerate(zip(self.terms, weights, strict=True)):
            name = f"loss_distill{i}_{term.name}"
            if not weight:
                # Several processes wait for a gradient of every parameter.
                losses[name] = sum((0 * p.sum() for p in term.loss.parameters()), inputs.new_zeros(()))
            elif term.pairs:
                values = [term.loss(own[mine], features[theirs]) for mine, theirs in term.pairs]
                losses[name] = weight * sum(values) / len(values)
            else:
                target = self._given_target(maps, data_samples, inputs.shape[2:], own["head"].shape[2:])
                losses[name] = weight * term.loss(own["head"], target)
        return losses

    @torch.no_grad()
    def dry_run(self, image_shape: Sequence[int]) -> None:
        """Compute the feature terms on an empty image, so that what does not fit fails before training.

        Args:
            image_shape: (C, *S) of the networks' input, after the preprocessor.

        Raises:
            ValueError: A tapped module does not run, or a loss cannot compare its features.
        """
        inputs, training = next(self.parameters()).new_zeros(1, *image_shape), self.training
        who = "student"
        try:
            self.eval()  # batch norm must not learn from an empty image
            try:
                with record_outputs(self, self._paths(0), where="the student") as own:
                    self.training_maps(inputs)
                who = "teacher"
                features, _ = self.teacher_outputs(inputs)
            except RuntimeError as error:
                raise ValueError(f"the {who} cannot take images of {tuple(image_shape)}: {error}") from error
            for term in self.terms:
                for mine, theirs in term.pairs:
                    term.loss(own[mine], features[theirs])
        finally:
            self.train(training)

    @torch.no_grad()
    def teacher_outputs(self, inputs: Tensor) -> tuple[dict[str, Tensor], Tensor | None]:
        """Return the teacher's features by path, and its activated maps if a term compares them.

        Without such a term the teacher stops behind the last tapped module.
        """
        teacher, maps = self.teacher, None
        stop = not self.compares_maps
        with record_outputs(teacher, self._paths(1), stop=stop, where="the teacher") as features:
            maps = teacher.raw_maps(inputs)
        return features, teacher.head.codec.activate(maps) if self.compares_maps else None

    def _given_target(
        self,
        maps: Tensor | None,
        samples: Sequence[LandmarkDataSample],
        input_size: torch.Size,
        size: torch.Size,
    ) -> Any:
        """Return the teacher's maps as the target of maps of ``size``, with the annotation's mask."""
        assert maps is not None
        annotated = self.head.encode(samples, input_size, size, maps.device)
        self._compare_widths(maps.shape[2:], size)
        codec = self.head.codec
        return codec.given_target(codec.resized(maps, size), annotated)

    def _compare_widths(self, teacher_size: torch.Size, own_size: torch.Size) -> None:
        """Warn once if the teacher's peaks are wider or narrower than those of the annotation."""
        own, theirs = self.head.codec.peak_width, self.teacher.head.codec.peak_width
        if own is not None and theirs is not None and not self._widths_compared:
            theirs = theirs * own_size[-1] / teacher_size[-1]
            if abs(theirs / own - 1) > 0.01:
                print_log(
                    f"the teacher's peaks have a sigma of {theirs:g} pixels of the student's maps, the "
                    f"student's {own:g}: annotation and teacher pull apart unless both are the same",
                    "current",
                    logging.WARNING,
                )
        self._widths_compared = True

    def _paths(self, side: int) -> list[str]:
        return list(dict.fromkeys(pair[side] for pair in self.pairs))


def _map_settings(detector: BaseDetector) -> dict[str, Any]:
    """Return what two detectors must share for their maps to be compared, by argument of the head."""
    codec = {f"codec.{key}": value for key, value in detector.head.codec.comparable_by().items()}
    return {"num_annotators": detector.head.num_annotators, **codec}
