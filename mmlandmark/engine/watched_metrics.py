"""Metrics by which a hook or a schedule goes: whether a validation will report them."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.optim import ReduceOnPlateauParamScheduler
from mmengine.runner import ValLoop

from mmlandmark.engine.given_inputs import class_of
from mmlandmark.evaluation.reported_keys import is_reported, reported_keys
from mmlandmark.registry import LOOPS, PARAM_SCHEDULERS

_OWN = ("mmengine", "mmlandmark")  # packages whose hooks add nothing to the metrics


def check_watched_metrics(config: Config, hooks: Sequence[tuple[Any, Any]]) -> None:
    """Check that a validation will report every metric by which a hook or a schedule goes.

    Nothing is checked where a class that is not known here has a part in what is reported: a metric that does
    not say what it reports, an evaluator, a loop, or a hook that is handed the metrics.

    Args:
        config: Of one run.
        hooks: Class and config of each of its hooks.

    Raises:
        KeyError: There is no metric of such a type.
        TypeError: A metric does not take an argument.
        ValueError: A metric is not reported; or an argument of one that is, is wrong.
    """
    watched = [*_of_hooks(hooks), *_of_schedules(config.get("param_scheduler"))]
    if not watched or _others_report(config, hooks):
        return
    keys = reported_keys(config.get("val_evaluator"))
    if keys is None:
        return
    for owner, metric in watched:
        if is_reported(metric, keys):
            continue
        near = difflib.get_close_matches(metric, keys, n=3, cutoff=0.5)
        hint = f"did you mean {', '.join(near)}?" if near else f"it reports {', '.join(keys)}"
        raise ValueError(f"{owner} goes by {metric!r}, which val_evaluator does not report; {hint}")


def _of_hooks(hooks: Sequence[tuple[Any, Any]]) -> Iterator[tuple[str, str]]:
    """Yield hook and metric."""
    for kind, hook in hooks:
        if isinstance(hook, Mapping) and hasattr(kind, "watched_metrics"):
            yield from ((kind.__name__, metric) for metric in kind.watched_metrics(hook))


def _of_schedules(schedules: Any) -> Iterator[tuple[str, str]]:
    """Yield schedule and metric; of several optimisers each has its own schedules."""
    if isinstance(schedules, Mapping) and "type" not in schedules:
        for own in schedules.values():
            yield from _of_schedules(own)
        return
    for schedule in schedules if isinstance(schedules, Sequence) else [schedules]:
        kind = class_of(PARAM_SCHEDULERS, schedule.get("type")) if isinstance(schedule, Mapping) else None
        if isinstance(kind, type) and issubclass(kind, ReduceOnPlateauParamScheduler):
            yield kind.__name__, schedule.get("monitor", "loss")  # MMEngine's default


def _others_report(config: Config, hooks: Sequence[tuple[Any, Any]]) -> bool:
    """Return whether a loop or a hook of another package may have a part in what is reported."""
    loop = (config.get("val_cfg") or {}).get("type", ValLoop)
    if class_of(LOOPS, loop) is not ValLoop:
        return True
    heard = [getattr(kind, "after_val_epoch", Hook.after_val_epoch) for kind, _ in hooks]
    return any(method.__module__.split(".")[0] not in _OWN for method in heard)
