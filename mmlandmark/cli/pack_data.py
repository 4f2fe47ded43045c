"""Write a copy of a data set: resized JPEGs and one annotation file, or shards.

The first is for machines to which little can be copied; `LandmarkDataset` reads it. Shards are tar files with
an index, for data that outgrows a disk; `ShardedDataset` reads them where they are. They hold the image files
as they are or, with --size, resized JPEGs. The splits are train, val (if that is not the test data) and test;
the spacing of resized pixels is their own: millimetres stay true.

    mmlandmark pack-data CONFIG --size 800 640 --out data/packed
    mmlandmark pack-data CONFIG --shards 256 --out data/shards
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmlandmark.utils.command_line import add_config_arguments, positive_number
from mmlandmark.utils.files import atomic_path, atomic_write_json, read_json, safe_name

if TYPE_CHECKING:
    import numpy as np

ANNOTATIONS, SPLITS = "annotations.json", ("train", "val", "test")
_MADE_BY = "mmlandmark pack-data"
# Keys of records that an entry has in other words, or that a data set makes itself.
_NOT_OWN = {
    *("landmarks", "by_annotator", "visibility", "weights", "predicted", "spacing", "group", "split", "fold"),
    *("sample_idx", "stored", "world_from_original", "phantom_index"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mmlandmark pack-data``."""
    add_config_arguments(parser)
    parser.add_argument(
        "--size",
        nargs=2,
        type=positive_number,
        metavar=("H", "W"),
        help="pixels of the images; needed without --shards",
    )
    parser.add_argument("--quality", type=int, default=90, help="of the JPEG files, 1 to 100; default 90")
    parser.add_argument(
        "--shards", type=positive_number, metavar="MIB", help="write shards of about so many MiB and an index"
    )
    parser.add_argument("--lmdb", action="store_true", help="write shards in LMDB in place of tar files")
    parser.add_argument("--out", type=Path, required=True, help="folder of the copy")


def run(args: argparse.Namespace) -> None:
    """Write the copy."""
    from mmlandmark.engine import load_config

    if args.size is None and args.shards is None:
        raise ValueError(
            "give --size H W for a small copy, or --shards MIB for shards of the files as they are"
        )
    if args.lmdb and args.shards is None:
        raise ValueError("--lmdb is a kind of shards: give --shards MIB, too")
    config = load_config(args.config, args.cfg_options)
    if args.shards is not None:
        _write_shards(args, config)
        return
    annotations = args.out / ANNOTATIONS
    check_copy(args.out)
    # Annotations of an earlier copy would not fit the new images.
    atomic_write_json(annotations, dict(info=dict(made_by=_MADE_BY, unfinished=True)))
    samples: dict[str, dict[str, Any]] = {}
    schema = None
    for split, dataset, record in _records(args, config):
        schema = schema or asdict(dataset.schema)
        sample, image = packed(record, tuple(args.size), split)
        write_jpeg(args.out / sample["image"], image, args.quality)
        samples[sample["id"]] = sample
    content = dict(info=dict(made_by=_MADE_BY), schema=schema, samples=list(samples.values()))
    atomic_write_json(annotations, content)
    size = sum(path.stat().st_size for path in args.out.rglob("*") if path.is_file())
    print(f"wrote {len(samples)} samples to {args.out}, {size / 2**20:.1f} MiB")


def check_copy(folder: Path) -> None:
    """Refuse a folder in which files would be replaced that are not of an earlier copy.

    Raises:
        ValueError: It holds annotations of somebody else, or images where those of the copy go.
    """
    path = folder / ANNOTATIONS
    if path.exists():
        try:
            info = read_json(path).get("info")
        except ValueError:
            info = None
        if isinstance(info, dict) and info.get("made_by") == _MADE_BY:
            return
        there = [path]
    else:
        there = [folder / split for split in SPLITS if (folder / split).exists()]
    if there:
        raise ValueError(
            f"{there[0]} was not written by pack-data and would be replaced: choose another --out, or move "
            "it away"
        )


