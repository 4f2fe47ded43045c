"""A training that is killed at some moment, and started again, ends like one that nobody has disturbed.

``python -m mmlandmark.testing.kills RECORD.json`` trains three stages of self-training on phantoms, with
labels by epoch and by batch. It ends each training once by SIGKILL, at another moment each time, gives the
same command again, and compares labels, weights and metrics with those of the undisturbed training.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.model import BaseModel

from mmlandmark.engine import latest_checkpoint
from mmlandmark.evaluation.record import git_commit, machine, versions
from mmlandmark.models.detectors import BaseDetector
from mmlandmark.testing.tiny import phantom_dataloader, tiny_config
from mmlandmark.utils.checkpoint import load_checkpoint
from mmlandmark.utils.files import atomic_write_json, read_json

# What a process counts until it kills itself.
CALLS: dict[str, tuple[Any, str]] = dict(
    write=(os, "replace"), train_step=(BaseModel, "train_step"), predict=(BaseDetector, "predict")
)


@dataclass(frozen=True)
class Moment:
    """When a training is killed.

    Attributes:
        name: In words.
        call: Key of :data:`CALLS`: a ``write`` of a file, a step of the optimizer, or a predicted batch.
        number: Which of these calls, counted from 1.
        file: End of the path of the files that count as a ``write``.
        whole: Kill after the file is there, instead of while half of it is written beside its place.
        by_epoch: Whether the labels are made by epoch, or by batch.
    """

    name: str
    call: str
    number: int = 1
    file: str = ""
    whole: bool = False
    by_epoch: bool = True


# Of both stages before the last: 3 steps an epoch, 2 batches a validation, 2 batches a round of labels.
MOMENTS = (
    Moment("in an epoch of the first stage", "train_step", 5),
    Moment("while a checkpoint is written", "write", 1, "01_pre_train/epoch_2.pth"),
    Moment("between two stages", "write", 2, "01_pre_train/run.json", whole=True),
    Moment("between two batches of a round of labels", "predict", 6),
    Moment("while the labels of a later round are written", "write", 1, "pseudo_labels/epoch_1.json"),
    Moment("in an epoch that learns from labels", "train_step", 11),
    Moment("between a checkpoint and its note", "write", 1, "02_self_train/epoch_2.pth", whole=True),
    Moment("in the last stage", "train_step", 17),
    Moment("by batch, in an epoch that learns from labels", "train_step", 11, by_epoch=False),
    Moment(
        "by batch, while the labels of an epoch are written", "write", 1, "pseudo_labels/epoch_1.json",
        by_epoch=False,
    ),
)  # fmt: skip


def arm(moment: Moment) -> None:
    """Let this process kill itself at a moment."""
    owner, name = CALLS[moment.call]
    original, calls = getattr(owner, name), count(1)

    def counted(*args: Any, **kwargs: Any) -> Any:
        counts = moment.call != "write" or os.fspath(args[1]).endswith(moment.file)
        if counts and next(calls) == moment.number:
            if moment.whole:
                original(*args, **kwargs)
            elif moment.call == "write":
                os.truncate(args[0], os.path.getsize(args[0]) // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **kwargs)

    setattr(owner, name, counted)


def three_stages(work_dir: str | Path, by_epoch: bool = True, epochs: Sequence[int] = (2, 3, 1)) -> Config:
    """Return the config of three stages of self-training on nine phantoms, three of them without annotation.

    Args:
        work_dir: Its work folder.
        by_epoch: See :class:`Moment`.
        epochs: Of each stage.
    """
    loader = phantom_dataloader(num_samples=6)
    own = dict(
        sampler=dict(_delete_=True, type="LabelledShareSampler"), unlabelled=dict(offset=50, num_samples=3)
    )
    labels = dict(
        type="PseudoLabelHook", by_epoch=by_epoch, selector=dict(type="ShapeRegulator", limit=500.0)
    )
    more: list[dict[str, Any]] = [
        dict(),
        dict(load_from="run:pre_train:last", train_dataloader=own, custom_hooks=[labels]),
        dict(load_from="run:self_train:last"),
    ]
    stages = [
        dict(part, name=name, train_cfg=dict(max_epochs=number))
        for part, name, number in zip(more, ("pre_train", "self_train", "fine_tune"), epochs, strict=True)
    ]
    return tiny_config(work_dir, train_dataloader=loader, stages=stages)


def here(words: Sequence[str]) -> int:
    """Run ``mmlandmark <words>`` in this process; return its exit code."""
    # By its name, as on a command line: commands stand on the floor above.
    return import_module("mmlandmark.cli").invoke(words[0], list(words[1:])) or 0


def forked(words: Sequence[str], moment: Moment | None) -> int:
    """Run ``mmlandmark <words>`` in a fork of this process, which a moment kills; return its exit status."""

    def run() -> None:
        if moment is not None:
            arm(moment)
        sys.exit(here(words))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking beside PyTorch's threads
        process = multiprocessing.get_context("fork").Process(target=run)
        process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def undisturbed(config: Path, folder: Path) -> Path:
    """Train a config in this process and return its work folder; forks need not import everything again."""
    here(["train", str(config), "--work-dir", str(folder)])
    return folder


def disturbed(config: Path, folder: Path, moment: Moment) -> Path:
    """Train a config, killed at a moment, and then by the same command again; return its work folder.

    Raises:
        RuntimeError: The moment did not come, or the second command failed.
    """
    words = ["train", str(config), "--work-dir", str(folder)]
    if (status := forked(words, moment)) != -signal.SIGKILL:
        raise RuntimeError(f"{moment.name}: the training ended with {status} and was not killed")
    if (status := forked(words, None)) != 0:
        raise RuntimeError(f"{moment.name}: started again, the training ended with {status}")
    return folder


def left_behind(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the ``labels`` (bytes), ``weights`` (tensors) and ``metrics`` that all runs left, by name."""
    found: dict[str, dict[str, Any]] = dict(labels={}, weights={}, metrics={})
    for path in sorted(folder.rglob("pseudo_labels/*.json")):
        found["labels"][path.relative_to(folder).as_posix()] = path.read_bytes()
    for run in sorted(note.parent for note in folder.rglob("last_checkpoint")):
        name, newest = run.relative_to(folder).as_posix(), latest_checkpoint(run)
        assert newest is not None, f"{run} holds no checkpoint"
        weights = load_checkpoint(newest)["state_dict"]
        found["weights"].update({f"{name}/{newest.name}/{key}": value for key, value in weights.items()})
        metrics = read_json(run / "run.json")["metrics"] if (run / "run.json").is_file() else {}
        found["metrics"].update({f"{name}/{key}": value for key, value in metrics.items()})
    return found


