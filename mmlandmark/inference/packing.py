"""From a config and a checkpoint to a model file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmlandmark.engine import ConfigError, input_size, test_pipeline
from mmlandmark.engine.config_data import CONFIG_FILE, config_in, config_to_data
from mmlandmark.engine.data_checks import checkpoint_landmarks
from mmlandmark.models.assembly import filled
from mmlandmark.models.detector_weights import check_detector
from mmlandmark.models.detectors import plain_config
from mmlandmark.models.frozen_config import OPTIONAL, REQUIRED, addresses, without_files, without_starts
from mmlandmark.models.model_file import ModelFile, meta_of
from mmlandmark.registry import MODELS
from mmlandmark.structures import LandmarkSchema, schema_of
from mmlandmark.utils.config_hash import config_hash, recipe_hash
from mmlandmark.utils.dataset_tree import change_leaves, leaf_configs

_EMPTY_NAMES = ("", Path(CONFIG_FILE).stem, "run")
_PATHS = ("data_root", "ann_file", "ids")


def pack_checkpoint(
    config: Config, checkpoint: dict[str, Any], where: str, name: str = "", licence: str = ""
) -> ModelFile:
    """Return what a model file holds: the weights, and of the config what an image and a test need.

    Parts that only training uses are left out, and so are the weights that it started from. A test of data on
    a server is left out, too: a model file fetches nothing.

    Args:
        config: Of one run.
        checkpoint: As loaded.
        where: Its name, for errors.
        name: Of the detector; by default that of its config.
        licence: Terms of use.

    Raises:
        ConfigError: The config has no model, or no pipeline of a test or a validation.
        ValueError: The weights are those of another model.
    """
    if not isinstance(config.get("model"), dict) or not test_pipeline(config):
        raise ConfigError(
            f"{config.filename or 'the config'}: a model file needs a model and the pipeline of a test"
        )
    data = config_to_data(config)
    model = without_starts(plain_config(_with_preprocessor(data)))
    state = dict(checkpoint.get("state_dict", checkpoint))
    schema, size = schema_of(checkpoint_landmarks(checkpoint)), input_size(config)
    dims = schema.dims if schema else model.get("dims") or (len(size) if size else 2)
    model = filled(MODELS, model, dims=dims)
    if schema is None:  # weights that were saved without the names of their landmarks
        schema = LandmarkSchema.numbered(check_detector(model, state, where).head.num_landmarks, dims)
    frozen = dict(model=model, pipeline=test_pipeline(config)) | {
        key: without_files(data[key]) for key in OPTIONAL if data.get(key) is not None
    }
    if any(addresses({key: frozen[key] for key in OPTIONAL if key in frozen})):
        frozen = {key: frozen[key] for key in REQUIRED}
    if "test_dataloader" in frozen:
        loader = frozen["test_dataloader"]
        frozen["test_dataloader"] = dict(loader, dataset=change_leaves(loader["dataset"], _portable))
    packed = ModelFile(
        name=name or (_name_of(Path(config.filename)) if config.filename else Path(where).stem),
        config=config_to_data(frozen),
        state_dict=state,
        schema=schema,
        training=_training(config, data, checkpoint),
        licence=licence,
    )
    packed.check(where)
    return packed


def _name_of(path: Path) -> str:
    """Return the name of a config file; of one whose name says nothing, that of a folder around it.

    That is so for what a run leaves in its folder, and for ``config.py`` and ``run`` of a plan.
    """
    path = path.resolve()
    names = [path.stem, *(folder.name for folder in path.parents)]
    return next((name for name in names if name not in _EMPTY_NAMES), path.stem)


def _config_name(path: Path) -> str:
    """Return the name of a config file; a run keeps a copy of it under its name in its folder."""
    copies = list(path.parent.glob("*.py")) if path.name == CONFIG_FILE else []
    return _name_of(copies[0] if len(copies) == 1 else path)


def _with_preprocessor(data: dict[str, Any]) -> dict[str, Any]:
    """Return the model's config with a preprocessor that stands beside it."""
    beside = data.get("data_preprocessor")
    return data["model"] if beside is None else {"data_preprocessor": beside, **data["model"]}


def _portable(leaf: Mapping[str, Any]) -> dict[str, Any]:
    """Return a dataset's config with folders named by the environment variable that says where they are."""
    return {key: _by_variable(value) if key in _PATHS else value for key, value in leaf.items()}


def _by_variable(path: Any) -> Any:
    if not isinstance(path, str) or not os.path.isabs(path):
        return path
    known = [(value.rstrip("/"), f"${key}") for key, value in os.environ.items() if _names_data(key, value)]
    for folder, variable in sorted(known, key=lambda pair: -len(pair[0])):
        if path == folder or path.startswith(f"{folder}/"):
            return variable + path[len(folder) :]
    return path


def _names_data(key: str, value: str) -> bool:
    return key not in ("PWD", "OLDPWD", "HOME") and os.path.isabs(value) and len(value) > 1


def _training(config: Config, data: dict[str, Any], checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Return how the weights were trained, as far as checkpoint and config say it."""
    meta = meta_of(checkpoint)
    loader = data.get("train_dataloader") or {}
    leaves = leaf_configs(loader["dataset"]) if loader.get("dataset") else []
    trained = config_in(checkpoint.get("meta") or {}) or config
    known: dict[str, Any] = dict(
        config=_config_name(Path(config.filename)) if config.filename else "",
        config_hash=config_hash(trained),
        recipe_hash=recipe_hash(trained),
        seed=meta.get("seed"),
        epoch=meta.get("epoch"),
        iterations=meta.get("iter"),
        data=sorted({str(leaf.get("type")) for leaf in leaves}),
        batch_size=loader.get("batch_size"),
        **{
            key: meta.get(key)
            for key in ("trained_on", "inputs", "precision", "members", "seeds", "mmlandmark_version")
        },
    )
    if known["members"]:  # their folders are of this machine
        known["members"] = [Path(str(member)).name for member in known["members"]]
    return config_to_data({key: value for key, value in known.items() if value not in (None, "", [], {})})
