"""mmlandmark collect: tables in READMEs are what the records say."""

from __future__ import annotations

import json

import pytest

from mmlandmark.cli import collect, invoke
from mmlandmark.evaluation import tables

README = f"# UNet\n\nWords.\n\n{collect.marks()[0]}\n{collect.marks()[1]}\n\nMore words.\n"


@pytest.fixture
def method(tmp_path):
    folder = tmp_path / "configs" / "unet"
    (folder / "results").mkdir(parents=True)
    (folder / "README.md").write_text(README)
    return folder


def record(folder, config, seed, digest="h", split="s", **metrics):
    data = dict(config=config, seed=seed, config_hash=digest, metrics=metrics, commit="0123456789abcdef")
    data.update(split=dict(images=150, hash=split), machine=dict(cpu="A CPU", gpu=None))
    (folder / "results" / f"{config}_seed{seed}.json").write_text(json.dumps(data))


def call(folder, *arguments):
    return invoke("collect", [str(folder.parent), *arguments])


def rows(folder):
    lines = (folder / "README.md").read_text().splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]


def test_mean_and_deviation_over_seeds(method):
    record(method, "big", 1, mre=1.2, **{"sdr_2mm": 88.0, "sdr_2.5mm": 92.0, "outliers_2mm": 12.0})
    record(method, "big", 0, mre=1.0, **{"sdr_2mm": 90.0, "sdr_2.5mm": 94.0, "outliers_2mm": 10.0})
    record(method, "small", 0, mre=2.0, **{"sdr_2mm": 70.0, "sdr_2.5mm": None})
    assert call(method) == 0
    head, _, big, small = rows(method)
    assert head == ["config", "seeds", "MRE (mm)", "SDR 2 mm", "SDR 2.5 mm", "images", "commit"]
    assert big == ["big", "0, 1", "1.100 ± 0.141", "89.00 ± 1.41", "93.00 ± 1.41", "150", "01234567"]
    assert small == ["small", "0", "2.000", "70.00", "-", "150", "01234567"]
    text = (method / "README.md").read_text()
    assert text.startswith("# UNet\n\nWords.")
    assert text.endswith("More words.\n")
    assert "Tested on A CPU." in text


def test_costs_get_columns(method):
    record(method, "big", 0, mre=1.0)
    (method / "costs").mkdir()
    cost = dict(input=[1, 64, 64], models=3, parameters=2_500_000, machine=dict(cpu="A CPU", gpu=None))
    (method / "costs" / "big.json").write_text(json.dumps(cost))
    assert call(method) == 0
    head, _, big = rows(method)
    assert head[3:7] == ["models", "parameters", "memory (MB)", "time (ms)"]
    assert big[3:7] == ["3", "2.50 M", "-", "-"]


def test_arms_of_a_sweep_stand_against_its_baseline(method):
    readme = method / "README.md"
    begin, end = collect.marks("arms")
    readme.write_text(f"# UNet\n{begin}\n{end}\n")
    (method / "sweeps").mkdir()
    (method / "sweeps" / "arms.py").write_text("arms = dict(none={}, both={})\nbaseline = 'none'\n")
    (method / "results" / "arms").mkdir()
    for name, seed, errors in (
        ("none", 0, [1.0, 2.0, 3.0, 4.0]),
        ("none", 1, [1.2, 2.0, 3.0, 4.0]),
        ("both", 0, [1.0, 1.8, 2.7, 3.6]),
    ):
        data = dict(config=name, seed=seed, config_hash=name, metrics=dict(mre=2.0))
        data.update(split=dict(images=4, hash="s"), image_errors=dict(unit="mm", mean=errors))
        (method / "results" / "arms" / f"{name}_seed{seed}.json").write_text(json.dumps(data))
    assert call(method) == 0
    head, _, none, both = rows(method)
    assert head[3] == "against none, p of t / Wilcoxon"
    assert none[3] == "-"
    # Seed 1 has run with one arm only and is left out. Differences 0, -0.2, -0.3, -0.4: t = -2.635 with 3
    # degrees of freedom; Wilcoxon leaves the zero out, and 2 of 8 signs of three ranks are as one-sided.
    assert both[3] == "-0.225, 0.078 / 0.25"


def test_check_fails_until_written_and_when_someone_types_a_number(method, capsys):
    record(method, "big", 0, mre=1.0, sdr_2mm=90.0)
    before = (method / "README.md").read_text()
    assert call(method, "--check") == 1
    assert "README.md: differs" in capsys.readouterr().err
    assert (method / "README.md").read_text() == before
    assert call(method) == 0
    assert call(method, "--check") == 0
    readme = method / "README.md"
    readme.write_text(readme.read_text().replace("1.000", "0.900"))
    assert call(method, "--check") == 1


