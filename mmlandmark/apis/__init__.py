"""What a program calls: train, test and combine configs."""

from mmlandmark.apis.case_figures import draw_test_figures
from mmlandmark.apis.complexity import ModuleCost, count_costs, count_models
from mmlandmark.apis.cross_validation import (
    check_folds,
    cross_validate,
    fold_configs,
    plan_of_folds,
    record_folds,
)
from mmlandmark.apis.curve_figures import draw_landmark_curves
from mmlandmark.apis.ensemble import build_ensemble
from mmlandmark.apis.figures import draw_configuration, draw_features, draw_loss_weights
from mmlandmark.apis.label_figures import draw_label_rounds
from mmlandmark.apis.one_shot import OneShotStep
from mmlandmark.apis.recording import record_predictions, record_test
from mmlandmark.apis.running import prepare_config, run_plan, tables_of_test, test_config, train_config
from mmlandmark.apis.self_training import BestStageStep
from mmlandmark.apis.steps import EnsembleStep, RecordStep, TestStep
from mmlandmark.apis.sweep import Sweep, load_sweep, plan_of_sweep
from mmlandmark.apis.tested_run import check_trained_as, find_checkpoint

__all__ = [
    "BestStageStep",
    "EnsembleStep",
    "ModuleCost",
    "OneShotStep",
    "RecordStep",
    "Sweep",
    "TestStep",
    "build_ensemble",
    "check_folds",
    "check_trained_as",
    "count_costs",
    "count_models",
    "cross_validate",
    "draw_configuration",
    "draw_features",
    "draw_label_rounds",
    "draw_landmark_curves",
    "draw_loss_weights",
    "draw_test_figures",
    "find_checkpoint",
    "fold_configs",
    "load_sweep",
    "plan_of_folds",
    "plan_of_sweep",
    "prepare_config",
    "record_folds",
    "record_predictions",
    "record_test",
    "run_plan",
    "tables_of_test",
    "test_config",
    "train_config",
]
