"""A small data set in shards."""

from __future__ import annotations

import cv2
import numpy as np

from mmlandmark.datasets.shards import ShardWriter

SCHEMA = dict(name="two", landmarks=["a", "b"])


def pixels(number):
    return np.random.default_rng(number).integers(0, 255, (24, 20), dtype=np.uint8)


def write(folder, counts=(3, 3, 2), first=0):
    """Write shards with so many samples each; return the index."""
    number = first
    with ShardWriter(folder, 2**30) as writer:
        for shard, count in enumerate(counts):
            for _ in range(count):
                entry = dict(id=f"p{number}", landmarks=[[number, 2.5], None], height=24, width=20)
                entry["split"] = f"s{shard}"  # another split begins a shard
                writer.add(entry, ".png", cv2.imencode(".png", pixels(number))[1].tobytes())
                number += 1
        return writer.finish(SCHEMA)
