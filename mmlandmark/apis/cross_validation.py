"""Cross-validation as a plan: a config is trained and tested on every fold, and all folds are pooled."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.logging import print_log

from mmlandmark.apis.listed_folds import give_lists, listed_folds
from mmlandmark.apis.recording import record_predictions
from mmlandmark.apis.running import is_landmark_metric, report_files, run_plan
from mmlandmark.apis.steps import TestStep
from mmlandmark.apis.tested_run import tested_run
from mmlandmark.datasets import ImageFolderDataset, LandmarkDataset, with_unlabelled
from mmlandmark.engine import (
    KNOWN_KEYS,
    ConfigError,
    Node,
    Step,
    main_process_decides,
    plan_of_run,
)
from mmlandmark.evaluation import CaseMetric, FoldReport
from mmlandmark.registry import DATASETS, METRICS
from mmlandmark.utils.dataset_tree import bare_dataset, leaf_configs
from mmlandmark.utils.files import read_state, safe_name

LOADERS = ("train_dataloader", "val_dataloader", "test_dataloader")


def fold_configs(
    config: Config, names: Sequence[str] | None = None, deal: dict[str, Any] | None = None
) -> dict[str, Config]:
    """Return the config of every fold, after checking what it trains on and what it tests.

    In every loader, also of stages, the datasets that name a ``fold`` get the fold; if none does, all of them
    do. This includes datasets inside of wrappers; other ones, such as phantoms added to the training, stay as
    they are. Datasets that are lists of ``ids`` get those of the fold in their place, see
    :func:`~mmlandmark.apis.listed_folds.listed_folds`. Variables of the config's author are dropped: nothing
    of a fold depends on them.

    Args:
        config: See :func:`~mmlandmark.apis.prepare_config`.
        names: Folds to run; all that the tested dataset knows by default.
        deal: ``num_folds``, and ``fold_seed``, ``fold_split`` or ``group_pattern``, to deal out folds at
            random, by group; None takes the folds that the data brings.

    Raises:
        ConfigError: A loader is missing, no metric keeps the predictions, or a fold does not exist.
        ValueError: The data has no folds; or folds overlap, within a fold or between what two of them
            test, in images or in groups (patients).
    """
    changes = dict(deal or {})
    if changes and not (isinstance(changes.get("num_folds"), int) and changes["num_folds"] > 1):
        raise ConfigError(f"num_folds must be at least 2, got {changes.get('num_folds')}")
    _check(config)
    lists = listed_folds([*_runs(config), tested_run(config)[0]], deal, str(config.filename))
    tested = _leaves(tested_run(config)[0].test_dataloader.dataset)
    if not tested:
        raise ConfigError(f"{config.filename}: the tested data has no folds, it is no LandmarkDataset")
    known = _build(dict(tested[0], **changes, **({"fold": "0"} if deal else {}))).available_folds()
    strange = sorted(set(names or ()) - set(known))
    if strange:
        raise ConfigError(f"there are no folds {strange}; the data has {known}")
    planned, contents = {}, {}
    for name in names or known:
        planned[name] = whole = copy.deepcopy(config)
        for key in set(whole) - KNOWN_KEYS:
            whole.pop(key)
        for part in (whole, *whole.get("stages", ())):
            if lists is None:
                _give_fold(part, dict(changes, fold=name))
            else:
                give_lists(part, *lists[name])
        runs = _runs(whole)
        contents[name] = [
            list(chain(*(_records(_all_training(run)) for run in runs))),
            _records(tested_run(whole)[0].test_dataloader.dataset),
        ]
    check_folds(contents)
    return planned


def _give_fold(loaders: dict[str, Any], changes: dict[str, Any]) -> None:
    """Give the datasets of all loaders of a config or a stage their fold, in place."""
    for loader in (loaders[key] for key in LOADERS if loaders.get(key) is not None):
        extra = loader.get("unlabelled") or {}
        named = [leaf for leaf in leaf_configs(extra) if leaf.get("fold") is not None]
        for leaf in (*_leaves(loader.get("dataset", {})), *named):
            leaf.update(changes)


def _all_training(run: Config) -> dict[str, Any]:
    """Return the data that a run learns from, with those whose annotation it does not see."""
    return with_unlabelled(run.train_dataloader)["dataset"]


def check_folds(contents: dict[str, list[list[dict[str, Any]]]]) -> None:
    """Raise ValueError if folds leak into each other.

    Args:
        contents: Name of a fold -> records it trains on, records it tests.
    """
    owners: dict[str, dict[str, str]] = {"image": {}, "group": {}}
    for name, (train, test) in contents.items():
        for what, key in (("image", "sample_id"), ("group", "group")):
            ours = {str(r[key]) for r in test if r.get(key) is not None}
            both = sorted(ours & {str(r[key]) for r in train if r.get(key) is not None})
            if both:
                raise ValueError(
                    f"fold {name} trains on {len(both)} {what}s that it also tests, e.g. {both[:3]}: "
                    "what it measures would not hold for new patients"
                )
            for owned in sorted(ours):
                other = owners[what].setdefault(owned, name)
                if other != name:
                    raise ValueError(
                        f"folds {other} and {name} both test {what} {owned!r}: folds must not overlap"
                    )


def plan_of_folds(folds: dict[str, Config], work_dir: str | Path) -> Node:
    """Return the plan that trains and tests every fold in a folder of its own.

    Args:
        folds: See :func:`fold_configs`.
        work_dir: Folder above the folds' folders.
    """
    work_dir, nodes = Path(work_dir), []
    for name, config in folds.items():
        folder = work_dir / f"fold_{safe_name(name)}"
        config = copy.deepcopy(config)
        config.work_dir = str(folder)
        nodes.append(plan_of_run(config, folder, steps=[TestStep(config)]))
    return Node(work_dir.name, work_dir, children=nodes)


def cross_validate(folds: dict[str, Config], work_dir: str | Path) -> FoldReport:
    """Run the plan of all folds, and report them together.

    The same call again resumes it, and several processes may share the folds. In the end the
    metrics are computed once more over the cases of all folds, into ``<work_dir>/pooled``.

    Args:
        folds: See :func:`fold_configs`.
        work_dir: Folder above the folds' folders.

    Raises:
        ConfigError: A folder holds another run, or has lost its test.
    """
    plan, pooling = plan_of_folds(folds, work_dir), PoolStep(folds)
    plan.steps = [pooling]
    run_plan(plan)
    assert pooling.report is not None
    return pooling.report


class PoolStep(Step):
    """Report the folds of a plan together.

    Args:
        folds: See :func:`fold_configs`.

    Attributes:
        report: Set when the step has been run.
    """

    name, always = "pooled", True

    def __init__(self, folds: dict[str, Config]) -> None:
        self.folds = folds
        self.report: FoldReport | None = None

    def run(self, node: Node) -> dict[str, float]:
        """Read the cases of all folds, and write the pooled files."""
        report = main_process_decides(lambda: self._report(node))
        self.report = report
        return report.pooled

    def _report(self, node: Node) -> FoldReport:
        metrics, cases = {}, {}
        for name, fold in zip(self.folds, node.children, strict=True):
            metrics[name] = fold.run_folder.step_metrics(TestStep.name) or {}
            cases[name] = _cases(fold.folder)
        config = next(iter(self.folds.values()))
        pooled, sources = _pooled(config, list(chain(*cases.values())), node.folder / "pooled")
        return FoldReport(metrics, {name: len(part) for name, part in cases.items()}, pooled, sources)


def record_folds(
    report: FoldReport,
    folds: dict[str, Config],
    config: Config,
    path: Path | None = None,
    deal: dict[str, Any] | None = None,
) -> Path:
    """Record the pooled numbers of a cross-validation, and those of every fold.

    Args:
        report: See :func:`cross_validate`.
        folds: See :func:`fold_configs`.
        config: The config that is cross-validated; ``work_dir`` is the folder above the folds'.
        path: File to write; ``results/<config>_cv<folds>_seed<seed>.json`` beside the config by default.
        deal: How folds were dealt out, see :func:`fold_configs`.

    Returns:
        The file.
    """
    source, seed = Path(config.filename), config.randomness.seed
    name = f"{source.stem}_cv{len(folds)}"
    path = path or source.parent / "results" / f"{name}_seed{seed}.json"
    first = next(iter(folds.values()))  # its hash depends on how folds were dealt out
    out = Path(config.work_dir) / "pooled"
    record_predictions(path, first, report.pooled, seed, out, config_name=name, deal=deal, folds=report.folds)
    return path


def _runs(config: Config) -> list[Config]:
    """Return the configs that are trained one after the other."""
    return [run.config for run in plan_of_run(config, config.work_dir).runs() if run.config is not None]


def _check(config: Config) -> None:
    """Raise ConfigError unless all can be trained and tested, and predictions are kept."""
    runs = _runs(config)
    missing = [key for run in runs for key in ("train_dataloader",) if run.get(key) is None]
    missing += [key for key in ("test_dataloader", "test_evaluator") if runs[-1].get(key) is None]
    if missing:
        raise ConfigError(f"{config.filename}: cross-validation needs {', '.join(missing)}")
    if not any(is_landmark_metric(e) and not e.get("prefix") for e in _evaluators(runs[-1])):
        raise ConfigError(
            f"{config.filename}: cross-validation needs a LandmarkMetric without prefix in test_evaluator, "
            "which keeps the predictions of every fold"
        )


def _evaluators(config: Config) -> list[dict[str, Any]]:
    given = config.test_evaluator
    return list(given) if isinstance(given, list | tuple) else [given]


def _leaves(dataset: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the configs of the datasets inside a config that a fold is for."""
    leaves = [leaf for leaf in leaf_configs(dataset) if "fold" in leaf or _has_records(leaf)]
    return [leaf for leaf in leaves if leaf.get("fold") is not None] or leaves


