"""All ways of reading images are measured in turns."""

from __future__ import annotations

import json

import cv2
import numpy as np

from mmlandmark.datasets.shards import ShardedDataset
from mmlandmark.testing import shard_speed


def test_a_record_has_a_ratio_for_every_way(tmp_path, capsys):
    threads = cv2.getNumThreads()
    try:
        arguments = ["--images", "3", "--size", "64", "48", "--rounds", "2", "--shard-mib", "1"]
        shard_speed.main([str(tmp_path / "speed.json"), *arguments])
    finally:
        cv2.setNumThreads(threads)
    record = json.loads((tmp_path / "speed.json").read_text())
    assert (record["images"], record["rounds"], record["shards"]) == (3, 2, 1)
    assert {"cpu", "cores"} <= set(record["machine"])
    assert all(row["milliseconds"] > 0 for row in record["ways"].values())
    compared = {way: row["against"] for way, row in record["ways"].items() if "against" in row}
    assert compared == shard_speed.AGAINST
    assert "shards, HTTP" in capsys.readouterr().out


def test_shards_hold_the_loose_files(tmp_path):
    paths = shard_speed.write_data(tmp_path, 3, (64, 48), 2500)
    dataset = ShardedDataset(str(tmp_path / "shards" / "index.json"), pipeline=[dict(type="LoadImage")])
    assert len(dataset) == len(paths) == 3
    assert dataset.shard_numbers.max() > 0
    for index, path in enumerate(paths):
        np.testing.assert_array_equal(dataset[index]["img"], cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))
