"""Running: configs, the runner, hooks, run folders and plans."""

from mmlandmark.engine import hooks
from mmlandmark.engine.checkpoint_files import best_checkpoint, latest_checkpoint
from mmlandmark.engine.config import (
    KNOWN_KEYS,
    ConfigError,
    config_of_model,
    config_of_run,
    input_size,
    is_of_model,
    load_config,
    test_pipeline,
)
from mmlandmark.engine.given_inputs import give_inputs
from mmlandmark.engine.joined_landmarks import join_landmarks, joined_config
from mmlandmark.engine.optim_wrapper import AutocastOptimWrapper
from mmlandmark.engine.per_landmark import choose_landmarks
from mmlandmark.engine.plan import Node, Step, describe_plan, state_of
from mmlandmark.engine.plan_execution import execute_plan
from mmlandmark.engine.processes import default_launcher, main_process_decides, start_processes
from mmlandmark.engine.run_checks import RunContext, check_plan, check_run
from mmlandmark.engine.run_folder import RunFolder, TrainedRun, folder_of_test
from mmlandmark.engine.run_lock import RunBusyError, RunLock
from mmlandmark.engine.run_plans import plan_of_run
from mmlandmark.engine.runner import LandmarkRunner, UnfinishedRun
from mmlandmark.engine.schedules import OneCycleLR
from mmlandmark.engine.shape_consensus import ShapeConsensus
from mmlandmark.engine.shape_regulator import KeepAll, ShapeRegulator
from mmlandmark.engine.stages import plan_of_stages, stage_named, stage_to_test
from mmlandmark.engine.teacher_score import TeacherScore

__all__ = [
    "KNOWN_KEYS",
    "AutocastOptimWrapper",
    "ConfigError",
    "KeepAll",
    "LandmarkRunner",
    "Node",
    "OneCycleLR",
    "RunBusyError",
    "RunContext",
    "RunFolder",
    "RunLock",
    "ShapeConsensus",
    "ShapeRegulator",
    "Step",
    "TeacherScore",
    "TrainedRun",
    "UnfinishedRun",
    "best_checkpoint",
    "check_plan",
    "check_run",
    "choose_landmarks",
    "config_of_model",
    "config_of_run",
    "default_launcher",
    "describe_plan",
    "execute_plan",
    "folder_of_test",
    "give_inputs",
    "hooks",
    "input_size",
    "is_of_model",
    "join_landmarks",
    "joined_config",
    "latest_checkpoint",
    "load_config",
    "main_process_decides",
    "plan_of_run",
    "plan_of_stages",
    "stage_named",
    "stage_to_test",
    "start_processes",
    "state_of",
    "test_pipeline",
]
