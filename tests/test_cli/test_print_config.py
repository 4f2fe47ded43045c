"""mmlandmark print-config: what it prints is a config."""

from __future__ import annotations

from mmengine.config import Config


def test_options_are_applied(config, tmp_path, mmlandmark_command):
    options = ("--cfg-options", "model.head.loss.alpha=20", "--work-dir", "there")
    done = mmlandmark_command("print-config", config, *options)
    assert done.returncode == 0, done.stderr
    (tmp_path / "printed.py").write_text(done.stdout)
    printed = Config.fromfile(tmp_path / "printed.py")
    assert printed.model.head.loss == dict(type="EWCLoss", alpha=20)
    assert printed.work_dir == "there"
    assert printed.train_cfg.max_epochs == 9


def test_a_stage(config, mmlandmark_command, assert_one_line):
    staged = config.with_name("staged.py")
    staged.write_text(
        "_base_ = './unet_tiny.py'\n"
        "stages = [dict(name='one'), dict(name='two', train_cfg=dict(max_epochs=3))]\n"
    )
    done = mmlandmark_command("print-config", staged, "--stage", "two")
    assert done.returncode == 0, done.stderr
    assert "max_epochs=3" in done.stdout
    assert "stages" not in done.stdout
    done = mmlandmark_command("print-config", staged, "--stage", "three")
    assert_one_line(done, "error: no stage 'three'; there are ['one', 'two']")
