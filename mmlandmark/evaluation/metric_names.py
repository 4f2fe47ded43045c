"""Order, titles and number format of metrics in tables."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Sequence

_SDR = re.compile(r"(?:.*/)?sdr_(\d+(?:\.\d+)?)(\w+)")
_TITLES = {
    "mre": "MRE",
    "coordinate_mse": "MSE (fraction of the image)",
    "pearson_rho": "Pearson rho",
    "smape": "SMAPE (%)",
    "class_accuracy": "class accuracy (%)",
}
_DIGITS = {"mre": 3, "coordinate_mse": 5, "pearson_rho": 4, "smape": 2, "class_accuracy": 1}


def headline_metrics(keys: Iterable[str]) -> list[str]:
    """Return the keys that get a column: MRE, SDR by unit and radius, then coordinates and measures."""
    present = set(keys)
    heads = sorted(key for key in present if _name(key) == "mre")
    rates = sorted((k for k in present if _rate(k)), key=lambda k: (_rate(k) or (), k))
    return [*heads, *rates, *sorted(k for k in present if _name(k) in _DIGITS and _name(k) != "mre")]


def metric_title(key: str, keys: Sequence[str] = ()) -> str:
    """Return the title of a metric's column; MRE has a unit if all success rates of the table have the same.

    Args:
        key: One of :func:`headline_metrics`.
        keys: All keys of the table.

    Example:
        >>> metric_title("mre", ["mre", "sdr_2mm"]), metric_title("pair15/sdr_2.5mm")
        ('MRE (mm)', 'pair15 SDR 2.5 mm')
    """
    rate = _rate(key)
    prefix = key.rsplit("/", 1)[0] + " " if "/" in key else ""
    if rate:
        return f"{prefix}SDR {rate[1]:g} {rate[0]}"
    units = {rate[0] for rate in map(_rate, keys) if rate} if _name(key) == "mre" else set()
    return prefix + _TITLES[_name(key)] + (f" ({units.pop()})" if len(units) == 1 else "")


def format_metric(key: str, *values: float) -> str:
    """Return a value, or mean ± standard deviation of several, with the metric's number of digits.

    Example:
        >>> format_metric("mre", 1.0), format_metric("sdr_2mm", 80.0, 82.0)
        ('1.000', '81.00 ± 1.41')
    """
    digits = _DIGITS.get(_name(key), 2)
    text = f"{statistics.mean(values):.{digits}f}"
    return f"{text} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else text


def _name(key: str) -> str:
    return key.rsplit("/", 1)[-1]


def _rate(key: str) -> tuple[str, float] | None:
    """Return unit and radius of a success rate's key; None for other keys."""
    match = _SDR.fullmatch(key)
    return (match[2], float(match[1])) if match else None
