"""The names of what a validation reports, known before there is anything to measure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.evaluator import Evaluator

from mmlandmark.evaluation.metrics import CaseMetric
from mmlandmark.registry import EVALUATOR, METRICS

_PLACEHOLDER = re.compile(r"<\w+>")  # for a name that the data know
_REPORTS = ("measure", "compute_metrics", "evaluate")  # what a metric reports is decided in these


def reported_keys(evaluator: Any) -> list[str] | None:
    """Return the keys that an evaluator reports, with the metrics' prefixes.

    Args:
        evaluator: Config of an evaluator, of a metric or of several, as ``val_evaluator``; or these, built.

    Returns:
        Keys, a part like ``<landmark>`` for names that the data know. None if they are not known of all
        metrics: of those that do not declare ``reported_keys``, and of a class that measures otherwise than
        the one that declares them.

    Raises:
        KeyError: There is no metric of such a type.
        TypeError: A metric does not take an argument.
        ValueError: An argument is wrong.

    Example:
        >>> reported_keys([dict(type="CoordinateMetric", prefix="own")])
        ['own/coordinate_mse', 'own/pearson_rho']
    """
    metrics = _metrics_of(evaluator)
    if not metrics:
        return None
    keys: list[str] = []
    for metric in metrics:
        kind = metric.get("type") if isinstance(metric, Mapping) else type(metric)
        if not _declares(METRICS.get(kind) if isinstance(kind, str) else kind):
            return None
        built = METRICS.build(metric) if isinstance(metric, Mapping) else metric
        if built.reported_keys is None:
            return None
        keys += [f"{built.prefix}/{key}" if built.prefix else key for key in built.reported_keys]
    return keys


def is_reported(key: str, keys: Sequence[str]) -> bool:
    """Return whether a key is one of :func:`reported_keys`.

    Example:
        >>> is_reported("mre_sella", ["mre", "mre_<landmark>"]), is_reported("mree", ["mre"])
        (True, False)
    """
    patterns = (".+".join(map(re.escape, _PLACEHOLDER.split(known))) for known in keys)
    return any(re.fullmatch(pattern, key, re.DOTALL) for pattern in patterns)


def _metrics_of(evaluator: Any) -> list[Any] | None:
    """Return metrics and configs of metrics; None for an evaluator of another class."""
    if isinstance(evaluator, Mapping) and "metrics" in evaluator:
        kind = evaluator.get("type", Evaluator)
        if (EVALUATOR.get(kind) if isinstance(kind, str) else kind) is not Evaluator:
            return None
        evaluator = evaluator["metrics"]
    elif type(evaluator) is Evaluator:
        evaluator = evaluator.metrics
    if evaluator is None:
        return None
    return list(evaluator) if isinstance(evaluator, Sequence) else [evaluator]


def _declares(kind: Any) -> bool:
    """Return whether a metric of a class knows its keys: no subclass of where they are declared measures."""
    if not (isinstance(kind, type) and issubclass(kind, CaseMetric)):
        return False

    def owner(name: str) -> type:
        return next(own for own in kind.__mro__ if name in vars(own))

    declaring = owner("reported_keys")
    return all(issubclass(declaring, owner(name)) for name in _REPORTS)
