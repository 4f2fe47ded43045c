"""Train and test a config on every fold of its data, and count all folds together."""

from __future__ import annotations

import copy
import inspect
import json
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.dist import barrier, is_main_process
from mmengine.logging import print_log

from mmlandmark.apis.running import report_files, test_config, train_config
from mmlandmark.apis.testing import find_checkpoint
from mmlandmark.datasets import LandmarkDataset
from mmlandmark.engine import ConfigError
from mmlandmark.evaluation import CaseMetric, FoldReport
from mmlandmark.registry import DATASETS, METRICS
from mmlandmark.utils.config_hash import config_hash
from mmlandmark.utils.files import atomic_write_json

LOADERS = ("train_dataloader", "val_dataloader", "test_dataloader")


def plan_folds(
    config: Config, names: Sequence[str] | None = None, deal: dict[str, Any] | None = None
) -> dict[str, Config]:
    """Return the config of every fold, after a look at what it trains on and what it tests.

    In every loader the datasets that say ``fold`` are given the fold; if none does, all of them are.
    Datasets inside of wrappers are found; others, as phantoms that are added to the training, stay.

    Args:
        config: See :func:`~mmlandmark.apis.prepare_config`.
        names: Folds to run; all that the tested dataset knows by default.
        deal: ``num_folds``, and ``fold_seed``, ``fold_split`` or ``group_pattern``, to deal out folds at
            random, by group; None takes the folds that the data brings.

    Raises:
        ConfigError: A loader is missing, or a fold does not exist.
        ValueError: The data has no folds; or folds overlap, within a fold or between what two of them
            test, in images or in groups (patients).
    """
    changes = dict(deal or {})
    missing = [key for key in ("train_dataloader", "test_dataloader") if config.get(key) is None]
    if missing:
        raise ConfigError(f"{config.filename}: cross-validation needs {', '.join(missing)}")
    tested = _leaves(config.test_dataloader.dataset)
    if not tested:
        raise ConfigError(f"{config.filename}: the tested data has no folds, it is no LandmarkDataset")
    known = _build(dict(tested[0], **changes, **({"fold": "0"} if deal else {}))).available_folds()
    strange = sorted(set(names or ()) - set(known))
    if strange:
        raise ConfigError(f"there are no folds {strange}; the data has {known}")
    planned, contents = {}, {}
    for name in names or known:
        planned[name] = whole = copy.deepcopy(config)
        for key in LOADERS:
            if whole.get(key) is not None:
                for leaf in _leaves(whole[key].dataset):
                    leaf.update(changes, fold=name)
        contents[name] = [
            [record for leaf in _leaves(whole[key].dataset) for record in _build(leaf).load_data_list()]
            for key in ("train_dataloader", "test_dataloader")
        ]
    check_folds(contents)
    return planned


def check_folds(contents: dict[str, list[list[dict[str, Any]]]]) -> None:
    """Raise ValueError if folds leak into each other.

    Args:
        contents: Name of a fold -> records it trains on, records it tests.
    """
    owner: dict[str, str] = {}
    for name, (train, test) in contents.items():
        for what, key in (("images", "sample_id"), ("groups", "group")):
            both = {str(r[key]) for r in train if r.get(key) is not None}
            both &= {str(r[key]) for r in test if r.get(key) is not None}
            if both:
                raise ValueError(
                    f"fold {name} trains on {len(both)} {what} that it also tests, e.g. {sorted(both)[:3]}: "
                    "what it measures would not hold for new patients"
                )
        for record in test:
            other = owner.setdefault(str(record["sample_id"]), name)
            if other != name:
                raise ValueError(
                    f"folds {other} and {name} both test {record['sample_id']!r}: folds must not overlap"
                )


