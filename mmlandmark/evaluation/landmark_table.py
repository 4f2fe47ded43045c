"""Results of single landmarks, of several detectors side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from mmlandmark.evaluation.report import UNIT_SUFFIX
from mmlandmark.utils.table_text import markdown_table, markdown_text

Runs = Sequence[dict[str, Any]]
_HARDEST = 3  # landmarks that are named below a column


def landmark_table(groups: Mapping[str, Runs]) -> str:
    """Return a Markdown table with a row for each landmark and a column for each detector.

    A cell has the mean error, and the part of the errors within the smallest radius, each the mean over runs.
    The last row names the landmarks with the largest mean errors. Detectors of some landmarks only leave the
    cells of the others empty; a row then has the means of the landmarks that all detect.

    Args:
        groups: Name of a column -> records of its runs, see :func:`read_records`.

    Raises:
        ValueError: A record has no errors of single landmarks, or their units or radii differ.
    """
    if not groups:
        return "No results are recorded yet."
    kinds = {_kind(record) for group in groups.values() for record in group}
    if len(kinds) > 1:
        raise ValueError(f"errors of landmarks are in several units or of several radii: {sorted(kinds)}")
    ((unit, rate),) = kinds
    errors = {name: _means(group, "mre") for name, group in groups.items()}
    rates = {name: _means(group, rate) for name, group in groups.items()}
    landmarks = dict.fromkeys(landmark for column in errors.values() for landmark in column)
    rows = [
        [markdown_text(landmark), *(_cell(errors[n].get(landmark), rates[n].get(landmark)) for n in groups)]
        for landmark in landmarks
    ]
    shared = [
        landmark for landmark in landmarks if None not in [column.get(landmark) for column in errors.values()]
    ]
    if 0 < len(shared) < len(landmarks):
        cells = [_cell(_mean_of(errors[n], shared), _mean_of(rates[n], shared)) for n in groups]
        rows.append([f"mean of the {len(shared)} that all detect", *cells])
    rows.append(["hardest", *(_hardest(column) for column in errors.values())])
    suffix = UNIT_SUFFIX[unit]
    radius = rate.removeprefix("sdr_")
    note = (
        f"Mean error ({suffix}), and in brackets the part of the errors within {radius} {suffix}, in percent."
    )
    return f"{markdown_table(['landmark', *groups], rows)}\n\n{note}"


def _kind(record: Mapping[str, Any]) -> tuple[str, str]:
    """Return the unit of the errors, and the key of the smallest radius."""
    content = record.get("landmark_errors")
    if not content:
        raise ValueError(f"{record['path']}: has no errors of single landmarks; record the test again")
    rates = [key for key in content if key.startswith("sdr_")]
    if not rates:
        raise ValueError(f"{record['path']}: has errors of single landmarks, but no radius")
    return content["unit"], min(rates, key=lambda key: float(key.removeprefix("sdr_")))


def _means(runs: Runs, key: str) -> dict[str, float | None]:
    """Return the mean over runs for each landmark; None where a run has no value."""
    columns = [
        dict(zip(run["landmark_errors"]["name"], run["landmark_errors"][key], strict=True)) for run in runs
    ]
    values = {name: [column.get(name) for column in columns] for name in columns[0]}
    return {name: None if None in of else mean(of) for name, of in values.items()}  # type: ignore[type-var]


def _mean_of(column: Mapping[str, float | None], landmarks: Sequence[str]) -> float | None:
    """Return the mean over landmarks; None if one has no value."""
    values = [column.get(landmark) for landmark in landmarks]
    return None if None in values else mean(values)  # type: ignore[type-var]


def _cell(error: float | None, rate: float | None) -> str:
    if error is None:
        return "-"
    return f"{error:.2f}" + ("" if rate is None else f" ({rate:.1f})")


def _hardest(column: Mapping[str, float | None]) -> str:
    known = {name: error for name, error in column.items() if error is not None}
    number = min(_HARDEST, len(known) // 3)
    return ", ".join(map(markdown_text, sorted(known, key=known.__getitem__, reverse=True)[:number])) or "-"
