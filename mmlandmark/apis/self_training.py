"""What a self-training gave: its stages compared by their validations, and the best one as a model file."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmlandmark.apis.running import test_config
from mmlandmark.engine import (
    ConfigError,
    Node,
    Step,
    TrainedRun,
    folder_of_test,
    main_process_decides,
    stage_to_test,
)
from mmlandmark.engine.label_rounds import read_rounds
from mmlandmark.inference.loading import model_of_run
from mmlandmark.utils.files import atomic_write_text
from mmlandmark.utils.table_text import markdown_table

MODEL, REPORT = "detector.mml.pth", "report.md"
_ERROR = "mre"
_FEW = 20  # images by which a small difference may be chance
_ROUNDS = 12  # rows of a table, of which there may be hundreds


class BestStageStep(Step):
    """Write the best of several stages, by the last validation of each, as a model file, and a report.

    The model is also tested, once it is chosen.

    Args:
        config: With the stages; ``work_dir`` is the folder of the node.
        folder: Where model and report go.
        images: Number of images by part, ``train``, ``val`` and ``test``, for the report.
    """

    name = "best_stage"

    def __init__(self, config: Config, folder: Path, images: Mapping[str, int]) -> None:
        self.config, self.folder, self.images = config, Path(folder).absolute(), images

    def done(self, node: Node) -> bool:
        """Return whether model and report exist."""
        return super().done(node) and all((self.folder / name).is_file() for name in (MODEL, REPORT))

    def run(self, node: Node) -> dict[str, float]:
        """Compare, test the best and write it."""
        stages = main_process_decides(lambda: _stages(node))
        best = best_stage(stages)
        config = stage_to_test(self.config, node.folder, best)
        checkpoint = stages[best].folder / stages[best].checkpoint
        out = main_process_decides(lambda: folder_of_test(config, checkpoint))
        tested = test_config(config, checkpoint, out_dir=out)
        main_process_decides(lambda: self._write(config, checkpoint, stages, tested))
        return tested

    def _write(
        self, config: Config, checkpoint: Path, stages: Mapping[str, TrainedRun], tested: Mapping[str, float]
    ) -> None:
        model_of_run(config, checkpoint).save(self.folder / MODEL)
        unit = _unit(config)
        rounds = {name: run.folder / "pseudo_labels" / "rounds.json" for name, run in stages.items()}
        parts = [
            f"# {self.folder.name}",
            comparison({name: run.metrics for name, run in stages.items()}, unit, self.images),
            test_sentence(tested, unit, self.images),
            *(_rounds(file, self.folder) for file in rounds.values() if file.is_file()),
        ]
        atomic_write_text(self.folder / REPORT, "\n\n".join(parts) + "\n")


def _stages(node: Node) -> dict[str, TrainedRun]:
    """Return what every stage of a group left behind.

    Raises:
        ConfigError: The last validation of one has no mean error.
    """
    found = {child.name: trained for child in node.children if (trained := child.trained()) is not None}
    for name, run in found.items():
        if _ERROR not in run.metrics:
            raise ConfigError(
                f"{run.folder}: the validation of stage {name!r} has no {_ERROR!r} to compare stages by: "
                "keep LandmarkMetric in val_evaluator"
            )
    return found


def best_stage(stages: Mapping[str, TrainedRun]) -> str:
    """Return the name of the stage with the smallest mean error, the earliest of equal ones."""
    return min(stages, key=lambda name: _number(stages[name].metrics[_ERROR]))


def comparison(metrics: Mapping[str, Mapping[str, float]], unit: str, images: Mapping[str, int]) -> str:
    """Return the errors of stages as a table, and what they say of the unlabelled images.

    Args:
        metrics: Of the last validation, by stage, the one without unlabelled images first.
        unit: Of the errors.
        images: Number of images by part.
    """
    first = next(iter(metrics))
    hits = [key for key in metrics[first] if key.startswith("sdr_")]
    head = ["stage", f"mean error ({unit})", *(f"within {_spaced(key)} (%)" for key in hits)]
    rows = [[name, *(_shown(values.get(key)) for key in (_ERROR, *hits))] for name, values in metrics.items()]
    errors = {name: _number(values[_ERROR]) for name, values in metrics.items()}
    best = min(errors, key=lambda name: errors[name])
    count = images.get("val", images.get("test", 0))
    if best == first:
        verdict = (
            f"Self-training did not help: {MODEL} is the detector of {first}, which has learnt from "
            "annotated images alone."
        )
    else:
        gain = 100 * (1 - errors[best] / errors[first]) if math.isfinite(errors[first]) else 100.0
        verdict = (
            f"Self-training helped: the mean error of {best} is {gain:.1f} % smaller than that of {first}, "
            "which has learnt from annotated images alone, and for a shorter time. "
            f"{MODEL} is the detector of {best}."
        )
    doubt = f" These are {count} images only, so a small difference may be chance." if count < _FEW else ""
    title = f"Errors on {count} annotated images that no stage has learnt from:"
    return f"{title}\n\n{markdown_table(head, rows, padded=True)}\n\n{verdict}{doubt}"


def test_sentence(tested: Mapping[str, float], unit: str, images: Mapping[str, int]) -> str:
    """Return what the test of the chosen detector gave.

    Args:
        tested: Metrics of the test.
        unit: Of the errors.
        images: Number of images by part.
    """
    if {"val", "test"} <= set(images):
        return (
            f"Its mean error in the test is {_shown(tested.get(_ERROR))} {unit}, on {images['test']} images "
            "that no stage was chosen by."
        )
    return (
        "The test looks at the same images, so its numbers are a little too good: the detector was chosen by "
        "them."
    )


test_sentence.__test__ = False  # type: ignore[attr-defined]  # pytest takes such a name for a test


def _rounds(file: Path, folder: Path) -> str:
    """Return the rounds of pseudo labels as a table, with a picture."""
    rows: Sequence[Mapping[str, Any]] = read_rounds(file)
    step = max(1, math.ceil(len(rows) / _ROUNDS))
    shown = [row for n, row in enumerate(rows) if n % step == 0 or n == len(rows) - 1]
    head = ["epochs trained", "images", "landmarks", "learnt from (%)", "masked (%)"]
    cells = []
    for row in shown:
        masked = 100 * row["masked"] / max(row["landmarks"], 1)
        cells.append(
            [str(row[key]) for key in ("epoch", "images", "landmarks")]
            + [f"{100 - masked:.1f}", f"{masked:.1f}"]
        )
    picture = Path(os.path.relpath(file.with_name("rounds.png"), folder)).as_posix()
    return (
        "Labels of the unlabelled images, round by round:\n\n"
        f"{markdown_table(head, cells, left=0, padded=True)}\n\n![rounds]({picture})"
    )


def _unit(config: Config) -> str:
    given = config.val_evaluator
    evaluators = given if isinstance(given, list | tuple) else [given]
    return next((str(e["unit"]) for e in evaluators if e.get("unit")), "mm")


def _spaced(key: str) -> str:
    """Return ``2 mm`` of ``sdr_2mm``."""
    return re.sub(r"(?<=\d)(?=[a-z])", " ", key.removeprefix("sdr_"))


def _number(value: float) -> float:
    return value if math.isfinite(value) else math.inf


def _shown(value: float | None) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:.2f}"
