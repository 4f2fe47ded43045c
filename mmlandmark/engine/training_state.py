"""The state of a training in its checkpoint: read as data, and checked before anything uses it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from mmengine.logging import HistoryBuffer

from mmlandmark.engine.config_data import config_in
from mmlandmark.utils.checkpoint import is_plain_tensor

MOST = 2**31  # epochs, iterations, lengths: more is damage, not a number

# Hooks set these for the resumed run, or they are names of files, which hooks read themselves.
_SET_ANEW = frozenset(
    """
    best cfg dataset_meta epoch experiment_name iter keep_ckpt_ids last_ckpt loop_stage max_epochs max_iters
    mmengine_version seed
    """.split()  # noqa: SIM905  a list of quoted words reads worse
)
_OF_PARAMETER_SHAPE = frozenset(
    """
    acc_delta exp_avg exp_avg_sq exp_inf grad_avg max_exp_avg_sq momentum_buffer prev square_avg sum
    """.split()  # noqa: SIM905
)


@dataclass(frozen=True)
class Best:
    """The best checkpoint so far, by one metric.

    Attributes:
        score: Value of the metric.
        step: Epoch or iteration it was measured at.
        file: Its name in the run's folder.
    """

    score: float
    step: int
    file: str


@dataclass
class TrainingState:
    """Everything in a checkpoint, apart from weights, that a resumed run reads.

    Attributes:
        epoch: Epochs trained.
        iter: Iterations trained.
        seed: Of the run, or None.
        landmark_names: Of its data, or None.
        iterations_per_epoch: When it was saved, or None.
        validated: Whether the checkpoint was saved after the validation that was due at its step.
        config: The resolved config, None if it cannot be read.
        scalars: Histories of what was logged.
        info: Other values in the message hub.
        hooks: States of the hooks, by their names.
        optimizer: As :meth:`mmengine.optim.OptimWrapper.state_dict`.
        schedules: States of the parameter schedulers, or None.
        gradients: See :func:`mmlandmark.engine.pending_gradients.pending_gradients`, or None.
        source: The file of the checkpoint.
    """

    epoch: int
    iter: int
    seed: int | None = None
    landmark_names: list[str] | None = None
    iterations_per_epoch: int | None = None
    validated: bool = False
    config: dict[str, Any] | None = None
    scalars: dict[str, HistoryBuffer] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)
    hooks: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)
    schedules: Any = None
    gradients: Any = None
    source: str = ""


def read_training_state(checkpoint: Mapping[str, Any], source: str) -> TrainingState:
    """Take from a checkpoint what a resumed run needs.

    Args:
        checkpoint: As loaded, histories of the message hub restored.
        source: Its file, for errors.

    Raises:
        ValueError: It is not the checkpoint of a training, or a part of it cannot be what it should; in one
            sentence that names the part.
    """
    check_is_training(checkpoint, source)
    try:
        return replace(_read(checkpoint), source=source)
    except BrokenStateError as error:
        raise ValueError(f"checkpoint {source} cannot be resumed, it is broken: {error}") from error


def check_is_training(checkpoint: Mapping[str, Any], source: str) -> None:
    """Raise ValueError for a checkpoint that holds weights alone.

    Args:
        checkpoint: As loaded.
        source: Its file, for errors.
    """
    missing = [key for key in ("meta", "message_hub") if not isinstance(checkpoint.get(key), Mapping)]
    if missing:
        raise ValueError(
            f"checkpoint {source} holds weights, but not the state of a training "
            f"(no {' and no '.join(missing)}): it cannot be resumed; start "
            "from its weights with load_from and without --resume"
        )
    if not isinstance(checkpoint.get("optimizer"), Mapping):
        raise ValueError(
            f"checkpoint {source} holds no state of an optimiser, as best and published checkpoints do not: "
            "it cannot be resumed; resume from an epoch_N.pth or iter_N.pth, or start from its weights with "
            "load_from and without --resume"
        )


class BrokenStateError(ValueError):
    """A part of a checkpoint is not what it should be."""


def _read(checkpoint: Mapping[str, Any]) -> TrainingState:
    meta, hub = checkpoint["meta"], checkpoint["message_hub"]
    for key in ("epoch", "iter"):
        if key not in meta:
            raise BrokenStateError(f"meta.{key} is missing")
    info = of_type(hub.get("runtime_info", {}), Mapping, "message_hub.runtime_info")
    seed, data = meta.get("seed"), meta.get("dataset_meta")
    per_epoch = meta.get("iterations_per_epoch")
    return TrainingState(
        epoch=as_count(meta["epoch"], "meta.epoch"),
        iter=as_count(meta["iter"], "meta.iter"),
        seed=None if seed is None else as_count(seed, "meta.seed", 2**32),
        landmark_names=_names(of_type(data, Mapping, "meta.dataset_meta")) if data is not None else None,
        iterations_per_epoch=None if per_epoch is None else as_count(per_epoch, "meta.iterations_per_epoch"),
        validated=of_type(meta.get("validated", False), bool, "meta.validated"),
        config=config_in(dict(meta)),
        scalars=_histories(hub.get("log_scalars", {})),
        info={
            of_type(key, str, "a key of message_hub.runtime_info"): value
            for key, value in info.items()
            if key not in _SET_ANEW and not str(key).startswith("best_")
        },
        hooks=_hooks(checkpoint.get("hook_states", {})),
        optimizer=dict(checkpoint["optimizer"]),
        schedules=checkpoint.get("param_schedulers"),
        gradients=checkpoint.get("pending_gradients"),
    )


def of_type(value: Any, kind: Any, name: str) -> Any:
    """Return a value if it has the right type, else raise BrokenStateError."""
    if not isinstance(value, kind):
        raise BrokenStateError(f"{name} is a {type(value).__name__}")
    return value


def as_count(value: Any, name: str, most: int = MOST) -> int:
    """Return a value if it is a count, else raise BrokenStateError."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < most:
        raise BrokenStateError(f"{name} is {str(value)[:40]!r}, no count")
    return value


