"""Draw images as they are, and as the pipeline delivers them.

mmlandmark browse configs/unet/unet_isbi2015_320x256_cpu.py --num 8 --out sheet.png
mmlandmark browse my_config.py --split val --draws 1
mmlandmark browse volumes.py --at sella   # slices through a landmark instead of projections
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmlandmark.utils.command_line import (
    add_options_argument,
    add_trust_argument,
    natural_number,
    positive_number,
)

if TYPE_CHECKING:
    import numpy as np


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mmlandmark browse``."""
    parser.add_argument("config", help="config file")
    parser.add_argument("--split", choices=("train", "val", "test"), default="train", help="default train")
    parser.add_argument(
        "--num", type=positive_number, default=8, help="images, spread over the data set; default 8"
    )
    parser.add_argument(
        "--draws", type=natural_number, default=3, help="outputs of the pipeline per image; default 3"
    )
    parser.add_argument("--columns", type=positive_number, default=2, help="images per row; default 2")
    parser.add_argument(
        "--side", type=positive_number, default=320, help="longer side of a picture in pixels; default 320"
    )
    parser.add_argument("--names", action="store_true", help="number the landmarks")
    parser.add_argument(
        "--at", metavar="LANDMARK",
        help="name or number of a landmark: volumes are shown in slices through it; default: projections",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("work_dirs/browse.png"), help="PNG to write")
    parser.add_argument("--seed", type=int, help="seed of the random transforms; default: the dataset's")
    add_options_argument(parser)
    add_trust_argument(parser)


def run(args: argparse.Namespace) -> None:
    """Write the sheet."""
    from mmlandmark.visualization import save_image
    from mmlandmark.visualization.sheets import contact_sheet

    dataset = build_dataset(args)
    count = min(args.num, len(dataset))
    chosen = [index * len(dataset) // count for index in range(count)]
    strips = [draw_strip(dataset, index, args) for index in chosen]
    path = save_image(contact_sheet(strips, args.columns), args.out)
    print(
        f"{path}: {count} of {len(dataset)} samples of {args.split}, each as it is and {args.draws} times "
        "from the pipeline"
    )


def build_dataset(args: argparse.Namespace) -> Any:
    """Build the dataset of the chosen split."""
    from mmlandmark.datasets import set_seed
    from mmlandmark.engine import load_config
    from mmlandmark.registry import DATASETS

    config = load_config(args.config, args.cfg_options)
    loader = config.get(f"{args.split}_dataloader")
    if loader is None:
        raise ValueError(f"{args.config} has no {args.split}_dataloader; choose another --split")
    dataset = DATASETS.build(loader["dataset"])
    dataset.full_init()
    if args.seed is not None:
        set_seed(dataset, args.seed)
    return dataset


def draw_strip(dataset: Any, index: int, args: argparse.Namespace) -> np.ndarray:
    """Return one sample as it is and from the pipeline in several epochs, (H, W, 3) uint8.

    Images stand side by side; the three views of a volume stand below those of the epoch before.
    """
    import numpy as np

    from mmlandmark.datasets import set_epoch
    from mmlandmark.datasets.image_io import image_of_record
    from mmlandmark.structures import apply_matrix, world_from_image
    from mmlandmark.visualization.sheets import contact_sheet

    record, info = dataset.get_data_info(index), dataset.metainfo
    image = image_of_record(record, fill_value=0.0)
    if image is None:
        raise ValueError(f"sample {record['sample_id']!r} has no image")
    points = apply_matrix(image.img_from_original, record["landmarks"])  # a volume may be reoriented
    world = world_from_image(image.world_from_original, image.img_from_original)
    frame = dict(world_from_volume=world, spacing=record.get("spacing"), window=image.window)
    pictures = [_picture(image.array, points, frame, record["sample_id"], info, args)]
    for epoch in range(args.draws):
        set_epoch(dataset, epoch)
        packed = dataset[index]
        if "inputs" not in packed or "data_samples" not in packed:
            raise ValueError(
                f"{args.config}: the {args.split} pipeline must end with PackInputs, got {list(packed)}"
            )
        sample = packed["data_samples"]
        array = np.moveaxis(sample.unit_pixels(packed["inputs"]).numpy(), 0, -1)
        points = sample.to_input(sample.gt_landmarks).numpy()
        points[~sample.mask.numpy()] = np.nan
        world = world_from_image(sample.get("world_from_original"), sample.input_from_original)
        pictures.append(_picture(array, points, dict(world_from_volume=world), f"epoch {epoch}", info, args))
    return contact_sheet(pictures, len(pictures) if points.shape[1] == 2 else 1, gap=4)


def _picture(
    image: np.ndarray,
    points: np.ndarray,
    frame: dict[str, Any],
    caption: str,
    info: dict[str, Any],
    args: argparse.Namespace,
) -> np.ndarray:
    """Return a picture of an image, or of a volume with its ``frame`` as VolumePicture takes it."""
    import numpy as np

    from mmlandmark.visualization import VolumePicture, draw_landmarks

    dims = points.shape[1]
    if image.ndim == dims + 1 and image.shape[-1] != 3:
        image = image[..., 0]
    options = dict(
        names=[f"{number:03}" for number in range(len(points))] if args.names else None,
        links=info.get("links", ()),
    )
    if dims == 2:
        return draw_landmarks(image, points, caption=caption, long_side=args.side, **options)
    volume = VolumePicture(image if image.ndim == 3 else image.mean(axis=-1), points, **frame, **options)
    at, k = None, _landmark(args.at, info["landmark_names"])
    if k is not None:
        found = bool(np.isfinite(points[k]).all())
        at = points[k] if found else None
        caption += f", {'at' if found else 'without'} {info['landmark_names'][k]}"
    return volume.captioned(volume.views(at, long_side=args.side), caption)


def _landmark(wanted: str | None, names: Any) -> int | None:
    """Return the index of the landmark that ``--at`` names."""
    from mmlandmark.utils.near_names import did_you_mean

    if wanted is None:
        return None
    if wanted in names:
        return list(names).index(wanted)
    if wanted.isdigit() and int(wanted) < len(names):
        return int(wanted)
    raise ValueError(f"--at {wanted}: there is no such landmark{did_you_mean([wanted], names)}")
