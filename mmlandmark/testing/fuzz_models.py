"""Small valid model files, checkpoints and configs, for the fuzzer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import torch
import yaml

from mmlandmark.engine import config_of_run, load_config
from mmlandmark.engine.config_data import CONFIG_FILE, config_to_data
from mmlandmark.inference import load_model
from mmlandmark.inference.description import describe_model
from mmlandmark.models.model_file import ModelFile
from mmlandmark.testing.fuzz_case import Case
from mmlandmark.testing.tiny import tiny_config, tiny_model
from mmlandmark.utils.checkpoint import save_checkpoint
from mmlandmark.utils.files import atomic_write_json, atomic_write_text

_MARK = b"mmlandmark-sha256:"  # what a hash at the end of a checkpoint begins with


def model_cases(root: Path) -> list[Case]:
    """Write a model file, a checkpoint and configs below ``root``, each in a folder; return the cases."""
    torch.set_num_threads(1)
    model, config = tiny_model(), _small_config()
    model.save(root / "model" / "small.mml.pth")
    meta = dict(resolved_config=json.dumps(config), dataset_meta=_landmarks(model), epoch=1, seed=0)
    content = dict(state_dict=model.state_dict, meta=meta)
    save_checkpoint(content, root / "checkpoint" / "epoch_1.pth")
    for name in ("checkpoint", "run_config"):
        atomic_write_json(root / name / CONFIG_FILE, config)
    atomic_write_json(root / "config_json" / "config_of_mine.json", config, indent=1)
    atomic_write_text(root / "config_yaml" / "mine.yaml", yaml.safe_dump(config))
    sealed: dict[str, Any] = dict(sealed=True, inside=(_without_hash, _with_hash))
    return [
        Case("model file", "model", "small.mml.pth", _read_model, **sealed),
        Case("checkpoint", "checkpoint", "epoch_1.pth", _read_checkpoint, **sealed),
        Case("config of a run", "run_config", CONFIG_FILE, _read_config_of_run, text=True),
        Case("JSON config", "config_json", "config_of_mine.json", _read_json_config, text=True),
        Case("YAML config", "config_yaml", "mine.yaml", _read_yaml_config, text=True),
    ]


def _small_config() -> dict[str, Any]:
    config = config_to_data(tiny_config("work_dirs/small"))
    del config["visualizer"]
    return config


def _landmarks(model: ModelFile) -> dict[str, Any]:
    from mmlandmark.structures import metainfo_of

    return metainfo_of(model.schema)


def _answer(path: Path) -> Hashable:
    """Load a detector, build it and describe it; return what can be compared."""
    model = load_model(path)
    model.detector()
    describe_model(model)
    digest = hashlib.sha256(json.dumps(model.config, sort_keys=True).encode())
    for name, value in sorted(model.state_dict.items()):
        digest.update(name.encode() + value.numpy().tobytes())
    return digest.hexdigest()


def _read_model(folder: Path) -> Hashable:
    return _answer(folder / "small.mml.pth")


def _read_checkpoint(folder: Path) -> Hashable:
    return _answer(folder / "epoch_1.pth")


def _read_config_of_run(folder: Path) -> None:
    config_to_data(config_of_run(folder))


def _read_json_config(folder: Path) -> None:
    config_to_data(load_config(folder / "config_of_mine.json"))


def _read_yaml_config(folder: Path) -> None:
    config_to_data(load_config(folder / "mine.yaml"))


def _without_hash(data: bytes) -> bytes:
    return data.rpartition(_MARK)[0]


def _with_hash(data: bytes) -> bytes:
    return data + _MARK + hashlib.sha256(data).hexdigest().encode()
