"""Members are read by ranges of bytes, and compared with the index."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mmlandmark.datasets.shards import ShardError, ShardIndex, ShardStore, StoredImage
from mmlandmark.testing.range_server import serving
from test_datasets.test_shards.packed_data import pixels


@pytest.fixture(params=["disk", "web"])
def opened(index, request):
    """Return a function that opens the shards, on disk and through HTTP."""
    if request.param == "disk":
        yield lambda **options: _open(str(index), **options)
        return
    with serving(index.parent) as server:
        yield lambda **options: _open(f"{server.url}/index.json", **options)


def _open(uri, **options):
    index = ShardIndex.read(uri)
    return ShardStore(index, **options), [sample["stored"] for sample in index.samples]


def test_every_member_is_read(opened):
    store, members = opened()
    for number, member in enumerate(members):
        with StoredImage(store, member).local() as path:
            assert path.name.endswith(f"-{member.name}")
            np.testing.assert_array_equal(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), pixels(number))
        assert not path.exists()


def test_only_the_member_is_asked_for(index):
    with serving(index.parent) as server:
        store, members = _open(f"{server.url}/index.json")
        server.asked.clear()
        store.read(members[4])
    first = members[4].offset
    assert server.asked == [("/shard-000001.tar", first, first + members[4].size - 1)]


def test_a_missing_shard_is_named(opened, index):
    store, members = opened()
    (index.parent / "shard-000001.tar").unlink()
    assert store.read(members[0])
    with pytest.raises(
        ShardError, match=r"shard .*shard-000001\.tar is missing: its index .*index\.json lists"
    ):
        store.read(members[3])


@pytest.mark.parametrize("left", [10, -1])
def test_a_shard_that_is_cut_off_is_named(opened, index, left):
    store, members = opened()
    path = index.parent / "shard-000001.tar"
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(ShardError, match=r"shard .*shard-000001\.tar is cut off"):
        store.read(members[3])


@pytest.mark.parametrize("longer", [False, True])
def test_a_shard_that_is_altered_is_named(opened, index, longer):
    store, members = opened()
    path = index.parent / "shard-000001.tar"
    data = bytearray(path.read_bytes())
    if longer:
        data += bytes(512)
    else:
        data[members[3].offset + 40] ^= 1
    path.write_bytes(data)
    with pytest.raises(ShardError, match=r"shard .*shard-000001\.tar is altered: 000000003\.png is not what"):
        store.read(members[3])


def test_a_member_has_a_largest_size(opened):
    store, members = opened(most=100)
    with pytest.raises(ValueError, match=r"000000000\.png has \d+ bytes, more than the 100 that are allowed"):
        store.read(members[0])


def test_an_error_about_an_image_names_its_place_in_the_shard(opened):
    store, members = opened()
    with (
        pytest.raises(ValueError, match=r"image .*shard-000000\.tar/000000001\.png is odd"),
        store.local(members[1]) as path,
    ):
        raise ValueError(f"image {path} is odd")