def as_number(value: Any, name: str) -> float:
    """Return a value if it is a finite number, else raise BrokenStateError."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise BrokenStateError(f"{name} is {str(value)[:40]!r}, no finite number")
    return float(value)


def _names(data: Mapping[str, Any]) -> list[str] | None:
    names = data.get("landmark_names")
    if names is None:
        return None
    of_type(names, list | tuple, "meta.dataset_meta.landmark_names")
    return [of_type(name, str, "a name in meta.dataset_meta.landmark_names") for name in names]


def _histories(scalars: Any) -> dict[str, HistoryBuffer]:
    for name, value in of_type(scalars, Mapping, "message_hub.log_scalars").items():
        of_type(name, str, "a key of message_hub.log_scalars")
        of_type(value, HistoryBuffer, f"message_hub.log_scalars[{name[:60]!r}]")
    return dict(scalars)


def is_best_name(name: Any) -> bool:
    """Whether this may be the name of a best checkpoint; never a path."""
    return isinstance(name, str) and re.fullmatch(r"best_[\w@.=+-]{1,200}\.pth", name) is not None


def best_key(metric: str) -> str:
    """Return the name of a metric as it stands in names of files."""
    return metric.replace("/", "_")


def read_bests(records: Any) -> dict[str, Best]:
    """Return the best checkpoint by each metric from plain data.

    Raises:
        BrokenStateError: A part is not what it should be.
    """
    bests = {}
    for metric, record in of_type(records, Mapping, "best").items():
        of_type(metric, str, "a key of best")
        where = f"best[{metric[:60]!r}]"
        of_type(record, Mapping, where)
        if not is_best_name(record.get("file")):
            raise BrokenStateError(f"{where}.file is {str(record.get('file'))[:60]!r}, no file name")
        score, step = (
            as_number(record.get("score"), f"{where}.score"),
            as_count(record.get("step"), f"{where}.step"),
        )
        bests[metric] = Best(score, step, record["file"])
    return bests


def _hooks(states: Any) -> dict[str, Mapping[str, Any]]:
    for name, state in of_type(states, Mapping, "hook_states").items():
        of_type(name, str, "a key of hook_states")
        of_type(state, Mapping, f"hook_states[{name[:60]!r}]")
    return dict(states)


def check_optimizer_state(state: Mapping[str, Any], parameters: list[torch.Tensor], source: str) -> None:
    """Refuse momenta that do not belong to the parameters, or are not finite.

    Args:
        state: ``state`` of an optimiser's ``state_dict``.
        parameters: What it optimises, in its order.
        source: Checkpoint, for errors.

    Raises:
        ValueError: The first entry that is wrong is named.
    """
    try:
        of_type(state, Mapping, "optimizer.state")
        keys: set[str] | None = None
        for index, values in state.items():
            if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < len(parameters):
                raise BrokenStateError(f"optimizer.state has an entry {str(index)[:40]!r} for no parameter")
            where = f"optimizer.state[{index}]"
            of_type(values, Mapping, where)
            if keys is not None and set(values) != keys:
                raise BrokenStateError(
                    f"{where} has the entries {sorted(map(str, values))}, others {sorted(keys)}"
                )
            keys = set(values)
            for name, value in values.items():
                _check_momentum(name, value, parameters[index], f"{where}[{str(name)[:40]!r}]")
    except BrokenStateError as error:
        raise ValueError(f"checkpoint {source} cannot be resumed, it is broken: {error}") from error


def _check_momentum(name: Any, value: Any, parameter: torch.Tensor, where: str) -> None:
    of_type(name, str, f"a key of {where}")
    if name == "step":
        step = value.item() if isinstance(value, torch.Tensor) and value.numel() == 1 else value
        if not 0 <= as_number(step, where) < 2**53:
            raise BrokenStateError(f"{where} is {step}, no count")
    elif isinstance(value, torch.Tensor):
        if not is_plain_tensor(value):
            raise BrokenStateError(f"{where} does not hold as many values as its shape needs")
        if name in _OF_PARAMETER_SHAPE and value.shape != parameter.shape:
            raise BrokenStateError(
                f"{where} has shape {tuple(value.shape)} instead of {tuple(parameter.shape)}"
            )
        if not bool(torch.isfinite(value).all()):
            raise BrokenStateError(f"{where} is not finite")
    elif name in _OF_PARAMETER_SHAPE and (value is not None or name != "momentum_buffer"):
        raise BrokenStateError(f"{where} is a {type(value).__name__}")
    elif isinstance(value, int | float) and not math.isfinite(value):
        raise BrokenStateError(f"{where} is {value}")
