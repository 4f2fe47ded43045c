"""mmlandmark measure-checks writes a table of what is found among planted faults."""

from __future__ import annotations

import pytest

from mmlandmark.cli import invoke, measure_checks


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
