"""Runs of several stages: each a run of its own, finished once and for all, resumed where it stopped."""

from __future__ import annotations

import copy
import difflib
import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import barrier, is_main_process
from mmengine.logging import print_log

from mmlandmark.engine.config import KNOWN_KEYS, ConfigError
from mmlandmark.engine.run_folder import best_checkpoint, latest_checkpoint
from mmlandmark.utils.config_hash import config_hash
from mmlandmark.utils.files import atomic_write_json, read_json

PREFIX = "stage:"


@dataclass(frozen=True)
class Stage:
    """One stage of a run.

    Attributes:
        name: Its name, unique in the run.
        folder: Its work folder, ``<work_dir>/<number>_<name>``.
        config: The whole config it runs with; references to earlier stages are not yet resolved.
        inputs: The earlier stages that it refers to.
    """

    name: str
    folder: Path
    config: Config
    inputs: tuple[Stage, ...] = ()

    @property
    def note(self) -> Path:
        """The file that says what was begun, and what came out of it."""
        return self.folder / "stage.json"

    @property
    def hash(self) -> str:
        """A hash of the config, and of the stages that it builds on."""
        own = config_hash(self.config, with_start=True)
        if not self.inputs:
            return own
        text = ":".join([own, *(stage.hash for stage in self.inputs)])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def finished(self) -> dict[str, Any] | None:
        """Return what the finished stage left behind, or None.

        Raises:
            ConfigError: It was run with another config than it has now, or after other stages.
        """
        if not self.note.is_file():
            return None
        result = read_json(self.note)
        if result["config_hash"] != self.hash:
            raise ConfigError(
                f"stage {self.name!r} in {self.folder} was run with another config, or on what other stages "
                "left (a teacher given with --teacher counts); remove that folder to run it again, or use "
                "another --work-dir"
            )
        return dict(result, path=str(self.folder)) if "checkpoint" in result else None

    def begin(self) -> None:
        """Note what is run here, so that nothing else goes on with it."""
        if is_main_process():
            atomic_write_json(self.note, dict(name=self.name, config_hash=self.hash))

    def best_of(self) -> list[str]:
        """Return the names of stages whose best checkpoint this one uses."""
        parts = [reference.split(":") for reference in _references(_of_the_run(self.config))]
        return [name for _, name, which in parts if which == "best"]

    def ready(self, results: dict[str, dict[str, Any]], strict: bool = True) -> Config:
        """Return the config to run: in the stage's folder, references replaced by checkpoints of ``results``.

        Args:
            results: What finished stages left behind, by name.
            strict: False leaves references to other stages as they are.

        Raises:
            ConfigError: A stage that is referred to is not finished, or kept no best checkpoint.
        """
        config = Config(copy.deepcopy(self.config._cfg_dict), filename=self.config.filename)
        for key, value in _of_the_run(config).items():
            config[key] = _resolve(value, results, strict)
        config.work_dir = str(self.folder)
        return config


def stage_to_test(config: Config, work_dir: str | Path, name: str | None = None) -> Config:
    """Return the config of a stage, the last one by default, to be tested.

    What it started from may be gone by then.

    Raises:
        ConfigError: See :func:`plan_stages`; or no stage has that name.
    """
    return _named(plan_stages(config, work_dir), name).ready({}, strict=False)


def plan_stages(config: Config, work_dir: str | Path) -> list[Stage]:
    """Split a config into its stages.

    ``stages`` is a list of dicts, each a ``name`` and the keys to merge over the rest of the config
    (``_delete_=True`` replaces a section). A string ``stage:<name>:last`` or ``stage:<name>:best``
    anywhere in a stage stands for that earlier stage's checkpoint. One with ``skip=True`` is left out, and
    nothing may refer to it.

    Raises:
        ConfigError: A name is missing, repeated, or refers to a stage that does not come before; or a stage
            has a key that no run reads.
    """
    if not config.get("stages"):
        raise ConfigError(f"{config.filename}: no stages in this config")
    stages: list[Stage] = []
    skipped = {part.get("name") for part in config.stages if part.get("skip")}
    for number, overrides in enumerate(config.stages, 1):
        overrides = copy.deepcopy(overrides.to_dict() if hasattr(overrides, "to_dict") else dict(overrides))
        if overrides.pop("skip", False):
            continue
        name = overrides.pop("name", None)
        if not isinstance(name, str) or not name.isidentifier() or name in {s.name for s in stages}:
            raise ConfigError(
                f"{config.filename}: stage {number} needs a 'name' of its own (letters, digits, _), "
                f"got {name!r}"
            )
        _check_keys(overrides, config, f"{config.filename}: stage {name!r}")
        merged = Config(copy.deepcopy(config._cfg_dict), filename=config.filename)
        merged.pop("stages")
        merged.merge_from_dict(overrides)
        earlier, inputs = {s.name: s for s in stages}, {}
        for reference in _references(_of_the_run(merged)):
            stage, _, which = reference.removeprefix(PREFIX).partition(":")
            if stage not in earlier or which not in ("last", "best"):
                left_out = f" ({stage!r} is left out)" if stage in skipped else ""
                raise ConfigError(
                    f"{config.filename}: stage {name!r} uses {reference!r}; write stage:<name>:last or :best "
                    f"with one of the stages before it: {sorted(earlier)}{left_out}"
                )
            inputs[stage] = earlier[stage]
        folder = Path(work_dir) / f"{number:02d}_{name}"
        stages.append(Stage(name, folder, merged, tuple(inputs.values())))
    return stages


