"""A file is asked for what it holds; packed content is unpacked up to a limit, and only if it is whole."""

from __future__ import annotations

import gzip

import pytest

from memory_limit import limited_memory
from mmlandmark.utils.bounded_reading import BoundedFile, gunzip

DATA = bytes(range(256)) * 100


@pytest.mark.parametrize("pad", [b"", b"\0" * 7])
def test_members_and_padding(pad):
    one = gzip.compress(DATA)
    assert gunzip(one + pad, len(DATA)) == DATA
    assert gunzip(one + pad + one, 2 * len(DATA)) == DATA + DATA
    assert gunzip(gzip.compress(b""), 0) == b""


def test_the_limit_holds_over_all_members():
    one = gzip.compress(DATA)
    for data in (one, one + one):
        with pytest.raises(ValueError, match="more than 25,599 bytes, which is more than its header says"):
            gunzip(data, len(DATA) - 1)
    bomb = gzip.compress(bytes(1 << 30), 1)
    with limited_memory(), pytest.raises(ValueError, match="more than 1,000,000 bytes"):
        gunzip(bomb, 1_000_000)


def test_damage_is_told():
    one = bytearray(gzip.compress(DATA))
    with pytest.raises(ValueError, match="cut off"):
        gunzip(bytes(one[:-1]), len(DATA))
    with pytest.raises(ValueError, match="damaged"):
        gunzip(bytes(one) + b"junk", len(DATA))
    one[-5] ^= 1  # of the checksum
    with pytest.raises(ValueError, match=r"damaged \(Error -3"):
        gunzip(bytes(one), len(DATA))


def test_a_file_is_asked_for_no_more_than_it_holds(tmp_path):
    (tmp_path / "a").write_bytes(DATA)
    with BoundedFile(tmp_path / "a") as file, limited_memory():
        assert file.read(5) == DATA[:5]
        assert file.read(4 << 30) == DATA[5:]
        assert file.read(4 << 30) == file.read() == b""
        file.seek(0)
        assert file.read() == DATA
        file.seek(3)
        assert file.read(None) == DATA[3:]
