"""An index is checked before anything is read by it."""

from __future__ import annotations

import json

import pytest

from mmlandmark.datasets.shards import ShardIndex, shard_index
from mmlandmark.utils.files import read_json


def changed(index, change):
    content = read_json(index)
    change(content)
    index.write_text(json.dumps(content))
    return str(index)


def test_an_index_is_read(index):
    read = ShardIndex.read(str(index))
    assert [shard.count for shard in read.shards] == [3, 3, 2]
    assert len(read.samples) == 8
    member = read.samples[4]["stored"]
    assert (member.shard, member.name) == (1, "000000004.png")
    assert read.uri_of(1) == str(index.parent / "shard-000001.tar")


def stored(key, value, name="image"):
    return lambda content: content["samples"][0]["stored"][name].update({key: value})


def shard(key, value):
    return lambda content: content["shards"][0].update({key: value})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(format="x"), "this is no index of shards"),
        (lambda c: c.update(version=7), "version 7 is not known"),
        (lambda c: c.update(samples=3), "'shards' and 'samples' must be lists"),
        (shard("name", "../other.tar"), r"shards\[0\]: name '../other.tar' is not valid"),
        (shard("name", "/etc/passwd.tar"), "is not valid"),
        (shard("name", "a..tar"), "is not valid"),
        (shard("name", "http://x/a.tar"), "is not valid"),
        (shard("name", "shard-000001.tar"), "two shards have one name"),
        (shard("size", -1), "size must be a whole number, got -1"),
        (shard("size", True), "size must be a whole number"),
        (shard("sha256", "abc"), "sha256 'abc' is not valid"),
        (shard("count", 4), "shard 'shard-000000.tar' has 4 samples, 3 are listed"),
        (shard("extra", 1), "needs exactly the keys"),
        (stored("name", "../../1.png"), r"samples\[0\], image: name '../../1.png' is not valid"),
        (stored("name", "1.png", "record"), None),
        (stored("offset", 10**9), "does not lie inside of shard 'shard-000000.tar'"),
        (stored("size", 10**15), "does not lie inside of shard"),
        (stored("size", 10**15, "record"), r"samples\[0\], record: it does not lie inside"),
        (stored("size", 0), "does not lie inside of shard"),
        (stored("size", 1.5), "size must be a whole number, got 1.5"),
        (lambda c: c["samples"][0]["stored"].update(shard=9), "there is no shard 9, there are 3"),
        (lambda c: c["samples"][3].pop("id"), r"samples\[3\]: 'id', the name of the sample, is missing"),
        (lambda c: c["samples"][3].update(id=[1]), r"samples\[3\]: id must be text or a number, got \[1\]"),
        (lambda c: c["samples"][0].pop("stored"), "a sample is an object with 'stored'"),
    ],
)
def test_what_an_index_cannot_say_is_refused(index, change, message):
    uri = changed(index, change)
    if message is None:
        ShardIndex.read(uri)
        return
    with pytest.raises(ValueError, match=message) as caught:
        ShardIndex.read(uri)
    assert str(index) in str(caught.value)


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", b"{", b"[]", b"{}"])
def test_another_file_is_no_index(index, data):
    index.write_bytes(data)
    with pytest.raises(ValueError, match=r"index\.json"):
        ShardIndex.read(str(index))


def test_an_index_of_any_size_takes_no_memory(index, monkeypatch):
    monkeypatch.setattr(shard_index, "MOST", 100)
    with pytest.raises(ValueError, match="more than the 100 that are allowed"):
        ShardIndex.read(str(index))


def test_without_an_index_there_is_none(tmp_path):
    with pytest.raises(FileNotFoundError):
        ShardIndex.read(str(tmp_path / "index.json"))
