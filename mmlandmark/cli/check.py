"""Look for faults in the annotations of a dataset and write a report (HTML, Markdown and JSON).

mmlandmark check configs/unet/unet_isbi2015_320x256_cpu.py
mmlandmark check --type SpineAasce2019 --data-root data/spine
mmlandmark check --type Isbi2015Cephalogram --data-root data/isbi --splits train test1
mmlandmark check --ann-file train.csv --image-dir images --fail-on warning
"""

from __future__ import annotations

import argparse
import inspect
import sys
import time
from pathlib import Path
from typing import Any

from mmlandmark.utils.command_line import CfgOptions

ERROR_CODE = 2  # 1 is for findings
_LOADERS = ("train_dataloader", "val_dataloader", "test_dataloader")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mmlandmark check``."""
    parser.add_argument(
        "config", nargs="?", help="config whose train, val and test datasets are checked together"
    )
    parser.add_argument("--type", default="LandmarkDataset", help="dataset class, if there is no config")
    parser.add_argument("--data-root", default="", help="folder of the data")
    parser.add_argument("--ann-file", help="annotation file, relative to the data root")
    parser.add_argument("--image-dir", help="folder of the images, relative to the data root")
    parser.add_argument("--schema", help="name or JSON file of the landmark schema")
    parser.add_argument("--splits", nargs="+", help="splits to check together, for leaks between them")
    parser.add_argument(
        "--options",
        nargs="+",
        action=CfgOptions,
        default={},
        metavar="KEY=VALUE",
        help="more arguments of the dataset, or of the thresholds",
    )
    parser.add_argument(
        "--out", help="folder of the report; work_dirs/check/<name of the config or data> by default"
    )
    parser.add_argument(
        "--no-images",
        action="store_true",
        help="look at records alone: no copies in other formats, no pixels, no pictures",
    )
    parser.add_argument("--pictures", type=int, default=24, help="findings to draw; default 24")
    parser.add_argument(
        "--fail-on",
        choices=("never", "error", "warning"),
        default="error",
        help="exit with 1 on findings of this severity or worse; default error (2: the check itself failed)",
    )


def run(args: argparse.Namespace) -> int:
    """Check, write the report and print its summary; return the exit code."""
    if args.config is None and not (args.data_root or args.ann_file):
        raise ValueError("give a config, or --data-root or --ann-file")
    from mmlandmark.datasets.check_report import summarised, to_html, to_markdown, verdict
    from mmlandmark.utils.files import atomic_write_json, atomic_write_text

    datasets, limits, title = read_datasets(args)
    report = run_checks(datasets, limits, images=not args.no_images)
    folder = Path(args.out or Path("work_dirs/check") / default_name(args))
    shown = {}
    if not args.no_images:
        from mmlandmark.visualization.check_pictures import draw_check_pictures

        drawn = draw_check_pictures(datasets, report, folder, args.pictures)
        shown = dict(pictures=drawn.samples, sheets=drawn.sheets)
    atomic_write_json(folder / "report.json", report)
    atomic_write_text(folder / "report.md", to_markdown(report, title, **shown))
    atomic_write_text(folder / "report.html", to_html(report, title, **shown, folder=folder))
    print(f"{title}: {verdict(report)}")
    for row in summarised(report):
        print(f"  {row['severity']}: {row['check']}: {row['samples']} samples; {row['advice']}")
    if not report["findings"]:
        print("  nothing was found")
    print(f"report: {folder / 'report.html'} (also report.md, report.json)")
    worst = {"never": (), "error": ("error",), "warning": ("error", "warning")}[args.fail_on]
    return int(any(finding["severity"] in worst for finding in report["findings"]))


def read_datasets(args: argparse.Namespace) -> tuple[dict[str, Any], Any, str]:
    """Return the datasets that ``args`` names, the thresholds and a title."""
    from mmlandmark.datasets.checks import Thresholds

    options = dict(args.options)
    limits = Thresholds(**{k: options.pop(k) for k in list(options) if k in Thresholds.__dataclass_fields__})
    if args.config is not None:
        from mmlandmark.engine import load_config

        configs, title = dataset_configs(load_config(args.config)), Path(args.config).stem
    else:
        config = dict(type=args.type, data_root=args.data_root, **options)
        config.update(
            {k: v for k in ("ann_file", "image_dir", "schema") if (v := getattr(args, k)) is not None}
        )
        configs = (
            {split: dict(config, split=split) for split in args.splits} if args.splits else {"all": config}
        )
        title = f"{args.type} {args.data_root or args.ann_file}"
    return {name: build(config) for name, config in configs.items()}, limits, title


def default_name(args: argparse.Namespace) -> str:
    """Return a folder name for the report that other data do not share."""
    from mmlandmark.utils.files import safe_name

    if args.config is not None:
        return safe_name(Path(args.config).stem)
    parts = [args.type, Path(args.data_root).resolve().name if args.data_root else "", args.ann_file or ""]
    return safe_name("_".join(part for part in parts if part))


def run_checks(datasets: dict[str, Any], limits: Any, images: bool) -> dict[str, Any]:
    """Check datasets; images that are read are counted on stderr."""
    from mmlandmark.datasets.checks import check_dataset

    begun = told = time.monotonic()

    def progress(done: int, total: int) -> None:
        nonlocal told
        now = time.monotonic()
        if now - told > 3:
            told = now
            rest = (now - begun) / done * (total - done)
            print(f"  {done} of {total} images read, {rest:.0f} s left", file=sys.stderr, flush=True)

    return check_dataset(datasets, limits, images=images, progress=progress)


def dataset_configs(config: Any) -> dict[str, dict]:
    """Return the plain datasets of a config's loaders by name; equal ones share a name like "val+test"."""
    found: dict[str, dict] = {}
    for loader in _LOADERS:
        dataset = (config.get(loader) or {}).get("dataset")
        leaves = [] if dataset is None else _leaves(dataset)
        for number, leaf in enumerate(leaves):
            name = loader.split("_")[0] + (f"[{number}]" if len(leaves) > 1 else "")
            same = next((other for other, known in found.items() if _records(known) == _records(leaf)), None)
            if same is not None:
                found[f"{same}+{name}"] = found.pop(same)
            else:
                found[name] = leaf
    if not found:
        raise ValueError(f"the config has no dataset in {', '.join(_LOADERS)}")
    return found


def _leaves(config: Any) -> list[dict]:
    inner = list(config.get("datasets", ())) + ([config["dataset"]] if "dataset" in config else [])
    if inner:
        return [leaf for part in inner for leaf in _leaves(part)]
    drop = ("image_cache", "test_mode", "lazy_init")
    return [{k: v for k, v in config.items() if k not in drop}]


def _records(config: dict) -> dict:
    """Return what decides the records; two pipelines do not make two datasets. The seed of a phantom does."""
    return {k: v for k, v in config.items() if k != "pipeline"}


def build(config: dict) -> Any:
    """Build one dataset so that missing images end in the report instead of stopping it."""
    from mmlandmark.registry import DATASETS

    cls = DATASETS.get(config["type"]) if isinstance(config["type"], str) else config["type"]
    accepted = inspect.signature(cls.__init__).parameters
    open_ended = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in accepted.values())
    if open_ended or "missing_images" in accepted:
        config = dict(dict(missing_images="keep"), **config)
    return DATASETS.build(config)
