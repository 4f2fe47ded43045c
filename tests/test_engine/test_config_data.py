"""Configs as data: written beside a run, read again without running anything."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmlandmark.engine.config_data import (
    config_in,
    config_to_data,
    differences,
    read_config_of_run,
    read_dumped_config,
)
from mmlandmark.testing import tiny_config


def test_a_config_in_the_types_of_json():
    config = Config(dict(model=dict(type=torch.nn.ReLU, sizes=(1, 2)), points=np.ones(2), mine={3: None}))
    expected = dict(
        model=dict(type="torch.nn.modules.activation.ReLU", sizes=[1, 2]), points=[1.0, 1.0], mine={"3": None}
    )
    assert config_to_data(config) == expected == json.loads(json.dumps(config_to_data(config)))


def test_what_mmengine_dumps_is_read_back(tmp_path):
    config = tiny_config(tmp_path, odd={"a-b": [-1, 2.5]}, limits=(float("inf"), -float("inf")))
    config.dump(tmp_path / "dumped.py")
    found = read_dumped_config((tmp_path / "dumped.py").read_text(), "dumped.py")
    assert config_to_data(found) == config_to_data(config)
    assert math.isinf(found["limits"][0])


@pytest.mark.parametrize(
    "line",
    ["import os", "x = open('a')", "x = dict(**y)", "x = y", "x.y = 3", "x = -'a'", "x = [i for i in y]"],
)
def test_a_program_is_no_data(line):
    with pytest.raises(ValueError, match=r"a\.py, line 2: this is a program, not a config"):
        read_dumped_config(f"model = dict(type='A')\n{line}\n", "a.py")


def test_no_python_at_all():
    with pytest.raises(ValueError, match=r"a\.py: .*config that a run"):
        read_dumped_config("model = dict(", "a.py")


def test_the_config_in_a_checkpoint():
    assert config_in(dict(resolved_config='{"model": {"type": "A"}}')) == dict(model=dict(type="A"))
    assert config_in(dict(cfg="model = dict(type='A')")) == dict(model=dict(type="A"))
    for broken in (
        {},
        dict(resolved_config="{"),
        dict(resolved_config="[]"),
        dict(cfg="import os"),
        dict(cfg=3),
    ):
        assert config_in(broken) is None


def test_the_config_of_a_folder(tmp_path):
    assert read_config_of_run(tmp_path / "nowhere") is None
    assert read_config_of_run(tmp_path) is None
    (tmp_path / "old.py").write_text("model = dict(type='Old')\n")
    assert read_config_of_run(tmp_path) == (dict(model=dict(type="Old")), tmp_path / "old.py")
    (tmp_path / "config.json").write_text('{"model": {"type": "New"}}')
    assert read_config_of_run(tmp_path) == (dict(model=dict(type="New")), tmp_path / "config.json")
    for text, message in (("{", "not valid JSON"), ("[]", "expected a JSON object, got list")):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(ValueError, match=rf"config\.json(, line 1)?: {message}"):
            read_config_of_run(tmp_path)
    (tmp_path / "config.json").unlink()
    (tmp_path / "old.py").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"old\.py: not UTF-8"):
        read_config_of_run(tmp_path)
    (tmp_path / "second.py").touch()
    assert read_config_of_run(tmp_path) is None


def test_differences_by_key():
    old = dict(model=dict(type="A", parts=[dict(n=1), dict(n=2)]), work_dir="x", load_from="y", seed=1)
    new = dict(model=dict(type="A", parts=[dict(n=1), dict(n=3)]), work_dir="z", extra="e" * 100)
    assert differences(old, old) == []
    assert differences(old, new) == [
        f"extra (none) -> '{'e' * 56}...",
        "model.parts.1.n 2 -> 3",
        "seed 1 -> (none)",
    ]
