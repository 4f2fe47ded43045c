"""Checkpoints: whole, safe to read, and of the right model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from mmlandmark.utils import checkpoint as module
from mmlandmark.utils.checkpoint import check_state_dict, load_checkpoint, save_checkpoint


class Evil:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_round_trip(tmp_path):
    content = dict(state_dict={"a": torch.arange(3)}, meta=dict(epoch=2, names=["x"], ratio=0.5))
    save_checkpoint(content, tmp_path / "new" / "a.pth")
    loaded = load_checkpoint(tmp_path / "new" / "a.pth")
    assert torch.equal(loaded["state_dict"]["a"], torch.arange(3))
    assert loaded["meta"] == content["meta"]


def test_home_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    save_checkpoint({"a": 1}, tmp_path / "a.pth")
    assert load_checkpoint("~/a.pth") == {"a": 1}


def test_a_crash_while_saving_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.pth"
    save_checkpoint({"epoch": 1}, path)

    def half(content, target):
        target.write(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(module.torch, "save", half)
    with pytest.raises(OSError, match="no space"):
        save_checkpoint({"epoch": 2}, path)
    assert load_checkpoint(path) == {"epoch": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_loaded_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"checkpoint .*none\.pth does not exist"):
        load_checkpoint(tmp_path / "none.pth")
    with pytest.raises(FileNotFoundError, match="is a folder: there is none in it"):
        load_checkpoint(tmp_path)
    path = tmp_path / "bad.pth"
    torch.save([1, 2], path)
    with pytest.raises(FileNotFoundError, match=r"is a folder: name one of bad\.pth in it"):
        load_checkpoint(tmp_path)
    (tmp_path / "last_checkpoint").write_text("work_dirs/x/epoch_1.pth")
    with pytest.raises(ValueError, match="cannot be loaded safely") as error:
        load_checkpoint(tmp_path / "last_checkpoint")
    assert "weights_only" not in str(error.value), "nobody is told to load it unsafely"
    with pytest.raises(ValueError, match=r"bad\.pth holds a list, not a dict"):
        load_checkpoint(path)
    for content in (b"", b"not a checkpoint"):
        path.write_bytes(content)
        said = f"it begins with {content[:8]!r}" if content else "it is empty"
        with pytest.raises(ValueError, match=r"bad\.pth cannot be loaded safely") as error:
            load_checkpoint(path)
        assert str(error.value).endswith(f"it is no file that PyTorch has written ({said})")


@pytest.mark.parametrize("fraction", [0.3, 0.9, 0.999])
def test_a_half_written_file_is_named(tmp_path, fraction):
    path = tmp_path / "half.pth"
    save_checkpoint({"weight": torch.zeros(1000)}, path)
    data = path.read_bytes()
    path.write_bytes(data[: int(fraction * len(data))])
    with pytest.raises(ValueError, match=r"half\.pth cannot be loaded safely") as caught:
        load_checkpoint(path)
    assert "\n" not in str(caught.value)


def test_code_in_a_file_is_not_run(tmp_path):
    path, trace = tmp_path / "evil.pth", tmp_path / "was_run"
    torch.save(dict(state_dict={}, extra=Evil(trace)), path)
    with pytest.raises(ValueError, match=r"evil\.pth cannot be loaded safely"):
        load_checkpoint(path)
    assert not trace.exists()
    torch.load(path, weights_only=False)  # the file does what it threatens
    assert trace.exists()


def test_weights_of_another_model_are_refused():
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    good = model.state_dict()
    check_state_dict(model, good, "here")
    with pytest.raises(ValueError, match=r"here holds .*: 1 missing \(0\.bias\)$"):
        check_state_dict(model, {k: v for k, v in good.items() if k != "0.bias"}, "here")
    with pytest.raises(ValueError, match=r"1 unexpected \(head\)$"):
        check_state_dict(model, {**good, "head": torch.zeros(1)}, "here")
    with pytest.raises(ValueError, match=r"1 of another shape \(0\.weight \(4, 2\) instead of \(3, 2\)\)"):
        check_state_dict(model, {**good, "0.weight": torch.zeros(4, 2)}, "here")
    with pytest.raises(
        ValueError, match=r"7 missing \(0\.weight, 0\.bias, 1\.weight, \.\.\.\); 1 unexpected"
    ):
        check_state_dict(model, {"other": torch.zeros(1)}, "here")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path, value):
    weights = {"a": torch.zeros(2), "b.weight": torch.tensor([0.0, value]), "c": torch.tensor(value)}
    save_checkpoint({"state_dict": weights}, tmp_path / "a.pth")
    with pytest.raises(
        ValueError, match=r"a\.pth: state_dict holds 2 weights that are NaN or infinite: b\.weight, c"
    ):
        load_checkpoint(tmp_path / "a.pth")
    save_checkpoint(weights, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"holds 2 weights that are NaN or infinite"):
        load_checkpoint(tmp_path / "a.pth")


@pytest.mark.parametrize("name", ["module.{}", "_orig_mod.{}", "module._orig_mod.{}", "_orig_mod.module.{}"])
def test_prefixes_of_wrappers_are_taken_off(tmp_path, name):
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    state = {name.format(k): v for k, v in model.state_dict().items()}
    save_checkpoint({"state_dict": state}, tmp_path / "a.pth")
    check_state_dict(model, load_checkpoint(tmp_path / "a.pth")["state_dict"], "here")


def test_a_part_that_was_compiled_keeps_its_place(tmp_path):
    save_checkpoint(
        {"state_dict": {"backbone._orig_mod.conv": torch.zeros(1), "module.a": torch.zeros(1)}},
        tmp_path / "a",
    )
    assert set(load_checkpoint(tmp_path / "a")["state_dict"]) == {"backbone.conv", "module.a"}


def test_a_refused_pickle_is_not_recommended(tmp_path):
    path = tmp_path / "evil.pth"
    for zipped in (True, False):
        torch.save(dict(extra=Evil(tmp_path / "x")), path, _use_new_zipfile_serialization=zipped)
        with pytest.raises(ValueError, match="cannot be loaded safely") as error:
            load_checkpoint(path)
        for advice in ("weights_only", "add_safe_globals", "trust", "\n"):
            assert advice not in str(error.value)
        assert error.value.__cause__ is None


@pytest.mark.parametrize("room", [0, 2**16, 2**21])
def test_a_full_disk_is_named(tmp_path, monkeypatch, room):
    class Full(module.HashingFile):
        written = 0

        def write(self, data):
            self.written += len(data)
            if self.written > room:  # torch then finds a wrong position and says that instead
                raise OSError(28, "No space left on device")
            return super().write(data)

    monkeypatch.setattr(module, "HashingFile", Full)
    with pytest.raises(
        OSError, match=r"big\.pth cannot be written: No space left on device .*takes 4 MiB"
    ) as error:
        save_checkpoint({"a": torch.zeros(2**20)}, tmp_path / "big.pth")
    assert "inline_container" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_fault_of_the_disk_is_told_as_it_is(tmp_path, monkeypatch):
    def broken(*_):
        raise RuntimeError("of its own")

    monkeypatch.setattr(torch, "save", broken)
    with pytest.raises(RuntimeError, match="of its own"):
        save_checkpoint({"a": torch.zeros(2)}, tmp_path / "a.pth")


def test_what_has_no_weights_under_state_dict_is_refused(tmp_path):
    for state in ([1], {"a": 1}, {3: torch.zeros(1)}, {"a": torch.zeros(1).expand(10**9)}):
        save_checkpoint({"state_dict": state}, tmp_path / "a.pth")
        with pytest.raises(ValueError, match=r"a\.pth: state_dict"):
            load_checkpoint(tmp_path / "a.pth")
