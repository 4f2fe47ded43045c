"""Find faults in annotations and images, and write a report.

The report is written as HTML, Markdown and JSON.

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

from mmlandmark.utils.command_line import KeyValues

ERROR_CODE = 2  # 1 is for findings
_LOADERS = ("train_dataloader", "val_dataloader", "test_dataloader")
_NOT_COMPARED = ("image_cache", "test_mode", "lazy_init")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mmlandmark check``."""
    parser.add_argument("config", nargs="?", help="config; its train, val and test data are checked together")
    parser.add_argument("--type", default="LandmarkDataset", help="dataset class, without a config")
    parser.add_argument("--data-root", default="", help="folder of the data")
    parser.add_argument("--ann-file", help="annotation file, relative to the data root")
    parser.add_argument("--image-dir", help="folder of the images, relative to the data root")
    parser.add_argument("--schema", help="name or JSON file of the landmark schema")
    parser.add_argument("--splits", nargs="+", help="splits to check together, to find leaks between them")
    parser.add_argument(
        "--options", nargs="+", action=KeyValues, default={}, metavar="KEY=VALUE",
        help="further arguments of the dataset, or thresholds",
    )  # fmt: skip
    parser.add_argument(
        "--out", help="folder of the report; default work_dirs/check/<name of config or data>"
    )
    parser.add_argument(
        "--no-images", action="store_true",
        help="check records only: no copies in other formats, no pixels, no pictures",
    )  # fmt: skip
    parser.add_argument("--pictures", type=int, default=24, help="findings to draw; default 24")
    parser.add_argument(
        "--fail-on", choices=("never", "error", "warning"), default="error",
        help="exit with 1 on findings of this severity or worse; default error (2: the check itself failed)",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Check, write the report and print its summary; return the exit code."""
    from mmlandmark.datasets.check_report import summarised, verdict

    if args.config is None and not (args.data_root or args.ann_file):
        raise ValueError("give a config, or --data-root or --ann-file")
    datasets, limits, title = read_datasets(args)
    seen = None
    if not args.no_images:
        from mmlandmark.visualization.check_pictures import SeenVolumes

        seen = SeenVolumes(datasets, args.pictures)
    report = run_checks(datasets, limits, images=not args.no_images, seen=seen)
    folder = Path(args.out or Path("work_dirs/check") / default_name(args))
    write_report(folder, report, title, datasets, None if args.no_images else args.pictures, seen)
    print(f"{title}: {verdict(report)}")
    for row in summarised(report):
        print(f"  {row['severity']}: {row['check']}: {row['samples']} samples; {row['advice']}")
    if not report["findings"]:
        print("  nothing was found")
    print(f"report: {folder / 'report.html'} (also report.md, report.json)")
    failing = {"never": (), "error": ("error",), "warning": ("error", "warning")}[args.fail_on]
    return int(any(finding["severity"] in failing for finding in report["findings"]))


def read_datasets(args: argparse.Namespace) -> tuple[dict[str, Any], Any, str]:
    """Return the datasets that the arguments name, the thresholds, and a title."""
    from mmlandmark.datasets.checks import Thresholds

    options = dict(args.options)
    limits = Thresholds(**{k: options.pop(k) for k in list(options) if k in Thresholds.__dataclass_fields__})
    if args.config is not None:
        from mmlandmark.engine import load_config
        from mmlandmark.planning.data_source import TABLES

        if Path(args.config).suffix.lower() in TABLES:
            raise ValueError(
                f"{args.config} is no config: --ann-file {args.config} checks an annotation, with its images "
                "in --image-dir"
            )
        configs, title = dataset_configs(load_config(args.config)), Path(args.config).stem
    else:
        config = dict(type=args.type, data_root=args.data_root, **options)
        given = {key: getattr(args, key) for key in ("ann_file", "image_dir", "schema")}
        config.update({key: value for key, value in given.items() if value is not None})
        splits = {split: dict(config, split=split) for split in args.splits or ()}
        configs, title = splits or {"all": config}, f"{args.type} {args.data_root or args.ann_file}"
    return {name: build(config) for name, config in configs.items()}, limits, title


def default_name(args: argparse.Namespace) -> str:
    """Return a folder name for the report that no other data share."""
    from mmlandmark.utils.files import safe_name

    if args.config is not None:
        return safe_name(Path(args.config).stem)
    parts = [args.type, Path(args.data_root).resolve().name if args.data_root else "", args.ann_file or ""]
    return safe_name("_".join(part for part in parts if part))


def run_checks(datasets: dict[str, Any], limits: Any, images: bool, seen: Any = None) -> dict[str, Any]:
    """Check datasets and return the report; progress in reading images goes to stderr.

    Volumes are drawn by ``seen``, a ``SeenVolumes``, while they are decoded.
    """
    from mmlandmark.datasets.checks import check_dataset

    begin = last_print = time.monotonic()

    def progress(done: int, total: int) -> None:
        nonlocal last_print
        now = time.monotonic()
        if now - last_print > 3:
            last_print = now
            remaining = (now - begin) / done * (total - done)
            print(f"  {done} of {total} images read, {remaining:.0f} s left", file=sys.stderr, flush=True)

    see = None if seen is None else seen.see
    return check_dataset(datasets, limits, images=images, progress=progress, see=see)


def write_report(
    folder: Path,
    report: dict[str, Any],
    title: str,
    datasets: dict[str, Any],
    pictures: int | None,
    seen: Any = None,
) -> None:
    """Write the report in three formats, with pictures of up to ``pictures`` findings."""
    from mmlandmark.datasets.check_report import to_html, to_markdown
    from mmlandmark.utils.files import atomic_write_json, atomic_write_text

    drawn: dict[str, Any] = {}
    if pictures is not None:
        from mmlandmark.visualization.check_pictures import draw_check_pictures

        made = draw_check_pictures(datasets, report, folder, pictures, seen)
        drawn = dict(pictures=made.samples, sheets=made.sheets)
    atomic_write_json(folder / "report.json", report)
    atomic_write_text(folder / "report.md", to_markdown(report, title, **drawn))
    atomic_write_text(folder / "report.html", to_html(report, title, **drawn, folder=folder))


def dataset_configs(config: Any) -> dict[str, dict]:
    """Return the leaf datasets of a config's loaders by name; equal ones share a name such as "val+test"."""
    from mmlandmark.utils.dataset_tree import leaf_configs

    configs: dict[str, dict] = {}
    for loader in _LOADERS:
        dataset = (config.get(loader) or {}).get("dataset")
        leaves = [] if dataset is None else leaf_configs(dataset)
        for number, leaf in enumerate(leaves):
            leaf = {key: value for key, value in leaf.items() if key not in _NOT_COMPARED}
            name = loader.split("_")[0] + (f"[{number}]" if len(leaves) > 1 else "")
            same = [other for other, known in configs.items() if _records(known) == _records(leaf)]
            if same:
                configs[f"{same[0]}+{name}"] = configs.pop(same[0])
            else:
                configs[name] = leaf
    if not configs:
        raise ValueError(f"the config has no dataset in {', '.join(_LOADERS)}")
    return configs


def _records(config: dict) -> dict:
    """Return the arguments that decide on the records. The pipeline does not; the seed of a phantom does."""
    return {key: value for key, value in config.items() if key != "pipeline"}


def build(config: dict) -> Any:
    """Build one dataset that reports missing images instead of failing on them."""
    from mmlandmark.registry import DATASETS

    cls = DATASETS.get(config["type"]) if isinstance(config["type"], str) else config["type"]
    accepted = inspect.signature(cls.__init__).parameters
    open_ended = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in accepted.values())
    if open_ended or "missing_images" in accepted:
        config = dict(dict(missing_images="keep"), **config)
    return DATASETS.build(config)
