"""What a one-shot detection gave: its detector as a model file, and a report."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmlandmark.apis.running import test_config
from mmlandmark.engine import ConfigError, Node, Step, folder_of_test, main_process_decides, stage_to_test
from mmlandmark.inference.loading import model_of_run
from mmlandmark.utils.files import atomic_write_text, read_json
from mmlandmark.utils.table_text import markdown_table

REPORT = "report.md"
_NAMES = dict(ssl="labels: like the template", student="detector: learnt from the labels")
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
        """Test where there is something to test on, and write the detector."""
        tested: dict[str, Mapping[str, float]] = {}
        for child in node.children if self.plan["known"] else ():
            config, checkpoint = self._stage(node, child)
            out = main_process_decides(partial(folder_of_test, config, checkpoint))
            tested[child.name] = test_config(config, checkpoint, out_dir=out)
        main_process_decides(lambda: self._write(node, tested))
        return {f"{name}/{key}": value for name, found in tested.items() for key, value in found.items()}

    def _stage(self, node: Node, child: Node) -> tuple[Config, Path]:
        trained = child.trained()
        if trained is None:
            raise ConfigError(f"{child.folder}: this stage has not been trained")
        return stage_to_test(self.config, node.folder, child.name), trained.folder / trained.checkpoint

    def _write(self, node: Node, tested: Mapping[str, Mapping[str, float]]) -> None:
        student = node.children[-1]
        model_of_run(*self._stage(node, student)).save(self.model)
        labels = student.folder / "pseudo_labels" / "rounds.json"
        lost = [*self.plan["landmarks_left_out"], *self.plan["warnings"], *self.plan["images_left_out"]]
        parts = [
            f"# {self.model.name}",
            labels_sentence(read_json(labels)["rounds"][-1], self.plan["choices"]["selector"]["why"]),
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
        tested: Metrics by stage, ``ssl`` and ``student``; empty where nothing is known.
        unit: Of the errors.
        images: Number of images that were tested.
    """
    if not tested:
        return (
            "Nobody knows how good it is: nothing but the template is annotated. With --known ANNOTATION, of "
            "as few as 20 of the images, the same command measures it. Look at the overlays of a prediction."
        )
    hits = [key for key in tested["student"] if key.startswith("sdr_")]
    head = ["", f"mean error ({unit})", *(f"within {key.removeprefix('sdr_')} (%)" for key in hits)]
    rows = [[_NAMES[name], *_cells(found, ("mre", *hits))] for name, found in tested.items()]
    before, after = tested["ssl"]["mre"], tested["student"]["mre"]
    if after < before:
        gain = 100 * (1 - after / before)
        text = f"The detector is better than its labels: its mean error is {gain:.1f} % smaller."
        worse = [key for key in hits if tested["student"][key] < tested["ssl"].get(key, 0.0)]
        if worse:
            text += f" But of its landmarks fewer are within {worse[0].removeprefix('sdr_')}."
    else:
        text = "The detector is not better than its labels. More time may help, or another template."
    doubt = f" These are {images} images only, so a small difference may be chance." if images < _FEW else ""
    title = f"Errors on {images} annotated images, from whose annotation nothing was learnt or chosen:"
    return f"{title}\n\n{markdown_table(head, rows, padded=True)}\n\n{text}{doubt}"


def _cells(found: Mapping[str, float], keys: Sequence[str]) -> list[str]:
    return [f"{found[key]:.2f}" if key in found else "-" for key in keys]
