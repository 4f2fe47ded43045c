"""Running: configs, the runner, hooks and stages."""

from mmlandmark.engine import hooks
from mmlandmark.engine.config import KNOWN_KEYS, ConfigError, load_config
from mmlandmark.engine.optim_wrapper import AutocastOptimWrapper
from mmlandmark.engine.runner import LandmarkRunner, best_checkpoint, default_launcher, latest_checkpoint
from mmlandmark.engine.stages import last_stage, plan_stages, run_stages

__all__ = [
    "KNOWN_KEYS",
    "AutocastOptimWrapper",
    "ConfigError",
    "LandmarkRunner",
    "best_checkpoint",
    "default_launcher",
    "hooks",
    "last_stage",
    "latest_checkpoint",
    "load_config",
    "plan_stages",
    "run_stages",
]
