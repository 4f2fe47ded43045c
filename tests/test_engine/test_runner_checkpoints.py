"""The runner's checkpoints: whole, loaded safely, resumed exactly; see test_resume.py for the last."""

from __future__ import annotations

import copy
import json
import shutil

import pytest
import torch

from full_disks import small_disk
from mmlandmark import apis
from mmlandmark.apis import train_config
from mmlandmark.engine import LandmarkRunner, latest_checkpoint
from mmlandmark.testing import phantom_dataloader, tiny_config
from mmlandmark.utils.checkpoint import load_checkpoint, save_checkpoint
from mmlandmark.utils.disk_space import NoSpaceError, free_space


def short(folder, **overrides):
    loaders = {
        f"{part}_dataloader": phantom_dataloader(num_samples=2, size=(32, 32), train=part == "train")
        for part in ("train", "val", "test")
    }
    config = tiny_config(folder, max_epochs=1, **loaders, **overrides)
    config.model.backbone.widths = (4, 6)
    return config


def flip(path):
    """Change a bit in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut_off(path):
    path.write_bytes(path.read_bytes()[:5000])


def replace_by_text(path):
    path.write_text("no checkpoint")


def replace_by_weights(path):
    save_checkpoint(dict(state_dict=load_checkpoint(path)["state_dict"]), path)


DAMAGE = {
    flip: "SHA-256 is not the one",
    cut_off: "the file is damaged at its end",
    replace_by_text: "it is no file that PyTorch has written",
    replace_by_weights: "holds weights, but not the state of a training",
}


@pytest.fixture(scope="module")
def three_epochs(tmp_path_factory):
    """Return the work folder of a run of three epochs."""
    folder = tmp_path_factory.mktemp("three")
    config = short(folder)
    config.train_cfg.max_epochs = 3
    train_config(config)
    return folder


def logs(folder):
    return "".join(path.read_text() for path in folder.glob("*/*.log"))


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_is_kept_aside_and_the_one_before_is_resumed(tmp_path, three_epochs, damage):
    shutil.copytree(three_epochs, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("2*"))
    damage(tmp_path / "epoch_3.pth")
    damaged = (tmp_path / "epoch_3.pth").read_bytes()
    config = short(tmp_path)
    config.train_cfg.max_epochs = 3
    train_config(config, resume="auto")
    (line,) = [line for line in logs(tmp_path).splitlines() if DAMAGE[damage] in line]
    assert line.endswith("it is kept as epoch_3.pth.damaged: the run is resumed from epoch_2.pth")
    assert (tmp_path / "epoch_3.pth.damaged").read_bytes() == damaged
    assert latest_checkpoint(tmp_path).name == "epoch_3.pth"
    again, before = (load_checkpoint(folder / "epoch_3.pth") for folder in (tmp_path, three_epochs))
    assert all(torch.equal(value, again["state_dict"][key]) for key, value in before["state_dict"].items())


def test_several_damaged_ones_and_a_foreign_one_that_is_in_nobodys_way(tmp_path, three_epochs):
    shutil.copytree(three_epochs, tmp_path, dirs_exist_ok=True)
    for name in ("epoch_3.pth", "epoch_2.pth", "epoch_77.pth"):
        (tmp_path / name).write_bytes(b"PK")
    (tmp_path / "epoch_2.pth.damaged").write_bytes(b"of an earlier time")
    config = short(tmp_path)
    config.train_cfg.max_epochs = 3
    train_config(config, resume="auto")
    names = sorted(path.name for path in tmp_path.glob("*.pth*"))
    assert names == [
        "epoch_1.pth",
        "epoch_2.pth",
        "epoch_2.pth.damaged",
        "epoch_2.pth.damaged2",
        "epoch_3.pth",
        "epoch_3.pth.damaged",
        "epoch_77.pth",
    ]
    assert (tmp_path / "epoch_77.pth").read_bytes() == b"PK"
    assert latest_checkpoint(tmp_path).name == "epoch_3.pth"


def test_where_none_is_whole_one_error_says_so(tmp_path, three_epochs):
    shutil.copytree(three_epochs, tmp_path, dirs_exist_ok=True)
    for path in tmp_path.glob("epoch_*.pth"):
        path.write_bytes(b"PK")
    config = short(tmp_path)
    config.train_cfg.max_epochs = 3
    with pytest.raises(
        ValueError, match=r"epoch_3\.pth cannot.*; no other .* is whole: start again without --resume$"
    ):
        train_config(config, resume="auto")
    assert [path.read_bytes() for path in tmp_path.glob("epoch_*")] == [b"PK"] * 3, "nothing is touched"


def test_a_plan_goes_back_to_a_whole_checkpoint_too(tmp_path):
    config = short(tmp_path, stages=[dict(name="one"), dict(name="two", load_from="run:one:last")])
    config.train_cfg.max_epochs = 2
    train_config(config)
    shutil.rmtree(tmp_path / "02_two")
    note = json.loads((tmp_path / "01_one" / "run.json").read_text())
    (tmp_path / "01_one" / "run.json").write_text(
        json.dumps({key: note[key] for key in ("name", "config_hash")})
    )
    cut_off(tmp_path / "01_one" / "epoch_2.pth")
    assert list(train_config(config)) == ["one", "two"]
    assert (tmp_path / "01_one" / "epoch_2.pth.damaged").is_file()
    (tmp_path / "02_two" / "run.json").unlink()
    for path in (tmp_path / "02_two").glob("epoch_*.pth"):
        path.write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"no other .* is whole: remove .*02_two and train it again$"):
        train_config(config)


def test_a_refused_run_leaves_the_config_of_the_one_before(tmp_path):
    config = short(tmp_path)
    train_config(config)
    before = (tmp_path / "config.json").read_bytes(), (tmp_path / "config.py").read_bytes()
    other = short(tmp_path, optim_wrapper=dict(optimizer=dict(type="SGD")))
    with pytest.raises(ValueError, match="another type of optimiser"):
        train_config(other, resume="auto")
    assert ((tmp_path / "config.json").read_bytes(), (tmp_path / "config.py").read_bytes()) == before
    assert json.loads(before[0])["optim_wrapper"]["optimizer"]["type"] == "Adam"


def test_killed_while_saving_the_one_before_is_kept(tmp_path, monkeypatch):
    config = tiny_config(tmp_path, max_epochs=3)
    config.default_hooks.checkpoint = dict(type="CheckpointHook", interval=1, max_keep_ckpts=1)
    LandmarkRunner.from_cfg(copy.deepcopy(config)).train()
    assert [p.name for p in tmp_path.glob("epoch_*.pth")] == ["epoch_3.pth"]

    def killed(*_):
        raise KeyboardInterrupt

    config.train_cfg.max_epochs, config.resume = 4, True
    runner = LandmarkRunner.from_cfg(config)
    monkeypatch.setattr("mmlandmark.engine.runner_checkpoints.save_checkpoint", killed)
    with pytest.raises(KeyboardInterrupt):
        runner.train()
    assert latest_checkpoint(tmp_path).name == "epoch_3.pth"


def test_a_resumed_run_does_not_ask_for_published_weights(tmp_path):
    config = tiny_config(tmp_path, max_epochs=1)
    LandmarkRunner.from_cfg(copy.deepcopy(config)).train()
    config.model.backbone.init_cfg = dict(type="Pretrained", checkpoint=str(tmp_path / "gone.pth"))
    config.train_cfg.max_epochs, config.resume = 2, True
    LandmarkRunner.from_cfg(config).train()
    assert latest_checkpoint(tmp_path).name == "epoch_2.pth"
    config.resume = False
    with pytest.raises(FileNotFoundError, match=r"gone\.pth"):
        LandmarkRunner.from_cfg(config).train()


def test_a_checkpoint_without_states_of_hooks_goes_on_and_says_so(tmp_path):
    train_config(short(tmp_path))
    old = load_checkpoint(tmp_path / "epoch_1.pth")
    assert old.pop("hook_states")["CheckpointHook"] == dict(best={}, kept=[])
    save_checkpoint(old, tmp_path / "epoch_1.pth")
    config = short(tmp_path, log_level="WARNING")
    config.train_cfg.max_epochs = 2
    train_config(config, resume="auto")
    logs = "".join(path.read_text() for path in tmp_path.glob("*/*.log"))
    assert "the checkpoint holds no state of CheckpointHook: they start from the beginning" in logs


def test_a_full_disk_leaves_what_was_saved_and_the_run_goes_on_when_there_is_room(tmp_path, capfd):
    with small_disk(tmp_path, 1024) as disk:
        config = short(disk / "run", log_level="INFO")
        config.train_cfg.max_epochs = 3
        config.default_hooks.checkpoint.max_keep_ckpts = 1
        train_config(config)
        one = (disk / "run" / "epoch_3.pth").stat().st_size
        config.train_cfg.max_epochs = 4
        (disk / "other").write_bytes(bytes(free_space(disk) - one - 2**14))  # no room for two and the log
        with pytest.raises(
            NoSpaceError,
            match=r"epoch_4\.pth cannot be written: No space left on device \(it takes [\d.]+ KiB",
        ):
            train_config(config, resume="auto")
        assert sorted(path.name for path in (disk / "run").glob("*.pth")) == ["epoch_3.pth"]
        assert not list((disk / "run").glob(".*"))
        assert not (disk / "run" / "run.lock").exists()
        assert load_checkpoint(disk / "run" / "epoch_3.pth")["meta"]["epoch"] == 3
        (disk / "other").unlink()
        train_config(config, resume="auto")
        assert [path.name for path in (disk / "run").glob("*.pth")] == ["epoch_4.pth"]
    assert "Traceback" not in capfd.readouterr().err


def test_a_full_disk_before_a_run_begins_is_one_error(tmp_path, capfd):
    with (
        small_disk(tmp_path, 8) as disk,
        pytest.raises(NoSpaceError, match=r"run.* cannot be written: No space"),
    ):
        train_config(short(disk / "run", log_level="INFO"))
    assert "Traceback" not in capfd.readouterr().err


def test_weights_for_other_landmarks_may_start_a_training_and_no_test(tmp_path):
    config = short(tmp_path / "one")
    train_config(config)
    start = str(tmp_path / "one" / "epoch_1.pth")
    other = short(tmp_path / "other", load_from=start)
    loaders = {
        f"{part}_dataloader": phantom_dataloader(37, 2, (32, 32), train=part == "train")
        for part in ("train", "val", "test")
    }
    other.update(loaders)
    other.model.head.num_landmarks = 37
    hint = "; to start from those that fit, set load_strict=False"
    with pytest.raises(ValueError, match=f"2 of another shape .*{hint}"):
        train_config(other)
    with pytest.raises(ValueError, match="2 of another shape") as error:
        apis.test_config(other, start)
    assert hint not in str(error.value)
    other.load_strict = False
    train_config(other)
    state = load_checkpoint(tmp_path / "other" / "epoch_1.pth")["state_dict"]
    assert len(state["head.convs.0.bias"]) == 37
