"""What a resumed run takes from its checkpoint and what from its config.

The rule: weights, momenta, counters and histories come from the checkpoint; every setting, the learning rate
at every step above all, comes from the current config. A run that is resumed with another length, batch size
or rate therefore has the rates that a run of the new config would have had from the start. What cannot follow
this rule is refused.
"""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmengine.optim import OptimWrapper, OptimWrapperDict, _ParamScheduler
from mmengine.runner import IterBasedTrainLoop, Runner

from mmlandmark.engine.config_data import config_to_data, differences
from mmlandmark.engine.training_state import TrainingState, check_optimizer_state

# They differ in precision; the state of the optimiser inside is the same.
_PRECISIONS = frozenset({"OptimWrapper", "AmpOptimWrapper", "AutocastOptimWrapper"})
_WAY_OUT = "to train on with another, start from the weights: load_from={source}, without --resume"


def check_resumable(runner: Runner, state: TrainingState) -> None:
    """Refuse a checkpoint and a config of different trainings.

    Raises:
        ValueError: Seed, landmarks, kind of loop, type of optimiser or schedule differ, or the checkpoint is
            further than the config goes; in one sentence, with the way out.
    """
    source, loop = state.source, runner.train_loop
    if state.seed is not None and state.seed != runner.seed:
        raise ValueError(
            f"checkpoint {source} is of a run with seed {state.seed}, this one has {runner.seed}: resume "
            f"with --seed {state.seed}, or {_way_out(state)}"
        )
    names = getattr(runner.train_dataloader.dataset, "metainfo", {}).get("landmark_names")
    if names is not None and state.landmark_names is not None and list(names) != state.landmark_names:
        different = [pair for pair in zip(state.landmark_names, names, strict=False) if pair[0] != pair[1]]
        difference = (
            f"{different[0][0]!r} there is {different[0][1]!r} here" if different else "their number differs"
        )
        raise ValueError(f"checkpoint {source} was trained on other landmarks: {difference}")
    by_iteration = isinstance(loop, IterBasedTrainLoop)
    done, length, unit = (
        (state.iter, loop.max_iters, "iterations")
        if by_iteration
        else (state.epoch, loop.max_epochs, "epochs")
    )
    if done > length:
        raise ValueError(
            f"checkpoint {source} has trained {done} {unit}, train_cfg asks for {length}: ask for more, or "
            "test it"
        )
    if state.config is not None:
        _check_types(state, config_to_data(runner.cfg), by_iteration)


def _way_out(state: TrainingState) -> str:
    return _WAY_OUT.format(source=state.source)


def _check_types(state: TrainingState, new: dict[str, Any], by_iteration: bool) -> None:
    old = state.config or {}
    loop = old.get("train_cfg") or {}
    was = loop.get("by_epoch") is False or "Iter" in _short(loop.get("type", ""))
    if was != by_iteration:
        kinds = ("epochs", "iterations")
        raise ValueError(
            f"checkpoint {state.source} was trained by {kinds[was]}, train_cfg counts {kinds[by_iteration]}; "
            f"{_way_out(state)}"
        )
    for key, what in (("optim_wrapper", "optimiser"), ("param_scheduler", "schedule")):
        types = [list(_types(config.get(key))) for config in (old, new)]
        if types[0] != types[1]:
            there, here = (" + ".join(names) or "none" for names in types)
            raise ValueError(
                f"checkpoint {state.source} was trained with another type of {what}: {there} there, "
                f"{here} here; its state does not fit. {_way_out(state).capitalize()}"
            )


def _types(section: Any) -> Iterator[str]:
    """Yield the types that a section of a config builds, in order."""
    if isinstance(section, Mapping):
        kind = _short(section.get("type", ""))
        if kind and kind not in _PRECISIONS:
            yield kind
        for key in sorted(section):
            yield from _types(section[key])
    elif isinstance(section, Sequence) and not isinstance(section, str):
        for part in section:
            yield from _types(part)


def _short(kind: Any) -> str:
    return str(kind).rsplit(".", 1)[-1]


