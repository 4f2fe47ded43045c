"""Every trouble with MMEngine that is listed as cured stays cured; each test fails without its cure."""

from __future__ import annotations

import http.server
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from mmengine.model import initialize
from mmengine.runner import CheckpointLoader
from mmengine.runner import checkpoint as mmengine_checkpoint
from torch import nn

from mmlandmark.apis import train_config
from mmlandmark.engine import AutocastOptimWrapper, load_config, mmengine_cures
from mmlandmark.models.heads import HeatmapHead
from mmlandmark.registry import OPTIM_WRAPPERS, OPTIMIZERS
from mmlandmark.testing import tiny_config
from mmlandmark.utils.checkpoint import load_checkpoint, load_weights, save_checkpoint
from mmlandmark.utils.shipped import config_root

ROOT = Path(__file__).parents[2]


class Evil:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


# ---- torchvision ----------------------------------------------------------------------------------------


def make_torchvision(folder: Path, content: str) -> None:
    (folder / "torchvision").mkdir()
    (folder / "torchvision" / "__init__.py").write_text(content + "\n")


def test_a_broken_torchvision_is_hidden(tmp_path):
    make_torchvision(tmp_path, "raise RuntimeError('operator torchvision::nms does not exist')")
    # What every Runner does before anything else; a broken torchvision raises RuntimeError from there.
    code = (
        "import mmlandmark.engine\n"
        "from mmengine.utils.dl_utils import collect_env\n"
        "assert 'PyTorch' in collect_env()\n"
        "try: import torchvision\n"
        "except ModuleNotFoundError: print('absent')"
    )
    environment = dict(os.environ, PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}", OMP_NUM_THREADS="1")
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split()[-1] == "absent"


def test_a_good_torchvision_is_left_alone(tmp_path, monkeypatch):
    make_torchvision(tmp_path, "__version__ = '9.9'")
    monkeypatch.syspath_prepend(tmp_path)
    # Set first, so that whatever is there now comes back at the end.
    monkeypatch.setitem(sys.modules, "torchvision", None)
    del sys.modules["torchvision"]
    mmengine_cures.shield_from_torchvision()
    assert sys.modules["torchvision"].__version__ == "9.9"


# ---- loaders --------------------------------------------------------------------------------------------


@pytest.fixture
def website(tmp_path, monkeypatch):
    """Serve a folder over HTTP; return the folder and its address."""
    folder = tmp_path / "website"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(folder))

        def log_message(self, *arguments):
            """Say nothing."""

    try:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    except OSError as error:
        pytest.skip(f"no local socket can be opened: {error}")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "downloads"))
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def load_by_address(address):
    return CheckpointLoader.load_checkpoint(address)


def load_as_collections_do(address):
    # The loaders of torchvision:// and openmmlab:// look an address up and hand it to this function.
    return mmengine_checkpoint.load_from_http(address, map_location="cpu")


@pytest.mark.parametrize("load", [load_by_address, load_as_collections_do])
def test_a_download_runs_no_code(website, tmp_path, load):
    folder, address = website
    torch.save(dict(state_dict={}, extra=Evil(tmp_path / "was_run")), folder / "evil.pth")
    save_checkpoint(dict(state_dict={"weight": torch.ones(2)}), folder / "good.pth")
    assert torch.equal(load(f"{address}/good.pth")["state_dict"]["weight"], torch.ones(2))
    with pytest.raises(ValueError, match=r"http://.*evil\.pth cannot be loaded safely") as caught:
        load(f"{address}/evil.pth")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "was_run").exists()
    with pytest.raises(ValueError, match=r"http://.*gone\.pth cannot be fetched: .*404"):
        load(f"{address}/gone.pth")


def test_equal_names_of_two_places_are_two_files(website, monkeypatch, tmp_path):
    folder, address = website
    for place, value in (("one", 1.0), ("two", 2.0)):
        (folder / place).mkdir()
        save_checkpoint(dict(state_dict={"weight": torch.full((2,), value)}), folder / place / "best.pth")
    for place, value in (("one", 1.0), ("two", 2.0)):
        found = load_weights(f"{address}/{place}/best.pth")
        assert torch.equal(found["weight"], torch.full((2,), value))


def test_half_a_download_is_not_kept(website):
    folder, address = website
    save_checkpoint(dict(state_dict={"weight": torch.ones(20)}), folder / "whole.pth")
    (folder / "half.pth").write_bytes((folder / "whole.pth").read_bytes()[:600])
    with pytest.raises(ValueError, match=r"http://.*half\.pth cannot be loaded safely"):
        load_weights(f"{address}/half.pth")
    (folder / "half.pth").write_bytes((folder / "whole.pth").read_bytes())
    assert torch.equal(load_weights(f"{address}/half.pth")["weight"], torch.ones(20))


