"""A trained detector, wherever it is: a model file, a checkpoint, the folder of a run, or one on board."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmlandmark.engine import ConfigError, best_checkpoint, config_of_run, latest_checkpoint
from mmlandmark.engine.config_data import CONFIG_FILE, config_in, no_run, read_config_of_run
from mmlandmark.engine.plain_config import import_trusted
from mmlandmark.inference.measured import results_beside
from mmlandmark.inference.packing import pack_checkpoint
from mmlandmark.models.model_file import ModelFile, is_model_file
from mmlandmark.trust import check_names
from mmlandmark.utils.checkpoint import load_checkpoint
from mmlandmark.utils.near_names import did_you_mean
from mmlandmark.utils.shipped import shipped_detectors


def load_model(source: str | Path | ModelFile, trust: bool = False) -> ModelFile:
    """Return a trained detector with all that it needs.

    Args:
        source: A model file; a checkpoint, with the config of its run beside it or inside; the folder of a
            run, of which the newest checkpoint counts; the name of a detector that comes with the package.
            A :class:`~mmlandmark.models.model_file.ModelFile` is returned as it is.
        trust: See :meth:`ModelFile.load <mmlandmark.models.model_file.ModelFile.load>`.

    Raises:
        FileNotFoundError: There is no such file, folder or name; names that are near are listed.
        ConfigError: There is no config for a checkpoint.
        ValueError: A file cannot be used; one sentence says why.
    """
    if isinstance(source, ModelFile):
        return source
    path = Path(source).expanduser()
    if path.is_dir():
        path = checkpoint_of_run(path)
    elif not path.is_file():
        path = _shipped(str(source))
    content = load_checkpoint(path)
    if is_model_file(content):
        return ModelFile.from_content(content, f"model file {path}", trust)
    return model_of_run(_config_of(path, content), path, content)


def model_of_run(config: Config, path: str | Path, content: dict[str, Any] | None = None) -> ModelFile:
    """Return a config and a checkpoint as a model, with the results of tests that lie beside the checkpoint.

    Args:
        config: Of one run.
        path: The checkpoint.
        content: Of the checkpoint, if it has been loaded.

    Raises:
        ConfigError: The config has no model, or no pipeline of a test or a validation.
        FileNotFoundError: There is no such file.
        ValueError: The file cannot be used, or holds the weights of another model.
    """
    content = load_checkpoint(path) if content is None else content
    model = pack_checkpoint(config, content, f"checkpoint {path}")
    return replace(model, measured=results_beside(path, model.config))


def checkpoint_of_run(folder: str | Path, which: str = "last") -> Path:
    """Return the checkpoint in the folder of a run: ``last`` or ``best``; of an ensemble its only one.

    Raises:
        FileNotFoundError: There is none.
    """
    folder = Path(folder)
    found = best_checkpoint(folder) if which == "best" else latest_checkpoint(folder)
    others = sorted(folder.glob("*.pth"))
    if found is None and which == "last" and len(others) == 1:
        found = others[0]
    if found is None and not (folder / CONFIG_FILE).is_file():
        raise FileNotFoundError(no_run(folder, f"neither {CONFIG_FILE} nor a checkpoint"))
    if found is None:
        raise FileNotFoundError(f"{folder} holds no {which} checkpoint: train first, or name a file")
    return found


def _config_of(path: Path, content: dict) -> Config:
    """Return the config that a run left beside its checkpoint, or else the one inside of the checkpoint."""
    if read_config_of_run(path.parent) is not None:
        return config_of_run(path.parent)
    meta = content.get("meta")
    inside = config_in(meta) if isinstance(meta, dict) else None
    if inside is None:
        raise ConfigError(
            f"checkpoint {path}: there is no config beside it or in it; make a model file of both with "
            f"mmlandmark pack CONFIG {path}"
        )
    check_names(inside, f"checkpoint {path}")
    import_trusted(inside, f"checkpoint {path}")
    return Config(inside, cfg_text=json.dumps(inside), filename=str(path))


def _shipped(name: str) -> Path:
    """Return the model file that comes with the package under a name."""
    known = shipped_detectors()
    if name not in known:
        near = did_you_mean([name], known)
        there = f"{', '.join(known)} come with the package" if known else "none comes with the package"
        raise FileNotFoundError(
            f"{name}: there is no such file or folder, and no detector of that name{near}; {there}"
        )
    return known[name]
