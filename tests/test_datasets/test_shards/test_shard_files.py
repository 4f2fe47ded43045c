"""Shards in LMDB are read as tar files are, once their hash is known to be right."""

from __future__ import annotations

import builtins
import pickle

import pytest

from mmlandmark.datasets.shards import ShardedDataset, ShardError, ShardIndex, ShardStore, ShardWriter
from mmlandmark.datasets.shards.shard_files import LmdbShard, TarShard
from mmlandmark.testing.range_server import serving
from mmlandmark.utils.files import file_hash


@pytest.fixture
def base(tmp_path):
    """Index of six samples in two shards in LMDB."""
    pytest.importorskip("lmdb")
    return write(tmp_path / "shards")


def write(folder):
    with ShardWriter(folder, 2**20, lmdb=True) as writer:
        for number in range(6):
            writer.add(
                dict(id=str(number), landmarks=[[1, 2]], split=f"{number // 3}"), ".png", content(number)
            )
        return writer.finish(dict(name="one", landmarks=["a"]))


def content(number):
    return bytes([number]) * (1000 + number)


def opened(uri):
    index = ShardIndex.read(str(uri))
    return ShardStore(index), [sample["stored"] for sample in index.samples]


def test_members_are_read_by_their_names(base):
    assert sorted(p.name for p in base.parent.iterdir()) == [
        "index.json",
        "shard-000000.lmdb",
        "shard-000001.lmdb",
    ]
    store, members = opened(base)
    for one in (store, pickle.loads(pickle.dumps(store))):
        assert [one.read(member) for member in members] == [content(number) for number in range(6)]
    assert ShardedDataset(str(base)).shard_numbers.tolist() == [0, 0, 0, 1, 1, 1]


def test_the_same_data_give_the_same_bytes(base, tmp_path):
    again = write(tmp_path / "again")
    assert [file_hash(path) for path in sorted(base.parent.iterdir())] == [
        file_hash(path) for path in sorted(again.parent.iterdir())
    ]


def test_a_large_member_finds_room(tmp_path):
    pytest.importorskip("lmdb")
    shard = LmdbShard(tmp_path / "a.lmdb")
    for number in range(3):
        shard.add(f"{number}.png", bytes(2**25))
    shard.close()
    assert shard.size == 3 * 2**25


def missing(path):
    path.unlink()


def cut_off(path):
    path.write_bytes(path.read_bytes()[:-4096])


def altered(path):
    data = bytearray(path.read_bytes())
    data[5000] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "said"), [(missing, "is missing"), (cut_off, "is cut off"), (altered, "is altered: its hash")]
)
def test_a_damaged_shard_is_named_and_never_opened(base, damage, said):
    damage(base.parent / "shard-000001.lmdb")
    store, members = opened(base)
    assert store.read(members[0]) == content(0)
    with pytest.raises(ShardError, match=rf"shard .*shard-000001\.lmdb {said}"):
        store.read(members[3])


def test_lmdb_on_a_server_is_refused(base):
    with serving(base.parent) as server:
        store, members = opened(f"{server.url}/index.json")
        with pytest.raises(ValueError, match="LMDB is read from a disk of this machine only"):
            store.read(members[0])


def test_without_lmdb_the_extra_is_named_before_anything_is_written(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "lmdb":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"pip install 'mmlandmark\[lmdb\]'"):
        ShardWriter(tmp_path, 100, lmdb=True)


def test_a_tar_file_says_where_a_member_is(tmp_path):
    shard = TarShard(tmp_path / "a.tar")
    places = [shard.add(f"{number}.png", bytes([number]) * 700) for number in range(2)]
    assert shard.size == 2 * (512 + 1024)
    shard.close()
    data = (tmp_path / "a.tar").read_bytes()
    assert [data[place : place + 700] for place in places] == [bytes([n]) * 700 for n in range(2)]
