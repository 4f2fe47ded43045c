"""Load the teacher of a student before training, and show both side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from mmlandmark.engine.config import input_size
from mmlandmark.engine.hooks.landmark_visualization_hook import by_iteration, training_step
from mmlandmark.engine.hooks.teacher_loading import check_teacher, load_teacher
from mmlandmark.engine.inspection import annotated_maps, seen_by
from mmlandmark.engine.processes import bare
from mmlandmark.engine.run_checks import RunContext
from mmlandmark.models.detectors import DistilledDetector
from mmlandmark.registry import HOOKS


@HOOKS.register_module()
class TeacherHook(Hook):
    """Load the teacher of a :class:`~mmlandmark.models.detectors.DistilledDetector` and show its outputs.

    Before the first batch every process builds and loads the teacher; one with other landmarks or other
    images than its student is refused. At the first validation of a run the teacher is tested on
    the same cases; its errors are logged as ``val/teacher/...``, next to those of the student. At every
    validation the tapped features and the heatmaps of both are drawn, teacher and student in rows, the
    annotation in the last column.

    Args:
        validate_teacher: Test the teacher too.
        num_samples: How many cases to draw features of; 0 for none.
    """

    provides = ("teacher",)

    def __init__(self, validate_teacher: bool = True, num_samples: int = 1) -> None:
        self.validate_teacher, self.num_samples = validate_teacher, num_samples
        self._evaluator: Any = None
        self._metrics: dict[str, float] = {}
        self._drawn = 0

    def check_run(self, run: RunContext, model: Any) -> None:
        """Compare the student with its teacher, or with the network of one that is still to be trained.

        Raises:
            ValueError: There is no student; or see :func:`load_teacher`, :func:`check_teacher`,
                :meth:`DistilledDetector.attach_teacher` and :meth:`DistilledDetector.dry_run`.
            FileNotFoundError: The checkpoint of the teacher does not exist.
        """
        student = _student(model)
        config = run.maker(student.teacher_cfg.get("checkpoint"))
        landmarks: dict[str, Any] = {}
        if config is None:
            teacher, config, landmarks = load_teacher(student.teacher_cfg, student.dims)
        else:
            teacher = run.build(config)
        student.attach_teacher(teacher)
        check_teacher(student, run.config, {}, teacher, config, landmarks)
        size, own = input_size(run.config), student.data_preprocessor
        if size is not None and own.channels is not None:
            student.dry_run(own.pad(torch.zeros(1, own.channels, *size)).shape[1:])

    def before_train(self, runner: Runner) -> None:
        """Build, load, check and attach the teacher."""
        student = _student(bare(runner))
        teacher, config, landmarks = load_teacher(student.teacher_cfg, student.dims)
        own = getattr(runner.train_dataloader.dataset, "metainfo", {})
        student.attach_teacher(teacher.to(next(student.parameters()).device))
        check_teacher(student, runner.cfg, own, teacher, config, landmarks)
        runner.logger.info(f"teacher: {student.teacher_cfg['checkpoint']}")

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Set the epoch, for the weights of terms; a loop without epochs counts its passes."""
        passes = runner.iter // len(runner.train_dataloader) if by_iteration(runner) else runner.epoch
        bare(runner).epoch = passes

    def before_val_epoch(self, runner: Runner) -> None:
        """Prepare the test of the teacher, unless this run has tested it."""
        self._drawn, self._evaluator = 0, None
        if self.validate_teacher and not self._metrics and getattr(bare(runner), "has_teacher", False):
            configs = runner.cfg.val_evaluator
            configs = configs.get("metrics", configs) if isinstance(configs, dict) else configs
            configs = configs if isinstance(configs, list | tuple) else [configs]
            # Files that the student's metrics write are the student's.
            files = ("out_file", "predictions_file")
            self._evaluator = runner.build_evaluator(
                [{k: v for k, v in config.items() if k not in files} for config in configs]
            )
            self._evaluator.dataset_meta = getattr(runner.val_dataloader.dataset, "metainfo", None)

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Sequence | None = None
    ) -> None:
        """Let the teacher predict the landmarks of the same cases; draw the first ones."""
        student = bare(runner)
        if not getattr(student, "has_teacher", False):
            return
        if self._evaluator is not None:
            own = dict(data_batch, data_samples=[s.clone() for s in data_batch["data_samples"]])
            with torch.no_grad():
                predicted = student.teacher.val_step(own)
            self._evaluator.process(data_samples=predicted, data_batch=data_batch)
        wanted = min(self.num_samples - self._drawn, len(data_batch["data_samples"]))
        for index in range(wanted):
            self._draw(runner, student, data_batch["inputs"][index], data_batch["data_samples"][index])
        self._drawn += max(wanted, 0)

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Report the teacher's metrics next to the student's."""
        if self._evaluator is not None:
            measured = self._evaluator.evaluate(len(runner.val_dataloader.dataset))
            counts = ("num_", "outliers_")
            self._metrics = {k: v for k, v in measured.items() if not k.rsplit("/", 1)[-1].startswith(counts)}
            self._evaluator = None
        for name, value in self._metrics.items():
            runner.message_hub.update_scalar(f"val/teacher/{name}", value)
        ours = metrics or {}
        for name in (n for n in self._metrics if n.rsplit("/", 1)[-1] == "mre" and n in ours):
            runner.logger.info(f"{name}: student {ours[name]:.4g}, teacher {self._metrics[name]:.4g}")

    @torch.no_grad()
    def _draw(self, runner: Runner, student: DistilledDetector, image: Tensor, sample: Any) -> None:
        """Draw features and heatmaps of both for one case."""
        inputs = student.data_preprocessor(dict(inputs=[image], data_samples=[sample.clone()]))["inputs"]
        rows = {}
        for name, model, side in (("teacher", student.teacher, 1), ("student", student, 0)):
            rows[name] = seen_by(model, inputs, [pair[side] for pair in student.pairs])
        annotated = annotated_maps(student, inputs, sample, rows["student"][-1][1].shape[1:])
        for row in rows.values():
            row.append(("annotated", annotated))
        runner.visualizer.add_feature_maps(
            f"features_{sample.sample_id}",
            rows,
            heatmaps=("heatmaps", "annotated"),
            step=training_step(runner),
        )


def _student(model: Any) -> DistilledDetector:
    if not isinstance(model, DistilledDetector):
        raise ValueError(f"TeacherHook is for a DistilledDetector, the model is a {type(model).__name__}")
    return model
