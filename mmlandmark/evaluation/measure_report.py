"""Report of clinical measures: one row for each, and which class was taken for which."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmlandmark.evaluation.report import check_format, dump_json, without_nan
from mmlandmark.structures.measure_classes import class_of
from mmlandmark.utils.files import atomic_write_text
from mmlandmark.utils.table_text import csv_text, markdown_table, markdown_text

_NUMBERS = {"mae": "mean error", "sd": "SD", "bias": "bias", "p95": "p95", "accuracy": "class accuracy (%)"}


@dataclass(frozen=True)
class MeasureReport:
    """Errors of measures.

    Attributes:
        source: What the predictions are compared with, in words.
        images: Number of images.
        smape: Mean over images of the sum of all errors, divided by the sum of true and predicted values, in
            percent (AASCE 2019), where a value that is not predicted counts as 0; NaN if no image has all
            true ones.
        smape_left_out: Number of images without all true values, which have no such share.
        rows: One dict per measure: ``name``, ``unit``, ``values`` (how many images have a true value),
            ``missing`` (how many of these have no prediction), ``mae``, ``sd`` (of the errors), ``bias``
            (mean of predicted minus true), ``p95`` (of absolute errors), ``accuracy`` (percentage of right
            classes), ``classes`` (names) and ``confusion`` (true class -> predicted class -> number of
            images; ``None`` stands for no prediction). An angle with a sign errs by at most 180 degrees.
    """

    source: str
    images: int
    smape: float
    smape_left_out: int
    rows: tuple[dict[str, Any], ...]

    @classmethod
    def from_values(
        cls,
        predicted: np.ndarray,
        true: np.ndarray,
        definitions: Sequence[dict[str, Any]],
        units: Sequence[str],
        *,
        codes: Sequence[dict[str, int]] | None = None,
        source: str = "",
    ) -> MeasureReport:
        """Return the report of tables of values.

        Args:
            predicted: (N, M) values, NaN where there is none.
            true: (N, M) values.
            definitions: M measures of a schema.
            units: M units.
            codes: N published classes by the name of the measure, which take the place of those of ``true``.
            source: What ``true`` is, in words.

        Raises:
            ValueError: Shapes disagree.
        """
        if predicted.shape != true.shape or true.ndim != 2 or true.shape[1] != len(definitions):
            raise ValueError(
                f"{len(definitions)} measures need as many predicted {predicted.shape} and true {true.shape} "
                "values of every image"
            )
        rows = []
        for column, (definition, unit) in enumerate(zip(definitions, units, strict=True)):
            own = [case.get(definition["name"]) for case in codes] if codes is not None else None
            rows.append(
                dict(
                    name=definition["name"],
                    unit=unit,
                    **_errors(predicted[:, column], true[:, column], _turns(definition)),
                )
                | _classes(predicted[:, column], true[:, column], definition, unit, own)
            )
        return cls(source, len(true), *_smape(predicted, true), tuple(rows))

    @property
    def scalars(self) -> dict[str, float]:
        """The numbers with flat keys, for logs and records."""
        values = {f"mae_{row['name']}": row["mae"] for row in self.rows}
        rates = {row["name"]: row["accuracy"] for row in self.rows if not math.isnan(row["accuracy"])}
        values |= {f"class_accuracy_{name}": rate for name, rate in rates.items()}
        if rates:
            values["class_accuracy"] = float(np.mean(list(rates.values())))
        return dict(values, num_missing_measures=sum(row["missing"] for row in self.rows))

    def to_markdown(self) -> str:
        """Return a table, and a table of classes for every measure that has some."""
        title = f"Measures against {markdown_text(self.source)}: {self.images} images."
        parts = [title, markdown_table(self._header(), self._rows(2, markdown_text), padded=True)]
        for row in self.rows:
            if row["confusion"]:
                seen = [
                    *row["classes"],
                    *(["none"] if any(None in r for r in row["confusion"].values()) else []),
                ]
                header = [f"{markdown_text(row['name'])}: true class", *map(markdown_text, seen)]
                lines = [
                    [markdown_text(true), *(str(found.get(None if c == "none" else c, 0)) for c in seen)]
                    for true, found in row["confusion"].items()
                ]
                parts.append(markdown_table(header, lines, padded=True))
        return "\n\n".join(parts) + "\n"

    def to_csv(self) -> str:
        """Return a header and a row for every measure, with full precision."""
        stream = io.StringIO()
        csv.writer(stream, lineterminator="\n").writerows([self._header(), *self._rows(None, csv_text)])
        return stream.getvalue()

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as plain JSON types, with None for NaN."""
        return without_nan(
            dict(
                source=self.source,
                images=self.images,
                smape=self.smape,
                smape_left_out=self.smape_left_out,
                measures=list(self.rows),
            )
        )

    def save(self, path: str | Path) -> None:
        """Write the report atomically, in the format of the suffix of ``path``.

        Raises:
            ValueError: The suffix is not ``.md``, ``.csv`` or ``.json``.
        """
        writers = {".md": self.to_markdown, ".csv": self.to_csv, ".json": lambda: dump_json(self.to_dict())}
        atomic_write_text(path, writers[check_format(path)]())

    def _header(self) -> list[str]:
        return ["measure", "unit", "images", "not predicted", *_NUMBERS.values()]

    def _rows(self, digits: int | None, escape: Callable[[object], str]) -> list[list[str]]:
        def text(row: dict[str, Any], key: str) -> str:
            value = row[key]
            if math.isnan(value):
                return "-" if digits is not None else ""
            places = (digits or 0) + (key != "accuracy" and not row["unit"])  # a ratio needs more
            return repr(float(value)) if digits is None else f"{value:.{places}f}"

        return [
            [escape(row["name"]), row["unit"], str(row["values"]), str(row["missing"])]
            + [text(row, key) for key in _NUMBERS]
            for row in self.rows
        ]


