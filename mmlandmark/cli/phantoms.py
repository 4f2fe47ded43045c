"""Write phantoms to a folder: images, annotations.json, and the ids of train, validation and test.

    mmlandmark phantoms --kind ceph --num-train 200 --num-test 50 --out data/phantom_ceph

The folder appears whole or not at all. If it is there already, made with the same arguments, it is kept.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from mmlandmark.utils.command_line import natural_number

SPLITS = ("train", "val", "test")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mmlandmark phantoms``."""
    parser.add_argument("--kind", choices=("ceph", "hand", "spine"), default="ceph", help="default ceph")
    parser.add_argument("--num-train", type=natural_number, default=200, help="default 200")
    parser.add_argument("--num-val", type=natural_number, default=0, help="default 0")
    parser.add_argument("--num-test", type=natural_number, default=50, help="default 50")
    parser.add_argument(
        "--size",
        type=int,
        nargs=2,
        metavar=("HEIGHT", "WIDTH"),
        help="pixels; the kind's usual format by default",
    )
    parser.add_argument("--seed", type=int, default=0, help="names the population; default 0")
    parser.add_argument("--bits", type=int, choices=(8, 16), default=8, help="per pixel; default 8")
    parser.add_argument(
        "--missing", type=float, default=0.0, help="fraction of landmarks left without annotation; default 0"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to make")
    parser.add_argument("--overwrite", action="store_true", help="replace a folder made with other arguments")


def run(args: argparse.Namespace) -> int:
    """Make the folder; return the exit code."""
    if not args.num_train + args.num_val + args.num_test:
        raise ValueError("--num-train, --num-val and --num-test are all 0; ask for at least one image")
    info = _describe(args)
    if args.out.exists() and not args.overwrite:
        if _made_with(args.out) == info:
            print(f"{args.out}: there already, made with the same arguments")
            return 0
        raise ValueError(
            f"{args.out} exists and was not made with these arguments; choose another --out or --overwrite"
        )
    if args.out.exists() and _made_with(args.out) is None and any(args.out.iterdir()):
        raise ValueError(
            f"{args.out} does not hold phantoms, it will not be overwritten; choose another --out"
        )
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=args.out.parent, prefix=f".{args.out.name}-") as scratch:
        folder = Path(scratch) / "new"
        count = write_phantoms(folder, args, info)
        if args.out.exists():
            os.replace(args.out, Path(scratch) / "old")
        os.replace(folder, args.out)
    print(f"{args.out}: {count} images of kind {args.kind}")
    return 0


def write_phantoms(folder: Path, args: argparse.Namespace, info: dict[str, Any]) -> int:
    """Write images, annotations and lists of ids to ``folder``; return the number of images."""
    import cv2
    import numpy as np

    from mmlandmark.datasets.phantom import PhantomDataset
    from mmlandmark.utils.files import atomic_write_json, atomic_write_text

    (folder / "images").mkdir(parents=True)
    samples: list[dict[str, Any]] = []
    for split in SPLITS:
        number = getattr(args, f"num_{split}")
        dataset = number and PhantomDataset(
            args.kind,
            number,
            args.size,
            seed=args.seed,
            offset=len(samples),
            missing=args.missing,
            bits=args.bits,
        )
        ids = []
        for index in range(number):
            record = dataset.get_data_info(index)
            name = f"images/{record['sample_id']}.png"
            done, data = cv2.imencode(".png", record["img"])
            if not done:
                raise ValueError(f"{name}: OpenCV could not encode the image")
            (folder / name).write_bytes(data.tobytes())
            points = [None if np.isnan(point).any() else point for point in record["landmarks"]]
            height, width = record["ori_shape"]
            samples.append(
                dict(
                    id=record["sample_id"],
                    image=name,
                    # Shortest decimals that give the same float32 back.
                    landmarks=[
                        point if point is None else [float(str(v)) for v in point] for point in points
                    ],
                    spacing=list(record["spacing"]),
                    split=split,
                    width=width,
                    height=height,
                )
            )
            ids.append(record["sample_id"])
        atomic_write_text(folder / f"{split}.txt", "".join(f"{name}\n" for name in ids))
    schema = PhantomDataset(args.kind, 1).schema.name
    atomic_write_json(folder / "annotations.json", dict(schema=schema, info=info, samples=samples), indent=1)
    return len(samples)


def _describe(args: argparse.Namespace) -> dict[str, Any]:
    """What was asked for, as it stands under ``info`` in annotations.json."""
    names = ("kind", "num_train", "num_val", "num_test", "size", "seed", "bits", "missing")
    return dict(maker="make_phantoms", **{name: getattr(args, name) for name in names})


def _made_with(folder: Path) -> dict[str, Any] | None:
    """Return what ``folder`` was made with, None if it was not made here."""
    path = folder / "annotations.json"
    if not path.is_file():
        return None
    try:
        info = json.loads(path.read_text(encoding="utf-8")).get("info")
    except (json.JSONDecodeError, AttributeError):
        return None
    return info if isinstance(info, dict) and info.get("maker") == "make_phantoms" else None