def test_published_weights_of_another_module_are_refused(tmp_path):
    save_checkpoint(dict(state_dict={"wait": torch.ones(2)}), tmp_path / "other.pth")
    layer = torch.nn.Linear(2, 2)
    with pytest.raises(ValueError, match="weights of another model"):
        initialize(layer, dict(type="Pretrained", checkpoint=str(tmp_path / "other.pth")))
    save_checkpoint(
        dict(state_dict={f"a.{k}": v for k, v in layer.state_dict().items()}), tmp_path / "own.pth"
    )
    # Of a published network the classifier is passed over.
    classifier = {"a.fc.weight": torch.ones(3)} | {f"a.{k}": v for k, v in layer.state_dict().items()}
    save_checkpoint(dict(state_dict=classifier), tmp_path / "own.pth")
    other = torch.nn.Linear(2, 2)
    initialize(other, dict(type="Pretrained", checkpoint=str(tmp_path / "own.pth"), prefix="a."))
    assert torch.equal(other.weight, layer.weight)


def test_a_file_runs_no_code(tmp_path, monkeypatch):
    torch.save(dict(state_dict={}, extra=Evil(tmp_path / "was_run")), tmp_path / "evil.pth")
    original = torch.load
    # A fork of MMEngine switches the safe mode off; so it is not to depend on torch's default.
    monkeypatch.setattr(
        torch, "load", lambda *a, weights_only=False, **k: original(*a, weights_only=weights_only, **k)
    )
    with pytest.raises(ValueError, match=r"evil\.pth cannot be loaded safely"):
        CheckpointLoader.load_checkpoint(str(tmp_path / "evil.pth"))
    assert not (tmp_path / "was_run").exists()


# ---- checkpoints ----------------------------------------------------------------------------------------


def test_without_the_safe_checkpoint_hook_no_run_can_be_resumed(tmp_path):
    # The reason for the hook; tests/test_engine/test_resume.py shows that it works.
    config = tiny_config(tmp_path, max_epochs=1)
    config.default_hooks.pop("safe_checkpoint")
    train_config(config)
    with pytest.raises(ValueError, match=r"epoch_1\.pth cannot be loaded safely"):
        load_checkpoint(tmp_path / "epoch_1.pth")


def test_a_crash_while_saving_keeps_the_checkpoint_before(tmp_path, monkeypatch):
    config = tiny_config(tmp_path, max_epochs=2)
    config.default_hooks.checkpoint = dict(type="CheckpointHook", interval=1, filename_tmpl="epoch_1.pth")
    original, content = torch.save, []

    def save(checkpoint, path, *arguments, **options):
        if checkpoint["meta"]["epoch"] == 1:
            return original(checkpoint, path, *arguments, **options)
        content.append((tmp_path / "epoch_1.pth").read_bytes())
        path.write(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", save)
    with pytest.raises(OSError, match="no space left"):
        train_config(config)
    assert len(content) == 1
    assert (tmp_path / "epoch_1.pth").read_bytes() == content[0]
    assert load_checkpoint(tmp_path / "epoch_1.pth")["meta"]["epoch"] == 1
    assert not [p for p in tmp_path.rglob("*.pth") if p.name != "epoch_1.pth"], "half a file was left"


# ---- mixed precision ------------------------------------------------------------------------------------


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


# ---- configs and names ----------------------------------------------------------------------------------


def test_a_whole_config_of_this_package_is_a_base_elsewhere(tmp_path):
    name = "unet/unet_phantom-ceph_160x128_cpu.py"
    mine = tmp_path / "mine.py"
    mine.write_text(f"_base_ = 'mmlandmark::{name}'\nmodel = dict(head=dict(num_landmarks=5))\n")
    ours, theirs = load_config(mine), load_config(config_root() / name)
    assert ours.model.head.num_landmarks == 5
    ours.model.head.num_landmarks = theirs.model.head.num_landmarks
    assert ours.to_dict() == theirs.to_dict()


def test_curing_twice_changes_nothing():
    from mmengine.config import Config

    before = Config._get_cfg_path, Config.__dict__["_get_cfg_path"]
    mmengine_cures.install()
    assert (Config._get_cfg_path, Config.__dict__["_get_cfg_path"]) == before


def test_torchs_own_adafactor_has_a_name_and_trains(tmp_path):
    assert OPTIMIZERS.get("TorchAdafactor") is torch.optim.Adafactor
    config = tiny_config(tmp_path, max_epochs=1)
    config.optim_wrapper.optimizer = dict(type="TorchAdafactor", lr=1e-2)
    train_config(config)
    assert (tmp_path / "epoch_1.pth").is_file()


def test_an_optimizer_that_is_missing_is_named(tmp_path):
    # MMEngine says "None is not a callable object". Adafactor and Lion are there only with other packages.
    config = tiny_config(tmp_path, max_epochs=1)
    config.optim_wrapper.optimizer = dict(type="Adafactr", lr=1e-2)
    with pytest.raises(KeyError, match=r"'Adafactr' is not in .*Did you mean .*TorchAdafactor"):
        train_config(config)
