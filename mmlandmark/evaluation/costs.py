"""What detectors cost, as ``mmlandmark flops --record`` measured it, for the tables of results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mmlandmark.utils.files import read_json

_KEYS = ("input", "models", "parameters", "machine")
COLUMNS = ("models", "parameters", "memory (MB)", "time (ms)")


def read_costs(files: Iterable[str | Path]) -> dict[str, dict[str, Any]]:
    """Return the costs of one image by the name of the file, which is that of a config or an arm.

    Args:
        files: JSON files of ``mmlandmark flops --record``.

    Raises:
        ValueError: A file lacks a key; the message names it.
    """
    costs = {}
    for path in sorted(map(Path, files)):
        record = read_json(path)
        missing = [key for key in _KEYS if key not in record]
        if missing:
            raise ValueError(f"{path}: no {', '.join(missing)}; record it with mmlandmark flops --record")
        costs[path.stem] = record
    return costs


def cost_cell(column: str, cost: Mapping[str, Any] | None) -> str:
    """Return a cell of a table.

    Args:
        column: One of ``COLUMNS``.
        cost: Of one config; None if it was not measured.

    Example:
        >>> cost_cell("parameters", dict(parameters=58_312_512))
        '58.31 M'
    """
    keys = dict(
        zip(COLUMNS, ("models", "parameters", "peak_memory_megabytes", "latency_seconds"), strict=True)
    )
    value = (cost or {}).get(keys[column])
    if value is None:
        return "-"
    if column == "parameters":
        return f"{value / 1e6:.2f} M"
    return str(value) if column == "models" else f"{1000 * value if column == 'time (ms)' else value:.4g}"


def costs_note(costs: Iterable[Mapping[str, Any]]) -> str:
    """Return what memory and time are of: one image of which size, and on which machine."""
    where = {
        f"{' x '.join(map(str, cost['input']))} on {_device(cost)}"
        for cost in costs
        if cost.get("latency_seconds") is not None
    }
    if not where:
        return ""
    return f" Memory and time are those of predicting one image, of {'; '.join(sorted(where))}."


def _device(cost: Mapping[str, Any]) -> str:
    machine = cost["machine"]
    if cost.get("device") == "cuda":
        return str(machine.get("gpu"))
    threads = cost.get("threads", 1)
    return f"{machine.get('cpu')}, {threads} thread{'' if threads == 1 else 's'}"
