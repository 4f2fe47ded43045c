"""A hash that identifies the experiment of a config."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# Top-level keys that a run reads; all others are variables of the config's author.
KNOWN_KEYS = frozenset(
    """
    allow_leaks auto_scale_lr cfg compile custom_hooks custom_imports data_preprocessor default_hooks
    default_scope env_cfg experiment_name find_unused_parameters launcher load_from load_strict log_level
    log_processor model model_wrapper_cfg optim_wrapper param_scheduler per_landmark randomness resume
    runner_type stages sync_bn test_cfg test_dataloader test_evaluator train_cfg train_dataloader val_cfg
    val_dataloader val_evaluator vis_backends visualizer work_dir
    """.split()  # noqa: SIM905  a list of 39 quoted words reads worse
)
# Where and how a run is started and logged; they do not change the experiment.
_RUN_KEYS = (
    *("work_dir", "resume", "launcher", "experiment_name", "allow_leaks"),
    *(
        "default_hooks",
        "visualizer",
        "vis_backends",
        "env_cfg",
        "log_processor",
        "log_level",
        "default_scope",
    ),
)
# Of default_hooks, those that every run has; one of another name decides what is learnt.
_RUN_HOOKS = (
    *("timer", "logger", "param_scheduler", "checkpoint", "sampler_seed", "epoch_seed", "invalid_loss"),
    *("peak_monitor", "safe_checkpoint", "visualization", "runtime_info"),
)
# At any depth: where the data is (the tested images have a hash of their own) and how fast it is loaded.
_MACHINE_KEYS = (
    *("data_root", "image_cache", "num_workers", "persistent_workers", "prefetch_factor", "pin_memory"),
)
# A reference to a run of a sweep; without a seed it describes a test.
_SEEDED = re.compile(r"(run:.*)_seed(?:\d+|None)(:\w+)")
# What a cross-validation gives the data sets of a fold.
_FOLD_KEYS = ("fold", "num_folds", "fold_seed", "fold_split", "group_pattern", "ids")


def config_hash(config: Any, with_start: bool = False) -> str:
    """Return a hash of a resolved config, equal for runs that differ only in folders, machine, log or seed.

    Variables of the config's author, which no run reads, are ignored.

    Args:
        config: An MMEngine ``Config`` or a dict.
        with_start: Distinguish seeds, starting weights and inputs of the model, too. An input is a section
            of the model without ``type`` that names a ``checkpoint``. Also the seeds of runs of a sweep that
            are referred to.
    """
    content = dict(config.to_dict() if hasattr(config, "to_dict") else config)
    hooks = {k: hook for k, hook in (content.get("default_hooks") or {}).items() if k not in _RUN_HOOKS}
    content = {key: value for key, value in content.items() if key in KNOWN_KEYS and key not in _RUN_KEYS}
    if hooks:
        content["default_hooks"] = hooks
    if isinstance(content.get("model"), dict):  # a run fills in the dimensions of its data
        content["model"] = {key: value for key, value in content["model"].items() if key != "dims"}
    if not with_start:
        content.pop("load_from", None)
        model = content.get("model")
        if isinstance(model, dict):
            content["model"] = _without_start({key: _without_file(value) for key, value in model.items()})
    if not with_start and isinstance(content.get("randomness"), dict):
        content["randomness"] = {key: value for key, value in content["randomness"].items() if key != "seed"}
    if not with_start:
        content = _of_any_seed(content)
    text = json.dumps(_without(content, _MACHINE_KEYS), sort_keys=True, default=_stable_name)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def recipe_hash(config: Any) -> str:
    """Return :func:`config_hash`, equal for all folds of a cross-validation and a training on all of them."""
    content = dict(config.to_dict() if hasattr(config, "to_dict") else config)
    return config_hash(_without(content, _FOLD_KEYS))


def _without_file(section: Any) -> Any:
    """Return a section of the model; of an input without its file."""
    if not isinstance(section, dict) or "type" in section:
        return section
    return {key: value for key, value in section.items() if key != "checkpoint"}


def _without_start(value: Any) -> Any:
    """Return a part of the model without the files that it starts from; published weights stay, by name."""
    if isinstance(value, list | tuple):
        return [_without_start(one) for one in value]
    if not isinstance(value, dict):
        return value
    kept = {key: _without_start(one) for key, one in value.items()}
    start = kept.get("init_cfg")
    if isinstance(start, dict) and "://" not in str(start.get("checkpoint", "://")):
        kept["init_cfg"] = {key: one for key, one in start.items() if key != "checkpoint"}
    return kept


def _of_any_seed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _of_any_seed(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_of_any_seed(one) for one in value]
    seeded = _SEEDED.fullmatch(value) if isinstance(value, str) else None
    return f"{seeded[1]}{seeded[2]}" if seeded else value


def _without(value: Any, keys: Sequence[str]) -> Any:
    if isinstance(value, dict):
        return {k: _without(v, keys) for k, v in value.items() if k not in keys}
    return [_without(v, keys) for v in value] if isinstance(value, list | tuple) else value


def _stable_name(value: Any) -> str:
    """Return a name of a class or function without its address in memory, which changes between runs."""
    if hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    return str(value) if isinstance(value, Path) else f"{type(value).__module__}.{type(value).__qualname__}"
