"""Fixtures for all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch


@pytest.fixture(autouse=True)
def _few_threads():
    """Tests run on small machines, several at a time."""
    torch.set_num_threads(1)


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