def run_stages(
    config: Config, work_dir: str | Path, run: Callable[[Config], dict[str, Any]], only: str | None = None
) -> dict[str, dict[str, Any]]:
    """Run the stages of a config in order; the same call again goes on where it stopped.

    Args:
        config: With a key ``stages``.
        work_dir: Folder above the stages' folders.
        run: Trains one config and returns its results. It is called with ``work_dir``, ``resume`` and
            ``load_from`` set.
        only: Run this stage alone; those before it must be finished.

    Returns:
        What every finished stage left behind, by name: ``checkpoint``, ``best``, ``metrics``.

    Raises:
        ConfigError: See :func:`plan_stages`; or ``only`` names no stage, or one whose inputs are missing; or
            a folder holds a stage that was run with another config.
    """
    stages = plan_stages(config, work_dir)
    results: dict[str, dict[str, Any]] = {}
    stages = stages[: stages.index(_named(stages, only)) + 1]
    finished = {stage.name: stage.finished() for stage in stages}  # what does not fit is told at once
    for stage in stages:
        result = finished[stage.name]
        if result is None and (only is None or only == stage.name):
            ready = stage.ready(results)
            if latest_checkpoint(stage.folder) is not None:
                ready.resume, ready.load_from = True, None
            stage.begin()
            metrics = run(ready)
            barrier()  # the process that writes the checkpoint may be the last to end the run
            result = _leave_behind(stage, metrics)
        elif result is not None:
            print_log(f"stage {stage.name!r} is finished: {stage.folder / result['checkpoint']}", "current")
        if result is not None:
            results[stage.name] = result
    return results


def _named(stages: list[Stage], name: str | None) -> Stage:
    """Return the stage of that name, the last one for None."""
    found = [stage for stage in stages if name in (None, stage.name)]
    if not found:
        raise ConfigError(f"no stage {name!r}; there are {[s.name for s in stages]}")
    return found[-1]


def _check_keys(overrides: dict[str, Any], config: Config, where: str) -> None:
    """Raise ConfigError for what a stage says and no run reads; variables of the config may be changed."""
    for key in overrides:
        top = key.split(".")[0]  # dotted keys are merged, too
        if top == "stages" or top not in KNOWN_KEYS | set(config):
            near = difflib.get_close_matches(top, KNOWN_KEYS, n=1, cutoff=0.6)
            hint = f"; did you mean {near[0]!r}?" if near and top != "stages" else ""
            raise ConfigError(f"{where}: no run reads its key {key!r}{hint}")


def _leave_behind(stage: Stage, metrics: dict[str, Any]) -> dict[str, Any]:
    last = latest_checkpoint(stage.folder)
    if last is None:
        raise RuntimeError(f"stage {stage.name!r} ended without a checkpoint in {stage.folder}")
    best = best_checkpoint(stage.folder)
    result = dict(
        name=stage.name,
        config_hash=stage.hash,
        # Relative to the folder, so that a run can be moved.
        checkpoint=last.name,
        best=best.name if best else None,
        metrics={k: float(v) for k, v in metrics.items() if isinstance(v, int | float) and math.isfinite(v)},
    )
    if is_main_process():
        atomic_write_json(stage.note, result)
    return dict(result, path=str(stage.folder))


def _of_the_run(config: Config) -> dict[str, Any]:
    """Return what a run reads of a config; variables of its author may refer to stages that others have."""
    return {key: value for key, value in config._cfg_dict.items() if key in KNOWN_KEYS}


def _references(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [r for v in value.values() for r in _references(v)]
    if isinstance(value, list | tuple):
        return [r for v in value for r in _references(v)]
    return [value] if isinstance(value, str) and value.startswith(PREFIX) else []


def _resolve(value: Any, results: dict[str, dict[str, Any]], strict: bool = True) -> Any:
    """Replace references by the paths of checkpoints."""
    if isinstance(value, dict):
        return {k: _resolve(v, results, strict) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_resolve(v, results, strict) for v in value)
    if not (isinstance(value, str) and value.startswith(PREFIX)):
        return value
    _, name, which = value.split(":")
    if name not in results and not strict:
        return value
    if name not in results:
        raise ConfigError(f"{value!r}: stage {name!r} is not finished; run it first")
    file = results[name]["checkpoint" if which == "last" else "best"]
    if file is None:
        raise ConfigError(
            f"{value!r}: stage {name!r} kept no best checkpoint; set save_best in its checkpoint hook"
        )
    return str(Path(results[name]["path"]) / file)