def restore_optimizer(runner: Runner, state: TrainingState) -> None:
    """Take an optimiser's momenta from a checkpoint; its settings stay those of the config.

    Raises:
        ValueError: They do not belong to the parameters that are optimised here.
    """
    wrapper = runner.optim_wrapper
    if not isinstance(wrapper, OptimWrapperDict):
        _restore_one(wrapper, state.optimizer, state)
        return
    if set(state.optimizer) != set(wrapper.keys()):
        raise ValueError(
            f"checkpoint {state.source} has the optimisers {sorted(map(str, state.optimizer))}, this run "
            f"{sorted(wrapper.keys())}; {_way_out(state)}"
        )
    for name, one in wrapper.items():
        _restore_one(one, state.optimizer[name], state)


def _restore_one(wrapper: OptimWrapper, saved: Any, state: TrainingState) -> None:
    optimizer = wrapper.optimizer
    own = optimizer.state_dict()
    groups = saved.get("param_groups") if isinstance(saved, Mapping) else None
    sizes = [len(group["params"]) for group in own["param_groups"]]
    theirs = [_size(group) for group in groups] if isinstance(groups, list) else None
    if theirs != sizes or "state" not in saved:
        raise ValueError(
            f"checkpoint {state.source} does not fit the optimiser: its groups have {theirs} parameters, "
            f"here there are {sizes}; {_way_out(state)}"
        )
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    check_optimizer_state(saved["state"], parameters, state.source)
    optimizer.load_state_dict(dict(state=saved["state"], param_groups=own["param_groups"]))
    scaler = saved.get("loss_scaler")
    if scaler is not None and hasattr(wrapper, "loss_scaler"):
        if not isinstance(scaler, Mapping) or not all(_is_number(value) for value in scaler.values()):
            raise ValueError(
                f"checkpoint {state.source} cannot be resumed: its optimizer.loss_scaler is broken"
            )
        wrapper.loss_scaler.load_state_dict(dict(scaler))


def _size(group: Any) -> int:
    parameters = group.get("params") if isinstance(group, Mapping) else None
    return len(parameters) if isinstance(parameters, list) else -1


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def restore_schedules(runner: Runner, state: TrainingState) -> None:
    """Bring fresh schedules to where the run is, by the rule at the head of this file.

    Schedules that depend on steps alone are stepped from the start again. One that follows a metric
    (``ReduceOnPlateauLR``) has a history that only the checkpoint knows: it continues from there if nothing
    has changed that its past depends on.

    Raises:
        ValueError: The history of such a schedule does not fit the config as it is now.
    """
    schedulers = runner.param_schedulers
    if schedulers is None:
        return
    parts = schedulers if isinstance(schedulers, dict) else {None: schedulers}
    by_iteration = isinstance(runner.train_loop, IterBasedTrainLoop)
    per_epoch = 0 if by_iteration else len(runner.train_dataloader)
    for part in parts.values():
        _replay(part, state.epoch, per_epoch, state.iter if by_iteration else 0)
    for name, part in parts.items():
        saved = state.schedules.get(name) if name is not None and isinstance(state.schedules, Mapping) else (
            state.schedules
        )  # fmt: skip
        if any(_keeps_history(scheduler) for scheduler in part):
            _check_past(runner, state)
            optimizer = state.optimizer if name is None else state.optimizer[name]
            _restore_history(part, saved, optimizer, state)


def _replay(schedulers: Sequence[_ParamScheduler], epochs: int, per_epoch: int, iterations: int) -> None:
    """Step schedules as training steps them."""
    by_iter = [scheduler for scheduler in schedulers if not scheduler.by_epoch]
    by_epoch = [scheduler for scheduler in schedulers if scheduler.by_epoch]
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", ".*scheduler.step.*"
        )  # before any step of the optimiser: on purpose
        for _ in range(epochs):
            for _ in range(per_epoch if by_iter else 0):
                for scheduler in by_iter:
                    scheduler.step()
            for scheduler in by_epoch:
                scheduler.step()
        for _ in range(iterations if by_iter else 0):
            for scheduler in by_iter:
                scheduler.step()


def _keeps_history(scheduler: _ParamScheduler) -> bool:
    """Whether a schedule depends on more than steps: on metrics, or on code that is not known."""
    known = type(scheduler).__module__.startswith(("mmengine.", "mmlandmark."))
    return bool(getattr(scheduler, "need_val_args", False)) or not known


