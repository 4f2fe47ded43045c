"""How long a step takes is measured with the config that will be trained."""

from __future__ import annotations

import logging

import pytest

from mmlandmark.planning import speed
from mmlandmark.testing import tiny_config


def test_steps_are_measured_without_a_trace(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    config = tiny_config(tmp_path / "run", max_epochs=3)
    config.train_dataloader.dataset.num_samples = 8
    before = config.to_dict()
    ids = sample_ids(config)
    logging.getLogger().handlers.clear()
    capsys.readouterr()
    measured = speed.measure_speed(config, ids, read_seconds=0.01)
    assert config.to_dict() == before
    assert 0 < measured.iteration < 5
    assert measured.first_read == pytest.approx(0.013)
    assert 4 < measured.start < 60
    assert measured.batch == 2
    assert list(tmp_path.iterdir()) == []
    output = capsys.readouterr()
    assert output.out + output.err == ""


def sample_ids(config):
    from mmlandmark.registry import DATASETS

    dataset = DATASETS.build(config.train_dataloader.dataset)
    return [dataset.get_data_info(n)["sample_id"] for n in range(len(dataset))]


def test_a_busy_machine_is_named(monkeypatch):
    monkeypatch.setattr(speed.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(speed.os, "getloadavg", lambda: (9.5, 0, 0), raising=False)
    assert "busy (load 9.5 on 2 cores)" in speed.busy_note()
    monkeypatch.setattr(speed.os, "getloadavg", lambda: (2.9, 0, 0), raising=False)
    assert speed.busy_note() is None


def test_published_weights_are_looked_for(monkeypatch, tmp_path):
    file = tmp_path / "weights.pth"
    monkeypatch.setattr(speed, "package_file", lambda source: file)
    assert not speed.weights_installed()
    file.write_bytes(b"weights")
    assert speed.weights_installed()

    def missing(source):
        raise FileNotFoundError(source)

    monkeypatch.setattr(speed, "package_file", missing)
    assert not speed.weights_installed()


def test_memory_and_machine():
    assert speed.available_memory() > 2**20
    assert speed.describe_machine()
