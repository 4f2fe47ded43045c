"""Learning-rate schedules that fit the run: its length, its unit, and the rates of its groups."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from mmengine import optim

from mmlandmark.engine.config import ConfigError
from mmlandmark.registry import PARAM_SCHEDULERS

_IN_EPOCHS = ("T_max", "periods")  # lengths of schedules, beside those that all have


@PARAM_SCHEDULERS.register_module()
class OneCycleLR(optim.OneCycleLR):
    """MMEngine's one-cycle schedule, for runs of any length and groups of several rates.

    A phase may have no length at all: with ``pct_start=0.2`` and five steps the rate is to rise over one
    step, from the first to the first. MMEngine divides by that length; here such a phase is left out, and the
    run begins at the peak. A run of one step takes it at the peak, where MMEngine's is at the end already.

    MMEngine gives all groups of parameters the same rate. Here a group whose rate ``paramwise_cfg`` has
    multiplied (``lr_mult``) gets ``eta_max`` multiplied likewise, unless ``eta_max`` lists one per group.
    """

    _schedule_phases: list[dict[str, Any]]

    def _format_param(self, name: str, optimizer: Any, param: Any) -> list[float]:
        """Return the highest rate of every group."""
        values = super()._format_param(name, optimizer, param)
        base = getattr(optimizer, "optimizer", optimizer).defaults.get("lr")
        if isinstance(param, list | tuple) or not base:
            return list(values)
        for group in optimizer.param_groups:  # other schedules may have changed their rates already
            group.setdefault("lr_ratio", group.get("initial_lr", group["lr"]) / base)
        groups = zip(values, optimizer.param_groups, strict=True)
        return [value * group["lr_ratio"] for value, group in groups]

    def _get_value(self) -> list[float]:
        phases = self._schedule_phases
        if self.total_steps == 1:
            return [group[f"max_{self.param_name}"] for group in self.optimizer.param_groups]
        ends = [0.0, *(phase["end_step"] for phase in phases)]
        self._schedule_phases = [
            p for p, (start, end) in zip(phases, pairwise(ends), strict=True) if end != start
        ]
        try:
            return super()._get_value()
        finally:
            self._schedule_phases = phases


def spanning(
    config: Mapping[str, Any], max_epochs: int, max_iters: int, per_pass: int | None = None
) -> dict[str, Any]:
    """Return a schedule's config with its end filled in: that of the training.

    Args:
        config: Of the schedule.
        max_epochs: Of the training.
        max_iters: Of the training.
        per_pass: Iterations in which a run by iterations sees all data; None for one by epochs.

    Raises:
        ConfigError: It would never change the rate, or could not go on to the end of the training.
    """
    config = dict(config)
    kind = getattr(config["type"], "__name__", config["type"])  # a config may hold the class itself
    one_cycle = kind in ("OneCycleLR", "OneCycleParamScheduler")
    spans = one_cycle or kind.startswith(("CosineAnnealing", "CosineRestart", "Linear", "Poly"))
    ended = config.keys() & {"end", "total_steps"}
    if per_pass is not None and config.get("by_epoch", True) and "Plateau" not in kind:
        if not config.get("convert_to_iter_based"):
            raise ConfigError(
                f"param_scheduler: {kind} counts epochs, and this run counts iterations, so the rate would "
                "never change: set by_epoch=False and its lengths in iterations, or "
                "convert_to_iter_based=True, which takes a pass over the data as an epoch"
            )
        if spans and not ended:  # it ends with the training, whose length is no number of passes
            config = _by_iteration(config, per_pass)
    length = max_epochs if config.get("by_epoch", True) else max_iters
    if per_pass is not None and config.get("by_epoch", True):
        length = -(-max_iters // per_pass)
    if one_cycle:
        begin, end = config.get("begin", 0), min(config.get("end", length), length)
        config.setdefault("total_steps", max(1, config.get("end", length) - begin))
        if begin + config["total_steps"] < end:
            unit = "epochs" if config.get("by_epoch", True) else "iterations"
            raise ConfigError(
                f"param_scheduler: {kind} ends after {begin + config['total_steps']} of {end} {unit} and "
                "cannot go on; leave total_steps out, and it spans the training"
            )
    elif spans:
        config.setdefault("end", length)
    return config


def _by_iteration(config: Mapping[str, Any], per_pass: int) -> dict[str, Any]:
    """Return the config of a schedule that counts epochs as one that counts iterations."""
    config = {key: value for key, value in config.items() if key != "convert_to_iter_based"}
    for key in ("begin", *_IN_EPOCHS):
        if isinstance(value := config.get(key), list | tuple):
            config[key] = [int(part * per_pass) for part in value]
        elif value is not None:
            config[key] = int(value * per_pass)
    return dict(config, by_epoch=False)
