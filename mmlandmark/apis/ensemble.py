"""Builds an ensemble from trained runs."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import nn

from mmlandmark.apis.tested_run import find_checkpoint
from mmlandmark.engine import ConfigError, config_of_run, is_of_model, test_pipeline
from mmlandmark.engine.config_data import config_to_data
from mmlandmark.engine.data_checks import checkpoint_landmarks
from mmlandmark.engine.run_folder import write_config
from mmlandmark.models.detectors.base_detector import settings_of_its_own
from mmlandmark.models.model_file import meta_of
from mmlandmark.registry import MODELS
from mmlandmark.structures import name_difference, names_of
from mmlandmark.utils.checkpoint import check_state_dict, load_checkpoint, save_checkpoint
from mmlandmark.utils.config_source import config_source
from mmlandmark.utils.files import atomic_write_text


def build_ensemble(
    sources: Sequence[str | Path],
    out: str | Path,
    *,
    average: str = "points",
    which: str | None = None,
    options: dict[str, Any] | None = None,
) -> tuple[Config, Path]:
    """Build one model out of several trained detectors.

    Data, pipelines, metrics and, if it chooses by shapes, what it has learnt of them are those of the first
    one.

    Args:
        sources: Work folders of training runs, and model files.
        out: Folder to write to: a config of the folder's name, and the weights, ``ensemble.pth``.
        average: ``points``, ``median`` or ``heatmaps``, see
            :class:`~mmlandmark.models.detectors.MixedEnsemble`.
        which: ``last`` or ``best``, of every folder.
        options: Dotted keys to values, which override the configs of all runs, as ``--cfg-options`` does.

    Returns:
        The config and the file of the weights.

    Raises:
        ConfigError: A folder does not hold exactly one config, a file is no model file, images are prepared
            differently, or a run is tested with more than the first one.
        FileNotFoundError: A folder holds no checkpoint.
        ValueError: The detectors detect different landmarks, or a checkpoint does not fit its config.
    """
    configs = _configs(sources, options)
    whole = _whole_config(configs, average)
    state, meta = _weights(configs, MODELS.build(whole.model).members, sources, which)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    whole.work_dir = str(out)
    atomic_write_text(out / f"{out.name}.py", config_source(whole.to_dict()))
    write_config(out, config_to_data(whole))
    save_checkpoint(dict(state_dict=state, meta=meta), out / "ensemble.pth")
    return Config(config_to_data(whole), filename=str(out / f"{out.name}.py")), out / "ensemble.pth"


def _configs(sources: Sequence[str | Path], options: dict[str, Any] | None) -> list[Config]:
    """Return the configs of all runs, which must prepare images alike."""
    configs = [config_of_run(source, options) for source in sources]
    if not configs:
        raise ConfigError("an ensemble needs at least one work folder or model file")
    for source, config in zip(sources, configs, strict=True):
        config.work_dir = str(source)
        if test_pipeline(config) != test_pipeline(configs[0]):
            raise ConfigError(
                f"{source} and {sources[0]} test with different pipelines, but the members of an ensemble "
                "see one image: train them with one input size"
            )
        own = settings_of_its_own(config.model.get("test_cfg"), configs[0].model.get("test_cfg"))
        if own:
            raise ConfigError(
                f"{source} is tested with {own}, and {sources[0]} is not; an ensemble has one test_cfg: give "
                "it to all with --cfg-options model.test_cfg.<key>=..."
            )
    return configs


def _whole_config(configs: list[Config], average: str) -> Config:
    """Return the config of the ensemble, with the data and metrics of the first run."""
    members = [copy.deepcopy(config.model) for config in configs]
    for member in members:  # the weights come from the checkpoints, not from where the training began
        if "backbone" in member and "init_cfg" in member.backbone:
            member.backbone.init_cfg = None
    whole = copy.deepcopy(configs[0])
    whole.pop("custom_hooks", None)  # they serve the training, such as the templates that a detector keeps
    first = members[0].get("data_preprocessor") or {}
    whole.model = dict(
        type="MixedEnsemble",
        average=average,
        detectors=members,
        data_preprocessor=dict(
            type="LandmarkDataPreprocessor", channels_last=first.get("channels_last", False)
        ),
        test_cfg=dict(members[0].get("test_cfg") or {}),
    )
    return whole


def _weights(
    configs: list[Config], members: Sequence[nn.Module], sources: Sequence[str | Path], which: str | None
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Return the weights of all members and the meta data of their checkpoint."""
    state: dict[str, torch.Tensor] = {}
    seeds: list[int | None] = []
    landmarks: dict[str, Any] = {}
    for index, (config, member) in enumerate(zip(configs, members, strict=True)):
        path = find_checkpoint(config, None if is_of_model(config) else which)
        checkpoint = load_checkpoint(path)
        check_state_dict(member, checkpoint["state_dict"], str(path))
        state.update({f"members.{index}.{key}": value for key, value in checkpoint["state_dict"].items()})
        if index == 0:  # test_cfg is the first one's, and so is the prior that it asks for
            state.update({k: v for k, v in checkpoint["state_dict"].items() if k.startswith("shape_choice.")})
        seeds.append(meta_of(checkpoint).get("seed"))
        own = checkpoint_landmarks(checkpoint)
        difference = name_difference(names_of(landmarks), names_of(own))
        if difference is not None:
            raise ValueError(
                f"{sources[0]} (there) and {path} (here) detect different landmarks: {difference}"
            )
        landmarks = landmarks or own
    meta = dict(seed=None, members=[str(source) for source in sources], seeds=seeds, dataset_meta=landmarks)
    return state, meta
