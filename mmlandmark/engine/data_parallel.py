"""What a config says about several processes: how the model is wrapped, how the learning rate is scaled."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper, OptimWrapperDict

from mmlandmark.engine.config import ConfigError

_ABSOLUTE_RATES = ("eta_max", "eta_min")  # of schedules; all others are relative to the optimiser's


def check_wrapping(config: Config, several: bool) -> None:
    """Refuse what MMEngine offers for several processes and what does not work with this package.

    Args:
        config: Of the run.
        several: Whether it has several processes.

    Raises:
        ConfigError: The model is to be sharded, or batch norms are to be synchronised without a GPU.
    """
    wrapper = (config.get("model_wrapper_cfg") or {}).get("type", "")
    sharded = [f"strategy={config.get('strategy')!r}"] if config.get("strategy") else []
    if config.get("runner_type") == "FlexibleRunner":
        sharded.append("runner_type='FlexibleRunner'")
    if "FullySharded" in str(getattr(wrapper, "__name__", wrapper)):
        sharded.append(f"model_wrapper_cfg.type={wrapper!r}")
    if sharded:
        raise ConfigError(
            f"{sharded[0]}: every process holds the whole model here, sharded training (FSDP, DeepSpeed) is "
            "not supported; leave it out. A model that is too large: backbone.with_checkpoint=True, --amp, "
            "or a smaller batch with optim_wrapper.accumulative_counts"
        )
    if several and config.get("sync_bn") and not torch.cuda.is_available():
        raise ConfigError(
            f"sync_bn={config.get('sync_bn')!r}: PyTorch synchronises batch norms on GPUs only; leave it out "
            "on a CPU, or use norm_cfg=dict(type='GN', num_groups=8), which needs no other image"
        )


def wrapper_options(config: Config, model: Any, given: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return how a model is wrapped for several processes; None for MMEngine's own way.

    Whether processes look for parameters that a step leaves out is what the model says by
    ``leaves_parameters_out``, unless the config has ``find_unused_parameters``.

    Args:
        config: Of the run.
        model: To be wrapped.
        given: ``model_wrapper_cfg`` of the config.
    """
    unused = config.get("find_unused_parameters", getattr(model, "leaves_parameters_out", False))
    options = None if given is None else dict(given)
    if unused and options is None:
        options = dict(broadcast_buffers=False, find_unused_parameters=True)
    if not torch.cuda.is_available():
        options = dict(options or {}, device_ids=None)
        options.setdefault("broadcast_buffers", False)
        # MMEngine reads this key only where it is given no wrapper's config.
        options.setdefault("find_unused_parameters", unused)
    return options


def complete_auto_scale(config: Mapping[str, Any] | None, batch_size: int) -> dict[str, Any] | None:
    """Return MMEngine's ``auto_scale_lr`` with its ``base_batch_size``; None if rates are not scaled.

    Args:
        config: ``auto_scale_lr`` of a config. Without ``base_batch_size`` the config's learning rate is that
            of one process, so it is scaled by the number of processes.
        batch_size: Images of a step in one process.

    Raises:
        ConfigError: ``base_batch_size`` is no positive number.
    """
    if not (config or {}).get("enable", False):
        return None
    base = (config or {}).get("base_batch_size", batch_size)
    if isinstance(base, bool) or not isinstance(base, int) or base < 1:
        raise ConfigError(f"auto_scale_lr.base_batch_size must be a number of images, got {base!r}")
    return dict(enable=True, base_batch_size=base)


def scale_base_rates(optim_wrapper: OptimWrapper | OptimWrapperDict, ratio: float) -> None:
    """Multiply the rates that groups of parameters are multiples of; MMEngine scales those of the groups.

    Args:
        optim_wrapper: Of a run.
        ratio: Factor.
    """
    wrappers = optim_wrapper.values() if isinstance(optim_wrapper, OptimWrapperDict) else [optim_wrapper]
    for wrapper in wrappers:
        for settings in (wrapper.optimizer.defaults, wrapper.base_param_settings or {}):
            if isinstance(settings.get("lr"), int | float):
                settings["lr"] *= ratio


def with_scaled_rates(schedule: Mapping[str, Any], ratio: float) -> dict[str, Any]:
    """Return the config of a schedule with the learning rates that it states multiplied.

    MMEngine scales the optimiser's rate, which ``OneCycleLR`` replaces by its own.

    Args:
        schedule: Of a parameter scheduler.
        ratio: Factor.

    Example:
        >>> with_scaled_rates(dict(type="OneCycleLR", eta_max=0.1), 2)
        {'type': 'OneCycleLR', 'eta_max': 0.2}
    """
    scaled: dict[str, Any] = copy.deepcopy(dict(schedule))
    if not str(scaled.get("type", "")).endswith("Momentum"):
        for name in _ABSOLUTE_RATES:
            if isinstance(scaled.get(name), int | float):
                scaled[name] *= ratio
    return scaled
