"""Shards are tar files with an index, written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import tarfile

import pytest

from mmlandmark.datasets.shards import ShardWriter
from mmlandmark.datasets.shards.shard_index import ShardIndex
from mmlandmark.utils.files import file_hash
from test_datasets.test_shards import packed_data


def test_the_index_says_where_every_member_is(index):
    content = json.loads(index.read_text())
    assert [shard["count"] for shard in content["shards"]] == [3, 3, 2]
    for number, shard in enumerate(content["shards"]):
        path = index.parent / shard["name"]
        assert path.stat().st_size == shard["size"]
        assert file_hash(path) == shard["sha256"]
        listed = [m for s in content["samples"] if s["stored"]["shard"] == number
                  for m in (s["stored"]["image"], s["stored"]["record"])]  # fmt: skip
        with tarfile.open(path) as archive:
            found = archive.getmembers()
            assert [m.name for m in found] == [m["name"] for m in listed]
            for member, known in zip(found, listed, strict=True):
                assert (member.offset_data, member.size) == (known["offset"], known["size"])
                data = archive.extractfile(member).read()
                assert hashlib.sha256(data).hexdigest() == known["sha256"]


def test_a_member_pair_is_an_image_and_its_record(index):
    with tarfile.open(index.parent / "shard-000001.tar") as archive:
        assert archive.getnames()[:2] == ["000000003.png", "000000003.json"]
        record = json.loads(archive.extractfile("000000003.json").read())
    assert record == dict(id="p3", landmarks=[[3, 2.5], None], height=24, width=20, split="s1")


def test_a_shard_is_closed_when_it_is_full(tmp_path):
    with ShardWriter(tmp_path, 4000) as writer:
        for number in range(5):
            writer.add(dict(id=str(number), landmarks=None), ".png", bytes([1]) * 1000)
        writer.finish(None)
    assert [shard.count for shard in writer.shards] == [2, 2, 1]


def test_a_packing_that_ends_early_is_no_data_set_and_can_be_repeated(index, tmp_path):
    before = {path.name: file_hash(path) for path in index.parent.iterdir()}

    def killed():
        with ShardWriter(index.parent, 2**20) as writer:
            writer.add(dict(id="x", landmarks=None), ".png", b"x")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        killed()
    left = sorted(path.name for path in index.parent.iterdir())
    assert left == sorted(before), "nothing half-written"
    with pytest.raises(ValueError, match=r"index\.json: the packing was stopped before its end"):
        ShardIndex.read(str(index))
    packed_data.write(index.parent)
    assert {path.name: file_hash(path) for path in index.parent.iterdir()} == before


def test_shards_of_another_program_stay(tmp_path):
    for name, content in (("shard-000000.tar", "mine"), ("index.json", '{"format": "another"}')):
        (tmp_path / name).write_text(content)
        with (
            pytest.raises(ValueError, match=rf"holds {name} of another program"),
            ShardWriter(tmp_path, 100),
        ):
            pytest.fail("it was opened")
        assert (tmp_path / name).read_text() == content
        (tmp_path / name).unlink()


def test_shards_of_an_earlier_packing_are_removed_and_other_files_stay(index):
    (index.parent / ".shard-000007-abc.tar").write_bytes(b"left by a kill")
    (index.parent / "notes.txt").write_text("mine")
    packed_data.write(index.parent, (2,))
    assert sorted(path.name for path in index.parent.iterdir()) == [
        "index.json",
        "notes.txt",
        "shard-000000.tar",
    ]


@pytest.mark.parametrize(("suffix", "data"), [(".exe", b"x"), ("", b"x"), ("/../a.png", b"x"), (".png", b"")])
def test_what_is_no_image_file_is_refused(tmp_path, suffix, data):
    with (
        ShardWriter(tmp_path, 100) as writer,
        pytest.raises(ValueError, match=r"sample 'x': .* is no image file"),
    ):
        writer.add(dict(id="x", landmarks=None), suffix, data)


def test_nothing_to_pack_is_an_error(tmp_path):
    with ShardWriter(tmp_path, 100) as writer, pytest.raises(ValueError, match="there is no sample to pack"):
        writer.finish(None)
    with pytest.raises(ValueError, match="must hold at least a byte"):
        ShardWriter(tmp_path, 0)
