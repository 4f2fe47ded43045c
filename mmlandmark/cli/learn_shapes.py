"""Learn which shapes are usual: a mean shape and its modes of variation, or a prior for a detector.

DATA are annotated images: an annotation file (JSON or CSV), a config, or the work folder of a training. Only
landmarks are read, no images. Without MODEL, the modes of variation are described, and kept as JSON:

    mmlandmark learn-shapes work_dirs/ceph --plot modes.png -o ceph_shapes.json

With MODEL, a detector that was trained on DATA learns to choose among several peaks of a map. Test and
calibrate the new model:

    mmlandmark learn-shapes work_dirs/ceph work_dirs/ceph -o ceph.mml.pth
    mmlandmark test ceph.mml.pth
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from mmlandmark.utils.command_line import add_trust_argument

if TYPE_CHECKING:
    from mmlandmark.shape import PointDistributionModel


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mmlandmark learn-shapes``."""
    parser.add_argument(
        "model", metavar="MODEL", nargs="?", help="detector: model file, checkpoint, work folder or name"
    )
    parser.add_argument("data", metavar="DATA", help="annotated images; of a detector, those of its training")
    parser.add_argument(
        "-o", "--out", metavar="FILE",
        help="file to write: the detector as *.mml.pth or, without MODEL, the modes as *.json",
    )  # fmt: skip
    modes = parser.add_argument_group("modes of variation, without MODEL")
    modes.add_argument("--plot", metavar="FILE", help="PNG of the mean and the largest modes")
    modes.add_argument(
        "--variance", type=float, default=0.9999, metavar="PART",
        help="part of the variance that the modes hold; default 0.9999",
    )  # fmt: skip
    modes.add_argument(
        "--robust", action="store_true",
        help="tolerate wrong and missing landmarks, and be careful with few shapes",
    )  # fmt: skip
    prior = parser.add_argument_group("choice among peaks, with MODEL")
    prior.add_argument("--candidates", type=int, default=4, metavar="N", help="peaks of a map; default 4")
    prior.add_argument(
        "--gate", type=float, default=5.0, metavar="SD",
        help="standard deviations within which a landmark stays where it was detected; default 5",
    )  # fmt: skip
    prior.add_argument(
        "--strength", type=float, default=3.0, metavar="W",
        help="weight of the maps against the prior; default 3",
    )  # fmt: skip
    add_trust_argument(parser)


def run(args: argparse.Namespace) -> None:
    """Learn, and write what was learnt."""
    if not Path(args.data).exists():
        raise FileNotFoundError(f"{args.data}: no such file or folder of data to learn from")
    out = Path(args.out or "")
    if args.model is None:
        if args.out is not None and out.suffix.lower() != ".json":
            raise ValueError(
                f"{out}: modes of variation are written as *.json; a detector *.mml.pth needs MODEL"
            )
        _learn_modes(args)
    elif args.out is None or args.plot is not None:
        raise ValueError("with MODEL, give -o FILE.mml.pth and no --plot, which is for modes without MODEL")
    else:
        _teach(args)


def _learn_modes(args: argparse.Namespace) -> None:
    """Describe, draw and write the modes of variation."""
    from mmlandmark.apis.annotated_data import dataset_of
    from mmlandmark.engine.physical_shapes import physical_shapes
    from mmlandmark.shape import PointDistributionModel
    from mmlandmark.visualization.shape_modes import plot_modes

    dataset = dataset_of(None, args.data, "train_dataloader", missing_images="keep")
    points, unit = physical_shapes(dataset)
    model = PointDistributionModel.fit(points, args.variance, args.robust)
    print(description(model, len(points), unit))
    if args.plot is not None:
        path = plot_modes(model, args.plot, links=dataset.metainfo.get("links", ()), unit=unit)
        print(f"drew {path}")
    if args.out is not None:
        model.save(args.out)
        print(f"wrote {args.out}")


def description(model: PointDistributionModel, given: int, unit: str, most: int = 10) -> str:
    """Return what a model of shapes is like, and how normal its parameters are.

    Args:
        model: The model.
        given: Shapes of which those it was fitted to are a part.
        unit: Unit of the shapes.
        most: Modes to list.
    """
    from mmlandmark.utils.table_text import markdown_table

    landmarks, dims = model.mean.shape
    count = len(model.sigmas)
    lines = [
        f"{model.count} of {given} shapes of {landmarks} landmarks in {dims}D: {count} modes hold "
        f"{math.floor(1e4 * model.shares.sum() + 1e-6) / 100:.2f} % of the variance"
    ]
    cells = []
    for k in range(min(most, count)):
        w, p = model.normality[k]
        row = [f"{100 * model.shares[k]:.1f}", f"{100 * model.shares[: k + 1].sum():.1f}"]
        cells.append([str(k + 1), *row, f"{model.movements[k]:.2f}", f"{w:.3f}", f"{p:.3f}"])
    head = ["mode", "variance (%)", "cumulated (%)", f"1 SD moves a landmark by ({unit})", "W", "p"]
    if cells:
        lines += ["", markdown_table(head, cells, padded=True)]
    if count > most:
        lines += ["", f"and {count - most} more"]
    normal = int((model.normality[:, 1] > 0.05).sum())
    lines += ["", f"Shapiro and Wilk's test: {normal} of {count} parameters are as normal ones (p > 0.05)"]
    return "\n".join(lines)


def _teach(args: argparse.Namespace) -> None:
    """Write a detector with a prior of shapes."""
    import numpy as np

    from mmlandmark.apis.annotated_data import dataset_of
    from mmlandmark.datasets.annotated_shapes import annotated_shapes
    from mmlandmark.inference.loading import load_model
    from mmlandmark.inference.shape_prior import with_shape_prior

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
