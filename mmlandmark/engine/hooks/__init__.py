"""What happens beside training; every hook keeps its state in the checkpoint and decides by ``>=``."""

from mmlandmark.engine.hooks.checkpoint_hook import CheckpointHook
from mmlandmark.engine.hooks.epoch_seed_hook import EpochSeedHook
from mmlandmark.engine.hooks.invalid_loss_hook import InvalidLossHook
from mmlandmark.engine.hooks.landmark_visualization_hook import LandmarkVisualizationHook
from mmlandmark.engine.hooks.peak_monitor_hook import PeakMonitorHook
from mmlandmark.engine.hooks.safe_checkpoint_hook import SafeCheckpointHook
from mmlandmark.engine.hooks.teacher_hook import TeacherHook
from mmlandmark.engine.hooks.timed_checkpoint_hook import TimedCheckpointHook

__all__ = [
    "CheckpointHook",
    "EpochSeedHook",
    "InvalidLossHook",
    "LandmarkVisualizationHook",
    "PeakMonitorHook",
    "SafeCheckpointHook",
    "TeacherHook",
    "TimedCheckpointHook",
]
