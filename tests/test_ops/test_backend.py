"""Which implementation computes the operators, and how to choose it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from mmlandmark.ops import Backend, backend, using_reference
from mmlandmark.ops.backend import is_native
from test_ops.op_testing import needs_native


def backend_with(**variables: str) -> str:
    """Return what a new process says of its backend."""
    code = "from mmlandmark.ops import backend; print(backend())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.mark.parametrize(("wish", "reference"), [("1", True), ("yes", True), ("0", False), ("", False)])
@needs_native
def test_the_environment_chooses(wish, reference):
    words = backend_with(MMLANDMARK_DISABLE_EXT=wish)
    assert words.startswith("reference: MMLANDMARK_DISABLE_EXT is set" if reference else "native: ")


@needs_native
def test_older_instructions_on_request():
    words = backend_with(MMLANDMARK_CPU_LEVEL="base")
    assert words.startswith("native: ")
    assert words.endswith(", base instructions")


def test_a_module_that_is_not_there_is_a_reason(monkeypatch):
    def fail(name):
        raise ImportError(f"no {name}")

    module = sys.modules["mmlandmark.ops.backend"]  # by its name it is hidden behind the function
    monkeypatch.setattr(module.importlib, "import_module", fail)
    monkeypatch.delenv("MMLANDMARK_DISABLE_EXT", raising=False)
    loaded = module._load()
    assert loaded.name == "reference"
    assert "no mmlandmark._C" in loaded.reason
    assert "pip install --no-build-isolation -e ." in loaded.reason


def test_the_twins_for_a_while():
    before = backend()
    with using_reference():
        assert backend().name == "reference"
        assert not is_native(torch.zeros(1))
    assert backend() == before
    with pytest.raises(RuntimeError), using_reference():
        raise RuntimeError
    assert backend() == before


@needs_native
def test_native_operators_take_floats_of_a_cpu():
    assert is_native(torch.zeros(1))
    assert is_native(torch.zeros(1, dtype=torch.bfloat16))
    assert not is_native(torch.zeros(1, dtype=torch.int64))
    assert not is_native(torch.zeros(1, device="meta"))


def test_it_reads_as_a_sentence():
    assert str(Backend("reference", "no compiler", {})) == "reference: no compiler"
