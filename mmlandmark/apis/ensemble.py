"""One model out of several trained ones."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmlandmark.apis.testing import find_checkpoint
from mmlandmark.engine import ConfigError, config_of_run, test_pipeline
from mmlandmark.engine.config_data import config_to_data
from mmlandmark.engine.data_checks import checkpoint_landmarks
from mmlandmark.engine.run_folder import write_config
from mmlandmark.registry import MODELS
from mmlandmark.structures import name_difference, names_of
from mmlandmark.utils.checkpoint import check_state_dict, load_checkpoint, save_checkpoint


def build_ensemble(
    folders: Sequence[str | Path],
    out: str | Path,
    *,
    average: str = "points",
    which: str | None = None,
    options: dict[str, Any] | None = None,
) -> tuple[Config, Path]:
    """Put the detectors of several work folders together.

    Data, pipelines and metrics are those of the first folder.

    Args:
        folders: Work folders of training runs.
        out: Folder for a config of the folder's name and for ``ensemble.pth``, weights like any others.
        average: ``points`` or ``heatmaps``, see :class:`~mmlandmark.models.detectors.MixedEnsemble`.
        which: ``last`` or ``best``, of every folder.
        options: Dotted keys to values that are changed in the configs of all runs, as ``--cfg-options`` does.

    Returns:
        The config and the file of the weights.

    Raises:
        ConfigError: A folder holds no config, or not one, or images are prepared differently.
        FileNotFoundError: A folder holds no checkpoint.
        ValueError: The detectors do not go together.
    """
    configs = [config_of_run(folder, options) for folder in folders]
    if not configs:
        raise ConfigError("an ensemble needs at least one work folder")
    for folder, config in zip(folders, configs, strict=True):
        config.work_dir = str(folder)
        if test_pipeline(config) != test_pipeline(configs[0]):
            raise ConfigError(
                f"{folder} and {folders[0]} test with different pipelines, but the members of an ensemble "
                "see one image: train them with one input size"
            )
    members = [copy.deepcopy(config.model) for config in configs]
    for member in members:  # the weights come from the checkpoints, not from where the training began
        if "backbone" in member and "init_cfg" in member.backbone:
            member.backbone.init_cfg = None
    whole = copy.deepcopy(configs[0])
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
    model = MODELS.build(whole.model)
    state, seeds, landmarks = {}, [], {}
    for index, config in enumerate(configs):
        path = find_checkpoint(config, which)
        checkpoint = load_checkpoint(path)
        check_state_dict(model.members[index], checkpoint["state_dict"], str(path))
        state.update({f"members.{index}.{k}": v for k, v in checkpoint["state_dict"].items()})
        seeds.append(checkpoint.get("meta", {}).get("seed"))
        theirs = checkpoint_landmarks(checkpoint)
        difference = name_difference(names_of(landmarks), names_of(theirs))
        if difference is not None:
            raise ValueError(f"{folders[0]} (there) and {path} (here) find other landmarks: {difference}")
        landmarks = landmarks or theirs
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    whole.work_dir = str(out)
    whole.dump(str(out / f"{out.name}.py"))
    write_config(out, config_to_data(whole))
    save_checkpoint(
        dict(
            state_dict=state,
            meta=dict(seed=None, members=[str(f) for f in folders], seeds=seeds, dataset_meta=landmarks),
        ),
        out / "ensemble.pth",
    )
    whole = Config(config_to_data(whole), filename=str(out / f"{out.name}.py"))
    return whole, out / "ensemble.pth"
