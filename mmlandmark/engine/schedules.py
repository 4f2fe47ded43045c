"""Learning-rate schedules that MMEngine's fail in short runs."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from mmengine import optim

from mmlandmark.registry import PARAM_SCHEDULERS


@PARAM_SCHEDULERS.register_module()
class OneCycleLR(optim.OneCycleLR):
    """MMEngine's one-cycle schedule, for runs of any length.

    A phase may have no length at all: with ``pct_start=0.2`` and five steps the rate is to rise over one
    step, from the first to the first. MMEngine divides by that length; here such a phase is left out, and the
    run begins at the peak. A run of one step takes it at the peak, where MMEngine's is at the end already.
    """

    _schedule_phases: list[dict[str, Any]]

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


def spanning(config: dict, max_epochs: int, max_iters: int) -> dict:
    """Return a schedule's config with its end filled in: that of the training."""
    config = dict(config)
    length = max_epochs if config.get("by_epoch", True) else max_iters
    kind = getattr(config["type"], "__name__", config["type"])  # a config may hold the class itself
    if kind in ("OneCycleLR", "OneCycleParamScheduler"):
        config.setdefault("total_steps", length)
    elif kind.startswith(("CosineAnnealing", "Poly", "CosineRestart")):
        config.setdefault("end", length)
    return config
