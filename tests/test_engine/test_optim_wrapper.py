"""Mixed precision on every device."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mmlandmark.apis import train_config
from mmlandmark.engine import AutocastOptimWrapper
from mmlandmark.models.heads import HeatmapHead
from mmlandmark.registry import OPTIM_WRAPPERS
from mmlandmark.testing import tiny_config
from mmlandmark.utils.checkpoint import load_checkpoint


class Watched(nn.Module):
    """A layer that remembers the type its output had."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.dtype = nn.Linear(4, 4), None

    def forward(self, x):
        x = self.layer(x)
        self.dtype = x.dtype
        return x.float().square().mean()


@pytest.mark.parametrize(("dtype", "expected"), [("bfloat16", torch.bfloat16), ("float32", torch.float32)])
def test_autocast_works_on_a_cpu(dtype, expected):
    torch.manual_seed(0)
    model = Watched()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    wrapper = OPTIM_WRAPPERS.build(dict(type="AutocastOptimWrapper", optimizer=optimizer, dtype=dtype))
    x, losses = torch.rand(8, 4), []
    for _ in range(5):
        with wrapper.optim_context(model):
            loss = model(x)
        wrapper.update_params(loss)
        losses.append(float(loss.detach()))
    assert model.dtype == expected
    assert losses[-1] < losses[0]
    assert all(p.dtype == torch.float32 for p in model.parameters())
    assert not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize(
    ("supported", "dtype", "told"),
    [(False, "bfloat16", 1), (True, "bfloat16", 0), (None, "bfloat16", 0), (False, "float32", 0)],
)
def test_a_cpu_that_is_slow_in_bfloat16_is_told_once(monkeypatch, supported, dtype, told):
    monkeypatch.setattr("mmlandmark.engine.optim_wrapper.has_bfloat16", lambda: supported)
    lines = []
    monkeypatch.setattr("mmlandmark.engine.optim_wrapper.print_log", lambda text, *_: lines.append(text))
    model = Watched()
    wrapper = AutocastOptimWrapper(optimizer=torch.optim.SGD(model.parameters(), lr=0.1), dtype=dtype)
    for _ in range(2):
        with wrapper.optim_context(model):
            model(torch.rand(8, 4))
    assert len(lines) == told
    assert all("optim_wrapper.dtype=auto" in line for line in lines)


@pytest.mark.parametrize(
    ("supported", "expected"), [(False, "float32"), (True, "bfloat16"), (None, "bfloat16")]
)
def test_training_takes_what_the_processor_is_made_for(tmp_path, monkeypatch, capsys, supported, expected):
    monkeypatch.setattr("mmlandmark.engine.optim_wrapper.has_bfloat16", lambda: supported)
    config = tiny_config(tmp_path, max_epochs=1, log_level="INFO")
    config.optim_wrapper.type = "AutocastOptimWrapper"
    seen = []
    monkeypatch.setattr(
        "mmlandmark.models.heads.HeatmapHead.forward", _noting(HeatmapHead.forward, seen.append)
    )
    train_config(config)
    assert load_checkpoint(tmp_path / "epoch_1.pth")["meta"]["precision"] == expected
    assert seen[0] == getattr(torch, expected)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  device")]
    assert f", {expected}" in line
    assert ("no instructions for bfloat16" in line) == (supported is False)


def _noting(forward, note):
    def noted(self, features, *args, **kwargs):
        maps = forward(self, features, *args, **kwargs)
        note(maps[0].dtype)
        return maps

    return noted


def test_a_gpu_computes_in_bfloat16_whatever_the_processor_is(monkeypatch):
    monkeypatch.setattr("mmlandmark.engine.optim_wrapper.has_bfloat16", lambda: False)
    wrapper = AutocastOptimWrapper(optimizer=torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1))
    assert wrapper.precision("cuda") == "bfloat16"
    assert wrapper.precision() == "float32"


@pytest.mark.skipif(torch.cuda.is_available(), reason="here AmpOptimWrapper works")
def test_loss_scaling_without_a_gpu_says_what_to_use():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    with pytest.raises(ValueError, match="AutocastOptimWrapper trains in bfloat16 on any device"):
        OPTIM_WRAPPERS.build(dict(type="AmpOptimWrapper", optimizer=optimizer))


def test_autocast_wants_no_loss_scaling():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    with pytest.raises(ValueError, match=r"'bfloat16', 'float32'.*got 'float16'"):
        AutocastOptimWrapper(optimizer=optimizer, dtype="float16")


def test_a_run_in_autocast_trains(tmp_path, monkeypatch):
    seen = set()
    original = nn.Conv2d.forward

    def forward(self, x):
        out = original(self, x)
        seen.add((self.training, out.dtype))
        return out

    monkeypatch.setattr(nn.Conv2d, "forward", forward)
    config = tiny_config(tmp_path, max_epochs=1)
    config.optim_wrapper.update(type="AutocastOptimWrapper", dtype="bfloat16")
    train_config(config)
    assert (True, torch.bfloat16) in seen
    assert (True, torch.float32) not in seen
    state = load_checkpoint(tmp_path / "epoch_1.pth")["state_dict"]
    assert all(
        w.dtype == torch.float32 and torch.isfinite(w).all() for w in state.values() if w.is_floating_point()
    )
