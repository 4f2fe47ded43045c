"""Running: configs, the runner, hooks and stages."""

from mmlandmark.engine import hooks
from mmlandmark.engine.config import ConfigError, load_config
from mmlandmark.engine.optim_wrapper import AutocastOptimWrapper
from mmlandmark.engine.runner import LandmarkRunner, default_launcher, latest_checkpoint
from mmlandmark.engine.stages import plan_stages, run_stages

__all__ = [
    "AutocastOptimWrapper",
    "ConfigError",
    "LandmarkRunner",
    "default_launcher",
    "hooks",
    "latest_checkpoint",
    "load_config",
    "plan_stages",
    "run_stages",
]