def _has_records(leaf: dict[str, Any]) -> bool:
    """Whether a dataset's config is one of ours; what a stage changes of a dataset has no type."""
    if "type" not in leaf:
        return False
    kind = leaf["type"] if inspect.isclass(leaf["type"]) else DATASETS.get(leaf["type"])
    # A folder of images holds none that an annotation has a row for, so no fold tests them.
    return issubclass(kind, LandmarkDataset) and not issubclass(kind, ImageFolderDataset)


def _build(leaf: dict[str, Any]) -> LandmarkDataset:
    """Return a dataset of which only the records are wanted."""
    return DATASETS.build(dict(bare_dataset(leaf), lazy_init=True))


def _records(dataset: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the records of all datasets inside a config, whether they are given a fold or not."""
    return [r for leaf in leaf_configs(dataset) if _has_records(leaf) for r in _build(leaf).load_data_list()]


def _cases(folder: Path) -> list[dict[str, Any]]:
    """Return the cases that a fold's test kept, as metrics take them."""
    file = folder / "test" / "predictions.json"
    cure = f"remove {folder / 'run.json'} to test again"
    if not file.is_file():
        raise ConfigError(f"{folder} is finished, but {file} is gone: {cure}")
    cases = read_state(file, cure).get("cases")
    if not isinstance(cases, list):
        raise ConfigError(f"{file}: these are not the predictions of a test: {cure}")
    for case in cases:
        for key in ("gt", "pred"):
            case[key] = np.array(case[key], dtype=np.float64)
        case["spacing"] = None if case["spacing"] is None else np.array(case["spacing"])
    return cases


def _pooled(
    config: Config, cases: list[dict[str, Any]], out_dir: Path
) -> tuple[dict[str, float], dict[str, str]]:
    """Return all numbers over the cases of all folds, and by prefix where lengths come from."""
    run, _ = tested_run(config)
    meta = _build(_leaves(run.test_dataloader.dataset)[0]).metainfo
    cases = sorted(cases, key=lambda case: case["sample_id"])
    values: dict[str, float] = {}
    sources: dict[str, str] = {}
    for evaluator in copy.deepcopy(_evaluators(run)):
        metric = METRICS.build(report_files(evaluator, out_dir))
        if not isinstance(metric, CaseMetric) or not metric.poolable:
            why = "needs more than landmarks" if isinstance(metric, CaseMetric) else "is no CaseMetric"
            print_log(f"{evaluator['type']} is reported by fold only: it {why}", "current")
            continue
        metric.dataset_meta = meta
        prefix = f"{metric.prefix}/" if metric.prefix else ""
        values.update({prefix + key: value for key, value in metric.measure(cases).items()})
        if is_landmark_metric(evaluator):
            sources[metric.prefix or ""] = f"{metric.report.unit_word}, {metric.report.scale_source}"
    return values, sources
