"""Report of a cross-validation: every fold, their spread, and all cases together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmlandmark.evaluation.metric_names import format_metric, headline_metrics, metric_title
from mmlandmark.evaluation.report import dump_json, without_nan
from mmlandmark.utils.files import atomic_write_text
from mmlandmark.utils.table_text import markdown_table, markdown_text


@dataclass(frozen=True)
class FoldReport:
    """Numbers of a cross-validation.

    Attributes:
        folds: Name of a fold -> its metrics.
        images: Name of a fold -> number of its test images.
        pooled: The metrics over the cases of all folds.
        sources: Prefix of a LandmarkMetric -> its unit and the source of its lengths, in words.
    """

    folds: dict[str, dict[str, float]]
    images: dict[str, int]
    pooled: dict[str, float]
    sources: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as plain JSON types."""
        return without_nan(
            dict(folds=self.folds, images=self.images, pooled=self.pooled, sources=self.sources)
        )

    def to_markdown(self) -> str:
        """Return one table per prefix of the metrics, such as those of several reference lengths."""
        keys = headline_metrics({*self.pooled, *(key for values in self.folds.values() for key in values)})
        prefixes = dict.fromkeys(key.rpartition("/")[0] for key in keys)
        tables = [self._table([key for key in keys if key.rpartition("/")[0] == p], p) for p in prefixes]
        note = (
            "MRE: mean ± standard deviation of all points of the row; last row: mean ± standard deviation of "
            "the folds. SDR (within the radius) and EDR (beyond it) in percent."
        )
        return "\n\n".join([*tables, note]) + "\n"

    def save(self, folder: str | Path) -> list[Path]:
        """Write ``cross_validation.json`` and ``.md`` to a folder, each atomically."""
        paths = [Path(folder) / f"cross_validation.{kind}" for kind in ("json", "md")]
        for path, text in zip(paths, (dump_json(self.to_dict()), self.to_markdown()), strict=True):
            atomic_write_text(path, text)
        return paths

    def _table(self, keys: Sequence[str], prefix: str) -> str:
        titles = [metric_title(key, keys).removeprefix(f"{prefix} ") for key in keys]
        misses = {k: t.replace("SDR", "EDR") for k, t in zip(keys, titles, strict=True) if "SDR" in t}
        rows = [
            [markdown_text(name), str(self.images[name]), *_cells(keys, misses, [values])]
            for name, values in self.folds.items()
        ]
        rows.append(["all", str(sum(self.images.values())), *_cells(keys, misses, [self.pooled])])
        if len(self.folds) > 1:
            rows.append(["mean of folds", "", *_cells(keys, misses, list(self.folds.values()))])
        head = ["fold", "images", *titles, *misses.values()]
        about = f"Errors in {self.sources[prefix]}." if prefix in self.sources else ""
        about = f"**{prefix}** {about}".rstrip() if prefix else about
        table = markdown_table(head, rows)
        return f"{about}\n\n{table}" if about else table


def _cells(keys: Sequence[str], misses: Iterable[str], values: Sequence[dict[str, float]]) -> list[str]:
    """Return the cells of all metrics, of one fold or as mean and standard deviation of several."""
    cells: list[str] = []
    for key in (*keys, *misses):
        missed = len(cells) >= len(keys)
        present = [v[key] for v in values if v.get(key) is not None and math.isfinite(v[key])]
        if not present:
            cells.append("-")
            continue
        text = format_metric(key, *(100 - v if missed else v for v in present))
        spread = values[0].get(f"{key}_sd") if len(values) == 1 else None
        cells.append(text if spread is None else f"{text} ± {format_metric(key, spread)}")
    return cells
