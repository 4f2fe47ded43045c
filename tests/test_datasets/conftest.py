"""What tests of several readers need."""

from __future__ import annotations

import pytest

from mmlandmark.datasets import image_io
from test_datasets import six_cases


@pytest.fixture
def log(monkeypatch):
    """Lines that the readers log, as if nothing had been told before."""
    lines = []
    monkeypatch.setattr(image_io, "print_log", lambda text, **_: lines.append(text))
    monkeypatch.setattr(image_io, "_LOGGED", bytearray(4096))
    return lines


@pytest.fixture
def root(tmp_path):
    """A folder with six images and an annotation file of groups, splits and folds."""
    return six_cases.write(tmp_path)
