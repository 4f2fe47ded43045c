"""Deal the cases of a config's data out to parts, by group, and write a list of ids for each.

A dataset reads such a list with `ids=`. The same seed gives the same lists; lists that are there already and
say something else are not overwritten:

    mmlandmark split configs/fsf_ld/unet4_hand_512x256.py --parts train=6 test=4 --out splits
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mmlandmark.utils.command_line import CfgOptions, add_config_arguments
from mmlandmark.utils.files import atomic_write_text, safe_name


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mmlandmark split``."""
    add_config_arguments(parser)
    parser.add_argument(
        "--parts", nargs="+", action=CfgOptions, required=True, metavar="NAME=SHARE", help="train=6 test=2"
    )
    parser.add_argument(
        "--among", nargs="+", type=Path, metavar="FILE", help="deal out the ids of these lists only"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the shuffle (default 0)")
    parser.add_argument("--out", type=Path, required=True, help="folder for NAME.txt")


def run(args: argparse.Namespace) -> None:
    """Split."""
    from mmlandmark.datasets import leaf_datasets
    from mmlandmark.datasets.folds import deal_parts
    from mmlandmark.datasets.id_lists import read_ids
    from mmlandmark.engine import load_config
    from mmlandmark.registry import DATASETS

    config = load_config(args.config, args.cfg_options)
    among = sorted({i for path in args.among or () for i in read_ids(path)[0]})
    selection = dict(split=None, fold=None, num_folds=None, ids=among or None)
    inner = config.test_dataloader.dataset
    while "dataset" in inner or "datasets" in inner:  # inside of wrappers
        parts = inner.get("datasets", [inner.get("dataset")])
        if len(parts) != 1:
            raise ValueError(f"{args.config}: the test has {len(parts)} datasets; one can be dealt out")
        inner = parts[0]
    (leaf,) = leaf_datasets(DATASETS.build(dict(inner, **selection, pipeline=[], missing_images="keep")))
    records = [leaf.get_data_info(i) for i in range(len(leaf))]
    texts = {
        args.out / f"{safe_name(name)}.txt": "\n".join(ids) + "\n"
        for name, ids in deal_parts(records, args.parts, args.seed).items()
    }
    for path, text in texts.items():
        if path.is_file() and path.read_text(encoding="utf-8") != text:
            raise ValueError(f"{path} lists other ids; remove it to replace it, or choose another --out")
    for path, text in texts.items():
        atomic_write_text(path, text)
        print(f"{path}: {text.count(chr(10))} ids")
