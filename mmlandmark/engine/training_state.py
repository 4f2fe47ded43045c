"""What a checkpoint says about a training that goes on: read as data, and only after it was checked."""

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

# The hooks set these anew for the run as it is now, or they are names of files, which are read on their own.
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
    """Everything of a checkpoint, beside weights, that a resumed run reads.

    Attributes:
        epoch: Epochs trained.
        iter: Iterations trained.
        seed: Of the run, or None.
        landmark_names: Of its data, or None.
        iterations_per_epoch: When it was saved, or None.
        validated: Whether the validation that was due after this checkpoint stands behind it.
        config: The resolved config, or None where none can be read.
        scalars: Histories of what was logged.
        info: What hooks keep in the message hub.
        best: Metric -> best checkpoint.
        kept: Numbers of the checkpoints that ``max_keep_ckpts`` counts.
        optimizer: As :meth:`mmengine.optim.OptimWrapper.state_dict`.
        schedules: States of the parameter schedulers, or None.
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
    best: dict[str, Best] = field(default_factory=dict)
    kept: list[int] = field(default_factory=list)
    optimizer: dict[str, Any] = field(default_factory=dict)
    schedules: Any = None
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
    try:
        return replace(_read(checkpoint), source=source)
    except _Wrong as error:
        raise ValueError(f"checkpoint {source} cannot be resumed, it is broken: {error}") from error


class _Wrong(Exception):
    """A part of a checkpoint is not what it should be."""


def _read(checkpoint: Mapping[str, Any]) -> TrainingState:
    meta, hub = checkpoint["meta"], checkpoint["message_hub"]
    for key in ("epoch", "iter"):
        if key not in meta:
            raise _Wrong(f"meta.{key} is missing")
    info = _of_type(hub.get("runtime_info", {}), Mapping, "message_hub.runtime_info")
    seed, data = meta.get("seed"), meta.get("dataset_meta")
    per_epoch = meta.get("iterations_per_epoch")
    return TrainingState(
        epoch=_count(meta["epoch"], "meta.epoch"),
        iter=_count(meta["iter"], "meta.iter"),
        seed=None if seed is None else _count(seed, "meta.seed", 2**32),
        landmark_names=_names(_of_type(data, Mapping, "meta.dataset_meta")) if data is not None else None,
        iterations_per_epoch=None if per_epoch is None else _count(per_epoch, "meta.iterations_per_epoch"),
        validated=_of_type(meta.get("validated", False), bool, "meta.validated"),
        config=config_in(dict(meta)),
        scalars=_histories(hub.get("log_scalars", {})),
        info={
            _of_type(key, str, "a key of message_hub.runtime_info"): value
            for key, value in info.items()
            if key not in _SET_ANEW and not str(key).startswith("best_")
        },
        best=_bests(info),
        kept=_numbers(info.get("keep_ckpt_ids", [])),
        optimizer=dict(checkpoint["optimizer"]),
        schedules=checkpoint.get("param_schedulers"),
    )


def _of_type(value: Any, kind: Any, name: str) -> Any:
    """Return a value that has the right type."""
    if not isinstance(value, kind):
        raise _Wrong(f"{name} is a {type(value).__name__}")
    return value


def _count(value: Any, name: str, most: int = MOST) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < most:
        raise _Wrong(f"{name} is {str(value)[:40]!r}, no count")
    return value


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _Wrong(f"{name} is {str(value)[:40]!r}, no finite number")
    return float(value)


def _names(data: Mapping[str, Any]) -> list[str] | None:
    names = data.get("landmark_names")
    if names is None:
        return None
    _of_type(names, list | tuple, "meta.dataset_meta.landmark_names")
    return [_of_type(name, str, "a name in meta.dataset_meta.landmark_names") for name in names]


def _histories(scalars: Any) -> dict[str, HistoryBuffer]:
    for name, value in _of_type(scalars, Mapping, "message_hub.log_scalars").items():
        _of_type(name, str, "a key of message_hub.log_scalars")
        _of_type(value, HistoryBuffer, f"message_hub.log_scalars[{name[:60]!r}]")
    return dict(scalars)


def is_best_name(name: Any) -> bool:
    """Whether this may be the name of a best checkpoint; never a path."""
    return isinstance(name, str) and re.fullmatch(r"best_[\w@.=+-]{1,200}\.pth", name) is not None


def best_key(metric: str) -> str:
    """Return the name of a metric as it stands in names of files."""
    return metric.replace("/", "_")


def _bests(info: Mapping[str, Any]) -> dict[str, Best]:
    if "best" not in info:
        return _bests_of_mmengine(info)
    records, found = info["best"], {}
    for metric, record in _of_type(records, Mapping, "message_hub.runtime_info.best").items():
        where = "message_hub.runtime_info.best"
        _of_type(metric, str, f"a key of {where}")
        _of_type(record, Mapping, f"{where}[{metric[:60]!r}]")
        if not is_best_name(record.get("file")):
            raise _Wrong(f"{where}[{metric[:60]!r}].file is {str(record.get('file'))[:60]!r}, no file name")
        found[metric] = Best(
            _number(record.get("score"), f"{where}[{metric[:60]!r}].score"),
            _count(record.get("step"), f"{where}[{metric[:60]!r}].step"),
            record["file"],
        )
    return found


def _bests_of_mmengine(info: Mapping[str, Any]) -> dict[str, Best]:
    """Read what MMEngine's hook keeps: a path, of which the name says metric and step, and a score."""
    found = {}
    for key, value in info.items():
        if not (isinstance(key, str) and key.startswith("best_ckpt") and isinstance(value, str)):
            continue
        name = re.split(r"[/\\\\]", value)[-1]
        parts = re.fullmatch(r"best_(.+)_(?:epoch|iter)_(\d{1,9})\.pth", name)
        score = info.get(f"best_score{key.removeprefix('best_ckpt')}")
        if parts and is_best_name(name) and isinstance(score, int | float) and math.isfinite(score):
            found[parts[1]] = Best(float(score), int(parts[2]), name)
    return found