def _write_shards(args: argparse.Namespace, config: Any) -> None:
    """Write shards and their index."""
    from mmlandmark.datasets.shards import ShardWriter

    schema = None
    with ShardWriter(args.out, args.shards * 2**20, args.lmdb) as writer:
        for split, dataset, record in _records(args, config):
            schema = schema or dataset.schema.to_dict()
            if args.size is None:
                sample, suffix, data = as_it_is(record, split)
            else:
                sample, image = packed(record, tuple(args.size), split)
                suffix, data = ".jpg", encoded_jpeg(image, args.quality)
                del sample["image"]
            writer.add(sample, suffix, data)
        writer.finish(schema)
    size, count = (sum(getattr(shard, key) for shard in writer.shards) for key in ("size", "count"))
    print(f"wrote {count} samples to {len(writer.shards)} shards in {args.out}, {size / 2**20:.1f} MiB")


def _records(args: argparse.Namespace, config: Any) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """Yield the split, data set and record of every sample; ValueError if one is in two of them."""
    seen: set[str] = set()
    landmarks = None
    for split, dataset in split_datasets(config):
        landmarks = landmarks or dataset.schema.landmarks
        if dataset.schema.landmarks != landmarks:
            raise ValueError(
                f"the data sets of {args.config} have different landmarks: pack each with a config"
            )
        for index in range(len(dataset)):
            record = dataset.get_data_info(index)
            if record["sample_id"] in seen:
                raise ValueError(f"sample {record['sample_id']!r} is in two data sets of {args.config}")
            seen.add(record["sample_id"])
            yield split, dataset, record
    if not seen:
        raise ValueError(f"{args.config} has no data to pack: no data loader, or no sample in its data set")


def _annotation(
    record: dict[str, Any], split: str, points: Callable[[Any], list[Any]], **image: Any
) -> dict[str, Any]:
    """Return the entry of a record, which says all but the size and spacing of its image.

    Args:
        record: The record.
        split: Name of its split.
        points: From (K, D) original pixels to those of the copy, None where a landmark is missing.
        **image: ``image``, the file of the copy.
    """
    import numpy as np

    sample: dict[str, Any] = dict(
        id=str(record["sample_id"]), **image, split=split, landmarks=points(record["landmarks"])
    )
    if record.get("by_annotator") is not None:
        sample["by_annotator"] = [points(one) for one in record["by_annotator"]]
    for key in ("visibility", "weights"):
        if record.get(key) is not None:
            sample[key] = np.asarray(record[key]).tolist()
    sample |= {key: record[key] for key in ("group", "fold") if record.get(key) is not None}
    return sample | _own_keys(record)


def _own_keys(record: dict[str, Any]) -> dict[str, Any]:
    """Return what an annotation says in keys of its own, as values of JSON."""
    import numpy as np

    from mmlandmark.datasets.values import is_reserved

    own = {key: one for key, one in record.items() if key not in _NOT_OWN and not is_reserved(key)}
    for key, value in own.items():
        where = f"sample {record['sample_id']!r}: its {key!r}"
        if key in ("width", "height"):
            raise ValueError(f"{where} would be that of its image: give it another name")
        if isinstance(value, np.ndarray | np.generic):
            own[key] = value = value.tolist()
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError):
            raise ValueError(f"{where} is {value!r:.80}, which JSON cannot hold: leave it out") from None
    return own


