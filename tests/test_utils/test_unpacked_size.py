"""Files of a few bytes that would take hundreds of megabytes are refused before that memory is used."""

from __future__ import annotations

import io
import struct
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from mmlandmark.models.model_file import ModelFile
from mmlandmark.testing import tiny_model
from mmlandmark.utils import checkpoint
from mmlandmark.utils.checkpoint import load_checkpoint, load_weights, save_checkpoint
from mmlandmark.utils.unpacked_size import check_loaded

NUMBERS = 50_000_000  # 200 MB in float32
FAR_LESS = 60_000  # KiB by which the memory of this process may grow


def memory(name: str) -> int:
    """Return what this process has now (VmRSS), or has had at most (VmHWM), in KiB."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name)]
    return int(line.split()[1])


@pytest.fixture(autouse=True)
def no_memory():
    """Fail a test that uses as much memory as the file asks for."""
    if sys.platform != "linux":
        pytest.skip("other systems measure memory in another way")
    Path("/proc/self/clear_refs").write_text("5")  # the most so far is forgotten
    before = memory("VmRSS")
    yield
    assert memory("VmHWM") - before < FAR_LESS


def entries(content) -> dict[str, bytes]:
    stream = io.BytesIO()
    torch.save(content, stream)
    with zipfile.ZipFile(stream) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def compressed(path: Path, source: dict[str, bytes]) -> None:
    """Write a checkpoint whose weights are all zeros, compressed, without holding them in memory."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in source.items():
            if name.endswith("data/0"):
                with archive.open(name, "w") as entry:
                    for _ in range(4 * NUMBERS // 10**6):
                        entry.write(bytes(10**6))
            else:
                archive.writestr(name, data.replace(b"K\x04", b"J" + struct.pack("<i", NUMBERS)))
    assert path.stat().st_size < 10**6


@pytest.fixture
def bomb(tmp_path):
    path = tmp_path / "net.pth"
    compressed(path, entries(dict(state_dict=dict(w=torch.zeros(4)))))
    return path


def test_a_compressed_checkpoint(bomb):
    with pytest.raises(
        ValueError, match=r"net\.pth cannot be loaded safely: its \d+ bytes unpack to 2\d{8}, which"
    ):
        load_checkpoint(bomb)


def test_weights_in_a_package_whose_hash_is_right(bomb, monkeypatch):
    monkeypatch.setattr(checkpoint, "package_file", lambda source: bomb)
    with pytest.raises(ValueError, match=r"bytes unpack to 2\d{8}, which no checkpoint does"):
        load_weights("package://net")


def test_a_compressed_model_file(tmp_path):
    tiny_model().save(tmp_path / "a.mml.pth")
    with zipfile.ZipFile(tmp_path / "a.mml.pth") as archive:
        source = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(tmp_path / "b.mml.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in source.items():
            archive.writestr(name, data)
        with archive.open("more", "w") as entry:
            for _ in range(200):
                entry.write(bytes(10**6))
    with pytest.raises(ValueError, match="which no checkpoint does"):
        ModelFile.load(tmp_path / "b.mml.pth")


def calling(name: bytes, number: int) -> bytes:
    """Return a pickle of {"x": name(number)}."""
    call = b"c" + name + b"\nJ" + struct.pack("<i", number) + b"\x85R"
    return b"\x80\x02}X\x01\x00\x00\x00x" + call + b"s."


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (b"builtins\nbytearray", "it makes arrays of bytes"),
        (b"__builtin__\nbytearray", "it makes arrays of bytes"),
        (b"torch\nFloatTensor", "bytes unpack to 200000000"),
        (b"torch\nTensor", "bytes unpack to 200000000"),
        (b"torch.storage\nUntypedStorage", "bytes unpack to 50000000"),
    ],
)
def test_memory_that_a_number_asks_for(tmp_path, name, message):
    with zipfile.ZipFile(tmp_path / "net.pth", "w", zipfile.ZIP_STORED) as archive:
        for entry, data in entries(dict(x=1)).items():
            archive.writestr(entry, calling(name, NUMBERS) if entry.endswith("data.pkl") else data)
    with pytest.raises(ValueError, match=rf"net\.pth cannot be loaded safely: .*{message}"):
        load_checkpoint(tmp_path / "net.pth")


@pytest.mark.parametrize("name", [b"builtins\nbytearray", b"torch\nFloatTensor"])
def test_the_format_from_before_2020(tmp_path, name):
    stream = io.BytesIO()
    torch.save(dict(x=1), stream, _use_new_zipfile_serialization=False)
    plain = b"}q\x00X\x01\x00\x00\x00xq\x01K\x01s."
    assert plain in stream.getvalue()
    (tmp_path / "old.pth").write_bytes(stream.getvalue().replace(b"\x80\x02" + plain, calling(name, NUMBERS)))
    with pytest.raises(
        ValueError, match=r"old\.pth cannot be loaded safely: it(s \d+ bytes unpack| makes arrays)"
    ):
        load_checkpoint(tmp_path / "old.pth")


def test_hdf5(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("w", shape=(NUMBERS,), dtype="f4", compression="gzip", chunks=(10**6,))
    with pytest.raises(ValueError, match=r"a\.h5: they unpack to far more than the size of the file"):
        load_weights(tmp_path / "a.h5")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file.create_dataset("w", data=np.random.default_rng(0).normal(size=1000), compression="gzip")
    assert load_weights(tmp_path / "b.h5")["w"].shape == (1000,)


def test_what_shares_memory_counts_once(tmp_path):
    one = torch.arange(10_000.0)
    parts = dict(a=one, b=one[5:], c=[one.view(100, 100)] * 3, d=dict(e=(one,)), f=torch.zeros(0))
    save_checkpoint(parts, tmp_path / "a.pth")
    loaded = load_checkpoint(tmp_path / "a.pth")
    assert torch.equal(loaded["c"][2].flatten(), one)
    loaded["itself"] = loaded  # what is nested without an end is counted in the end
    check_loaded(loaded, tmp_path / "a.pth", 40_000)
    with pytest.raises(ValueError, match="its 39999 bytes unpack to 40000"):
        check_loaded(loaded, tmp_path / "a.pth", 39_999)


@pytest.mark.filterwarnings("ignore:Sparse invariant checks")
def test_sizes_of_what_has_no_memory_of_its_own(tmp_path):
    sparse = torch.sparse_coo_tensor(torch.tensor([[0]]), torch.ones(1), (10**9,))
    check_loaded(dict(a=torch.empty(10**9, device="meta"), b=sparse), tmp_path / "a.pth", 0)
