"""What a program calls: train, test and combine what configs say."""

from mmlandmark.apis.complexity import ModuleCost, count_costs
from mmlandmark.apis.cross_validation import check_folds, cross_validate, plan_folds
from mmlandmark.apis.ensemble import build_ensemble
from mmlandmark.apis.figures import draw_configuration, draw_features, draw_loss_weights
from mmlandmark.apis.recording import (
    check_trained_as,
    draw_test_figures,
    find_checkpoint,
    record_predictions,
    record_test,
)
from mmlandmark.apis.running import prepare_config, test_config, train_config
from mmlandmark.engine import claim_folder

__all__ = [
    "ModuleCost",
    "build_ensemble",
    "check_folds",
    "check_trained_as",
    "claim_folder",
    "count_costs",
    "cross_validate",
    "draw_configuration",
    "draw_features",
    "draw_loss_weights",
    "draw_test_figures",
    "find_checkpoint",
    "plan_folds",
    "prepare_config",
    "record_predictions",
    "record_test",
    "test_config",
    "train_config",
]
