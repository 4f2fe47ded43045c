"""Bad checkpoints through the front door: named in one line, nothing in them is run, no step is trained."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from mmlandmark.utils.checkpoint import save_checkpoint


class Evil:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def spoil(kind: str, weights: dict, folder: Path) -> tuple[Path, str]:
    """Write a bad checkpoint; return it and what must be said about it."""
    path = folder / "start.pth"
    save_checkpoint(weights, path)
    if kind == "missing":
        return folder / "no.pth", r"no\.pth does not exist"
    if kind == "half":
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "code":
        torch.save(dict(weights, extra=Evil(folder / "was_run")), path)
    elif kind == "other_model":
        content = copy.deepcopy(weights)
        content["state_dict"]["neck.weight"] = content["state_dict"].pop("head.convs.0.weight")
        save_checkpoint(content, path)
        return path, r"start\.pth holds the weights of another model: 1 missing \(head.* 1 unexpected \(neck"
    return path, r"start\.pth cannot be loaded safely"


WAYS = ("load_from", "resume", "pretrained", "test")
KINDS = ("missing", "half", "empty", "code", "other_model")


@pytest.mark.parametrize(
    ("kind", "way"),
    # MMEngine's "Pretrained" takes what fits of another model, as is its purpose.
    [(k, w) for k in KINDS for w in WAYS if (k, w) != ("other_model", "pretrained")],
)
def test_a_bad_checkpoint_is_named_and_runs_nothing(lab, weights, kind, way):
    path, message = spoil(kind, weights, lab.folder)
    error = FileNotFoundError if kind == "missing" else ValueError
    use = {
        "load_from": lambda: lab.train({"load_from": str(path)}),
        "resume": lambda: lab.train(resume=str(path)),
        "pretrained": lambda: lab.train({"model.init_cfg": dict(type="Pretrained", checkpoint=str(path))}),
        "test": lambda: lab.test(path),
    }
    with pytest.raises(error, match=message) as caught:
        use[way]()
    assert "\n" not in str(caught.value)
    assert not (lab.folder / "was_run").exists()
    lab.assert_not_started()


def test_a_half_written_checkpoint_in_the_work_folder_is_named(lab, weights):
    lab.run.mkdir()
    path = lab.run / "epoch_1.pth"
    save_checkpoint(weights, path)
    half = path.read_bytes()[:1000]
    path.write_bytes(half)
    with pytest.raises(ValueError, match=r"epoch_1\.pth cannot be loaded safely"):
        lab.train({"train_cfg.max_epochs": 2}, resume="auto")
    assert lab.steps == 0
    assert path.read_bytes() == half
