"""The text of a config has its values, as a person would have written them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from mmengine.config import Config

from mmlandmark.engine.config_data import read_dumped_config
from mmlandmark.testing import tiny_config
from mmlandmark.utils.config_source import config_source


def test_it_is_as_a_person_writes_it():
    model = dict(widths=(16,), type="UNet", norm=dict(), names=["a" * 50, "b" * 50])
    assert config_source(dict(model=model, batch=2, shape=(1, -2.5))) == (
        "batch = 2\n"
        "model = dict(\n"
        '    type="UNet",\n'
        "    names=[\n"
        f'        "{"a" * 50}",\n'
        f'        "{"b" * 50}",\n'
        "    ],\n"
        "    norm=dict(),\n"
        "    widths=(16,),\n"
        ")\n"
        "shape = (1, -2.5)\n"
    )


VALUES = dict(
    empty=[{}, [], ()],
    one=("it's",),
    place='{{ fileDirname }}/a \\ "b" \udcff',
    long=list(range(100)),
    nested=[dict(lines=[["é\n" * 20, None, True]] * 3)],
    keys={"a.b": 1, 3: [2], "class": dict(a={"lambda": 1})},
)


@pytest.mark.parametrize("values", [VALUES, tiny_config("out").to_dict()], ids=["odd", "tiny"])
def test_it_has_the_same_values_as_data_and_as_a_config(values, tmp_path):
    text = config_source(values)
    assert read_dumped_config(text, "text") == values
    path = Path(tmp_path, "config.py")
    path.write_text(text, encoding="utf-8")
    assert Config.fromfile(path).to_dict() == values
    assert max(len(line) for line in text.splitlines()) <= 110


def test_numbers_that_are_none_are_read_back():
    text = config_source(dict(a=[float("inf"), float("-inf"), float("nan")]))
    low, high, neither = read_dumped_config(text, "text")["a"]
    assert (low, high) == (float("inf"), float("-inf"))
    assert math.isnan(neither)