def test_a_dirty_tree_is_marked():
    assert tables._commit(dict(commit="0123456789abcdef-dirty")) == "01234567-dirty"
    assert tables._commit(dict(commit="0123456789abcdef")) == "01234567"
    assert tables._commit(dict(commit=None)) == "-"


def test_rows_of_a_sweep_stand_in_its_order(method):
    begin, end = collect.marks("ladder")
    (method / "README.md").write_text(f"{README}\n{begin}\n{end}\n")
    (method / "results" / "ladder").mkdir()
    for name in ("more", "both", "less"):
        record(method, name, 0, mre=1.0)
        source = method / "results" / f"{name}_seed0.json"
        source.rename(method / "results" / "ladder" / ("both.json" if name == "both" else source.name))
    (method / "sweeps").mkdir()
    (method / "sweeps" / "ladder.py").write_text(
        "arms = dict(more={}, less={})\nensembles = dict(both='less')\n"
    )
    assert call(method) == 0
    table = (method / "README.md").read_text().split(begin)[1]
    assert [line.split(" | ")[0] for line in table.splitlines()[3:6]] == ["| more", "| less", "| both"]


def test_paper_of_a_sweep_without_records_is_no_error(method):
    (method / "paper.json").write_text(json.dumps({"table2": {"unet": {"mre": 1.38}}}))
    (method / "sweeps").mkdir()
    (method / "sweeps" / "table2.py").write_text("")
    assert call(method) == 0


def test_paper_has_a_column_of_its_own(method, capsys):
    record(method, "big", 0, mre=1.0, sdr_2mm=90.0)
    (method / "paper.json").write_text(json.dumps({"big": {"mre": 1.12, "sdr_2mm": 88, "source": "table 2"}}))
    assert call(method) == 0
    assert rows(method)[0][4] == "paper"
    assert rows(method)[2][4] == "MRE 1.12, SDR 2 mm 88 (table 2)"
    (method / "paper.json").write_text(json.dumps({"bigger": {"mre": 1.12}}))
    assert call(method) == 1
    assert "bigger" in capsys.readouterr().err


def test_tables_of_the_paper_have_a_page(method, capsys):
    table = {"caption": "All.", "columns": ["Network", "MRE"], "rows": [["FR*", "1.16"]]}
    record(method, "big", 0, mre=1.0)
    paper = {"publication": "A. Author 2020", "big": {"mre": 1.12}, "tables": {"Table 1": table}}
    (method / "paper.json").write_text(json.dumps(paper))
    assert call(method) == 0
    page = method / "PAPER.md"
    assert "**Table 1.** All.\n\n| Network | MRE |\n| --- | ---: |\n| FR* | 1.16 |\n" in page.read_text()
    assert "A. Author 2020" in page.read_text()
    assert rows(method)[2][3] == "MRE 1.12"
    page.write_text(page.read_text().replace("1.16", "1.15"))
    assert call(method, "--check") == 1
    assert "PAPER.md: differs" in capsys.readouterr().err
    paper["tables"]["Table 1"]["rows"].append(["MSFA"])
    (method / "paper.json").write_text(json.dumps(paper))
    assert call(method) == 1
    assert "paper.json: Table 1: row 'MSFA' has 1 cells, expected 2" in capsys.readouterr().err


def test_spine_numbers_and_empty_folder(method):
    assert call(method) == 0
    assert "No results are recorded yet." in (method / "README.md").read_text()
    record(method, "spine", 0, coordinate_mse=0.00171, pearson_rho=0.98)
    assert call(method) == 0
    assert rows(method)[2][2:4] == ["0.00171", "0.9800"]


def test_a_folder_without_results_is_no_success(method):
    with pytest.raises(FileNotFoundError, match="give the folder above those of the methods"):
        call(method / "results")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda m: (m / "results" / "x.json").write_text("{"), "x.json, line 1: not valid JSON"),
        (lambda m: (m / "results" / "x.json").write_text("[]"), "x.json: expected a JSON object"),
        (lambda m: (m / "results" / "x.json").write_text('{"seed": 1}'), "x.json: no config, metrics"),
        (lambda m: record(m, "a", 1, digest="other", mre=1.0), "the config differs"),
        (lambda m: record(m, "a", 1, split="other", mre=1.0), "the test set differs"),
        (
            lambda m: (m / "results" / "x.json").write_text((m / "results" / "a_seed0.json").read_text()),
            "seed 0 is already in",
        ),
        (lambda m: (m / "README.md").write_text("no markers"), "write the lines"),
        (lambda m: (m / "README.md").unlink(), "write the lines"),
    ],
)
def test_bad_records_are_named_and_nothing_is_written(method, capsys, spoil, words):
    record(method, "a", 0, mre=1.0)
    spoil(method)
    readme = method / "README.md"
    before = readme.read_text() if readme.exists() else None
    assert call(method) == 1
    assert words in capsys.readouterr().err
    assert (readme.read_text() if readme.exists() else None) == before