def _turns(definition: dict[str, Any]) -> bool:
    """Whether a measure is an angle with a sign, of which 179 and -179 degrees are neighbours."""
    return definition.get("kind") == "angle" and "positive" in definition


def _errors(predicted: np.ndarray, true: np.ndarray, turns: bool) -> dict[str, Any]:
    known = np.isfinite(true)
    errors = (predicted - true)[known & np.isfinite(predicted)]
    if turns:
        errors = (errors + 180) % 360 - 180
    if not errors.size:
        numbers = dict.fromkeys(("mae", "sd", "bias", "p95"), math.nan)
    else:
        numbers = dict(
            mae=float(np.abs(errors).mean()),
            sd=float(errors.std(ddof=1)) if errors.size > 1 else math.nan,
            bias=float(errors.mean()),
            p95=float(np.percentile(np.abs(errors), 95)),
        )
    return dict(values=int(known.sum()), missing=int((known & ~np.isfinite(predicted)).sum()), **numbers)


def _classes(
    predicted: np.ndarray,
    true: np.ndarray,
    definition: dict[str, Any],
    unit: str,
    codes: Sequence[int | None] | None,
) -> dict[str, Any]:
    """Return the accuracy of a measure's classes and which was taken for which.

    Classes of one code count as one, as in the annotation files that use it.
    """
    classes = definition.get("classes", ()) if unit != "pixels" else ()

    def group(value: float) -> Any:
        place = class_of(float(value), classes)
        return None if place is None else classes[place].get("code", classes[place]["label"])

    given = [group(value) for value in true] if codes is None else list(codes)
    found = [group(value) for value in predicted]
    names: dict[Any, str] = {}
    for entry in classes:
        key = entry.get("code", entry["label"])
        names[key] = f"{names[key]} or {entry['label']}" if key in names else entry["label"]
    confusion: dict[str, dict[Any, int]] = {}
    counted = [(a, b) for a, b in zip(given, found, strict=True) if a in names]
    for one, other in counted:
        row = confusion.setdefault(names[one], {})
        row[names.get(other)] = row.get(names.get(other), 0) + 1
    right = sum(a == b for a, b in counted)
    return dict(
        accuracy=100.0 * right / len(counted) if counted else math.nan,
        classes=list(names.values()),
        confusion={name: confusion[name] for name in names.values() if name in confusion},
    )


def _smape(predicted: np.ndarray, true: np.ndarray) -> tuple[float, int]:
    """Return the SMAPE in percent, and the number of images that have none.

    A value that is not predicted counts as 0, the worst answer that the measure knows: an image of which
    nothing is predicted has 100 %. Otherwise a detector would gain by not answering difficult images.
    """
    answered = np.where(np.isfinite(predicted), predicted, 0.0)
    total = (np.abs(true) + np.abs(answered)).sum(axis=1)
    shares = np.abs(answered - true).sum(axis=1) / np.where(total > 0, total, np.nan)
    known = np.isfinite(shares)
    return 100.0 * float(shares[known].mean()) if known.any() else math.nan, int((~known).sum())
