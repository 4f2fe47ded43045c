"""Ways to train on volumes and to predict them, whose memory is measured."""

from __future__ import annotations

import numpy as np
import pytest

from mmlandmark.testing import memory_contenders
from mmlandmark.testing.memory_contenders import WAYS, model_of, run_way, write_volume


@pytest.fixture
def small(tmp_path, monkeypatch):
    for name, value in (("PATCH", 8), ("WINDOW", 8)):
        monkeypatch.setattr(memory_contenders, name, value)
    write_volume(tmp_path / "ct.npy", (12, 16, 20))
    return tmp_path / "ct.npy"


def test_the_volume_is_a_ct(small):
    volume = np.load(small)
    assert volume.dtype == np.int16
    assert volume.shape == (12, 16, 20)
    assert volume.min() < -900 < 500 < volume.max()


@pytest.mark.parametrize(("part", "way"), [(part, way) for part, ways in WAYS.items() for way in ways])
def test_every_way_runs(part, way, small):
    assert run_way(part, way, small, landmarks=3) == 3


@pytest.mark.slow
def test_a_way_that_is_not_there(small):
    with pytest.raises(ValueError, match="no way 'patches' to predict"):
        run_way("predict", "patches", small, 3)
    assert model_of("coarse to fine", 3).config["model"]["type"] == "CoarseToFineDetector"
