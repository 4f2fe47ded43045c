"""Annotated images as a trained detector takes them."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from mmlandmark.apis.running import prepare_config
from mmlandmark.apis.tested_run import tested_run
from mmlandmark.datasets import LandmarkDataset
from mmlandmark.engine import ConfigError, config_of_run
from mmlandmark.engine.config_data import read_config_of_run, runs_below
from mmlandmark.models.model_file import ModelFile
from mmlandmark.registry import DATASETS
from mmlandmark.utils.dataset_tree import change_leaves
from mmlandmark.utils.files import load_json

_TABLES = (".csv", ".tsv", ".txt")
_CONFIGS = (".py", ".yml", ".yaml")
_CONFIG_KEYS = {"_base_", "model", "stages", "train_dataloader", "test_dataloader"}


def no_data(path: Path) -> str:
    """Return what to say of a file or folder that is not what commands take as annotated data."""
    runs = runs_below(path)
    below = f", whose last run is {runs[-1]}" if runs else ""
    return (
        f"{path}: this is neither an annotation in the project's own JSON or CSV, nor a config (.py, .json, "
        f".yaml), nor the folder of a run, of a test or of a cross-validation{below}; mmlandmark convert "
        f"{shlex.quote(str(path))} annotation.json --to json makes JSON of other annotations, such as a "
        "folder of 3D Slicer's files"
    )


def dataset_of(
    model: ModelFile | None, source: str | Path, part: str = "test_dataloader", **changes: Any
) -> Any:
    """Return the images of an annotation file, or those of a config, as the detector takes them.

    Args:
        model: The detector; None for the landmarks alone, as the file or the config has them.
        source: JSON or CSV, a config, or the work folder of a training.
        part: Which data of a config.
        changes: Further arguments of every dataset.

    Raises:
        ConfigError: The config has no such data, or the file or folder is none of them.
    """
    path = Path(source)
    taken = {} if model is None else dict(pipeline=model.config["pipeline"])
    is_config = path.is_file() and _is_config(path)
    if path.suffix.lower() in (".json", *_TABLES) and not is_config:
        return LandmarkDataset(
            ann_file=str(path.resolve()),
            data_root=str(path.resolve().parent),
            schema=None if model is None else model.schema,
            test_mode=True,
            **taken,
            **changes,
        )
    if path.is_file() and not is_config:
        raise ConfigError(no_data(path))
    if path.is_dir() and read_config_of_run(path) is None:
        raise ConfigError(no_data(path))
    config = config_of_run(path) if path.is_dir() else prepare_config(path)
    loader = tested_run(config)[0].get(part)
    if loader is None:
        raise ConfigError(f"{path}: the config has no {part}, so no data of this kind")
    return DATASETS.build(change_leaves(loader.dataset, lambda leaf: {**leaf, **taken, **changes}))


def _is_config(path: Path) -> bool:
    """Return whether a file is a config: by its suffix, JSON by its keys."""
    if path.suffix.lower() != ".json":
        return path.suffix.lower() in _CONFIGS
    content = load_json(path)
    return isinstance(content, dict) and "samples" not in content and not _CONFIG_KEYS.isdisjoint(content)