def as_it_is(record: dict[str, Any], split: str) -> tuple[dict[str, Any], str, bytes]:
    """Return a record's entry, and the suffix and content of its image file.

    Args:
        record: The record.
        split: Name of its split.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The image is not one whole file of a known format.
    """
    import numpy as np

    from mmlandmark.datasets.image_files import image_parts, image_shape
    from mmlandmark.datasets.readers.file_format import SUFFIXES, file_format, suffix_of

    name, path = str(record["sample_id"]), record.get("img_path")
    header = path is not None and (Path(path).is_dir() or suffix_of(path) in (".mhd", ".nhdr"))
    if path is None or header or "slice" in record or len(image_parts(path)) > 1:
        raise ValueError(
            f"sample {name!r}: its image is not one file of its own ({path or 'it has none'}); give --size, "
            "or write it as NIfTI, MetaImage (.mha) or PNG"
        )
    suffix = suffix_of(path)
    if suffix not in SUFFIXES:
        kind = file_format(path)
        suffix = next((one for one, format in SUFFIXES.items() if format == kind), suffix)

    def plain(points: Any) -> list[Any]:
        return [None if np.isnan(p).any() else p.tolist() for p in np.asarray(points)]

    sample = _annotation(record, split, plain)
    if "predicted" in record:  # radii and regions are those of these pixels
        sample["predicted"] = record["predicted"]
    if record.get("spacing") is not None:
        sample["spacing"] = np.asarray(record["spacing"]).tolist()
    shape = record.get("ori_shape") or image_shape(path)
    sample |= dict(zip(("width", "height", "depth"), (int(side) for side in shape[::-1]), strict=False))
    return sample, suffix, Path(path).read_bytes()


def split_datasets(config: Any) -> Iterator[tuple[str, Any]]:
    """Yield the name and the datasets of every split of a config, without wrappers and pipelines."""
    from mmlandmark.registry import DATASETS
    from mmlandmark.utils.dataset_tree import bare_dataset, leaf_configs

    test = (config.get("test_dataloader") or {}).get("dataset")
    for split in SPLITS:
        dataset = (config.get(f"{split}_dataloader") or {}).get("dataset")
        if dataset is not None and not (split == "val" and dataset == test):
            for leaf in leaf_configs(dataset):
                yield split, DATASETS.build(bare_dataset(leaf))


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

    from mmlandmark.datasets.table_columns import is_predicted
    from mmlandmark.datasets.transforms import LoadImage
    from mmlandmark.structures import apply_matrix, invert_matrix, spacing_of, world_matrix

    loaded = LoadImage(size=size)(dict(record))
    matrix, image = loaded["img_from_original"], loaded["img"]
    name = str(record["sample_id"])
    if image.dtype != np.uint8:
        raise ValueError(f"sample {name!r} has {image.dtype} values: JPEG holds 8 bits, copy the original")

    def moved(points: Any) -> list[Any]:
        points = apply_matrix(matrix, np.asarray(points, dtype=np.float64))
        return [None if np.isnan(p).any() else [round(float(c), 3) for c in p] for p in points]

    kept = {key: value for key, value in record.items() if not is_predicted(key)}  # radii of other pixels
    sample = _annotation(kept, split, moved, image=f"{split}/{safe_name(name)}.jpg")
    if record.get("spacing") is not None:
        world = world_matrix(np.broadcast_to(np.asarray(record["spacing"], dtype=np.float64), (2,)))
        sample["spacing"] = list(spacing_of(world @ invert_matrix(matrix)))  # the axes may be exchanged
    sample["height"], sample["width"] = (int(side) for side in image.shape[:2])
    return sample, image


def encoded_jpeg(image: np.ndarray, quality: int) -> bytes:
    """Return an image (H, W) or (H, W, 3), RGB, uint8 as the content of a JPEG file."""
    import cv2

    return cv2.imencode(".jpg", _bgr(image), [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def write_jpeg(path: Path, image: np.ndarray, quality: int) -> None:
    """Write an image (H, W) or (H, W, 3), RGB, uint8 atomically.

    Raises:
        ValueError: OpenCV cannot write it.
    """
    import cv2

    with atomic_path(path, durable=False) as temporary:
        if not cv2.imwrite(str(temporary), _bgr(image), [cv2.IMWRITE_JPEG_QUALITY, quality]):
            raise ValueError(f"{path} cannot be written: is the disk full?")


def _bgr(image: np.ndarray) -> np.ndarray:
    """Return an image in the order of channels of OpenCV."""
    return image if image.ndim == 2 else image[..., ::-1]
