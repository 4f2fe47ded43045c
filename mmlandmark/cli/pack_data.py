"""Write a small copy of a config's data: images shrunk to a size as JPEG, and one annotation file.

For machines to which little can be carried. The copy is read with `LandmarkDataset`; its splits are named
train and test (and val where that is another one), and its spacing is that of the shrunk pixels, so that
millimetres stay true.

    mmlandmark pack-data CONFIG --size 800 640 --out data/packed
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mmlandmark.utils.command_line import add_config_arguments
from mmlandmark.utils.files import atomic_path, atomic_write_json, safe_name


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mmlandmark pack-data``."""
    add_config_arguments(parser)
    parser.add_argument("--size", nargs=2, type=int, required=True, metavar=("H", "W"), help="of the images")
    parser.add_argument("--quality", type=int, default=90, help="of the JPEG files, 1 to 100 (default 90)")
    parser.add_argument("--out", type=Path, required=True, help="folder of the copy")


def packed(record: dict[str, Any], size: tuple[int, int], split: str) -> tuple[dict[str, Any], Any]:
    """Return a sample of the copy's annotation file, and its image."""
    import numpy as np

    from mmlandmark.datasets.transforms import LoadImage
    from mmlandmark.structures import apply_matrix

    loaded = LoadImage(size=size, channels=1)(dict(record))
    matrix = loaded["img_from_original"]

    def moved(points: Any) -> list[Any]:
        found = apply_matrix(matrix, np.asarray(points, dtype=np.float64))
        return [None if np.isnan(p).any() else [round(float(c), 3) for c in p] for p in found]

    name = str(record["sample_id"])
    sample: dict[str, Any] = dict(
        id=name, image=f"{split}/{safe_name(name)}.jpg", split=split, landmarks=moved(record["landmarks"])
    )
    if record.get("by_annotator") is not None:
        sample["by_annotator"] = [moved(points) for points in record["by_annotator"]]
    if record.get("spacing") is not None:
        scale = np.diag(matrix)[:2]
        spacing = np.broadcast_to(np.asarray(record["spacing"], dtype=np.float64), (2,)) / scale
        sample["spacing"] = [float(s) for s in spacing]
    if record.get("group") is not None:
        sample["group"] = str(record["group"])
    image = np.squeeze(loaded["img"])
    sample["height"], sample["width"] = (int(side) for side in image.shape[:2])
    if image.dtype != np.uint8:
        raise ValueError(f"sample {name!r} has {image.dtype} values: JPEG holds 8 bits, keep its original")
    return sample, image


def run(args: argparse.Namespace) -> None:
    """Write the copy."""
    import cv2

    from mmlandmark.engine import load_config
    from mmlandmark.registry import DATASETS

    config = load_config(args.config, args.cfg_options)
    annotations = args.out / "annotations.json"
    annotations.unlink(missing_ok=True)  # Those of an earlier copy would not fit new images.
    samples: list[dict[str, Any]] = []
    seen: list[Any] = []
    schema = None
    for split in ("train", "val", "test"):
        source = config[f"{split}_dataloader"].dataset if config.get(f"{split}_dataloader") else None
        if source is None or (split == "val" and source == config.get("test_dataloader", {}).get("dataset")):
            continue
        dataset = DATASETS.build(dict(source, pipeline=[], image_cache=None))
        schema = schema or asdict(dataset.schema)
        for index in range(len(dataset)):
            record = dataset.get_data_info(index)
            sample, image = packed(record, tuple(args.size), split)
            if sample["id"] in seen:
                raise ValueError(f"sample {sample['id']!r} is in two splits of {args.config}")
            seen.append(sample["id"])
            path = args.out / sample["image"]
            with atomic_path(path) as temporary:
                if not cv2.imwrite(str(temporary), image, [cv2.IMWRITE_JPEG_QUALITY, args.quality]):
                    raise ValueError(f"{path} cannot be written: is the disk full?")
            samples.append(sample)
    atomic_write_json(annotations, dict(schema=schema, samples=samples))
    size = sum(p.stat().st_size for p in args.out.rglob("*") if p.is_file())
    print(f"wrote {len(samples)} samples to {args.out}, {size / 2**20:.1f} MiB")