def cross_validate(folds: dict[str, Config], work_dir: str | Path) -> FoldReport:
    """Train and test every fold in a folder of its own, and report all of them together.

    The same call again goes on where it stopped: a finished fold is not run again. The folds' metrics are
    then counted once more over the cases of all folds, into ``<work_dir>/pooled``.

    Args:
        folds: See :func:`plan_folds`.
        work_dir: Folder above the folds' folders.

    Raises:
        ConfigError: A folder holds a fold that ran with other values; or no metric keeps predictions.
    """
    work_dir = Path(work_dir)
    metrics = {}
    for name, config in folds.items():
        folder = work_dir / f"fold_{name}"
        done = claim_folder(folder, config)
        if done is None:
            print_log(f"fold {name}: {folder}", "current")
            config = copy.deepcopy(config)
            config.work_dir = str(folder)
            train_config(config, resume="auto")
            barrier()  # the process that writes the checkpoint may be the last to end the run
            done = test_config(config, find_checkpoint(config, None), out_dir=folder / "test")
            if is_main_process():
                claim_folder(folder, config, done)
        metrics[name] = done
    barrier()
    cases = {name: _cases(work_dir / f"fold_{name}" / "test") for name in folds}
    pooled = _pooled(next(iter(folds.values())), list(chain(*cases.values())), work_dir)
    return FoldReport(metrics, {name: len(part) for name, part in cases.items()}, pooled)


def claim_folder(
    folder: str | Path, config: Config, metrics: dict[str, float] | None = None
) -> dict[str, float] | None:
    """Note in a folder which run it holds, and what came out of it.

    Args:
        folder: Work folder of one run.
        config: What it runs; its data, model, schedule and seed count.
        metrics: What came out, when it has ended.

    Returns:
        What came out of the run, if it ended before.

    Raises:
        ConfigError: The folder holds a run with other values.
    """
    note = Path(folder) / "run.json"
    now = dict(config_hash=config_hash(config), seed=(config.get("randomness") or {}).get("seed"))
    if note.is_file():
        found = json.loads(note.read_text(encoding="utf-8"))
        if {key: found.get(key) for key in now} != now:
            raise ConfigError(f"{folder} holds a run with other values: remove it to run it again")
        if metrics is None:
            return found.get("metrics")
    if is_main_process():
        ended = None if metrics is None else {key: float(value) for key, value in metrics.items()}
        atomic_write_json(note, dict(now, metrics=ended))
    return metrics


def _leaves(dataset: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the configs of the datasets inside a config that a fold is for."""
    found = [leaf for leaf in _walk(dataset) if _takes_folds(leaf)]
    return [leaf for leaf in found if leaf.get("fold") is not None] or found


def _walk(dataset: dict[str, Any]) -> Iterator[dict[str, Any]]:
    inner = [*dataset.get("datasets", ()), *([dataset["dataset"]] if "dataset" in dataset else [])]
    for part in inner:
        yield from _walk(part)
    if not inner:
        yield dataset


def _takes_folds(leaf: dict[str, Any]) -> bool:
    kind = leaf["type"] if inspect.isclass(leaf["type"]) else DATASETS.get(leaf["type"])
    return issubclass(kind, LandmarkDataset)


def _build(leaf: dict[str, Any]) -> LandmarkDataset:
    """Return a dataset of which only the records are wanted."""
    kept = {key: value for key, value in leaf.items() if key != "image_cache"}
    return DATASETS.build(dict(kept, pipeline=[], lazy_init=True))


def _cases(out: Path) -> list[dict[str, Any]]:
    """Return the cases that a test kept, as metrics take them."""
    files = sorted(out.glob("predictions*.json"))
    if not files:
        raise ConfigError(f"no predictions in {out}: test_evaluator needs a LandmarkMetric")
    cases = json.loads(files[0].read_text(encoding="utf-8"))["cases"]
    for case in cases:
        for key in ("gt", "pred"):
            case[key] = np.array(case[key], dtype=np.float64)
        case["spacing"] = None if case["spacing"] is None else np.array(case["spacing"])
    return cases


def _pooled(config: Config, cases: list[dict[str, Any]], work_dir: Path) -> dict[str, float]:
    """Return all numbers over the cases of all folds, and write their reports."""
    leaf = _leaves(config.test_dataloader.dataset)[0]
    cases = sorted(cases, key=lambda case: case["sample_id"])
    given = config.test_evaluator if isinstance(config.test_evaluator, list) else [config.test_evaluator]
    values: dict[str, float] = {}
    for evaluator in copy.deepcopy(given):
        metric = METRICS.build(report_files(evaluator, work_dir / "pooled"))
        if not isinstance(metric, CaseMetric):
            print_log(f"{evaluator['type']} is reported by fold only: it is no CaseMetric", "current")
            continue
        metric.dataset_meta = _build(leaf).metainfo
        prefix = f"{metric.prefix}/" if metric.prefix else ""
        values.update({prefix + key: value for key, value in metric.measure(cases).items()})
    return values
