"""Teach a trained detector which shapes are usual, so that it chooses among several peaks of a map.

DATA are the annotated images that it was trained on: the work folder of the training, its config, or an
annotation file (JSON or CSV). Only landmarks are read, no images. Test and calibrate the new model:

    mmlandmark learn-shapes work_dirs/ceph work_dirs/ceph -o ceph.mml.pth
    mmlandmark test ceph.mml.pth
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mmlandmark.utils.command_line import add_trust_argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mmlandmark learn-shapes``."""
    parser.add_argument("model", metavar="MODEL", help="model file, checkpoint, work folder or name")
    parser.add_argument("data", metavar="DATA", help="what it was trained on")
    parser.add_argument("-o", "--out", metavar="FILE", required=True, help="model file to write, *.mml.pth")
    parser.add_argument("--candidates", type=int, default=4, metavar="N", help="peaks of a map; default 4")
    parser.add_argument(
        "--gate", type=float, default=5.0, metavar="SD",
        help="standard deviations within which a landmark stays where it was detected; default 5",
    )  # fmt: skip
    parser.add_argument(
        "--strength", type=float, default=3.0, metavar="W",
        help="weight of the maps against the prior; default 3",
    )  # fmt: skip
    add_trust_argument(parser)


def run(args: argparse.Namespace) -> None:
    """Learn, and write the model file."""
    import numpy as np

    from mmlandmark.apis.annotated_data import dataset_of
    from mmlandmark.datasets.annotated_shapes import annotated_shapes
    from mmlandmark.inference.loading import load_model
    from mmlandmark.inference.shape_prior import with_shape_prior

    if not Path(args.data).exists():
        raise FileNotFoundError(f"{args.data}: no such file or folder of data to learn from")
    model = old = load_model(args.model)
    dataset = dataset_of(model, args.data, "train_dataloader", missing_images="keep")
    points, steps = annotated_shapes(dataset)
    settings = dict(candidates=args.candidates, gate=args.gate, strength=args.strength)
    model = with_shape_prior(model, points, steps, **settings)
    model.save(args.out)
    complete = int(np.isfinite(points).all(axis=(1, 2)).sum())
    unit = "pixels" if steps is None else "mm"
    print(f"learnt {len(points)} shapes in {unit}, {complete} of them complete; wrote {args.out}")
    if old.calibration is not None or old.measured:
        print("note: it may predict otherwise now, so its calibration and results of tests are left out")
