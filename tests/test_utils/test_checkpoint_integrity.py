"""No damage to a checkpoint file passes in silence."""

from __future__ import annotations

import io
import random
import time
import warnings
import zipfile

import pytest
import torch

from mmlandmark.utils.checkpoint import load_checkpoint, save_checkpoint
from mmlandmark.utils.checkpoint_integrity import HashingFile, written_hash


def content(size=200):
    generator = torch.Generator().manual_seed(0)
    weights = {f"layer{i}.weight": torch.randn(size, generator=generator) for i in range(4)}
    return dict(state_dict=weights, meta=dict(epoch=3, names=["a", "b"]), optimizer=dict(lr=1e-3))


def same(a, b) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    return a == b


@pytest.mark.parametrize("ours", [True, False])
def test_no_flipped_bit_passes_in_silence(tmp_path, ours):
    path, expected = tmp_path / "a.pth", content()
    save_checkpoint(expected, path) if ours else torch.save(expected, path)
    whole, rng, refused = path.read_bytes(), random.Random(0), 0
    for _ in range(400):
        data, where = bytearray(whole), rng.randrange(8 * len(whole))
        data[where // 8] ^= 1 << where % 8
        path.write_bytes(data)
        said, found = "", expected
        try:
            found = load_checkpoint(path)
        except ValueError as error:
            said = str(error)
        assert "\n" not in said
        assert not said or "a.pth" in said
        assert same(expected, found), f"bit {where} changed what is loaded"
        refused += bool(said)
    assert refused >= (390 if ours else 250)


@pytest.mark.parametrize("cut", [1, 10, 70, 82, 90, 1000])
def test_a_file_that_was_cut_or_grew_is_refused(tmp_path, cut):
    path = tmp_path / "a.pth"
    save_checkpoint(content(), path)
    whole = path.read_bytes()
    for data in (whole[:-cut], whole + b"\0" * cut):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=r"a\.pth cannot be loaded safely"):
            load_checkpoint(path)


def test_other_programs_read_it(tmp_path):
    path = tmp_path / "a.pth"
    save_checkpoint(content(), path)
    assert same(torch.load(path, weights_only=True), content())
    assert same(torch.load(path, weights_only=True, mmap=True), content())
    assert zipfile.ZipFile(path).testzip() is None


def test_the_old_format_is_named_unprotected(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr("mmlandmark.utils.checkpoint_integrity.print_log", lambda text, *_: said.append(text))
    torch.save(content(), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert same(load_checkpoint(tmp_path / "old.pth"), content())
    (line,) = said
    assert "has no checksums" in line
    save_checkpoint(content(), tmp_path / "new.pth")
    load_checkpoint(tmp_path / "new.pth")
    assert len(said) == 1


def test_the_look_is_cheap(tmp_path):
    path = tmp_path / "large.pth"
    save_checkpoint(dict(state_dict={"a": torch.zeros(5_000_000)}), path)
    began = time.process_time()
    load_checkpoint(path)
    assert time.process_time() - began < 2, "20 MB; a hash takes a few hundredths of a second"


@pytest.mark.parametrize("ours", [True, False])
def test_a_file_that_unpacks_to_more_than_its_size_is_refused(tmp_path, ours):
    torch.save(dict(state_dict=dict(a=torch.zeros(10**6))), tmp_path / "a.pth")
    path = tmp_path / "small.pth"
    with (
        zipfile.ZipFile(tmp_path / "a.pth") as source,
        HashingFile(path) if ours else path.open("wb") as file,
        zipfile.ZipFile(_Stream(file), "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for entry in source.infolist():
            target.writestr(entry.filename, source.read(entry))
    assert path.stat().st_size < 10**5
    with pytest.raises(ValueError, match=r"small\.pth cannot be loaded safely: its \d+ bytes unpack to"):
        load_checkpoint(path)


class _Stream(io.RawIOBase):
    """What a zip archive can be written to from front to back."""

    def __init__(self, file) -> None:
        self.file = file

    def writable(self) -> bool:
        return True

    def write(self, data) -> int:
        return self.file.write(data)


def test_the_hash_of_a_file_is_read_without_the_rest(tmp_path):
    for epoch in (3, 3, 4):
        save_checkpoint(dict(content(), meta=dict(epoch=epoch)), tmp_path / f"{epoch}.pth")
    three, four = written_hash(tmp_path / "3.pth"), written_hash(tmp_path / "4.pth")
    assert len(three) == 64
    assert three != four
    assert (tmp_path / "3.pth").read_bytes().endswith(three.encode())
    torch.save(content(), tmp_path / "other.pth")
    (tmp_path / "short.pth").write_bytes(b"PK")
    assert written_hash(tmp_path / "other.pth") is written_hash(tmp_path / "short.pth") is None
