"""The cache folder is bounded, shared, and never believed."""

from __future__ import annotations

import hashlib
import os

import pytest

from mmlandmark.datasets.shards import Member, ShardCache, ShardIndex, ShardStore
from mmlandmark.testing.range_server import serving


def member_of(data):
    return Member(0, "1.png", 0, len(data), hashlib.sha256(data).hexdigest())


def files(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_member_is_fetched_once(tmp_path):
    cache, calls = ShardCache(tmp_path, 1), []

    def read():
        calls.append(1)
        return b"content"

    paths = {cache.fetch(member_of(b"content"), read) for _ in range(3)}
    paths.add(ShardCache(tmp_path, 1).fetch(member_of(b"content"), read))
    assert len(calls) == len(paths) == 1
    (path,) = paths
    assert path.suffix == ".png"
    assert path.read_bytes() == b"content"


@pytest.mark.parametrize("damaged", [b"contenu", b""])
def test_a_damaged_file_is_fetched_again(tmp_path, damaged):
    cache, member = ShardCache(tmp_path, 1), member_of(b"content")
    cache.fetch(member, lambda: b"content").write_bytes(damaged)
    assert cache.fetch(member, lambda: b"content").read_bytes() == b"content"


def test_the_folder_keeps_its_limit_and_what_was_used_last(tmp_path):
    limit = 64_000
    cache = ShardCache(tmp_path, limit / 2**30)
    contents = [bytes([number]) * 1000 for number in range(100)]
    for number, content in enumerate(contents):
        path = cache.fetch(member_of(content), lambda content=content: content)
        os.utime(path, (number, number))  # a clock that ticks
        cache.fetch(member_of(contents[0]), lambda: contents[0])  # used all the time
        assert sum(path.stat().st_size for path in files(tmp_path)) <= limit
    kept = {path.read_bytes()[0] for path in files(tmp_path)}
    assert {0, 99} <= kept
    assert 20 <= len(kept) < 100
    assert kept == {0, *range(101 - len(kept), 100)}


def test_other_files_in_the_folder_stay(tmp_path):
    (tmp_path / "mine.txt").write_bytes(bytes(10_000))
    cache = ShardCache(tmp_path, 1000 / 2**30)
    for number in range(100):
        content = bytes([number]) * 30
        cache.fetch(member_of(content), lambda content=content: content)
    assert (tmp_path / "mine.txt").exists()


def test_a_store_reads_from_the_cache_when_the_server_is_gone(index, tmp_path):
    cache = ShardCache(tmp_path / "cache", 1)
    with serving(index.parent) as server:
        read = ShardIndex.read(f"{server.url}/index.json")
        store = ShardStore(read, cache=cache)
        members = [sample["stored"] for sample in read.samples]
        for member in members:
            with store.local(member):
                pass
    for member in members:
        with store.local(member) as path:
            assert hashlib.sha256(path.read_bytes()).hexdigest() == member.sha256


def test_what_is_large_for_the_limit_is_not_kept(index, tmp_path):
    cache = ShardCache(tmp_path / "cache", 1000 / 2**30)
    read = ShardIndex.read(str(index))
    with ShardStore(read, cache=cache).local(read.samples[0]["stored"]) as path:
        assert path.exists()
    assert not (tmp_path / "cache").exists()


def test_a_limit_is_positive(tmp_path):
    with pytest.raises(ValueError, match="cache_gb must be positive"):
        ShardCache(tmp_path, 0)
