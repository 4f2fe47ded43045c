"""What a program calls: train, test and combine what configs say."""

from mmlandmark.apis.ensemble import build_ensemble
from mmlandmark.apis.running import prepare_config, test_config, train_config
from mmlandmark.apis.testing import draw_test_figures, find_checkpoint, record_test

__all__ = [
    "build_ensemble",
    "draw_test_figures",
    "find_checkpoint",
    "prepare_config",
    "record_test",
    "test_config",
    "train_config",
]