def different(one: dict[str, dict[str, Any]], other: dict[str, dict[str, Any]]) -> dict[str, list[str]]:
    """Return the names of what differs in any bit, for each kind of :func:`left_behind`."""
    result = {}
    for kind, values in one.items():
        names = sorted(set(values) | set(other[kind]))
        result[kind] = [name for name in names if not _equal(values.get(name), other[kind].get(name))]
    return result


def _equal(a: Any, b: Any) -> bool:
    return torch.equal(a, b) if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor) else a == b


def record_kills(path: Path, moments: Sequence[Moment], config_of: Callable[[str, bool], Config]) -> None:
    """Kill a training at every moment, print what differs, and write the record.

    Args:
        path: JSON file.
        moments: When it is killed.
        config_of: Returns the config of a work folder, with labels by epoch or by batch.
    """
    made_by = dict(machine=machine(), versions=versions(), commit=git_commit())
    torch.set_num_threads(1)  # a fork must not wait for threads that did not come along
    rows = []
    with tempfile.TemporaryDirectory(prefix="mmlandmark_") as name:
        whole = {}
        for by_epoch in sorted({moment.by_epoch for moment in moments}, reverse=True):
            config = Path(name, f"by_epoch_{by_epoch}.py")
            config_of(str(Path(name, "unused")), by_epoch).dump(config)
            whole[by_epoch] = left_behind(undisturbed(config, Path(name, f"whole_{by_epoch}")))
        for number, moment in enumerate(moments):
            config = Path(name, f"by_epoch_{moment.by_epoch}.py")
            found = left_behind(disturbed(config, Path(name, str(number)), moment))
            wrong = different(whole[moment.by_epoch], found)
            row = dict(moment=moment.name, compared={kind: len(values) for kind, values in found.items()})
            rows.append(dict(row, different={kind: len(names) for kind, names in wrong.items()}))
            print(json.dumps(rows[-1]), flush=True)
    atomic_write_json(path, dict(made_by, moments=rows))


def parsed(description: str | None, arguments: Sequence[str] | None) -> Path:
    """Return the file that a command line names for the record."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("record", type=Path, help="JSON file for the result")
    return parser.parse_args(arguments).record


def main(arguments: Sequence[str] | None = None) -> None:
    """Kill the three stages at every moment."""
    record_kills(parsed(__doc__, arguments), MOMENTS, three_stages)


if __name__ == "__main__":
    main()
