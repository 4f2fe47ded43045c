"""Running: configs, the runner, hooks and stages."""

from mmlandmark.engine import hooks
from mmlandmark.engine.config import (
    KNOWN_KEYS,
    ConfigError,
    config_of_run,
    input_size,
    load_config,
    test_pipeline,
)
from mmlandmark.engine.optim_wrapper import AutocastOptimWrapper
from mmlandmark.engine.run_checks import check_model, check_stages
from mmlandmark.engine.runner import (
    LandmarkRunner,
    UnfinishedRun,
    best_checkpoint,
    default_launcher,
    latest_checkpoint,
)
from mmlandmark.engine.stages import plan_stages, run_stages, stage_to_test
from mmlandmark.engine.teacher import is_student, use_teacher

__all__ = [
    "KNOWN_KEYS",
    "AutocastOptimWrapper",
    "ConfigError",
    "LandmarkRunner",
    "UnfinishedRun",
    "best_checkpoint",
    "check_model",
    "check_stages",
    "config_of_run",
    "default_launcher",
    "hooks",
    "input_size",
    "is_student",
    "latest_checkpoint",
    "load_config",
    "plan_stages",
    "run_stages",
    "stage_to_test",
    "test_pipeline",
    "use_teacher",
]
