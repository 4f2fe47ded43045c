"""The malicious files do harm where they are loaded carelessly: otherwise a test with them shows nothing."""

from __future__ import annotations

import pickle
import zipfile

import numpy as np
import pytest
import torch
import yaml

from mmlandmark.testing.malicious_files import KINDS


def load_array(path):
    found = np.load(path, allow_pickle=True)
    return found["a"] if path.suffix == ".npz" else found


CARELESS = {
    "pickle.pth": lambda path: pickle.loads(path.read_bytes()),
    "archive.pth": lambda path: torch.load(path, weights_only=False),
    "objects.npy": load_array,
    "objects.npz": load_array,
    "tags.yaml": lambda path: yaml.load(path.read_text(), yaml.UnsafeLoader),
}


@pytest.mark.parametrize("kind", CARELESS)
def test_a_careless_loader_runs_it(tmp_path, kind):
    KINDS[kind](tmp_path / kind, tmp_path / "trace")
    assert not (tmp_path / "trace").exists()
    CARELESS[kind](tmp_path / kind)
    assert (tmp_path / "trace").exists()


@pytest.mark.parametrize("kind", sorted(set(KINDS) - set(CARELESS)))
def test_the_others_name_functions_or_much_memory(tmp_path, kind):
    KINDS[kind](tmp_path / kind, tmp_path / "trace")
    data = (tmp_path / kind).read_bytes()
    assert len(data) < 2**20
    if kind.startswith("bomb"):
        with zipfile.ZipFile(tmp_path / kind) as archive:
            assert sum(entry.file_size for entry in archive.infolist()) > 2**31
    elif kind == "aliases.yaml":
        assert data.count(b"*a") > 200
    else:
        assert b"mmlandmark.utils.files.atomic_write_text" in data
        assert str(tmp_path / "trace").encode() in data