def _numbers(kept: Any) -> list[int]:
    name = "message_hub.runtime_info.keep_ckpt_ids"
    return [_count(number, name) for number in _of_type(kept, list | tuple, name)]


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
        _of_type(state, Mapping, "optimizer.state")
        keys: set[str] | None = None
        for index, values in state.items():
            if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < len(parameters):
                raise _Wrong(f"optimizer.state has an entry {str(index)[:40]!r} for no parameter")
            where = f"optimizer.state[{index}]"
            _of_type(values, Mapping, where)
            if keys is not None and set(values) != keys:
                raise _Wrong(f"{where} has the entries {sorted(map(str, values))}, others {sorted(keys)}")
            keys = set(values)
            for name, value in values.items():
                _check_momentum(name, value, parameters[index], f"{where}[{str(name)[:40]!r}]")
    except _Wrong as error:
        raise ValueError(f"checkpoint {source} cannot be resumed, it is broken: {error}") from error


def _check_momentum(name: Any, value: Any, parameter: torch.Tensor, where: str) -> None:
    _of_type(name, str, f"a key of {where}")
    if name == "step":
        step = value.item() if isinstance(value, torch.Tensor) and value.numel() == 1 else value
        if not 0 <= _number(step, where) < 2**53:
            raise _Wrong(f"{where} is {step}, no count")
    elif isinstance(value, torch.Tensor):
        if not is_plain_tensor(value):
            raise _Wrong(f"{where} does not hold as many values as its shape says")
        if name in _OF_PARAMETER_SHAPE and value.shape != parameter.shape:
            raise _Wrong(f"{where} has shape {tuple(value.shape)} instead of {tuple(parameter.shape)}")
        if not bool(torch.isfinite(value).all()):
            raise _Wrong(f"{where} is not finite")
    elif name in _OF_PARAMETER_SHAPE and (value is not None or name != "momentum_buffer"):
        raise _Wrong(f"{where} is a {type(value).__name__}")
    elif isinstance(value, int | float) and not math.isfinite(value):
        raise _Wrong(f"{where} is {value}")
