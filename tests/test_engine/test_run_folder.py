"""The folder of a run: one run at a time, nothing half-written, a test overwrites only itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmlandmark.apis import find_checkpoint, train_config
from mmlandmark.engine import ConfigError, RunLock, folder_of_test
from mmlandmark.engine.run_folder import clean_temporaries
from mmlandmark.testing import phantom_dataloader, tiny_config
from mmlandmark.utils.checkpoint import save_checkpoint
from mmlandmark.utils.files import atomic_path

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr("mmengine.runner.runner.collect_env", dict)


def short(folder, **overrides):
    loaders = {
        f"{part}_dataloader": phantom_dataloader(num_samples=2, size=(32, 32), train=part == "train")
        for part in ("train", "val", "test")
    }
    config = tiny_config(folder, max_epochs=1, **loaders, **overrides)
    config.model.backbone.widths = (4, 6)
    return config


def test_two_runs_in_one_folder_are_refused(tmp_path):
    with RunLock(tmp_path):
        with pytest.raises(
            ConfigError, match=rf"another run writes here, process {os.getpid()} on .*--work-dir"
        ):
            train_config(short(tmp_path))
        assert not list(tmp_path.glob("*.pth"))
    assert not (tmp_path / "run.lock").exists()
    train_config(short(tmp_path))
    assert not (tmp_path / "run.lock").exists()


def test_a_lock_is_left_by_a_run_that_fails(tmp_path):
    with pytest.raises(RuntimeError, match="x"), RunLock(tmp_path):
        raise RuntimeError("x")
    assert not (tmp_path / "run.lock").exists()


def test_a_lock_of_a_killed_process_is_taken_over(tmp_path):
    code = (
        "import os, sys; from mmlandmark.engine import RunLock\nRunLock(sys.argv[1]).__enter__(); os._exit(9)"
    )
    environment = dict(os.environ, PYTHONPATH=str(ROOT))
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=environment).returncode == 9
    assert (tmp_path / "run.lock").is_file()
    with RunLock(tmp_path):
        owner = json.loads((tmp_path / "run.lock").read_text())
        assert owner["pid"] == os.getpid()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": "x"}'])
def test_a_lock_that_was_cut_off_is_taken_over(tmp_path, text):
    (tmp_path / "run.lock").write_text(text)
    if text == '{"pid": "x"}':
        os.utime(tmp_path / "run.lock", (1, 1))
    with RunLock(tmp_path):
        pass


def test_a_number_that_was_given_anew_is_another_process(tmp_path):
    with RunLock(tmp_path):
        owner = json.loads((tmp_path / "run.lock").read_text())
    (tmp_path / "run.lock").write_text(json.dumps(dict(owner, began="1")))
    with RunLock(tmp_path):
        pass


def test_another_host_is_believed_while_its_heart_beats(tmp_path):
    lock = tmp_path / "run.lock"
    lock.write_text(json.dumps(dict(host="elsewhere", pid=1, began="1")))
    with pytest.raises(ConfigError, match="process 1 on elsewhere"), RunLock(tmp_path):
        pass
    os.utime(lock, (time.time() - 3600,) * 2)
    with RunLock(tmp_path):
        pass


def test_the_heart_beats(tmp_path, monkeypatch):
    monkeypatch.setattr(RunLock, "every", 0.01)
    with RunLock(tmp_path):
        os.utime(tmp_path / "run.lock", (1, 1))
        deadline = time.monotonic() + 10
        while (tmp_path / "run.lock").stat().st_mtime < 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_what_a_kill_left_half_written_is_removed(tmp_path):
    with atomic_path(tmp_path / "epoch_1.pth") as temporary:
        name = temporary.name
    left = [name, ".best_mre_epoch_2-abcdefgh.pth"]
    kept = [".mine.pth", "epoch_1.pth", ".epoch_1-abc.pth", ".best-abcdefgh.json", ".x-abcdefgh.txt"]
    for file in (*left, *kept):
        (tmp_path / file).write_bytes(b"x")
    (tmp_path / ".folder-abcdefgh.pth").mkdir()
    assert sorted(clean_temporaries(tmp_path)) == sorted(left)
    os.utime(tmp_path / ".best-abcdefgh.json", (1, 1))
    assert clean_temporaries(tmp_path) == [".best-abcdefgh.json"]
    assert {p.name for p in tmp_path.iterdir()} == {*kept, ".folder-abcdefgh.pth"} - {".best-abcdefgh.json"}
    (tmp_path / left[0]).write_bytes(b"x")
    train_config(short(tmp_path))
    assert not (tmp_path / left[0]).exists()


def test_a_test_overwrites_only_itself(tmp_path):
    config = short(tmp_path)
    config.default_hooks.checkpoint.update(save_best="mre", rule="less")
    train_config(config)
    plain = folder_of_test(config, find_checkpoint(config, None))
    assert plain == folder_of_test(config, find_checkpoint(config, None)) == tmp_path / "test"
    assert folder_of_test(config, find_checkpoint(config, "best")) == tmp_path / "test_best"
    names = {plain.name, "test_best"}
    for change in (
        lambda c: c.model.update(test_cfg=dict(flip=True)),
        lambda c: c.model.head.codec.update(sigma=3.0),
        lambda c: c.test_evaluator.update(radii=(8,)),
    ):
        other = short(tmp_path)
        other.default_hooks = config.default_hooks
        change(other)
        names.add(folder_of_test(other, tmp_path / "epoch_1.pth").name)
    save_checkpoint({"a": 1}, tmp_path / "elsewhere" / "epoch_1.pth")
    names.add(folder_of_test(config, tmp_path / "elsewhere" / "epoch_1.pth").name)
    (tmp_path / "epoch_0.pth").write_bytes(b"x")
    os.utime(tmp_path / "epoch_0.pth", (1, 1))
    names.add(folder_of_test(config, tmp_path / "epoch_0.pth").name)
    (plain / "test.json").write_text('{"test": "test_best"}')
    assert folder_of_test(config, find_checkpoint(config, None)) == tmp_path / "test_last"
    assert folder_of_test(config, find_checkpoint(config, "best")) == tmp_path / "test"
    (plain / "test.json").unlink()  # as earlier versions left it
    assert "test_epoch_0" in names
    assert len(names) == 7
    moved = short(tmp_path)
    moved.test_dataloader.update(num_workers=1)  # the same test on another machine
    assert folder_of_test(moved, tmp_path / "epoch_1.pth") == plain


def test_the_newest_checkpoint_is_broken_the_one_beside_it_is_named(tmp_path):
    config = short(tmp_path)
    config.train_cfg.max_epochs = 2
    train_config(config)
    newest = tmp_path / "epoch_2.pth"
    newest.write_bytes(newest.read_bytes()[:5000])
    with pytest.raises(
        ValueError, match=r"epoch_2\.pth cannot be loaded.* remove epoch_2\.pth.* from epoch_1\.pth"
    ):
        train_config(config, resume="auto")
    newest.unlink()
    train_config(config, resume="auto")
    assert newest.is_file()
    for path in (newest, tmp_path / "epoch_1.pth"):
        path.write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"there is no other in the folder"):
        train_config(config, resume="auto")


def test_a_refused_run_leaves_the_config_of_the_one_before(tmp_path):
    config = short(tmp_path)
    train_config(config)
    before = (tmp_path / "config.json").read_bytes(), (tmp_path / "config.py").read_bytes()
    other = short(tmp_path, optim_wrapper=dict(optimizer=dict(type="SGD")))
    with pytest.raises(ValueError, match="another type of optimiser"):
        train_config(other, resume="auto")
    assert ((tmp_path / "config.json").read_bytes(), (tmp_path / "config.py").read_bytes()) == before
    assert json.loads(before[0])["optim_wrapper"]["optimizer"]["type"] == "Adam"


def test_float16_needs_a_gpu(tmp_path):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    config = short(tmp_path, optim_wrapper=dict(type="AmpOptimWrapper"))
    with pytest.raises(ConfigError, match="AmpOptimWrapper trains in float16, which needs a GPU"):
        train_config(config)
    assert not list(tmp_path.glob("*.pth"))


def test_a_run_that_is_stopped_says_how_to_go_on(tmp_path, monkeypatch):
    from mmlandmark.engine.hooks import EpochSeedHook

    original, stop = EpochSeedHook.before_train_epoch, {"at": 0}

    def stopped(self, runner):
        if runner.epoch == stop["at"]:
            raise KeyboardInterrupt
        original(self, runner)

    monkeypatch.setattr(EpochSeedHook, "before_train_epoch", stopped)
    config = short(tmp_path)
    config.train_cfg.max_epochs = 2
    with pytest.raises(KeyboardInterrupt, match=r"stopped before the first checkpoint of .*: start again"):
        train_config(config)
    stop["at"] = 1
    with pytest.raises(KeyboardInterrupt, match=r"stopped: .* goes on from epoch_1\.pth with --resume"):
        train_config(config)
    assert not (tmp_path / "run.lock").exists()
