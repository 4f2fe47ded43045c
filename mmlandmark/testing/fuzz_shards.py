"""A small data set in shards, valid, for the fuzzer: its index, and a shard of either kind."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Hashable
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from mmlandmark.datasets import ShardedDataset
from mmlandmark.datasets.shards import ShardWriter
from mmlandmark.testing.fuzz_annotations import check_records
from mmlandmark.testing.fuzz_case import Case
from mmlandmark.testing.fuzz_images import film

_SCHEMA = dict(name="two", landmarks=["a", "b"])


def shard_cases(root: Path) -> list[Case]:
    """Write shards below ``root``, in tar and, where the package is, in LMDB; return the cases."""
    kinds = ["tar"] + ["lmdb"] * (importlib.util.find_spec("lmdb") is not None)
    return [case for kind in kinds for case in _written(root, kind)]


def _written(root: Path, kind: str) -> list[Case]:
    folder = root / f"shards_{kind}"
    with ShardWriter(folder, 2**20, lmdb=kind == "lmdb") as writer:
        for number in range(3):
            image = cv2.imencode(".png", np.roll(film(), number, 1))[1].tobytes()
            entry = dict(id=f"p{number}", landmarks=[[number, 2.5], None], height=32, width=36, spacing=0.1)
            writer.add(entry | dict(split="train" if number else "test"), ".png", image)
        index = writer.finish(_SCHEMA)
    shard = sorted(path.name for path in folder.iterdir() if path.suffix == f".{kind}")[0]
    read = partial(_read, name=index.name)
    return [
        Case("index of shards", f"index_{kind}", index.name, read, text=True, folder=folder.name),
        Case(f"{kind} shard", f"shard_{kind}", shard, read, folder=folder.name),
    ]


def _read(folder: Path, name: str) -> Hashable:
    """Read all samples with their images, which hashes guard; return what can be compared."""
    dataset = ShardedDataset(str(folder / name), pipeline=[dict(type="LoadImage")], serialize_data=False)
    check_records(dataset)
    digest = hashlib.sha256()
    for number in range(len(dataset)):
        digest.update(np.ascontiguousarray(dataset[number]["img"]).tobytes())
    return digest.hexdigest()
