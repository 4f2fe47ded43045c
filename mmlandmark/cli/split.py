"""Divide the cases of a data set into parts, by group, and write their ids.

A dataset reads such a list with `ids=`. The same seed gives the same lists; a list with other ids is not
overwritten.

    mmlandmark split configs/fsf_ld/unet4_hand_512x256.py --parts train=6 test=4 --out splits
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mmlandmark.utils.command_line import KeyValues, add_config_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mmlandmark split``."""
    add_config_arguments(parser)
    parser.add_argument(
        "--parts", nargs="+", action=KeyValues, required=True, metavar="NAME=SHARE",
        help="parts and their relative sizes, such as train=6 test=2",
    )  # fmt: skip
    parser.add_argument(
        "--among", nargs="+", type=Path, metavar="FILE", help="divide the ids of these lists only"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the shuffle; default 0")
    parser.add_argument("--out", type=Path, required=True, help="folder for NAME.txt")


def run(args: argparse.Namespace) -> None:
    """Write the lists."""
    from mmlandmark.datasets.folds import deal_parts
    from mmlandmark.datasets.id_lists import read_ids
    from mmlandmark.engine import load_config
    from mmlandmark.utils.files import atomic_write_text, safe_name

    config = load_config(args.config, args.cfg_options)
    among = sorted({name for path in args.among or () for name in read_ids(path)[0]})
    parts = deal_parts(read_records(config, args.config, among or None), args.parts, args.seed)
    texts = {args.out / f"{safe_name(name)}.txt": "\n".join(ids) + "\n" for name, ids in parts.items()}
    for path, text in texts.items():
        if path.is_file() and path.read_text(encoding="utf-8") != text:
            raise ValueError(f"{path} lists other ids; remove it to replace it, or choose another --out")
    for path, text in texts.items():
        atomic_write_text(path, text)
        print(f"{path}: {text.count(chr(10))} ids")


def read_records(config: Any, source: str, ids: list[str] | None) -> list[dict[str, Any]]:
    """Return the records of the data a config tests on, or else trains on, of all splits and folds.

    Args:
        config: The config.
        source: Its name in error messages.
        ids: Sample ids to keep; None keeps all.

    Raises:
        ValueError: There are no data, or several data sets.
    """
    from mmlandmark.registry import DATASETS
    from mmlandmark.utils.dataset_tree import leaf_configs

    loaders = {part: config.get(f"{part}_dataloader") for part in ("test", "val", "train")}
    part, loader = next(((name, one) for name, one in loaders.items() if one), ("", None))
    if loader is None:
        raise ValueError(f"{source} has no data: neither test_dataloader nor train_dataloader")
    leaves = leaf_configs(loader["dataset"])
    if len(leaves) != 1:
        raise ValueError(f"{source}: the {part} has {len(leaves)} datasets; split one at a time")
    everything = dict(split=None, fold=None, num_folds=None, ids=ids, pipeline=[], missing_images="keep")
    dataset = DATASETS.build(dict(leaves[0], **everything))
    return [dataset.get_data_info(index) for index in range(len(dataset))]
