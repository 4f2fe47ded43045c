"""The folder of a plan: config, lists of ids, schema, and the plan as JSON."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mmlandmark.engine import load_config
from mmlandmark.planning.budget_rules import Speed
from mmlandmark.planning.choice import duration
from mmlandmark.planning.config_text import UNLABELLED, config_text
from mmlandmark.planning.data_source import DataSource
from mmlandmark.planning.planner import Answers, Plan
from mmlandmark.planning.speed import describe_machine, measure_speed
from mmlandmark.utils.files import atomic_write_text, read_state
from mmlandmark.utils.json_checksum import with_checksum
from mmlandmark.utils.result_folders import CONFIG, PLAN, RUN

SCHEMA = "schema.json"
LISTS = ("train.txt", "val.txt", "test.txt")
BESIDE_PLAN = (*LISTS, UNLABELLED, SCHEMA)
_MEASURED = ("memory", "on_gpu", "cores")  # answers that the machine gives


def files_of(plan: Plan) -> dict[str, str]:
    """Return the files of a plan: name -> content.

    The plan comes first, so that the others are known to be of one, and the config last, so that it never
    stands alone.
    """
    texts = {PLAN: with_checksum(plan.to_dict(), indent=2) + "\n"}
    texts |= {f"{part}.txt": "\n".join(ids) + "\n" for part, ids in plan.parts.items()}
    if plan.schema is not None:
        texts[SCHEMA] = json.dumps(plan.schema.to_dict(), indent=2) + "\n"
    # Without the images to label while speeds are measured, which is before these are chosen.
    labels = plan.labels if "images" in plan.labels else {}
    if labels and plan.unlabelled is not None:
        texts[UNLABELLED] = "\n".join(plan.unlabelled.ids) + "\n"
    texts[CONFIG] = config_text(title_of(plan), plan.choices, plan.dataset, plan.fine, labels)
    return texts


def title_of(plan: Plan) -> str:
    """Return what is planned, in one line."""
    data, count, images = plan.fingerprint, plan.fingerprint.images, plan.unlabelled
    command = "plan" if images is None else "self-train"
    more = "" if images is None else f" and {len(images.ids)} without annotation"
    return (
        f"written by mmlandmark {command}: {count} {'images' if data.dims == 2 else 'volumes'} with "
        f"{len(data.landmarks)} landmarks from {plan.source.ann_file.name}{more}, "
        f"{duration(plan.answers.minutes)} on {describe_machine()}"
    )


def check_folder(folder: Path, overwrite: bool, others: Sequence[str | Path] = BESIDE_PLAN) -> None:
    """Refuse a folder that has a plan or a run in it; one whose plan was never written to its end is taken.

    Args:
        folder: Of the plan.
        overwrite: Replace what is there, but no run.
        others: What will be written besides config and plan: names in the folder, or absolute paths.

    Raises:
        ValueError: ``overwrite`` is not set, and there is a plan, or a file of another origin that would be
            replaced, such as lists of ids beside the data; or there is a run, which would not fit the new
            plan.
    """
    there: list[str | Path] = [name for name in (CONFIG, PLAN) if (folder / name).exists()]
    if PLAN not in there:
        there += [name for name in others if (folder / name).exists()]
    if there == [PLAN] and not overwrite and "answers" in read_plan(folder):
        there = []  # the config comes last: whoever wrote this was stopped
    if there and not overwrite:
        raise ValueError(f"{folder / there[0]} exists; choose another --out, or replace it with --overwrite")
    if (folder / RUN).exists():
        raise ValueError(
            f"{folder / RUN} holds a training of the plan that is there; choose another --out, or remove it"
        )


def read_plan(folder: Path) -> dict[str, Any]:
    """Return the plan of a folder, as plain values.

    Raises:
        FileNotFoundError: There is none.
        ValueError: It is damaged.
    """
    return read_state(folder / PLAN, "choose another --out")


def is_planned(folder: Path, source: DataSource, answers: Answers) -> bool:
    """Return whether a folder has the plan of these data and answers, so that its training can go on.

    Raises:
        ValueError: It has another plan, or that is broken.
    """
    if not (folder / PLAN).is_file() or not (folder / CONFIG).is_file():
        return False
    known = read_plan(folder)
    there = dict(known.get("answers") or {}, annotation=known.get("annotation"))
    here = dict(json.loads(json.dumps(asdict(answers))), annotation=str(source.ann_file))
    compare_answers(folder, there, here)
    return True


def compare_answers(folder: Path, there: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    """Refuse a folder with the plan of other answers; those that the machine gives may differ.

    Args:
        folder: Of the plan.
        there: Answers of the plan.
        here: Those of the command, in the types of JSON.

    Raises:
        ValueError: One differs; it is named.
    """
    for name in here:
        if name not in _MEASURED and there.get(name) != here[name]:
            raise ValueError(
                f"{folder} holds the plan of another command: {name} is {there.get(name)!r} there and "
                f"{here[name]!r} here; choose another --out"
            )


def write_plan(plan: Plan, folder: Path) -> None:
    """Write all files of a plan, each atomically."""
    for name, text in files_of(plan).items():
        atomic_write_text(folder / name, text)
    for name in set(LISTS) - set(files_of(plan)):  # of a plan that this one replaces
        (folder / name).unlink(missing_ok=True)
    if plan.unlabelled is None:
        (folder / UNLABELLED).unlink(missing_ok=True)
    if plan.schema is None:
        (folder / SCHEMA).unlink(missing_ok=True)


def measure_plan(plan: Plan, ids: Sequence[str]) -> Speed:
    """Return the speed of a plan on this machine; its files are written to a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files_of(plan).items():
            atomic_write_text(Path(folder) / name, text)
        config = load_config(Path(folder) / CONFIG)
        return measure_speed(config, ids, plan.fingerprint.read_seconds)
