"""Figures of how single landmarks are learnt, validation by validation."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmlandmark.engine import ConfigError
from mmlandmark.utils.files import atomic_write_json
from mmlandmark.visualization.landmark_curves import plot_landmark_curves

_LOGS = "**/vis_data/scalars.json"
_MEAN = "mre_"
# Of all landmarks, not the mean error of one that is called so.
_OVERALL = ("mre_sd", "mre_median", "mre_p95", "mre_image")


def draw_landmark_curves(
    runs: Mapping[str, str | Path], path: str | Path, landmarks: Sequence[str] | None = None
) -> Path:
    """Draw the error of each landmark over the validations of trainings, a panel per landmark.

    What one landmark gains by a training another one may lose: the seesaw of He et al., "Landmarks Are Alike
    Yet Distinct". The numbers are written beside the figure, as JSON of the same name.

    Args:
        runs: Name -> work folder of a run whose ``val_evaluator`` has ``per_landmark=True``, with or without
            stages, or with a model per landmark. If stages follow each other, the last one is drawn.
        path: PNG to write.
        landmarks: Names; None draws those that all runs have.

    Raises:
        ConfigError: A folder has no such validation, or not of a landmark.
        FileNotFoundError: There is no such folder.
    """
    curves = {name: landmark_curves(folder) for name, folder in runs.items()}
    if landmarks is None:
        landmarks = [key for key in next(iter(curves.values())) if all(key in one for one in curves.values())]
    for name, found in curves.items():
        missing = [landmark for landmark in landmarks if landmark not in found]
        if missing or not landmarks:
            raise ConfigError(
                f"{runs[name]}: no validation of {missing or 'a landmark that all runs have'}; there are "
                f"{', '.join(found)}"
            )
    chosen = {name: {key: found[key] for key in landmarks} for name, found in curves.items()}
    atomic_write_json(Path(path).with_suffix(".json"), chosen)
    return plot_landmark_curves(chosen, path)


def landmark_curves(folder: str | Path) -> dict[str, dict[str, list[float]]]:
    """Return the errors of each landmark in the validations of a run.

    Args:
        folder: Its work folder.

    Returns:
        Landmark -> ``part``, of the training that was done before the validation, from 0 to 1, and ``mre``.

    Raises:
        ConfigError: No validation has the errors of single landmarks.
        FileNotFoundError: There is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: there is no such folder")
    found: dict[str, dict[float, float]] = {}
    stages: dict[str, Path] = {}
    # Stages and the times when runs began are in the order of their names. A later stage takes the place of
    # one before; what was resumed goes on.
    for log in sorted(folder.glob(_LOGS)):
        rows = list(_validations(log))
        for name in {name for _, row in rows for name in row}:
            stage, before = log.parents[2], stages.get(name)
            stages[name] = stage
            curve = {epoch: row[name] for epoch, row in rows if name in row}
            found[name] = (found[name] if stage == before else {}) | curve
    if not found:
        raise ConfigError(
            f"{folder}: no validation with errors of single landmarks; set val_evaluator.per_landmark=True"
        )
    return {
        name: dict(
            part=[epoch / max(curve) for epoch in sorted(curve)], mre=[curve[e] for e in sorted(curve)]
        )
        for name, curve in found.items()
    }


def _validations(log: Path) -> Iterator[tuple[float, dict[str, float]]]:
    """Yield the epoch of every validation in a log, and the errors of landmarks that are known."""
    for line in log.read_text(encoding="utf-8").splitlines():
        row: Mapping[str, Any] = json.loads(line)
        errors = {
            key.removeprefix(_MEAN): float(value)
            for key, value in row.items()
            if key.startswith(_MEAN) and key not in _OVERALL and math.isfinite(value)
        }
        if errors and row.get("step", 0) > 0:
            yield float(row["step"]), errors
