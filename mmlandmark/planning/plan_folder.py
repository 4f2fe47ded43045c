"""The folder of a plan: config, lists of ids, schema, and the plan as JSON."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from mmlandmark.engine import load_config
from mmlandmark.planning.budget_rules import Speed
from mmlandmark.planning.choice import duration
from mmlandmark.planning.config_text import config_text
from mmlandmark.planning.planner import Plan
from mmlandmark.planning.speed import describe_machine, measure_speed
from mmlandmark.utils.files import atomic_write_text

CONFIG, PLAN, SCHEMA = "config.py", "plan.json", "schema.json"
RUN = "run"


def files_of(plan: Plan) -> dict[str, str]:
    """Return the files of a plan: name -> content; the config comes last, so that it never stands alone."""
    texts = {f"{part}.txt": "\n".join(ids) + "\n" for part, ids in plan.parts.items()}
    if plan.schema is not None:
        texts[SCHEMA] = json.dumps(plan.schema.to_dict(), indent=2) + "\n"
    texts[PLAN] = json.dumps(plan.to_dict(), indent=2, allow_nan=False) + "\n"
    texts[CONFIG] = config_text(title_of(plan), plan.choices, plan.dataset, plan.fine)
    return texts


def title_of(plan: Plan) -> str:
    """Return what is planned, in one line."""
    data, count = plan.fingerprint, plan.fingerprint.images
    return (
        f"written by mmlandmark plan: {count} {'images' if data.dims == 2 else 'volumes'} with "
        f"{len(data.landmarks)} landmarks from {plan.source.ann_file.name}, "
        f"{duration(plan.answers.minutes)} on {describe_machine()}"
    )


def check_folder(folder: Path, overwrite: bool) -> None:
    """Refuse a folder that has a plan or a run in it.

    Raises:
        ValueError: ``overwrite`` is not set; or there is a run, which would not fit the new plan.
    """
    there = [name for name in (CONFIG, PLAN) if (folder / name).exists()]
    if there and not overwrite:
        raise ValueError(f"{folder / there[0]} exists; choose another --out, or replace it with --overwrite")
    if (folder / RUN).exists():
        raise ValueError(
            f"{folder / RUN} holds a training of the plan that is there; choose another --out, or remove it"
        )


def write_plan(plan: Plan, folder: Path) -> None:
    """Write all files of a plan, each atomically."""
    for name, text in files_of(plan).items():
        atomic_write_text(folder / name, text)
    for part in {"train", "val", "test"} - set(plan.parts):  # of a plan that this one replaces
        (folder / f"{part}.txt").unlink(missing_ok=True)
    if plan.schema is None:
        (folder / SCHEMA).unlink(missing_ok=True)


def measure_plan(plan: Plan, ids: Sequence[str]) -> Speed:
    """Return the speed of a plan on this machine; its files are written to a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files_of(plan).items():
            atomic_write_text(Path(folder) / name, text)
        config = load_config(Path(folder) / CONFIG)
        return measure_speed(config, ids, plan.fingerprint.read_seconds)
