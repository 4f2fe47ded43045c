"""A training logs and remembers no more than it is allowed, and what it needs."""

from __future__ import annotations

import logging

import pytest
import torch
from mmengine.logging import HistoryBuffer, MMLogger

from mmlandmark.engine import LandmarkRunner, log_bounds
from mmlandmark.engine.log_bounds import BoundedFileHandler
from mmlandmark.testing import phantom_dataloader, tiny_config
from mmlandmark.utils.bounded_logs import LEFT_OUT

SMALL = 1 / 64  # MiB


def config_of(folder, epochs, **overrides):
    loader = phantom_dataloader(num_samples=2, size=(32, 32))
    config = tiny_config(folder, max_epochs=epochs, log_level="INFO", train_dataloader=loader, **overrides)
    config.default_hooks.logger = dict(type="LoggerHook", interval=1)
    config.default_hooks.checkpoint.max_keep_ckpts = 1
    config.train_cfg.val_interval = epochs
    return config


@pytest.mark.slow
def test_the_files_of_a_run_end_at_the_size_in_its_config(tmp_path):
    runner = LandmarkRunner.from_cfg(config_of(tmp_path, 40, **{"env_cfg.log_mib": SMALL}))
    runner.train()
    (log,) = tmp_path.glob("*/*.log")
    text = log.read_text()
    assert log.stat().st_size <= 2**14
    assert "System environment" in text
    assert LEFT_OUT in text
    assert "Epoch(train) [40][1/1]" in text.replace("  ", " ")
    assert "trained in" in text
    files = list(tmp_path.glob("*/vis_data/*.json"))
    assert len(files) == 2
    assert all(2**10 < path.stat().st_size <= 2**14 for path in files)


def test_sizes_that_are_none_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"env_cfg\.log_mib is a size in MiB"):
        LandmarkRunner.from_cfg(config_of(tmp_path, 1, **{"env_cfg.log_mib": 0}))
    with pytest.raises(ValueError, match=r"env_cfg\.pictures_mib is a size in MiB"):
        LandmarkRunner.from_cfg(config_of(tmp_path, 1, **{"env_cfg.pictures_mib": "all"}))
    runner = LandmarkRunner.from_cfg(
        config_of(tmp_path, 1, **{"env_cfg.log_mib": None, "env_cfg.pictures_mib": None})
    )
    (backend,) = runner.visualizer._vis_backends.values()
    assert (backend.log_bytes, backend.picture_bytes) == (None, None)
    assert not any(isinstance(handler, BoundedFileHandler) for handler in runner.logger.handlers)


def test_a_line_that_is_too_long_is_cut_and_a_log_that_was_removed_is_begun_anew(tmp_path):
    handler = BoundedFileHandler(str(tmp_path / "a.log"), 2**14)
    logger = logging.Logger("of this test")
    logger.addHandler(handler)
    logger.warning("ä" * 2**15)
    assert (tmp_path / "a.log").stat().st_size == 2**12
    handler.stream.write("x" * 2**14)  # MMEngine does so
    handler.stream.flush()
    (tmp_path / "a.log").unlink()
    logger.warning("again")
    assert (tmp_path / "a.log").read_text() == "again\n"
    handler.close()


def test_handlers_keep_their_level_format_and_filters(tmp_path):
    logger = MMLogger("bounds", log_file=str(tmp_path / "a.log"), log_level="WARNING", file_mode="a")
    before = next(one for one in logger.handlers if isinstance(one, logging.FileHandler))
    log_bounds.bound_text(logger, {})
    (bounded,) = (one for one in logger.handlers if isinstance(one, BoundedFileHandler))
    assert before not in logger.handlers
    assert (bounded.level, bounded.formatter, bounded.filters) == (
        before.level,
        before.formatter,
        before.filters,
    )
    assert bounded.limit == 32 * 2**20


def lengths(folder, epoch):
    checkpoint = torch.load(folder / f"epoch_{epoch}.pth", weights_only=True)
    scalars = checkpoint["message_hub"]["log_scalars"]
    return {name: len(value["__history_buffer__"]) for name, value in scalars.items()}


def test_a_checkpoint_holds_what_the_log_looks_back_at(tmp_path, monkeypatch):
    monkeypatch.setattr(log_bounds, "_LEAST", 3)
    config = config_of(tmp_path / "few", 9)
    config.train_cfg.val_interval = 1
    config.log_processor = dict(window_size=2)
    LandmarkRunner.from_cfg(config).train()
    found = lengths(tmp_path / "few", 9)
    assert found["train/loss"] == 3
    assert found["val/mre"] == 3
    assert max(found.values()) == 3

    config = config_of(tmp_path / "many", 9)
    config.log_processor = dict(
        window_size=4,
        custom_cfg=[
            dict(data_src="loss", method_name="mean", window_size="global"),
            dict(data_src="lr", method_name="min", window_size=6),
        ],
    )
    LandmarkRunner.from_cfg(config).train()
    found = lengths(tmp_path / "many", 9)
    assert (found["train/loss"], found["train/lr"]) == (9, 6)


def test_a_history_of_an_old_checkpoint_is_cut(tmp_path, monkeypatch):
    short = dict(log_processor=dict(window_size=1))
    LandmarkRunner.from_cfg(config_of(tmp_path, 6, **short)).train()
    monkeypatch.setattr(log_bounds, "_LEAST", 3)
    runner = LandmarkRunner.from_cfg(config_of(tmp_path, 7, resume=True, **short))
    runner.message_hub.log_scalars["train/old"] = HistoryBuffer(range(9), range(9))
    runner.train()
    assert lengths(tmp_path, 7)["train/loss"] == 3
    assert runner.message_hub.get_scalar("train/old").data[0].tolist() == [6, 7, 8]
