"""Fixtures for all tests."""

from __future__ import annotations

import copy
import gc
import importlib
import math
import os
import sys
import time
from pathlib import Path

import pytest
import torch

import loopback


def pytest_configure(config):
    """Let all processes of the tests share what Python compiles, even where it is told to write nothing.

    Hundreds of processes are started, and half of the time of an import is spent on compiling.
    """
    cache = getattr(config, "cache", None)
    if sys.dont_write_bytecode and cache is not None and not hasattr(config, "workerinput"):
        os.environ["PYTHONPYCACHEPREFIX"] = str(cache.mkdir("bytecode"))
        os.environ["PYTHONDONTWRITEBYTECODE"] = ""


def pytest_collection_finish(session):
    """Take what lives as long as the process from the garbage collector, which runs after every training.

    Packages that are imported later come to it: after a collection that took long, everything there is.
    """
    gc.collect()
    gc.freeze()
    begun = 0.0

    def freeze_after_a_long_one(phase, info):
        nonlocal begun
        if phase == "start":
            begun = time.process_time()
        elif info["generation"] == 2 and time.process_time() - begun > 0.05:
            gc.freeze()

    gc.callbacks.append(freeze_after_a_long_one)


@pytest.fixture(scope="session", autouse=True)
def _few_threads_from_the_start():
    """Fixtures of a module come before those of its tests, and the threads decide on the last digits."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _few_threads():
    """Tests run on small machines, several at a time."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _no_network():
    """Let no connection leave this machine, neither from here nor from processes that tests start."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in loopback.ENVIRONMENT.items():
            patch.setenv(name, value)
        loopback.guard.apply(patch)
        yield


@pytest.fixture(autouse=True)
def _fails_by_the_network(_no_network):
    yield
    loopback.guard.check()


@pytest.fixture(scope="session", autouse=True)
def _runs_begin_at_once():
    """Leave out what takes most of a short run: the layout of its config's text, facts of the machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mmengine.config.config.FormatCode", lambda text, **_: (text, True))
        patch.setattr("mmengine.runner.runner.collect_env", dict)
        yield


@pytest.fixture(scope="session", autouse=True)
def _files_need_not_outlive_a_power_failure():
    """Files of a test may be lost; waiting for the disk takes longer than most tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mmlandmark.utils.files._to_disk", lambda path: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def _phantoms_are_rendered_once():
    """Hundreds of tests train on the same handful of patients; rendering takes half of so short a training.

    Only the calls of PhantomDataset are remembered, and only small images; tests of the images call the rest.
    """
    module = importlib.import_module("mmlandmark.datasets.phantom.phantom_dataset")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("sample_scene", "render_phantom"):
            patch.setattr(module, name, _remembered(getattr(module, name)))
        yield


def _remembered(function):
    """Return a function of numbers that copies its earlier answers."""
    answers: dict = {}

    def answer(kind, seed, index, size=None, *rest):
        key = (kind, seed, index, None if size is None else tuple(size), *rest)
        if size is None or math.prod(size) > 2**17:
            return function(*key)
        if key not in answers:
            if len(answers) > 300:
                answers.clear()
            answers[key] = function(*key)
        return copy.deepcopy(answers[key])

    return answer


@pytest.fixture
def real_data():
    """Return a function from a data set's folder name to its path; skips when it is not there."""

    def folder(name: str) -> Path:
        root = os.environ.get("MMLANDMARK_DATA")
        if not root:
            pytest.skip("MMLANDMARK_DATA is not set: tests on real data need it")
        path = Path(root) / name
        if not path.is_dir():
            pytest.skip(f"{name} is not in MMLANDMARK_DATA")
        return path

    return folder


@pytest.fixture
def write_samples(tmp_path):
    """Return a function that writes samples and their 40 x 32 noise images, and reads them as a data set."""
    import json

    import cv2
    import numpy as np

    from mmlandmark.datasets import LandmarkDataset

    def written(samples, names=None, name="data", **kwargs):
        rng = np.random.default_rng(sum(map(ord, name)))
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        for n, sample in enumerate(samples):
            sample = samples[n] = dict(dict(image=f"{name}_{n}.png"), **sample)
            if sample["image"].endswith(".png") and not (folder / sample["image"]).exists():
                cv2.imwrite(str(folder / sample["image"]), rng.integers(0, 255, (40, 32), dtype=np.uint8))
        content = dict(samples=samples)
        if names is not None:
            content["schema"] = dict(name="test", landmarks=list(names))
        (folder / "a.json").write_text(json.dumps(content))
        pipeline = [dict(type="LoadImage"), dict(type="PackInputs")]
        return LandmarkDataset("a.json", str(folder), pipeline=pipeline, serialize_data=False, **kwargs)

    return written


@pytest.fixture
def sweep(tmp_path):
    """Return a sweep of three arms, one of which is trained as another, with an ensemble."""
    from mmlandmark.testing import tiny_config

    tiny_config("unused", max_epochs=1).dump(tmp_path / "tiny.py")
    (tmp_path / "sweeps").mkdir()
    path = tmp_path / "sweeps" / "losses.py"
    path.write_text(
        "config = '../tiny.py'\nseeds = [0, 1]\n"
        "arms = dict(ewc={}, mse={'model.head.loss': dict(_delete_=True, type='HeatmapMSELoss')},\n"
        "            argmax={'trained_as': 'mse', 'model.head.codec.decoder': 'argmax'})\n"
        "ensembles = dict(both='argmax')\n"
    )
    return path
