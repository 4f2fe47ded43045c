"""Data sets of a simple shape, to plant faults in: a ladder of left and right landmarks."""

from __future__ import annotations

import json

import cv2
import numpy as np

from mmlandmark.datasets import LandmarkDataset
from mmlandmark.datasets.checks import check_dataset

SCHEMA = dict(
    name="ladder",
    landmarks=[f"{side}{level}" for level in range(6) for side in ("left", "right")],
    flip_pairs=[[2 * level, 2 * level + 1] for level in range(6)],
)


def ladder(count=30, seed=0):
    """Return (N, 12, 2): two columns of six points, with some noise."""
    base = np.array([[x, 20 + 25 * level] for level in range(6) for x in (40, 80)], dtype=float)
    return base + np.random.default_rng(seed).normal(0, 1.5, (count, 12, 2))


def ladder_dataset(folder, points, write_images=True, **more):
    """Return a data set of these points; every image is different. ``more`` holds one list per key."""
    folder.mkdir(parents=True, exist_ok=True)
    samples = []
    for n, shape in enumerate(points):
        image = np.full((180, 120), 100, np.uint8)
        image[n % 180, n // 180] = 255
        if write_images:
            cv2.imwrite(str(folder / f"{folder.name}{n}.png"), image)
        marks = [None if np.isnan(p).any() else p.tolist() for p in shape]
        samples.append(
            dict(image=f"{folder.name}{n}.png", landmarks=marks, **{k: v[n] for k, v in more.items()})
        )
    (folder / "a.json").write_text(json.dumps(dict(schema=SCHEMA, samples=samples)))
    return LandmarkDataset("a.json", str(folder), missing_images="keep")


def check_ladder(folder, points, thresholds=None, **more):
    """Return the report on a single split ``train`` of these points, whose samples are ``t0``, ``t1``..."""
    return check_dataset(dict(train=ladder_dataset(folder / "t", points, **more)), thresholds)


def kinds_and_samples(report):
    """Return kind and sample of every finding."""
    return {(f["check"], f["sample_id"]) for f in report["findings"]}


def of_check(report, check):
    """Return sample and landmarks of every finding of a kind."""
    return {(f["sample_id"], *f["landmarks"]) for f in report["findings"] if f["check"] == check}
