"""The cache folder is bounded, shared, and never believed."""

from __future__ import annotations

import hashlib
import os
import time

import pytest

from mmlandmark.datasets.shards import Member, ShardCache, ShardIndex, ShardStore
from mmlandmark.testing.range_server import serving


def member_of(data):
    return Member(0, "1.png", 0, len(data), hashlib.sha256(data).hexdigest())


def files(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def content(cache, data):
    """Return what a cache yields for a member with this content, and the name under which it is kept."""
    member = member_of(data)
    with cache.local(member, lambda: data) as path:
        assert path.suffix == ".png"
        return path.read_bytes(), cache.folder / member.sha256[:2] / f"{member.sha256}.png"


def test_a_member_is_fetched_once(tmp_path):
    calls = []

    def read():
        calls.append(1)
        return b"content"

    for cache in [ShardCache(tmp_path, 1)] * 3 + [ShardCache(tmp_path, 1)]:
        with cache.local(member_of(b"content"), read) as path:
            assert path.suffix == ".png"
            assert path.read_bytes() == b"content"
    assert len(calls) == len(files(tmp_path)) == 1


@pytest.mark.parametrize("damaged", [b"contenu", b""])
def test_a_damaged_file_is_fetched_again(tmp_path, damaged):
    cache = ShardCache(tmp_path, 1)
    _, path = content(cache, b"content")
    path.write_bytes(damaged)
    assert content(cache, b"content") == (b"content", path)
    assert path.read_bytes() == b"content"


def test_the_folder_keeps_its_limit_and_what_was_used_last(tmp_path):
    limit = 64_000
    cache = ShardCache(tmp_path, limit / 2**30)
    contents = [bytes([number]) * 1000 for number in range(100)]
    for number, data in enumerate(contents):
        _, path = content(cache, data)
        os.utime(path, (number, number))  # a clock that ticks
        content(cache, contents[0])  # used all the time
        assert sum(path.stat().st_size for path in files(tmp_path)) <= limit
    kept = {path.read_bytes()[0] for path in files(tmp_path)}
    assert {0, 99} <= kept
    assert 20 <= len(kept) < 100
    assert kept == {0, *range(101 - len(kept), 100)}


def test_what_no_cache_wrote_stays(tmp_path):
    digest = hashlib.sha256(b"mine").hexdigest()
    other = "0" if digest[0] != "0" else "1"
    mine = [
        "mine.txt",
        "ct/patient1.nii",  # a folder of two letters
        "ad/patient1.nii",  # and of two digits
        f"{digest[:2]}/{digest}",  # as a backup names its parts
        f"{other}{digest[1]}/{digest}.png",  # in the folder of another hash
        f"{digest[:2]}/{digest}.png/slice.png",  # a folder
        f"{digest[:2]}/.{digest}.swp",
    ]
    for name in mine:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(bytes(10_000))
        os.utime(tmp_path / name, (1, 1))
    cache = ShardCache(tmp_path, 10_000 / 2**30)
    for number in range(100):
        content(cache, bytes([number]) * 300)
    assert [name for name in mine if not (tmp_path / name).is_file()] == []
    assert 1 < len(files(tmp_path)) - len(mine) <= 34  # of 300 bytes


def test_what_is_read_is_not_taken_away(tmp_path):
    """Another process makes room while this one reads, and at any step before."""
    data, limit = b"content" * 10, 40 * 70 / 2**30
    reader, other = ShardCache(tmp_path, limit), ShardCache(tmp_path, limit)
    _, path = content(reader, data)
    os.utime(path, (1, 1))  # not used for long
    with reader.local(member_of(data), lambda: data) as held:
        for number in range(100):
            content(other, bytes([number]) * 70)
        assert not path.exists()
        assert held.read_bytes() == data
    assert not held.exists()
    assert len(files(tmp_path)) < 40


def test_a_file_that_is_used_meanwhile_is_not_removed(tmp_path, monkeypatch):
    cache, other = (ShardCache(tmp_path, 40 * 70 / 2**30) for _ in range(2))
    contents = [bytes([number]) * 70 for number in range(30)]
    paths = [content(cache, data)[1] for data in contents]
    for number, path in enumerate(paths):
        os.utime(path, (number, number))
    seen = other._own_files

    def then_used():
        found = list(seen())
        content(cache, contents[0])  # the one that has waited for longest
        return found

    monkeypatch.setattr(other, "_own_files", then_used)
    content(other, bytes(80))
    assert paths[0].exists()
    assert not paths[1].exists()


def test_without_links_a_copy_is_read(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    cache = ShardCache(tmp_path, 1)
    for _ in range(2):
        assert content(cache, b"content")[0] == b"content"
    assert len(files(tmp_path)) == 1


def test_what_a_kill_has_left_is_removed_after_an_hour(tmp_path, monkeypatch):
    cache = ShardCache(tmp_path, 1)
    _, path = content(cache, b"content")
    os.link(path, path.with_name(f".{path.stem}-00ff00ff.png"))
    path.with_name(f".{path.stem}.nii-ab_d00ff.gz").write_bytes(b"con")  # half-written
    content(ShardCache(tmp_path, 1), b"young")
    assert len(files(tmp_path)) == 4
    now = time.time()
    monkeypatch.setattr("time.time", lambda: now + 3700)
    content(ShardCache(tmp_path, 1), b"old")
    assert sorted(file.read_bytes() for file in files(tmp_path)) == [b"content", b"old", b"young"]


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
