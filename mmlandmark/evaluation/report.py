"""Report of a test: one row for all landmarks and one for each, as Markdown, CSV or JSON."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmlandmark.evaluation.functional import (
    independent_units,
    mean_interval,
    per_image_mean,
    success_rate,
    summarize,
)
from mmlandmark.structures import grid_unit
from mmlandmark.utils.files import atomic_write_text
from mmlandmark.utils.json_checksum import with_checksum
from mmlandmark.utils.table_text import csv_text, markdown_code, markdown_table, markdown_text

UNIT_SUFFIX = {"mm": "mm", "px": "px", "normalized": "norm"}
FORMATS = (".md", ".csv", ".json")
_HARDEST = 5  # landmarks that a report names
_MEANS = dict(mre="mre", mre_sd="sd", mre_median="median", mre_p95="p95", mre_image="image_mre")
_COUNTS = ("images", "annotated", "missing_gt", "missing_pred")


@dataclass(frozen=True)
class LandmarkReport:
    """Statistics of one evaluation.

    Attributes:
        unit: ``mm``, ``px`` or ``normalized``.
        scale_source: Source of the lengths, in words.
        radii: Radii of the success rates, in ``unit``.
        strict: Only errors below the radius are a success.
        overall: Statistics of all points: ``mre``, ``sd``, ``median``, ``p95``, ``image_mre`` (mean of
            the means of every image), ``image_sd``, ``interval`` (95 % of the MRE), ``sdr`` (a percentage per
            radius), ``images``, ``groups`` (patients, as far as they are known, and images
            without one), ``annotated``, ``predicted``, ``missing_gt``, ``missing_pred``.
        landmarks: One dict per landmark: ``name``, ``mre``, ``sd``, ``median``, ``p95``, ``annotated``,
            ``predicted``, ``sdr``.
        tested: What was tested, such as the path of a checkpoint; empty if unknown.
        dims: Of the images, for the words: ``px`` are called voxels in volumes.
    """

    unit: str
    scale_source: str
    radii: tuple[float, ...]
    strict: bool
    overall: dict[str, Any]
    landmarks: tuple[dict[str, Any], ...]
    tested: str = ""
    dims: int = 2

    @classmethod
    def from_errors(
        cls,
        errors: np.ndarray,
        names: Sequence[str],
        *,
        unit: str,
        radii: Sequence[float],
        annotated: np.ndarray | None = None,
        strict: bool = False,
        scale_source: str = "",
        tested: str = "",
        dims: int = 2,
        groups: Sequence[object] | None = None,
    ) -> LandmarkReport:
        """Return the report of a table of errors.

        Args:
            errors: (N, K) errors in ``unit``, NaN where annotation or prediction is missing.
            names: K names of the landmarks.
            unit: ``mm``, ``px`` or ``normalized``.
            radii: Radii of the success rates in ``unit``.
            annotated: (N, K) bool. An annotated point without an error was not predicted, which is a failure
                in every success rate. The default takes all errors that are not NaN.
            strict: Only errors below the radius are a success.
            scale_source: Source of the lengths, in words.
            tested: What was tested.
            dims: Of the images.
            groups: N patients of the images, None where one is unknown: images of one are not independent.

        Raises:
            ValueError: Shapes disagree, or the unit is unknown.
        """
        errors = np.asarray(errors, dtype=np.float64)
        annotated = np.isfinite(errors) if annotated is None else np.asarray(annotated, dtype=bool)
        if errors.ndim != 2 or errors.shape != annotated.shape or errors.shape[1] != len(names):
            raise ValueError(
                f"errors {errors.shape}, annotated {annotated.shape} and {len(names)} names disagree"
            )
        if unit not in UNIT_SUFFIX:
            raise ValueError(f"unit must be one of {sorted(UNIT_SUFFIX)}, got {unit!r}")
        radii = tuple(float(radius) for radius in radii)
        images = summarize(per_image_mean(errors))
        overall = _numbers(errors, annotated, radii, strict)
        overall.update(
            image_mre=float(images["mre"]),
            image_sd=float(images["sd"]),
            interval=mean_interval(errors, groups=groups),
            images=len(errors),
            groups=len(errors) if groups is None else len(set(independent_units(groups).tolist())),
            missing_gt=int((~annotated).sum()),
            missing_pred=overall["annotated"] - overall["predicted"],
        )
        columns = (slice(i, i + 1) for i in range(len(names)))
        rows = [
            dict(name=str(name), **_numbers(errors[:, column], annotated[:, column], radii, strict))
            for name, column in zip(names, columns, strict=True)
        ]
        return cls(unit, scale_source, radii, bool(strict), overall, tuple(rows), tested, dims)

    @property
    def unit_word(self) -> str:
        """The unit as tables show it: ``mm``, ``px``, of volumes ``voxels``, or ``norm``."""
        return grid_unit(self.dims) if self.unit == "px" else UNIT_SUFFIX[self.unit]

    @property
    def scalars(self) -> dict[str, float]:
        """The overall statistics with flat keys for training logs, radii with their unit."""
        means = [self.overall[name] for name in _MEANS.values()]
        rates = [value for rate in self.overall["sdr"] for value in (rate, 100.0 - rate)]
        counts = [self.overall[name] for name in _COUNTS]
        return dict(zip(scalar_keys(self.radii, self.unit), [*means, *rates, *counts], strict=True))

    @property
    def hardest(self) -> list[dict[str, Any]]:
        """Of :attr:`landmarks` those with the largest mean errors, at most five and a third of all.

        A landmark that is annotated and never predicted is harder than any other.
        """
        rows = [row for row in self.landmarks if row["annotated"]]
        rows.sort(key=lambda row: row["mre"] if row["predicted"] else math.inf, reverse=True)
        return rows[: min(_HARDEST, len(rows) // 3)]

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as plain JSON types, with None for NaN."""
        return without_nan(
            dict(
                tested=self.tested,
                unit=self.unit,
                scale_source=self.scale_source,
                radii=list(self.radii),
                strict=self.strict,
                overall=self.overall,
                landmarks=list(self.landmarks),
                hardest=[row["name"] for row in self.hardest],
            )
        )

    def to_markdown(self) -> str:
        """Return a table that is also readable as plain text, after a line about the measurement."""
        rows = self._rows(2 if self.unit != "normalized" else 4, markdown_text)
        return f"{self._preface()}\n\n{markdown_table(self._header(), rows, padded=True)}\n"

    def to_csv(self) -> str:
        """Return a header, a row for all landmarks and one for each, with full precision."""
        stream = io.StringIO()
        csv.writer(stream, lineterminator="\n").writerows([self._header(), *self._rows(None, csv_text)])
        return stream.getvalue()

    def save(self, path: str | Path) -> None:
        """Write the report atomically, in the format of the suffix of ``path``.

        Raises:
            ValueError: The suffix is not ``.md``, ``.csv`` or ``.json``.
        """
        writers = {".md": self.to_markdown, ".csv": self.to_csv, ".json": lambda: dump_json(self.to_dict())}
        atomic_write_text(path, writers[check_format(path)]())

    def _header(self) -> list[str]:
        suffix = self.unit_word
        rates = [f"SDR {radius:g} {suffix}" for radius in self.radii]
        return [
            "landmark",
            "points",
            *(f"{word} ({suffix})" for word in ("MRE", "SD", "median", "p95")),
            *rates,
        ]

    def _rows(self, digits: int | None, escape: Callable[[object], str]) -> list[list[str]]:
        def text(value: float, places: int | None) -> str:
            if not math.isfinite(value):
                return "-" if digits is not None else ""
            return repr(float(value)) if places is None else f"{value:.{places}f}"

        return [
            [escape(row["name"]), str(row["annotated"])]
            + [text(row[key], digits) for key in ("mre", "sd", "median", "p95")]
            + [text(rate, None if digits is None else 2) for rate in row["sdr"]]
            for row in [dict(self.overall, name="all"), *self.landmarks]
        ]

    def _preface(self) -> str:
        overall, suffix = self.overall, self.unit_word
        low, high = overall["interval"]
        places = 4 if self.unit == "normalized" else 2
        source = f" ({markdown_text(self.scale_source)})" if self.scale_source else ""
        tested = f" Tested: {markdown_code(self.tested)}." if self.tested else ""
        hardest = ", ".join(
            f"{markdown_text(row['name'])} "
            + (f"{row['mre']:.{places}f}" if row["predicted"] else "(never predicted)")
            for row in self.hardest
        )
        hardest = f" Hardest by MRE: {hardest}." if hardest else ""
        several = overall["groups"] < overall["images"]
        drawn = f"resamplings of the {overall['groups']} patients" if several else "image resamplings"
        interval = f", 95 % of {drawn} {low:.{places}f} to {high:.{places}f}"
        return (
            f"Errors in {suffix}{source}: {overall['images']} images, {overall['predicted']} of "
            f"{overall['annotated']} annotated points predicted, {overall['missing_gt']} not annotated. "
            f"MRE {overall['mre']:.{places}f}{interval if math.isfinite(low) else ''}; mean over images "
            f"{overall['image_mre']:.{places}f}. "
            f"SDR in percent, error {'<' if self.strict else '<='} radius.{hardest}{tested}"
        )