def _check_past(runner: Runner, state: TrainingState) -> None:
    """Refuse what would have changed the past of a schedule that keeps a history."""
    new = config_to_data(runner.cfg)
    keys = ("optim_wrapper", "param_scheduler", "train_cfg", "auto_scale_lr")
    if state.config is None:
        raise ValueError(
            f"checkpoint {state.source} does not hold the config it was trained with, so that a schedule "
            f"that follows a metric cannot continue; {_way_out(state)}"
        )
    changed = differences(*({key: config.get(key) for key in keys} for config in (state.config, new)))
    lengths = ("train_cfg.max_epochs", "train_cfg.max_iters", "train_cfg.val_")
    schedules = (
        new["param_scheduler"] if isinstance(new["param_scheduler"], list) else [new["param_scheduler"]]
    )
    spanning = [s for s in schedules if "Plateau" not in str(s.get("type")) and "end" not in s]
    past = [line for line in changed if not line.startswith(lengths) or spanning]
    own = None if isinstance(runner.train_loop, IterBasedTrainLoop) else len(runner.train_dataloader)
    if None not in (own, state.iterations_per_epoch) and own != state.iterations_per_epoch:
        past.append(f"iterations per epoch {state.iterations_per_epoch} -> {own}")
    if past:
        raise ValueError(
            f"checkpoint {state.source} has a schedule that follows a metric, and its past does not fit what "
            f"has changed: {'; '.join(past[:5])}; go back to what it was, or {_way_out(state)}"
        )


def _restore_history(
    schedulers: Sequence[_ParamScheduler], saved: Any, optimizer: Any, state: TrainingState
) -> None:
    """Take progress and rates from a checkpoint, as far as they can be what they should."""
    broken = f"checkpoint {state.source} cannot be resumed, it is broken: "
    if not isinstance(saved, list) or len(saved) != len(schedulers):
        raise ValueError(f"{broken}param_schedulers does not hold the states of {len(schedulers)} schedules")
    for index, (scheduler, values) in enumerate(zip(schedulers, saved, strict=True)):
        where = f"{broken}param_schedulers[{index}]"
        if not isinstance(values, Mapping):
            raise ValueError(f"{where} is a {type(values).__name__}")
        if _keeps_history(scheduler):
            fresh = {k: v for k, v in _progress(scheduler).items() if _is_number(v) or v is None}
            for key in fresh:
                if key in values and not (_is_number(values[key]) or values[key] is None):
                    raise ValueError(f"{where}.{key} is {str(values[key])[:40]!r}, no finite number")
            scheduler.load_state_dict({key: values[key] for key in fresh if key in values})
    name = schedulers[0].param_name
    groups = schedulers[0].optimizer.param_groups
    theirs = [*optimizer["param_groups"], *([b] if (b := optimizer.get("base_param_settings")) else [])]
    if len(theirs) != len(groups):
        raise ValueError(f"{broken}optimizer.param_groups has {len(theirs)} groups instead of {len(groups)}")
    for group, values in zip(groups, theirs, strict=True):
        value: Any = values.get(name) if isinstance(values, Mapping) else None
        if not _is_number(value) or value < 0:
            raise ValueError(f"{broken}the {name} of a group of the optimizer is {str(value)[:40]!r}")
        group[name] = value
    for scheduler in schedulers:
        scheduler._last_value = [group[scheduler.param_name] for group in groups]


def _progress(scheduler: _ParamScheduler) -> dict[str, Any]:
    """Return the part of a schedule's state that steps change; what its arguments set is the config's."""
    settings = {
        name
        for kind in type(scheduler).__mro__
        for name in inspect.signature(kind.__init__).parameters  # type: ignore[misc]
    }
    return {k: v for k, v in scheduler.state_dict().items() if k == "last_step" or k not in settings}


def changes_since(runner: Runner, state: TrainingState) -> list[str]:
    """Return the differences between the config and that of the checkpoint, ``key old -> new``."""
    if state.config is None:
        return ["the checkpoint does not hold the config it was trained with"]
    changed = differences(state.config, config_to_data(runner.cfg))
    if not isinstance(runner.train_loop, IterBasedTrainLoop):
        own = len(runner.train_dataloader)
        if state.iterations_per_epoch not in (None, own):
            changed.append(f"iterations per epoch {state.iterations_per_epoch} -> {own}")
    return changed
