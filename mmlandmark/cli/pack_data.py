"""Write a small copy of a data set: resized JPEGs and one annotation file.

For machines to which little can be copied. `LandmarkDataset` reads the copy. Its splits are train, val (if
that is not the test data) and test; its spacing is that of the resized pixels: millimetres stay true.

    mmlandmark pack-data CONFIG --size 800 640 --out data/packed
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmlandmark.utils.command_line import add_config_arguments, positive_number
from mmlandmark.utils.files import atomic_path, atomic_write_json, safe_name

if TYPE_CHECKING:
    import numpy as np


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mmlandmark pack-data``."""
    add_config_arguments(parser)
    parser.add_argument(
        "--size",
        nargs=2,
        type=positive_number,
        required=True,
        metavar=("H", "W"),
        help="pixels of the images",
    )
    parser.add_argument("--quality", type=int, default=90, help="of the JPEG files, 1 to 100; default 90")
    parser.add_argument("--out", type=Path, required=True, help="folder of the copy")


def run(args: argparse.Namespace) -> None:
    """Write the copy."""
    from mmlandmark.engine import load_config

    config = load_config(args.config, args.cfg_options)
    annotations = args.out / "annotations.json"
    annotations.unlink(missing_ok=True)  # those of an earlier copy would not fit the new images
    samples: dict[str, dict[str, Any]] = {}
    schema = None
    for split, dataset in split_datasets(config):
        schema = schema or asdict(dataset.schema)
        for index in range(len(dataset)):
            sample, image = packed(dataset.get_data_info(index), tuple(args.size), split)
            if sample["id"] in samples:
                raise ValueError(f"sample {sample['id']!r} is in two splits of {args.config}")
            write_jpeg(args.out / sample["image"], image, args.quality)
            samples[sample["id"]] = sample
    atomic_write_json(annotations, dict(schema=schema, samples=list(samples.values())))
    size = sum(path.stat().st_size for path in args.out.rglob("*") if path.is_file())
    print(f"wrote {len(samples)} samples to {args.out}, {size / 2**20:.1f} MiB")


def split_datasets(config: Any) -> Iterator[tuple[str, Any]]:
    """Yield the name and the dataset of every split of a config, without its pipeline."""
    from mmlandmark.registry import DATASETS

    test = (config.get("test_dataloader") or {}).get("dataset")
    for split in ("train", "val", "test"):
        dataset = (config.get(f"{split}_dataloader") or {}).get("dataset")
        if dataset is not None and not (split == "val" and dataset == test):
            yield split, DATASETS.build(dict(dataset, pipeline=[], image_cache=None))


def packed(record: dict[str, Any], size: tuple[int, int], split: str) -> tuple[dict[str, Any], np.ndarray]:
    """Return a record's entry in the annotation file of the copy, and its image.

    Args:
        record: The record.
        size: (H, W) of the copy's images.
        split: Name of its split.

    Raises:
        ValueError: The image has more than 8 bits.
    """
    import numpy as np

    from mmlandmark.datasets.transforms import LoadImage
    from mmlandmark.structures import apply_matrix, invert_matrix, spacing_of, world_matrix

    loaded = LoadImage(size=size, channels=1)(dict(record))
    matrix, image = loaded["img_from_original"], np.squeeze(loaded["img"])
    name = str(record["sample_id"])
    if image.dtype != np.uint8:
        raise ValueError(f"sample {name!r} has {image.dtype} values: JPEG holds 8 bits, copy the original")

    def moved(points: Any) -> list[Any]:
        points = apply_matrix(matrix, np.asarray(points, dtype=np.float64))
        return [None if np.isnan(p).any() else [round(float(c), 3) for c in p] for p in points]

    sample: dict[str, Any] = dict(
        id=name, image=f"{split}/{safe_name(name)}.jpg", split=split, landmarks=moved(record["landmarks"])
    )
    if record.get("by_annotator") is not None:
        sample["by_annotator"] = [moved(points) for points in record["by_annotator"]]
    if record.get("spacing") is not None:
        world = world_matrix(np.broadcast_to(np.asarray(record["spacing"], dtype=np.float64), (2,)))
        sample["spacing"] = list(spacing_of(world @ invert_matrix(matrix)))  # the axes may be exchanged
    if record.get("group") is not None:
        sample["group"] = str(record["group"])
    sample["height"], sample["width"] = (int(side) for side in image.shape[:2])
    return sample, image


def write_jpeg(path: Path, image: np.ndarray, quality: int) -> None:
    """Write an image (H, W) uint8 atomically.

    Raises:
        ValueError: OpenCV cannot write it.
    """
    import cv2

    with atomic_path(path) as temporary:
        if not cv2.imwrite(str(temporary), image, [cv2.IMWRITE_JPEG_QUALITY, quality]):
            raise ValueError(f"{path} cannot be written: is the disk full?")
