"""Figures of pseudo labels, of all runs of a study."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmlandmark.engine import ConfigError
from mmlandmark.engine.label_rounds import read_rounds
from mmlandmark.utils.files import atomic_write_json, read_json
from mmlandmark.visualization.label_figure import plot_label_errors

_ROUNDS = "*/pseudo_labels/rounds.json"  # in the folder of a run with stages
_RUN = re.compile(r"(.+)_seed(\d+)")


def draw_label_rounds(sweeps: Mapping[str, str | Path], path: str | Path) -> Path:
    """Draw how far pseudo labels are from hidden annotation, round by round, for the arms of sweeps.

    What figure 4 B of Chen et al., "Semi-supervised Anatomical Landmark Detection via Shape-regulated
    Self-training", shows in pictures. The numbers are written beside the figure, as JSON of the same name.

    Args:
        sweeps: Title -> work folder of a sweep, or a JSON that an earlier figure was written with.
        path: PNG to write.

    Raises:
        ConfigError: A folder has no run with pseudo labels of images whose annotation is known.
        FileNotFoundError: There is no such folder.
        ValueError: A JSON is not that of such a figure, or two studies have one title.
    """
    studies: dict[str, Any] = {}
    for title, source in sweeps.items():
        found = _read(Path(source)) if Path(source).is_file() else {title: label_errors(source)}
        twice = sorted(studies.keys() & found)
        if twice:
            raise ValueError(
                f"{source}: there are two studies of the name {twice[0]!r}; give one another name"
            )
        studies.update(found)
    atomic_write_json(Path(path).with_suffix(".json"), studies)
    return plot_label_errors(studies, path)


def _read(file: Path) -> dict[str, Any]:
    content = read_json(file)
    keys = {"unit", "arms"}
    if not content or not all(isinstance(one, dict) and one.keys() == keys for one in content.values()):
        raise ValueError(f"{file}: this was not written with a figure of label-rounds")
    return content


def label_errors(folder: str | Path) -> dict[str, Any]:
    """Return the true errors of the pseudo labels of a sweep's runs.

    Args:
        folder: Its work folder, with a folder ``<arm>_seed<N>`` per run.

    Returns:
        ``unit``, and ``arms``: name -> seed -> ``epoch``, ``predicted`` (all points as predicted) and
        ``kept`` (the labels that are learnt from), a list each.

    Raises:
        ConfigError: It has no run with pseudo labels of images whose annotation is known.
        FileNotFoundError: There is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: there is no such folder")
    arms: dict[str, dict[str, Any]] = {}
    unit = None
    for file in sorted(folder.glob("*/" + _ROUNDS)):
        run = _RUN.fullmatch(file.parents[2].name)
        rows = [row for row in read_rounds(file) if row.get("error_predicted") is not None]
        if run is None or not rows:
            continue
        unit = rows[0]["unit"]
        columns = {key: [row[f"error_{key}"] for row in rows] for key in ("predicted", "kept")}
        arms.setdefault(run[1], {})[run[2]] = dict(epoch=[row["epoch"] for row in rows], **columns)
    if not arms:
        raise ConfigError(
            f"{folder}: no run <arm>_seed<N> in it has pseudo labels of images with a hidden annotation"
        )
    return dict(unit=unit, arms=arms)
