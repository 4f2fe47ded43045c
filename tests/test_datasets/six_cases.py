"""A data set of six images with groups, splits and folds, for tests."""

from __future__ import annotations

import json

import cv2
import numpy as np

from mmlandmark.datasets import LandmarkDataset

NAMES = ("sella", "left", "right")
SCHEMA = dict(
    name="three",
    landmarks=NAMES,
    flip_pairs=[[1, 2]],
    links=[[0, 1]],
    reference_length={"pair": [0, 2], "mm": 50.0},
    measures=[{"name": "angle", "kind": "angle", "points": [0, 1, 2]}],
)


def write(folder):
    """Write six images and an annotation file; return the folder."""
    (folder / "images").mkdir()
    samples = []
    for i in range(6):
        cv2.imwrite(str(folder / "images" / f"case{i}.png"), np.full((20, 30), 40 * i, np.uint8))
        samples.append(
            dict(
                image=f"case{i}.png",
                landmarks=[[i, 1.5], None if i == 2 else [2, 3], [4, 5]],
                spacing=[0.1, 0.2] if i == 1 else None,
                group=f"patient{i // 2}",
                split="train" if i < 4 else "test",
                fold=i % 2,
                width=30,
                height=20,
                machine="A",
            )
        )
    data = dict(schema=SCHEMA, spacing=0.5, samples=samples)
    (folder / "all.json").write_text(json.dumps(data), encoding="utf-8")
    return folder


def build(root, **kwargs):
    """Return the data set; a serialised one collects garbage first, which takes longer than all the rest."""
    return LandmarkDataset("all.json", str(root), "images", **dict(dict(serialize_data=False), **kwargs))


def draw(results):
    """A pipeline step that shows what the sample draws and in which epoch."""
    return dict(id=results["sample_id"], draw=float(results["rng"].random()))


def first(batch):
    """Collate a batch of one."""
    return batch[0]


def names(dataset):
    """Return the ids."""
    return [r["sample_id"] for r in dataset]
