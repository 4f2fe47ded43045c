"""mmlandmark measure-checks writes a table of what is found among planted faults."""

from __future__ import annotations

import numpy as np
import pytest

from mmlandmark.cli import invoke, measure_checks
from mmlandmark.testing.abnormal_landmarks import to_markdown
from mmlandmark.utils.files import read_json


def test_table(tmp_path, capsys):
    invoke("measure-checks", ["--count", "40", "--seeds", "1", "--out", str(tmp_path)])
    table = (tmp_path / "table.md").read_text()
    assert table in capsys.readouterr().out
    rows = {
        line.split("|")[1].strip(): [c.strip() for c in line.split("|")[2:-1]] for line in table.splitlines()
    }
    assert rows["records"] == ["40"] * 6
    assert rows[""][3:] == ["head phantoms", "wings", "ultrasound"]
    assert all(0.5 <= float(cell) <= 1 for cell in rows["precision"] + rows["recall, all kinds"])


def test_real_data_need_a_folder(tmp_path, monkeypatch):
    for name in ("ISBI2015_ROOT", "HAND_ATLAS_ROOT", "SPINE_ROOT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ValueError, match="ISBI2015_ROOT"):
        measure_checks.real_families()


def test_abnormal_landmarks(tmp_path, capsys, monkeypatch):
    points = np.random.default_rng(0).normal(size=(9, 2)) * 40 + np.random.default_rng(1).normal(
        size=(30, 9, 2)
    )
    monkeypatch.setattr(measure_checks, "shapes_in_mm", lambda count, real: dict(some=(points, (12, 20))))
    invoke("measure-checks", ["--abnormal", "--seeds", "1", "--out", str(tmp_path)])
    table = (tmp_path / "abnormal.md").read_text()
    assert table in capsys.readouterr().out
    record = read_json(tmp_path / "abnormal.json")
    assert (record["seeds"], len(record["rows"])) == (1, 8)
    for number, row in enumerate(record["rows"]):
        assert (row["data"], row["learnt"], row["held_out"]) == ("some", (12, 20)[number // 4], 10)
        assert row["recall"] > 0.4
    assert to_markdown(record["rows"]) + "\n" == table


def test_too_few_phantoms():
    with pytest.raises(ValueError, match="ceph phantoms: 12 complete shapes are too few"):
        measure_checks.shapes_in_mm(12, real=False)


@pytest.mark.real_data
def test_real_shapes_are_in_mm_and_held_out(monkeypatch, real_data):
    monkeypatch.setenv("ISBI2015_ROOT", str(real_data("isbi2015_ceph")))
    monkeypatch.setenv("HAND_ATLAS_ROOT", str(real_data("hand_dha")))
    shapes = measure_checks.shapes_in_mm(50, real=True)
    (hands, learnt), (films, _) = shapes["hands"], shapes["cephalograms"]
    assert (hands.shape, films.shape, max(learnt)) == ((895, 37, 2), (300, 19, 2), 600)
    assert np.linalg.norm(hands[:, 0] - hands[:, 4], axis=1) == pytest.approx(50)
    assert 50 < np.linalg.norm(films[:, 0] - films[:, 1], axis=1).mean() < 70  # sella to nasion


def test_shapes_of_phantoms_are_in_mm():
    shapes = measure_checks.shapes_in_mm(50, real=False)
    assert list(shapes) == ["ceph phantoms", "hand phantoms", "head phantoms"]
    (films, sizes), (heads, few) = shapes["ceph phantoms"], shapes["head phantoms"]
    assert (films.shape, sizes) == ((50, 19, 2), (10, 25))
    assert heads.shape[1:] == (26, 3)
    assert few == (10, len(heads) // 2)
    assert np.isfinite(heads).all()
    for points, low, high in ((films, 80, 250), (heads, 80, 300)):
        assert low < np.ptp(points, axis=1).max(axis=1).mean() < high
