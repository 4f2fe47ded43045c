"""Costs of detectors in tables of results."""

import json

import pytest

from mmlandmark.evaluation import read_costs, results_table
from mmlandmark.evaluation.costs import COLUMNS, cost_cell, costs_note

COST = dict(
    input=[1, 64, 48],
    models=19,
    parameters=58_312_512,
    latency_seconds=0.01234,
    peak_memory_megabytes=81.5,
    device="cpu",
    threads=1,
    machine=dict(cpu="A CPU", gpu=None),
)


def test_costs_are_read_by_the_names_of_their_files(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(COST))
    assert read_costs(tmp_path.glob("*.json")) == {"a": COST}
    (tmp_path / "b.json").write_text(json.dumps(dict(models=1)))
    with pytest.raises(ValueError, match=r"b.json: no input, parameters, machine; record it with mmlandmark"):
        read_costs(tmp_path.glob("*.json"))


def test_cells():
    assert [cost_cell(column, COST) for column in COLUMNS] == ["19", "58.31 M", "81.5", "12.34"]
    assert [cost_cell(column, None) for column in COLUMNS] == ["-"] * 4
    counted = {key: COST[key] for key in ("input", "models", "parameters", "machine")}
    assert [cost_cell(column, counted) for column in COLUMNS] == ["19", "58.31 M", "-", "-"]


def test_the_note_names_size_and_machine():
    of_gpu = dict(COST, device="cuda", machine=dict(cpu="A CPU", gpu="A GPU"))
    assert costs_note([COST, of_gpu, COST]) == (
        " Memory and time are those of predicting one image, of 1 x 64 x 48 on A CPU, 1 thread; "
        "1 x 64 x 48 on A GPU."
    )
    assert costs_note([dict(COST, latency_seconds=None)]) == ""


def test_a_table_shows_them_only_if_they_are_known():
    records = {
        name: [dict(path=f"{name}.json", seed=0, metrics=dict(mre=1.0), machine=dict(cpu="A CPU"))]
        for name in "ab"
    }
    plain = results_table(records, {})
    assert "memory" not in plain
    assert results_table(records, {}, costs=dict(other=COST)) == plain
    table = results_table(records, {}, costs=dict(b=COST))
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[:4]]
    at = rows[0].index("models")
    assert rows[0][at : at + 5] == [*COLUMNS, "images"]
    assert rows[2][at : at + 4] == ["-"] * 4
    assert rows[3][at : at + 4] == ["19", "58.31 M", "81.5", "12.34"]
    assert "one image, of 1 x 64 x 48 on A CPU, 1 thread." in table
