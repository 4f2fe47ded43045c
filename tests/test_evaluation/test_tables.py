"""Tables of recorded results: columns, notes, superseded results."""

from __future__ import annotations

import pytest

from mmlandmark.evaluation import Overlap, results_table


def record(seed=0, **more):
    """Return a record of a run, its MRE one more than its seed."""
    return dict(
        path=f"a_seed{seed}.json",
        config="a",
        seed=seed,
        metrics={"mre": 1.0 + (seed or 0), "sdr_2mm": 90.0},
        split=dict(images=3, hash="h"),
        commit="0123456789abcdef",
        machine=dict(cpu="A CPU", gpu=None),
    ) | dict(more)


def cells(table, row):
    return [cell.strip() for cell in table.splitlines()[row].strip("|").split("|")]


def test_nothing_is_recorded():
    assert results_table({}, {}) == "No results are recorded yet."


def test_one_row_for_all_seeds():
    table = results_table({"a": [record(0), record(1, machine=dict(cpu="B CPU", gpu="A GPU"))]}, {})
    assert cells(table, 0) == ["config", "seeds", "MRE (mm)", "SDR 2 mm", "images", "commit"]
    assert cells(table, 2) == ["a", "0, 1", "1.500 ± 0.707", "90.00 ± 0.00", "3", "01234567"]
    assert "Tested on A CPU, A GPU." in table


def test_a_run_without_a_metric_is_counted():
    table = results_table({"a": [record(0), record(1, metrics={"mre": 2.0})]}, {})
    assert cells(table, 2)[3] == "90.00 (1 of 2 runs)"


def test_an_ensemble_names_the_seeds_of_its_members():
    table = results_table({"a": [record(seed=None, seeds=[0, 1, 2], metrics={"mre": 1.0})]}, {})
    assert cells(table, 2)[1] == "0, 1, 2"
    assert cells(results_table({"a": [record(seed=None, metrics={"mre": 1.0})]}, {}), 2)[1] == "?"


def test_numbers_of_the_paper_are_of_a_row():
    table = results_table({"a": [record()], "b": [record()]}, {"a": {"mre": 1.12, "source": "Table 2"}})
    assert [cells(table, row)[4] for row in (0, 2, 3)] == ["paper", "MRE 1.12 (Table 2)", "-"]
    with pytest.raises(ValueError, match=r"paper.json names \['c'\], but results are recorded for \['a'\]"):
        results_table({"a": [record()]}, {"c": {}})


def test_overlaps_are_of_one_test_set():
    overlaps = {"h": Overlap(images=3, positions=(1,), why="films of the training part")}
    errors = dict(unit="mm", mean=[1.0, 9.0, 3.0])
    table = results_table({"a": [record(image_errors=errors)], "b": [record()]}, {}, overlaps=overlaps)
    assert [cells(table, row)[4] for row in (0, 2, 3)] == ["MRE of the 2 other images", "2.000", "-"]
    assert "1 of the 3 tested images are films of the training part; the column" in table
    table = results_table({"a": [record()]}, {}, overlaps=overlaps)
    assert "these records keep no errors of single images." in table
    other = record(split=dict(images=3, hash="other"))
    assert "training part" not in results_table({"a": [record()], "b": [other]}, {}, overlaps=overlaps)


def test_superseded_results_stand_below():
    by = dict(record="a_seed0.json", why="w")
    old = [record(seed, path=f"old_seed{seed}.json", superseded_by=by) for seed in (0, 1)]
    table = results_table({"a": [record()]}, {}, superseded=old)
    assert table.endswith("- `old`: MRE (mm) 1.500 ± 0.707, SDR 2 mm 90.00 ± 0.00. Superseded by a: w.")


def test_the_median_stands_beside_the_mean():
    """One landmark in a wrong place moves the mean, not the median."""
    runs = [
        record(seed, metrics={"mre": mean, "mre_median": 1.0, "sdr_2mm": 90.0})
        for seed, mean in ((0, 1.5), (1, 2.5))
    ]
    titles, first = (cells(results_table({"a": runs}, {}), line) for line in (0, 2))
    assert dict(zip(titles, first, strict=True))["median"] == "1.000 ± 0.000"
    assert titles.index("median") == titles.index("MRE (mm)") + 1


def test_rows_of_some_landmarks_have_a_table_of_their_own():
    def of(*names, **more):
        errors = dict(image_errors=dict(unit="mm", mean=[1.0, 2.0, 4.0]), landmark_errors=dict(name=names))
        return [record(**errors, **more)]

    groups = {
        "single": of("sella", split=dict(images=3, hash="other")),
        "joint": of("sella", "gonion"),
        "adapter": of("sella", "gonion"),
    }
    overlaps = {"h": Overlap(images=3, positions=(1,), why="films of the training part")}
    table = results_table(groups, {}, baseline="joint", overlaps=overlaps)
    assert [cells(table, row)[0] for row in (0, 2, 3)] == ["config", "joint", "adapter"]
    assert "MRE of the 2 other images" in table.splitlines()[0]
    own = table[table.index("Of sella alone:\n\n") :].splitlines()[2:]
    assert own[0] == "| config | seeds | MRE (mm) | SDR 2 mm | images | commit |"
    assert own[2].startswith("| single |")
    assert "Of " not in results_table({"joint": groups["joint"], "adapter": groups["adapter"]}, {})
