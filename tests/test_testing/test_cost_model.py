"""What the model of many processes says, and that the page says the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mmlandmark.testing import cost_model
from mmlandmark.testing.cost_model import Costs, checked, model_record, table_of
from mmlandmark.utils.files import read_json

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT / "docs" / "benchmarks"
COSTS = Costs(
    step_seconds=0.1, batch=10, parameters=25_000_000, reading_seconds=0.01, cores=4, labelling_seconds=0.002,
    node=8, inside=1e10, between=1e9,
)  # fmt: skip


def test_a_ring_sends_every_gradient_twice_but_for_its_own_part():
    assert COSTS.exchanged_bytes(1) == 0
    assert COSTS.exchanged_bytes(2) == 4 * 25e6
    assert COSTS.exchanged_bytes(8) == pytest.approx(4 * 25e6 * 2 * 7 / 8)
    assert COSTS.exchange_seconds(8) == pytest.approx(0.0175)
    assert COSTS.exchange_seconds(16) == pytest.approx(0.1875), "the slow connection counts"


def test_an_exchange_hides_behind_the_backward_pass_and_no_further():
    assert COSTS.step(8)["waiting"] == 0
    assert COSTS.step(16)["waiting"] == pytest.approx(0.1875 - 0.1 * 2 / 3)
    assert replace(COSTS, overlaps=False).step(8)["waiting"] == pytest.approx(0.0175)


def test_the_slower_of_reading_and_computing_counts():
    assert COSTS.step(1)["whole"] == 0.1
    assert COSTS.cores_needed == pytest.approx(1.0)
    slow = replace(COSTS, cores=0.5)
    assert slow.step(1)["whole"] == pytest.approx(0.2)
    row, slow_row = COSTS.row(8, 8000), slow.row(8, 8000)
    assert (row["limit"], slow_row["limit"]) == ("computing", "reading")
    assert row["images_per_second"] == pytest.approx(800)
    assert row["epoch_minutes"] == pytest.approx(8000 / 800 / 60, abs=0.01)
    assert row["labels_minutes"] == pytest.approx(8000 * 0.0025 / 8 / 60, abs=0.01), "reading takes longer"
    assert slow_row["efficiency"] == 1.0, "every process reads for itself"
    many = COSTS.row(16, 8000)
    assert many["limit"] == "network"
    assert many["efficiency"] == pytest.approx(0.1 / (0.1 + 0.1875 - 0.2 / 3), abs=1e-3)


TWO = dict(
    step_seconds=0.2, batch=8, parameters=10**6, exchange_gigabytes_per_second=0.1, machine={}, commit="a",
    reading_seconds_per_image=0.001, ways={"two processes, one core each": dict(times_one=1.5)},
    load_before=0,
)  # fmt: skip


def test_transforms_are_a_part_of_reading_once_they_are_measured():
    loader = read_json(BENCHMARKS / "loader.json")
    without, given = (model_record(loader, two, 1000, 10**6) for two in (None, TWO))
    seconds = [record["measured"]["reading_seconds_per_image"]["image files"] for record in (without, given)]
    assert seconds[1] - seconds[0] == pytest.approx(0.001)
    assert "two processes, are not measured yet" in table_of(without)
    assert "reading and transforming" in table_of(given)
    assert "the model says 1.67 times one process; it was 1.50" in table_of(given)


def test_what_was_measured_here_is_compared():
    assert checked(TWO) == dict(predicted=pytest.approx(2 * 0.2 / 0.24, abs=1e-3), measured=1.5)


def test_the_page_and_the_record_are_what_the_model_says(tmp_path, capsys):
    files = [file for name in ("loader", "two_ranks_cpu") if (file := BENCHMARKS / f"{name}.json").is_file()]
    loader, *two = map(read_json, files)
    record = read_json(BENCHMARKS / "scaling_model.json")
    count = record["assumed"]["parameters"]
    assert model_record(loader, two[0] if two else None, record["images"], count) == record, (
        "write the record again"
    )
    text = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
    assert table_of(record) in text, "run python -m mmlandmark.testing.cost_model --render docs/scaling.md"
    for file in files:
        (tmp_path / file.name).write_bytes(file.read_bytes())
    cost_model.main([str(tmp_path / "scaling_model.json")])
    assert read_json(tmp_path / "scaling_model.json") == record
    assert table_of(record) in capsys.readouterr().out
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "scaling_model.json").rename(tmp_path / "benchmarks" / "scaling_model.json")
    (tmp_path / "page.md").write_text("a <!-- scaling_model:begin -->old<!-- scaling_model:end --> b")
    cost_model.main(["--render", str(tmp_path / "page.md")])
    assert table_of(record) in (tmp_path / "page.md").read_text()


def test_a_missing_argument_is_told(capsys):
    with pytest.raises(SystemExit):
        cost_model.main([])
    assert "give a JSON file" in capsys.readouterr().err
