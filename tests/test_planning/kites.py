"""A small data set of kites on a striped ground, drawn for the tests of plans, in every annotation format."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

NAMES = ("nose", "left_wing", "right_wing", "tail")
_SHAPE = np.array([[0.0, -0.3], [-0.22, 0.0], [0.22, 0.0], [0.02, 0.34]])


def draw_kites(
    count: int, seed: int = 0, shapes=((48, 64), (60, 80), (54, 76))
) -> tuple[list[np.ndarray], np.ndarray]:
    """Return colour images of several sizes, and their (N, 4, 2) landmarks, y from the top."""
    rng = np.random.default_rng(seed)
    images, points = [], np.empty((count, 4, 2))
    for n in range(count):
        height, width = shapes[n % len(shapes)]
        angle = np.deg2rad(rng.uniform(-20, 20))
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        middle = np.array([width, height]) / 2 + rng.uniform(-4, 4, 2)
        points[n] = _SHAPE @ turn.T * height * rng.uniform(0.9, 1.1) + middle
        image = np.full((height, width, 3), (150, 120, 90), np.float32)
        image += 12 * np.sin(np.arange(height) / 3.0)[:, None, None]
        corners = np.round(points[n][[0, 1, 3, 2]] * 16).astype(np.int32)
        cv2.fillPoly(image, [corners], (40, 60, 220), cv2.LINE_AA, 4)
        first, last = (tuple(int(c) for c in points[n][k]) for k in (0, 3))
        cv2.line(image, first, last, (20, 20, 60), 2)
        images.append((image + rng.normal(0, 4, image.shape)).clip(0, 255).astype(np.uint8))
    return images, points


def write_kites(folder: Path, kind: str = "csv", count: int = 16, y_up: bool = False, **more) -> Path:
    """Write images as JPEG, and an annotation as ``csv``, ``coco``, ``json`` or ``tps``; return its path.

    Args:
        folder: It is made.
        kind: Format of the annotation.
        count: Number of images.
        y_up: Count y from the bottom.
        more: Further columns of a CSV or keys of a JSON sample: name -> value per image.
    """
    images, points = draw_kites(count)
    (folder / "photos").mkdir(parents=True)
    names = [f"kite{n:02d}.jpg" for n in range(count)]
    for name, image in zip(names, images, strict=True):
        cv2.imwrite(str(folder / "photos" / name), image)
    if y_up:
        points[..., 1] = np.array([image.shape[0] for image in images])[:, None] - 1 - points[..., 1]
    points[1, 3] = np.nan
    write = dict(csv=_csv, coco=_coco, json=_json, tps=_tps)[kind]
    path = folder / f"points.{'json' if kind in ('coco', 'json') else kind}"
    path.write_text(write(names, points, more), encoding="utf-8")
    return path


def _csv(names: list[str], points: np.ndarray, more: dict) -> str:
    order = (2, 0, 3, 1)  # another than that of any schema
    lines = [",".join([*(f"{NAMES[k]}_{axis}" for k in order for axis in "yx"), *more, "file"])]
    for n, name in enumerate(names):
        cells = ["" if np.isnan(points[n, k, a]) else f"{points[n, k, a]:.2f}" for k in order for a in (1, 0)]
        lines.append(",".join([*cells, *(str(values[n]) for values in more.values()), name]))
    return "\n".join(lines) + "\n"


def _json(names: list[str], points: np.ndarray, more: dict) -> str:
    samples = [
        dict(
            image=name,
            landmarks=[None if np.isnan(p).any() else p.tolist() for p in points[n]],
            **{key: values[n] for key, values in more.items()},
        )
        for n, name in enumerate(names)
    ]
    return json.dumps(dict(schema=dict(name="kite", landmarks=NAMES), samples=samples))


def _coco(names: list[str], points: np.ndarray, more: dict) -> str:
    images = [dict(id=n, file_name=name) for n, name in enumerate(names)]
    notes = []
    for n, shape in enumerate(points):
        seen = np.isfinite(shape).all(axis=1)
        triples = [[*p.tolist(), 2] if s else [0, 0, 0] for p, s in zip(shape, seen, strict=True)]
        notes.append(
            dict(id=n, image_id=n, category_id=1, keypoints=[value for triple in triples for value in triple])
        )
    category = dict(id=1, name="kite", keypoints=NAMES, skeleton=[])
    return json.dumps(dict(images=images, annotations=notes, categories=[category]))


def _tps(names: list[str], points: np.ndarray, more: dict) -> str:
    blocks = []
    for n, name in enumerate(names):
        rows = ["-1 -1" if np.isnan(p).any() else f"{p[0]:.2f} {p[1]:.2f}" for p in points[n]]
        extra = [f"{key}={values[n]}" for key, values in more.items()]
        blocks.append("\n".join([f"LM={len(rows)}", *rows, f"IMAGE={name}", f"ID={n}", *extra]))
    return "\n".join(blocks) + "\n"
