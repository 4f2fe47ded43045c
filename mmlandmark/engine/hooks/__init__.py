"""Hooks; one with a state is a :class:`StatefulHook`, which checkpoints save, and all decide by ``>=``."""

from mmlandmark.engine.hooks.checkpoint_hook import CheckpointHook
from mmlandmark.engine.hooks.early_stopping_hook import EarlyStoppingHook
from mmlandmark.engine.hooks.epoch_seed_hook import EpochSeedHook
from mmlandmark.engine.hooks.invalid_loss_hook import InvalidLossHook
from mmlandmark.engine.hooks.landmark_visualization_hook import LandmarkVisualizationHook
from mmlandmark.engine.hooks.peak_monitor_hook import PeakMonitorHook
from mmlandmark.engine.hooks.pseudo_label_hook import PseudoLabelHook
from mmlandmark.engine.hooks.safe_checkpoint_hook import SafeCheckpointHook
from mmlandmark.engine.hooks.shape_prior_hook import ShapePriorHook
from mmlandmark.engine.hooks.stateful_hook import StatefulHook
from mmlandmark.engine.hooks.teacher_hook import TeacherHook
from mmlandmark.engine.hooks.template_hook import TemplateHook
from mmlandmark.engine.hooks.timed_checkpoint_hook import TimedCheckpointHook

__all__ = [
    "CheckpointHook",
    "EarlyStoppingHook",
    "EpochSeedHook",
    "InvalidLossHook",
    "LandmarkVisualizationHook",
    "PeakMonitorHook",
    "PseudoLabelHook",
    "SafeCheckpointHook",
    "ShapePriorHook",
    "StatefulHook",
    "TeacherHook",
    "TemplateHook",
    "TimedCheckpointHook",
]
