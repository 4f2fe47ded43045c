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
from mmlandmark.engine.run_folder import (
    RunLock,
    best_checkpoint,
    claim_folder,
    folder_of_test,
    latest_checkpoint,
)
from mmlandmark.engine.runner import LandmarkRunner, UnfinishedRun, default_launcher
from mmlandmark.engine.schedules import OneCycleLR
from mmlandmark.engine.stages import plan_stages, run_stages, stage_to_test
from mmlandmark.engine.teacher import is_student, use_teacher

__all__ = [
    "KNOWN_KEYS",
    "AutocastOptimWrapper",
    "ConfigError",
    "LandmarkRunner",
    "OneCycleLR",
    "RunLock",
    "UnfinishedRun",
    "best_checkpoint",
    "check_model",
    "check_stages",
    "claim_folder",
    "config_of_run",
    "default_launcher",
    "folder_of_test",
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
