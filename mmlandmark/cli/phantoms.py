"""Write phantoms to a folder: generated images with exact landmarks.

The folder contains images, annotations.json, and the ids of train, validation and test. The images are
radiographs (PNG) or, of the kind head, CT volumes with their frame (NIfTI, Hounsfield units).

    mmlandmark phantoms --kind ceph --num-train 200 --num-test 50 --out data/phantom_ceph
    mmlandmark phantoms --kind head --num-train 30 --num-test 10 --out data/phantom_head

The folder appears complete or not at all. An existing folder made with the same arguments is kept.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

from mmlandmark.utils.command_line import natural_number, positive_number

SPLITS = ("train", "val", "test")
MAKER = "make_phantoms"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mmlandmark phantoms``."""
    kinds = ("ceph", "hand", "spine", "head")
    parser.add_argument("--kind", choices=kinds, default="ceph", help="default ceph")
    parser.add_argument("--num-train", type=natural_number, default=200, help="images; default 200")
    parser.add_argument("--num-val", type=natural_number, default=0, help="images; default 0")
    parser.add_argument("--num-test", type=natural_number, default=50, help="images; default 50")
    parser.add_argument(
        "--size", type=positive_number, nargs="+", metavar="N",
        help="height and width, of volumes depth, height and width; default the usual format of the kind",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="seed of the population; default 0")
    parser.add_argument("--bits", type=int, choices=(8, 16), help="per pixel; default 8, of volumes 16")
    parser.add_argument(
        "--missing", type=float, default=0.0, help="fraction of landmarks without annotation; default 0"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--overwrite", action="store_true", help="replace phantoms of other arguments")


def run(args: argparse.Namespace) -> None:
    """Write the folder."""
    if not args.num_train + args.num_val + args.num_test:
        raise ValueError("--num-train, --num-val and --num-test are all 0; ask for at least one image")
    info = _describe(args)
    if args.out.exists() and not args.overwrite:
        if _made_with(args.out) == info:
            print(f"{args.out}: exists already, made with the same arguments")
            return
        raise ValueError(
            f"{args.out} exists and was not made with these arguments; choose another --out or --overwrite"
        )
    if args.out.exists() and _made_with(args.out) is None and any(args.out.iterdir()):
        raise ValueError(f"{args.out} holds something else than phantoms and is kept; choose another --out")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=args.out.parent, prefix=f".{args.out.name}-") as scratch:
        folder = Path(scratch) / "new"
        count = write_phantoms(folder, args, info)
        if args.out.exists():
            os.replace(args.out, Path(scratch) / "old")
        os.replace(folder, args.out)
    print(f"{args.out}: {count} images of kind {args.kind}")


def write_phantoms(folder: Path, args: argparse.Namespace, info: dict[str, Any]) -> int:
    """Write images, annotations and lists of ids to ``folder``; return the number of images."""
    from mmlandmark.datasets.phantom import PhantomDataset
    from mmlandmark.utils.files import atomic_write_json, atomic_write_text

    (folder / "images").mkdir(parents=True)
    samples: list[dict[str, Any]] = []
    for split in SPLITS:
        number = getattr(args, f"num_{split}")
        settings = dict(seed=args.seed, offset=len(samples), missing=args.missing, bits=args.bits)
        dataset: Any = PhantomDataset(args.kind, number, args.size, **settings) if number else ()
        written = [_write_sample(folder, dataset.get_data_info(i), split) for i in range(number)]
        atomic_write_text(folder / f"{split}.txt", "".join(f"{sample['id']}\n" for sample in written))
        samples += written
    schema = PhantomDataset(args.kind, 1).schema.name
    atomic_write_json(folder / "annotations.json", dict(schema=schema, info=info, samples=samples), indent=1)
    return len(samples)


def _write_sample(folder: Path, record: dict[str, Any], split: str) -> dict[str, Any]:
    """Write the image of a record; return its entry in the annotation file."""
    import numpy as np

    name = f"images/{record['sample_id']}{'.nii.gz' if record['img'].ndim == 3 else '.png'}"
    encode = _nifti if record["img"].ndim == 3 else _png
    (folder / name).write_bytes(encode(record, name))
    sides = dict(zip(("width", "height", "depth"), record["ori_shape"][::-1], strict=False))
    seen = {"visibility": record["visibility"].tolist()} if "visibility" in record else {}
    return dict(
        id=record["sample_id"],
        image=name,
        # The shortest decimals that give the same float32 back.
        landmarks=[
            None if np.isnan(point).any() else [float(str(value)) for value in point]
            for point in record["landmarks"]
        ],
        spacing=list(record["spacing"]),
        **seen,
        split=split,
        **sides,
    )


def _png(record: dict[str, Any], name: str) -> bytes:
    import cv2

    done, data = cv2.imencode(".png", record["img"])
    if not done:
        raise ValueError(f"{name}: OpenCV could not encode the image")
    return data.tobytes()


def _nifti(record: dict[str, Any], name: str) -> bytes:
    """Return a gzipped NIfTI file in scanner coordinates; the same volume gives the same bytes."""
    import gzip

    from mmlandmark.datasets.readers.volume import need
    from mmlandmark.structures import swap_lps_ras

    nibabel = need("nibabel", Path(name))
    image = nibabel.Nifti1Image(record["img"].transpose(), swap_lps_ras(record["world_from_original"]))
    image.set_qform(image.affine, 1)
    image.set_sform(image.affine, 1)
    image.header.set_xyzt_units("mm")
    return gzip.compress(image.to_bytes(), 3, mtime=0)


def _describe(args: argparse.Namespace) -> dict[str, Any]:
    """Return what decides on the phantoms, kept under ``info`` in annotations.json."""
    from mmlandmark.datasets.phantom import bits_of

    names = ("kind", "num_train", "num_val", "num_test", "size", "seed", "missing")
    given = {name: getattr(args, name) for name in names}
    return dict(maker=MAKER, **given, bits=bits_of(args.kind, args.bits))


def _made_with(folder: Path) -> dict[str, Any] | None:
    """Return what the phantoms in ``folder`` were made with; None if there are none."""
    from mmlandmark.utils.files import read_json

    path = folder / "annotations.json"
    if not path.is_file():
        return None
    try:
        info = read_json(path).get("info")
    except ValueError:  # not an object of JSON
        return None
    return info if isinstance(info, dict) and info.get("maker") == MAKER else None
