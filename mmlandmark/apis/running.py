"""Train and test any config, and run plans of trainings."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook

from mmlandmark.apis.tested_run import tested_run
from mmlandmark.engine import (
    ConfigError,
    LandmarkRunner,
    Node,
    TrainedRun,
    check_plan,
    check_run,
    choose_landmarks,
    default_launcher,
    execute_plan,
    give_inputs,
    is_of_model,
    latest_checkpoint,
    load_config,
    main_process_decides,
    plan_of_run,
    stage_named,
    start_processes,
)
from mmlandmark.engine.processes import bare
from mmlandmark.evaluation import LandmarkMetric, Origin
from mmlandmark.evaluation.record import running_commit
from mmlandmark.inference.origin import origin_of_test
from mmlandmark.models.detectors import BaseDetector
from mmlandmark.registry import METRICS

_TIMERS = ("val/time", "val/data_time")


def prepare_config(
    path: str | Path,
    *,
    options: dict[str, Any] | None = None,
    work_dir: str | None = None,
    launcher: str | None = None,
    seed: int | None = None,
    deterministic: bool = False,
    amp: bool = False,
    auto_scale_lr: bool = False,
    inputs: Mapping[str, str] | None = None,
    landmarks: str | None = None,
    verbose: bool = False,
) -> Config:
    """Load a config and apply the options of the command line.

    Args:
        path: Config file, or model file.
        options: ``--cfg-options``.
        work_dir: Folder of the results; ``work_dirs/<config name>`` by default.
        launcher: How several processes were started; detected by default.
        seed: Of everything random.
        deterministic: Use deterministic algorithms, where slower ones exist.
        amp: Train in bfloat16 autocast.
        auto_scale_lr: Scale the learning rate with the batch of all processes; see ``auto_scale_lr`` of
            MMEngine.
        inputs: ``--input``: name of an input that the model or a hook takes -> its file; a stage that would
            make it is left out.
        landmarks: ``--landmarks``: those of a config with ``per_landmark`` that it is restricted to, see
            :func:`~mmlandmark.engine.choose_landmarks`.
        verbose: Show all of the log on the terminal.

    Raises:
        FileNotFoundError: See :func:`~mmlandmark.engine.load_config`.
        ConfigError: Likewise; or the config has no ``optim_wrapper`` for ``amp``, or takes no such input, or
            has no such landmark.
    """
    config = load_config(path, options)
    name = Path(path).stem.removesuffix(".mml")
    config.work_dir = work_dir or config.get("work_dir") or str(Path("work_dirs") / name)
    config.launcher = launcher or default_launcher()
    if verbose:
        config.env_cfg = dict(config.get("env_cfg") or {}, verbose=True)
    randomness = dict(config.get("randomness") or {})
    if seed is not None:
        randomness["seed"] = seed
    if deterministic:
        randomness["deterministic"] = True
    randomness.setdefault("seed", 0)
    config.randomness = randomness
    if amp:
        if config.get("optim_wrapper") is None:
            raise ConfigError(f"{path}: mixed precision needs an optim_wrapper in the config")
        config.optim_wrapper.update(type="AutocastOptimWrapper", dtype="auto")
    if auto_scale_lr:
        config.auto_scale_lr = dict(config.get("auto_scale_lr") or {}, enable=True)
    give_inputs(config, inputs or {})
    if landmarks is not None:
        choose_landmarks(config, landmarks)
    return config


def train_config(
    config: Config, *, resume: str | None = None, stage: str | None = None
) -> dict[str, float] | dict[str, TrainedRun]:
    """Train a config, or all its stages, or all its landmarks.

    Args:
        config: See :func:`prepare_config`.
        resume: None starts from the beginning, ``auto`` resumes from the newest checkpoint of the work folder
            if there is one, a path resumes from that checkpoint. Stages always resume by themselves.
        stage: Train this stage only.

    Returns:
        The last validation's metrics; of a config with stages or ``per_landmark`` what every run left behind,
        by the path of its node.

    Raises:
        ConfigError: ``stage`` is given for a config without stages, or ``resume`` for one of several runs; or
            as :func:`~mmlandmark.engine.check_run`.
    """
    _need_model(config)
    if is_of_model(config):
        raise ConfigError(
            f"{config.filename} is a trained detector: to train on, name a config and start it from this "
            "file with --cfg-options load_from=FILE"
        )
    if stage is not None and not config.get("stages"):
        raise ConfigError(f"{config.filename} has no stages, so no stage {stage!r}")
    if config.get("stages") or config.get("per_landmark"):
        if resume not in (None, "auto"):
            key = "stages" if config.get("stages") else "per_landmark"
            raise ConfigError(
                f"a config with {key} resumes by itself: run the same command again, without --resume PATH"
            )
        plan = plan_of_run(config, config.work_dir)
        groups = plan.children if config.get("per_landmark") else [plan]
        return run_plan(plan, only=None if stage is None else [stage_named(group, stage) for group in groups])
    check_run(config, config.filename or "the config", always_build=False)
    folder = plan_of_run(config, config.work_dir).run_folder
    config = copy.deepcopy(config)
    if resume == "auto":
        # A run that has not begun starts as it would without --resume: from load_from, if there is one.
        begun = latest_checkpoint(config.work_dir) is not None
        config.resume, config.load_from = begun, None if begun else config.get("load_from")
    elif resume is not None:
        config.resume, config.load_from = True, resume
    metrics = _train_once(config)
    if latest_checkpoint(config.work_dir) is not None:
        main_process_decides(lambda: folder.replace(metrics))
    return metrics


def run_plan(plan: Node, only: Sequence[Node] | None = None) -> dict[str, TrainedRun]:
    """Check a plan and run what is not finished of it; see :func:`~mmlandmark.engine.execute_plan`.

    Args:
        plan: The root.
        only: Run these nodes alone.

    Returns:
        What every finished training left behind, by the path of its node.

    Raises:
        ConfigError: See :func:`~mmlandmark.engine.check_plan` and :func:`~mmlandmark.engine.execute_plan`.
    """
    running_commit()
    for run in plan.runs()[:1]:
        start_processes(run.config)
    main_process_decides(lambda: check_plan(plan))
    return execute_plan(plan, partial(_train_once, locked=True), only)


def _train_once(config: Config, locked: bool = False) -> dict[str, float]:
    """Train one run; ``locked`` says that the caller holds the lock of its folder."""
    config = copy.deepcopy(config)
    config.setdefault("experiment_name", _experiment_name(config))
    runner = LandmarkRunner.from_cfg(config)
    runner.locked = locked
    runner.train()
    scalars = runner.message_hub.log_scalars
    return {
        name.removeprefix("val/"): float(buffer.current())
        for name, buffer in scalars.items()
        if name.startswith("val/") and name not in _TIMERS and len(buffer.data[0])
    }


def test_config(
    config: Config, checkpoint: str | Path, *, out_dir: str | Path | None = None
) -> dict[str, float]:
    """Test a checkpoint with a config; see :func:`~mmlandmark.apis.tested_run.tested_run` for which run.

    Args:
        config: See :func:`prepare_config`.
        checkpoint: Weights to test.
        out_dir: Where the metric's files (report, predictions) go; nowhere by default. The test's log
            goes there too, or to ``test`` in the work folder, which keeps the training's config as it was.

    Returns:
        The metrics.
    """
    running_commit()
    _need_model(config)
    config = copy.deepcopy(tested_run(config)[0])
    if config.get("test_dataloader") is None or config.get("test_evaluator") is None:
        raise ConfigError(f"{config.filename}: testing needs test_dataloader and test_evaluator")
    origin = origin_of_test(config, checkpoint)
    config.load_from, config.resume = str(checkpoint), False
    # A test needs neither the training data nor its optimiser.
    for key in ("train", "val"):
        for part in ("dataloader", "cfg", "evaluator"):
            config.pop(f"{key}_{part}", None)
    config.pop("optim_wrapper", None)
    config.pop("param_scheduler", None)
    config.pop("auto_scale_lr", None)
    config.test_cfg = config.get("test_cfg") or {}
    config.work_dir = str(Path(config.work_dir) / "test" if out_dir is None else out_dir)
    if out_dir is not None:
        evaluators = (
            config.test_evaluator if isinstance(config.test_evaluator, list) else [config.test_evaluator]
        )
        for evaluator in evaluators:
            evaluator.update(report_files(evaluator, out_dir))
            if is_landmark_metric(evaluator):
                evaluator["tested"] = str(checkpoint)
    config.setdefault("experiment_name", "test_" + _experiment_name(config))
    runner = LandmarkRunner.from_cfg(config)
    _ask_for_spread(runner, config)
    runner.register_hook(_NoteOrigin(origin))
    return runner.test()


class _NoteOrigin(Hook):
    """Tells the metrics which detector they measure."""

    def __init__(self, origin: Origin | None) -> None:
        self.origin = origin

    def before_test(self, runner: Any) -> None:
        for metric in runner.test_evaluator.metrics:
            if isinstance(metric, LandmarkMetric):
                metric.origin = self.origin


def _ask_for_spread(runner: Any, config: Config) -> None:
    """Let a detector predict spreads, for the predictions file, unless the config says otherwise."""
    detector = bare(runner)
    if isinstance(detector, BaseDetector) and "spread" not in (config.model.get("test_cfg") or {}):
        detector.test_cfg["spread"] = True


def _need_model(config: Config) -> None:
    if not isinstance(config.get("model"), dict) and not config.get("stages"):
        raise ConfigError(
            f"{config.filename or 'the config'}: there is no model in it, so it is no config of a run; it "
            f"begins with {', '.join(map(repr, list(config)[:4])) or 'nothing'}"
        )


def tables_of_test(config: Config, out_dir: str | Path) -> str:
    """Return the tables, in Markdown, that :func:`test_config` has written to ``out_dir``, one per metric."""
    given = config.test_evaluator
    evaluators = given if isinstance(given, list | tuple) else [given]
    files = [f for e in evaluators for f in report_files(e, out_dir).get("out_file", []) if f.endswith(".md")]
    return "\n".join(Path(file).read_text(encoding="utf-8") for file in files)


def report_files(evaluator: dict[str, Any], out_dir: str | Path) -> dict[str, Any]:
    """Return a metric's config that writes its report, if it has one, and predictions to ``out_dir``."""
    stem = getattr(_metric_class(evaluator), "report_stem", "")
    if not stem:
        return dict(evaluator)
    end = f"_{evaluator['prefix']}" if evaluator.get("prefix") else ""
    files = dict(
        evaluator, out_file=[str(Path(out_dir) / f"{stem}{end}.{kind}") for kind in ("json", "csv", "md")]
    )
    if is_landmark_metric(evaluator):
        files["predictions_file"] = str(Path(out_dir) / f"predictions{end}.json")
    return files


def is_landmark_metric(evaluator: dict[str, Any]) -> bool:
    """Whether a metric's config is of a LandmarkMetric, by whatever name, or of a class made from it."""
    kind = _metric_class(evaluator)
    return inspect.isclass(kind) and issubclass(kind, LandmarkMetric)


def _metric_class(evaluator: dict[str, Any]) -> Any:
    return evaluator["type"] if inspect.isclass(evaluator["type"]) else METRICS.get(evaluator["type"])


def _experiment_name(config: Config) -> str:
    """Name a run by its folder: MMEngine keeps one logger per name and process."""
    return str(Path(config.work_dir).resolve()).replace("/", "_").strip("_")
