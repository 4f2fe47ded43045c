"""Small valid model files, checkpoints, weights, configs and sweeps, for the fuzzer."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Hashable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
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
from mmlandmark.utils.hdf5_weights import load_hdf5

_MARK = b"mmlandmark-sha256:"  # what a hash at the end of a checkpoint begins with


def model_cases(root: Path) -> list[Case]:
    """Write a model file, a checkpoint and configs below ``root``, each in a folder; return the cases.

    Weights in HDF5 are among them where h5py is installed.
    """
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
        _sweep(root / "sweep", config),
        *_hdf5(root / "weights"),
    ]


def _sweep(folder: Path, config: dict[str, Any]) -> Case:
    """Write a sweep of three arms, one of which starts from another, and an ensemble."""
    arms = {
        "first": {},
        "second": {"inputs": dict(load_from="first"), "optim_wrapper.optimizer.lr": 1e-2},
        "third": {"trained_as": "first", "test_evaluator.unit": "px"},
    }
    ensembles = dict(both=dict(arms=["first", "second"], average="mean"))
    sweep = dict(config="config.json", seeds=[0, 1], baseline="first", arms=arms, ensembles=ensembles)
    atomic_write_json(folder / "config.json", config)
    atomic_write_json(folder / "sweep.json", sweep)
    return Case("sweep", "sweep", "sweep.json", _read_sweep, text=True)


def _hdf5(folder: Path) -> list[Case]:
    """Write weights as Keras does."""
    if importlib.util.find_spec("h5py") is None:
        return []
    import h5py

    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    with h5py.File(folder / "net.weights.h5", "w") as file:
        file["conv/vars/0"] = rng.normal(size=(3, 3, 2, 4)).astype(np.float32)
        file["conv/vars/1"] = rng.normal(size=4).astype(np.float32)
        file.create_dataset("dense/vars/0", data=rng.normal(size=(20, 6)), compression="gzip")
    return [Case("HDF5 weights", "weights", "net.weights.h5", _read_hdf5)]


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


def _read_sweep(folder: Path) -> None:
    # By its name: sweeps are read beside the room of tests.
    sweep = import_module("mmlandmark.apis.sweep").load_sweep(folder / "sweep.json")
    for arm in sweep.arms:
        config_to_data(sweep.config_of(arm, seed=0))


def _read_hdf5(folder: Path) -> Hashable:
    weights = load_hdf5(folder / "net.weights.h5")
    return tuple((name, tuple(w.shape), w.numpy().tobytes()) for name, w in sorted(weights.items()))
