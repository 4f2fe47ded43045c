"""mmlandmark train: options reach the run, errors are one line and leave nothing behind."""

from __future__ import annotations

from mmengine.config import Config

from mmlandmark.utils.checkpoint import load_checkpoint


def test_options_reach_the_run(trained):
    checkpoint = load_checkpoint(trained.folder / "epoch_1.pth")
    assert checkpoint["meta"]["seed"] == 7
    (dumped,) = trained.folder.glob("*.py")
    config = Config.fromfile(dumped)
    assert config.train_cfg.max_epochs == 1
    assert config.optim_wrapper.type == "AutocastOptimWrapper"
    assert config.optim_wrapper.optimizer.lr == 2e-3


def test_a_finished_run_is_not_trained_again(trained, mmlandmark_command):
    before = (trained.folder / "epoch_1.pth").stat().st_mtime_ns
    options = ("--cfg-options", "train_cfg.max_epochs=1", "optim_wrapper.optimizer.lr=2e-3")
    words = (trained.config, "--work-dir", trained.folder, "--seed", 7, "--amp", "--resume", *options)
    done = mmlandmark_command("train", *words)
    assert done.returncode == 0, done.stderr
    assert (trained.folder / "epoch_1.pth").stat().st_mtime_ns == before


def test_an_unknown_type_is_one_line(config, tmp_path, mmlandmark_command, assert_one_line):
    done = mmlandmark_command("train", config, "--cfg-options", "model.backbone.type=UNett")
    assert_one_line(done, "'UNett' is not in", "Did you mean UNet")
    assert not list(tmp_path.rglob("*.pth"))