def supersede(folder, by, why="other epochs", seed=0):
    record(folder, "old", seed, mre=3.0 + seed)
    old = folder / "results" / f"old_seed{seed}.json"
    (folder / "results" / "superseded").mkdir(exist_ok=True)
    moved = dict(json.loads(old.read_text()), superseded_by=dict(record=by, why=why))
    (folder / "results" / "superseded" / old.name).write_text(json.dumps(moved))
    old.unlink()


def test_superseded_results_are_listed_with_their_successor(method):
    record(method, "new", 0, mre=1.0)
    for seed in (0, 1):
        supersede(method, "new_seed0.json", seed=seed)
    assert call(method) == 0
    text = (method / "README.md").read_text()
    assert len(rows(method)) == 3  # they are no rows of the table
    assert "- `old`: MRE 3.500 ± 0.707. Superseded by new: other epochs." in text


@pytest.mark.parametrize("by", [dict(by="gone_seed0.json"), dict(by="new_seed0.json", why="")])
def test_a_superseded_result_names_a_successor_that_is_there(method, capsys, by):
    record(method, "new", 0, mre=1.0)
    supersede(method, **by)
    assert call(method) == 1
    assert "old_seed0.json" in capsys.readouterr().err


def test_what_the_images_are_stands_below_the_table(method):
    record(method, "old", 0, mre=1.0)
    record(method, "new", 0, mre=2.0)
    path = method / "results" / "new_seed0.json"
    images = dict(files=150, formats={"JPEG of quality 30": 150}, digest="d1")
    path.write_text(json.dumps(dict(json.loads(path.read_text()), images=images)))
    assert call(method) == 0
    text = (method / "README.md").read_text()
    assert "Images: 150 JPEG of quality 30 (digest d1). 1 older records do not say." in text


def test_images_that_were_trained_on_are_left_out_of_a_column(method):
    record(method, "new", 0, mre=2.0)
    path = method / "results" / "new_seed0.json"
    errors = dict(unit="mm", mean=[1.0, 9.0, 3.0])
    path.write_text(json.dumps(dict(json.loads(path.read_text()), image_errors=errors)))
    overlap = dict(s=dict(positions=[1], images=3, why="films of the training part"))
    (method.parent / "overlaps.json").write_text(json.dumps(overlap))
    assert call(method) == 0
    assert [row[3] for row in (rows(method)[0], rows(method)[2])] == ["MRE of the 2 other images", "2.000"]
    assert "1 of the 3 tested images are films of the training part" in (method / "README.md").read_text()


def test_single_landmarks_of_a_sweep_stand_side_by_side(method, capsys):
    begin, end = collect.marks("arms")
    own = "<!-- landmarks:arms all one:begin -->\nold\n<!-- landmarks:arms:end -->"
    (method / "README.md").write_text(f"# UNet\n{begin}\n{end}\n\n{own}\n\nMore.\n")
    (method / "results" / "arms").mkdir()
    for name, errors in (("one", [1.0, 2.0]), ("all", [3.0, 4.0]), ("other", [5.0, 6.0])):
        data = dict(
            config=name, seed=0, config_hash=name, metrics=dict(mre=2.0), split=dict(images=4, hash="s")
        )
        data["landmark_errors"] = dict(unit="mm", name=["sella", "gonion"], mre=errors, sdr_2=[50.0, 60.0])
        (method / "results" / "arms" / f"{name}_seed0.json").write_text(json.dumps(data))
    assert call(method) == 0
    assert ["landmark", "all", "one"] in rows(method)
    assert ["gonion", "4.00 (60.0)", "2.00 (60.0)"] in rows(method)
    assert "old" not in (method / "README.md").read_text()
    assert call(method, "--check") == 0
    text = (method / "README.md").read_text()
    (method / "README.md").write_text(text.replace("arms all one", "arms al one"))
    assert call(method) == 1
    assert "README.md: landmarks:arms al one names ['al']" in capsys.readouterr().err
    (method / "README.md").write_text(text.replace("<!-- landmarks:arms:end -->", ""))
    assert call(method) == 1
    assert "without its <!-- landmarks:arms:end -->" in capsys.readouterr().err
