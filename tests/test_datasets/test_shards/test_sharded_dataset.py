"""A data set in shards is one like any other."""

from __future__ import annotations

import errno
import pickle

import cv2
import numpy as np
import pytest
from torch.utils.data import DataLoader

from mmlandmark.datasets import ShardedDataset
from mmlandmark.datasets.shards import ShardError, ShardWriter
from mmlandmark.datasets.transforms import LoadImage, PackInputs
from mmlandmark.testing.range_server import serving
from mmlandmark.utils.disk_space import NoSpaceError
from object_store import object_store
from test_datasets.test_shards.packed_data import pixels

STEPS = [dict(type="LoadImage"), dict(type="PackInputs")]


def check(dataset):
    assert len(dataset) == 8
    for index in range(8):
        item = dataset[index]
        np.testing.assert_array_equal(item["inputs"][0], pixels(index))
        sample = item["data_samples"]
        assert (sample.sample_id, sample.img_path, sample.ori_shape) == (f"p{index}", None, (24, 20))
        np.testing.assert_array_equal(sample.gt_landmarks[0], [index, 2.5])


def test_samples_are_those_that_were_packed(index):
    dataset = ShardedDataset("index.json", str(index.parent), pipeline=STEPS)
    check(dataset)
    assert dataset.schema.landmarks == ("a", "b")
    assert dataset.shard_numbers.tolist() == [0, 0, 0, 1, 1, 1, 2, 2]
    assert ShardedDataset(str(index)).dims == 2


def test_samples_come_from_a_web_server_also_by_workers(index, tmp_path):
    with serving(index.parent) as server:
        where = f"{server.url}/index.json"
        dataset = ShardedDataset(where, pipeline=STEPS, cache_dir=str(tmp_path / "cache"), cache_gb=1)
        ids = [item["data_samples"].sample_id for item in DataLoader(dataset, batch_size=None, num_workers=2)]
        assert ids == [f"p{number}" for number in range(8)]
        check(dataset)
        asked = len(server.asked)
        check(pickle.loads(pickle.dumps(dataset)))
        assert len(server.asked) == asked, "all images are kept"


def test_samples_come_from_a_store_that_speaks_s3(index):
    with object_store({f"deep/{path.name}": path.read_bytes() for path in index.parent.iterdir()}) as args:
        dataset = ShardedDataset("s3://films/deep/index.json", pipeline=STEPS, backend_args=args)
        check(dataset)
        loader = DataLoader(dataset, batch_size=None, num_workers=2)  # each has a connection of its own
        assert [item["data_samples"].sample_id for item in loader] == [f"p{number}" for number in range(8)]


def test_a_broken_image_is_left_out_but_not_what_cannot_be_fetched(tmp_path, monkeypatch):
    with ShardWriter(tmp_path / "shards", 1) as writer:  # a sample in each
        for number in range(4):
            data = cv2.imencode(".png", pixels(number))[1].tobytes() if number else b"\x89PNG"
            writer.add(dict(id=f"p{number}", landmarks=None), ".png", data)
        writer.finish(dict(name="x", landmarks=["a"]))
    options = dict(on_error="skip", pipeline=STEPS)
    dataset = ShardedDataset(str(tmp_path / "shards" / "index.json"), **options)
    assert dataset[0]["data_samples"].sample_id == "p1"
    with monkeypatch.context() as patch:
        patch.setattr("tempfile.mkstemp", no_space)
        with pytest.raises(NoSpaceError, match=r"cannot be written: No space left.*TMPDIR names another"):
            _ = dataset[2]
    (tmp_path / "shards" / "shard-000003.tar").unlink()
    with pytest.raises(ShardError, match=r"shard-000003\.tar is missing"):
        _ = dataset[3]
    assert dataset.left_out.indices == [0]
    with serving(tmp_path / "shards") as server:
        where = f"{server.url}/index.json"
        distant = ShardedDataset(where, backend_args=dict(tries=1, silence=1), **options)
        assert distant[0]["data_samples"].sample_id == "p1"
    with pytest.raises(OSError, match="cannot be reached"):
        _ = distant[1]
    assert distant.left_out.indices == [0]


def no_space(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_splits_ids_and_landmarks_are_selected(index):
    assert len(ShardedDataset(str(index), split="s1")) == 3
    dataset = ShardedDataset(str(index), ids=["p7", "p2"], landmarks=["b"])
    assert [dataset.get_data_info(i)["sample_id"] for i in range(2)] == ["p7", "p2"]
    assert dataset.shard_numbers.tolist() == [2, 0]
    assert dataset.get_data_info(0)["landmarks"].shape == (1, 2)


def test_a_cache_in_memory_keeps_decoded_images(index):
    dataset = ShardedDataset(
        str(index), pipeline=[LoadImage(), PackInputs()], image_cache=dict(mode="ram", max_gb=0.01)
    )
    check(dataset)
    for path in index.parent.glob("*.tar"):
        path.unlink()
    check(dataset)


def test_a_cache_on_disk_is_the_cache_folder(index, tmp_path):
    with pytest.raises(ValueError, match="use cache_dir"):
        ShardedDataset(str(index), image_cache=dict(mode="disk", folder=str(tmp_path)))


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_an_image_of_a_broken_shard_is_an_error(index, on_error):
    path = index.parent / "shard-000001.tar"
    path.write_bytes(path.read_bytes()[:-1])
    dataset = ShardedDataset(str(index), pipeline=STEPS, on_error=on_error)
    with pytest.raises(ShardError, match=r"shard-000001\.tar is cut off"):
        _ = dataset[4]
    if on_error == "skip":
        assert dataset.left_out.indices == []


def test_without_an_index_there_is_no_data_set(tmp_path):
    with pytest.raises(ValueError, match="needs ann_file, the index"):
        ShardedDataset()
    with pytest.raises(FileNotFoundError):
        ShardedDataset(str(tmp_path / "index.json"))
