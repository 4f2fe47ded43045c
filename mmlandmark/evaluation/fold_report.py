"""What a cross-validation reports: every fold, their spread, and all cases together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmlandmark.evaluation.metric_names import format_metric, headline_metrics, metric_title
from mmlandmark.evaluation.report import dump_json, without_nan
from mmlandmark.utils.files import atomic_write_text


@dataclass(frozen=True)
class FoldReport:
    """Numbers of a cross-validation.

    Attributes:
        folds: Name of a fold -> its metrics.
        images: Name of a fold -> how many images it tested.
        pooled: The metrics over the cases of all folds.
    """

    folds: dict[str, dict[str, float]]
    images: dict[str, int]
    pooled: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON types."""
        return without_nan(dict(folds=self.folds, images=self.images, pooled=self.pooled))

    def to_markdown(self) -> str:
        """Return one table per prefix of the metrics, as tests of several references have them."""
        keys = headline_metrics({*self.pooled, *(key for values in self.folds.values() for key in values)})
        prefixes = dict.fromkeys(key.rpartition("/")[0] for key in keys)
        tables = [self._table([key for key in keys if key.rpartition("/")[0] == p], p) for p in prefixes]
        note = (
            "MRE: mean ± standard deviation of all points of the row; last row: mean ± standard deviation of "
            "the folds. SDR in percent; the error detection rate (EDR) is 100 - SDR."
        )
        return "\n\n".join([*tables, note]) + "\n"

    def save(self, folder: str | Path) -> list[Path]:
        """Write ``cross_validation.json`` and ``.md`` to a folder, each whole or not at all."""
        paths = [Path(folder) / f"cross_validation.{kind}" for kind in ("json", "md")]
        for path, text in zip(paths, (dump_json(self.to_dict()), self.to_markdown()), strict=True):
            atomic_write_text(path, text)
        return paths

    def _table(self, keys: Sequence[str], prefix: str) -> str:
        head = ["fold", "images", *(metric_title(key, keys).removeprefix(f"{prefix} ") for key in keys)]
        rows = [
            [name, str(self.images[name]), *(_cell(key, values) for key in keys)]
            for name, values in self.folds.items()
        ]
        rows.append(["all", str(sum(self.images.values())), *(_cell(key, self.pooled) for key in keys)])
        if len(self.folds) > 1:
            parts = [[values[key] for values in self.folds.values() if key in values] for key in keys]
            rows.append(
                ["mean of folds", "", *(format_metric(k, *p) for k, p in zip(keys, parts, strict=True))]
            )
        lines = ["| " + " | ".join(row) + " |" for row in (head, ["---", *["---:"] * (len(head) - 1)], *rows)]
        return "\n".join([*([f"**{prefix}**", ""] if prefix else []), *lines])


def _cell(key: str, values: dict[str, float]) -> str:
    if key not in values:
        return "-"
    text = format_metric(key, values[key])
    spread = values.get(f"{key}_sd")
    return text if spread is None else f"{text} ± {spread:.3f}"