def scalar_keys(radii: Sequence[float], unit: str) -> list[str]:
    """Return the keys of :attr:`LandmarkReport.scalars`, in their order.

    Args:
        radii: Of the success rates, in ``unit``.
        unit: ``mm``, ``px`` or ``normalized``.

    Example:
        >>> scalar_keys([2.5], "mm")[4:7]
        ['mre_image', 'sdr_2.5mm', 'outliers_2.5mm']
    """
    rates = [f"{what}_{radius:g}{UNIT_SUFFIX[unit]}" for radius in radii for what in ("sdr", "outliers")]
    return [*_MEANS, *rates, *(f"num_{name}" for name in _COUNTS)]


def check_format(path: str | Path) -> str:
    """Return the suffix of a report's path; raise ValueError for an unknown format."""
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise ValueError(f"{path}: the file name of a report must end in one of {', '.join(FORMATS)}")
    return suffix


def without_nan(value: Any) -> Any:
    """Return nested data as plain JSON types, with None for NaN and infinity, which JSON lacks."""
    if isinstance(value, dict):
        return {str(key): without_nan(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def dump_json(data: Any) -> str:
    """Return an object as indented JSON text with a checksum; see :func:`without_nan`."""
    return with_checksum(without_nan(data), indent=2) + "\n"


def _numbers(
    errors: np.ndarray, annotated: np.ndarray, radii: Sequence[float], strict: bool
) -> dict[str, Any]:
    summary = summarize(errors)
    return dict(
        {key: float(summary[key]) for key in ("mre", "sd", "median", "p95")},
        sdr=[float(success_rate(errors, radius, strict, annotated)) for radius in radii],
        annotated=int(annotated.sum()),
        predicted=int(summary["count"]),
    )
