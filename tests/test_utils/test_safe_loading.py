"""MMEngine loads weights safely inside ``safe_loading``, and as ever outside of it."""

from __future__ import annotations

import http.server
import threading
from pathlib import Path

import pytest
import torch
from mmengine.model import initialize
from mmengine.runner import CheckpointLoader
from mmengine.runner import checkpoint as mmengine_checkpoint

from mmlandmark.utils.checkpoint import load_weights, save_checkpoint
from mmlandmark.utils.safe_loading import safe_loading


class Evil:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


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
    with safe_loading:
        return CheckpointLoader.load_checkpoint(address)


def load_as_collections_do(address):
    # The loaders of torchvision:// and openmmlab:// look an address up and hand it to this function.
    with safe_loading:
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


@safe_loading
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
    with safe_loading, pytest.raises(ValueError, match=r"evil\.pth cannot be loaded safely"):
        CheckpointLoader.load_checkpoint(str(tmp_path / "evil.pth"))
    assert not (tmp_path / "was_run").exists()


def test_mmengine_is_as_before_afterwards(tmp_path):
    layer, other = torch.nn.Linear(2, 2), dict(type="Pretrained", checkpoint=str(tmp_path / "other.pth"))
    save_checkpoint(dict(state_dict={"wait": torch.ones(2)}), tmp_path / "other.pth")
    http = mmengine_checkpoint.load_from_http
    with safe_loading, pytest.raises(ValueError, match="weights of another model"):
        initialize(layer, other)
    initialize(layer, other)  # MMEngine logs what is missing and goes on
    assert mmengine_checkpoint.load_from_http is http


def test_what_others_register_meanwhile_stays():
    def load_from_shelf(filename, map_location=None):
        return dict(filename=filename)

    with safe_loading:
        CheckpointLoader.register_scheme(prefixes="shelf://", loader=load_from_shelf)
    try:
        assert CheckpointLoader.load_checkpoint("shelf://7") == dict(filename="shelf://7")
    finally:
        del CheckpointLoader._schemes["shelf://"]
