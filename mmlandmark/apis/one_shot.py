"""What a one-shot detection gave: its detector as a model file, and a report."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmlandmark.apis.ensemble import build_ensemble
from mmlandmark.apis.running import test_config
from mmlandmark.engine import ConfigError, Node, Step, folder_of_test, main_process_decides, stage_to_test
from mmlandmark.engine.label_rounds import read_rounds
from mmlandmark.inference.loading import model_of_run
from mmlandmark.utils.files import atomic_write_text
from mmlandmark.utils.table_text import markdown_table

REPORT = "report.md"
# Rows of the report. Of several labellers the last three are named, and the labels are their median.
_STUDENT, _LABELS = "detector: learnt from the labels", "labels: like the template"
_MEDIAN = "median"
_NAMES = dict(
    encoder="like the template, by the encoder as it is",
    ssl_point="like the template, one point of a patch compared",
    ssl="like the template, 64 points compared",
)
_FEW = 20  # images by which a small difference may be chance


class OneShotStep(Step):
    """Write the student as a model file, and a report; test both stages where annotation is known.

    Args:
        config: With the stages; ``work_dir`` is the folder of the node.
        folder: Where the report goes.
        model: Where the model file goes.
        plan: Content of ``plan.json``.
    """

    name = "one_shot"

    def __init__(self, config: Config, folder: Path, model: Path, plan: Mapping[str, Any]) -> None:
        self.config, self.plan = config, plan
        self.folder, self.model = Path(folder).absolute(), Path(model).absolute()

    def done(self, node: Node) -> bool:
        """Return whether model and report exist."""
        return super().done(node) and self.model.is_file() and (self.folder / REPORT).is_file()

    def run(self, node: Node) -> dict[str, float]:
        """Write the detector, which a test that fails must not take along, and test what can be tested."""
        main_process_decides(lambda: model_of_run(*self._stage(node, node.children[-1])).save(self.model))
        tested: dict[str, Mapping[str, float]] = {}
        *labellers, _ = node.children
        if self.plan["known"]:
            for child in node.children:
                config, checkpoint = self._stage(node, child)
                out = main_process_decides(partial(folder_of_test, config, checkpoint))
                tested[child.name] = test_config(config, checkpoint, out_dir=out)
            if len(labellers) > 1:
                tested[_MEDIAN] = self._test_median(node, labellers)
        main_process_decides(lambda: self._write(node, tested))
        return {f"{name}/{key}": value for name, found in tested.items() for key, value in found.items()}

    def _test_median(self, node: Node, labellers: Sequence[Node]) -> Mapping[str, float]:
        """Test the median of what the labellers find, which is what the detector learns from."""
        folder, runs = node.folder / _MEDIAN, [child.folder for child in labellers]
        config, checkpoint = main_process_decides(
            lambda: build_ensemble(runs, folder, average="median", which="last")
        )
        return test_config(config, checkpoint, out_dir=folder / "test")

    def _stage(self, node: Node, child: Node) -> tuple[Config, Path]:
        trained = child.trained()
        if trained is None:
            raise ConfigError(f"{child.folder}: this stage has not been trained")
        return stage_to_test(self.config, node.folder, child.name), trained.folder / trained.checkpoint

    def _write(self, node: Node, tested: Mapping[str, Mapping[str, float]]) -> None:
        labels = node.children[-1].folder / "pseudo_labels" / "rounds.json"
        lost = [*self.plan["landmarks_left_out"], *self.plan["warnings"], *self.plan["images_left_out"]]
        lost += [f"of --known: {reason}" for reason in self.plan.get("known_left_out", ())]
        parts = [
            f"# {self.model.name}",
            labels_sentence(read_rounds(labels)[-1], self.plan["choices"]["selector"]["why"]),
            f"![labels]({Path(os.path.relpath(labels.with_name('labels.png'), self.folder)).as_posix()})"
            if labels.with_name("labels.png").is_file()
            else "",
            verdict(tested, self.plan["choices"]["unit"]["value"]["unit"], int(self.plan["known"] or 0)),
            *(["Left out, or to be known:\n\n" + "\n".join(f"- {line}" for line in lost)] if lost else []),
        ]
        atomic_write_text(self.folder / REPORT, "\n\n".join(filter(None, parts)) + "\n")


def labels_sentence(row: Mapping[str, Any], why: str) -> str:
    """Return how many labels the detector has learnt from.

    Args:
        row: Of the round of labels.
        why: They were chosen.
    """
    kept = 100 * (1 - row["masked"] / max(row["landmarks"], 1))
    return (
        f"The detector has learnt from {kept:.0f} % of {row['landmarks']} landmarks that were found in "
        f"{row['images']} images: {why}."
    )


def verdict(tested: Mapping[str, Mapping[str, float]], unit: str, images: int) -> str:
    """Return the errors of both stages as a table, and which is better.

    Args:
        tested: Metrics by stage, those of the labellers and of ``student``, and of the ``median`` of several
            labellers; empty where nothing is known.
        unit: Of the errors.
        images: Number of images that were tested.
    """
    if not tested:
        return (
            "Nobody knows how good it is: nothing but the template is annotated. With --known ANNOTATION, of "
            "as few as 20 of the images, and another -o, the same command trains again and measures. Look at "
            "the overlays of a prediction."
        )
    labels = tested.get(_MEDIAN, tested["ssl"])
    student = tested["student"]
    found = {_LABELS: labels, _STUDENT: student}
    if _MEDIAN in tested:
        found = {f"labels: the median of the {len(_NAMES)} below": labels, _STUDENT: student} | {
            text: tested[name] for name, text in _NAMES.items()
        }
    hits = [key for key in student if key.startswith("sdr_")]
    head = ["", f"mean error ({unit})", *(f"within {key.removeprefix('sdr_')} (%)" for key in hits)]
    rows = [[text, *_cells(metrics, ("mre", *hits))] for text, metrics in found.items()]
    before, after = labels["mre"], student["mre"]
    if after < before:
        gain = 100 * (1 - after / before)
        text = f"The detector is better than its labels: its mean error is {gain:.1f} % smaller."
        worse = [key for key in hits if student[key] < labels.get(key, 0.0)]
        if worse:
            text += f" But of its landmarks fewer are within {worse[0].removeprefix('sdr_')}."
    else:
        text = "The detector is not better than its labels. More time may help, or another template."
    doubt = f" These are {images} images only, so a small difference may be chance." if images < _FEW else ""
    title = f"Errors on {images} annotated images, from whose annotation nothing was learnt or chosen:"
    return f"{title}\n\n{markdown_table(head, rows, padded=True)}\n\n{text}{doubt}"


def _cells(found: Mapping[str, float], keys: Sequence[str]) -> list[str]:
    return [f"{found[key]:.2f}" if key in found else "-" for key in keys]
