"""The run and the checkpoint to test."""

from __future__ import annotations

from pathlib import Path

from mmengine.config import Config

from mmlandmark.engine import (
    ConfigError,
    best_checkpoint,
    is_of_model,
    join_landmarks,
    joined_config,
    latest_checkpoint,
    plan_of_run,
    stage_to_test,
)
from mmlandmark.engine.config_data import read_config_of_run
from mmlandmark.utils.config_hash import config_hash


def tested_run(config: Config) -> tuple[Config, Path]:
    """Return the config and folder of the run to test: those of the last stage, if there are stages.

    The models of single landmarks are tested as one detector.
    """
    if config.get("per_landmark"):
        config = joined_config(config, config.work_dir)
    elif config.get("stages"):
        config = stage_to_test(config, config.work_dir)
    return config, Path(config.work_dir)


def find_checkpoint(config: Config, given: str | None) -> Path:
    """Return the checkpoint to test.

    Args:
        config: See :func:`prepare_config`.
        given: A path; ``last`` or None for the newest checkpoint in the work folder of the (last) stage;
            ``best`` for the one that a checkpoint hook with ``save_best`` kept there. With the config of a
            model file None is that file. The models of single landmarks are joined for that.

    Raises:
        FileNotFoundError: There is none, or not of every landmark.
    """
    if given not in (None, "last", "best"):
        return Path(given)
    if given is None and is_of_model(config):
        return Path(config.filename)
    if config.get("per_landmark"):
        return join_landmarks(config, plan_of_run(config, config.work_dir), given or "last")
    _, folder = tested_run(config)
    checkpoint = best_checkpoint(folder) if given == "best" else latest_checkpoint(folder)
    if checkpoint is None:
        if given == "best":
            raise FileNotFoundError(f"no best checkpoint in {folder}: set save_best in its checkpoint hook")
        raise FileNotFoundError(f"no checkpoint in {folder}: train first, or name one")
    return checkpoint


def check_trained_as(config: Config, checkpoint: str | Path) -> None:
    """Raise an error if a checkpoint was trained with another config than the one that is tested.

    The tested config is compared with the one that the training wrote to the folder of the checkpoint, if
    there is one.

    Raises:
        ConfigError: The configs differ in more than folders, machine and seed; or it is that of a model
            file.
        ValueError: The config of the training cannot be read as data.
    """
    if is_of_model(config):
        raise ConfigError(f"{config.filename} is a model file, which has no place for records: name a file")
    if config.get("per_landmark"):  # the joined detector has no training of its own
        runs = [child.last_run for child in plan_of_run(config, config.work_dir).children]
        own = [(run.folder, run.config) for run in runs]
    else:
        own = [(Path(checkpoint).parent, tested_run(config)[0])]
    for folder, now in own:
        trained = read_config_of_run(folder)
        if trained is not None and config_hash(trained[0]) != config_hash(now):
            raise ConfigError(
                f"{checkpoint} was not trained with {config.filename} as it is now, but with {trained[1]}: "
                "name a file for its record"
            )
