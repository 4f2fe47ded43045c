"""paper.json: every table of every publication, as printed."""

# ruff: noqa: RUF001  publications print the multiplication sign and Greek letters

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from mmengine.config import Config

from mmlandmark.evaluation import published_page, read_published
from mmlandmark.utils.files import read_json

CONFIGS = Path(__file__).parents[2] / "configs"
PAPERS = {folder.parent.name: read_published(folder) for folder in CONFIGS.glob("*/paper.json")}

WIDEST = "SDR (%), r = 4 mm"
# Of every table: rows, columns, and cells read off the page, (row, column) -> text.
PRINTED = {
    ("farnet", "Table 1"): (6, 6, {("ResNet-152", "MRE"): "1.29", ("DenseNet-121", "4mm"): "98.48"}),
    ("farnet", "Table 2"): (8, 6, {("MSFA+FR*", "2mm"): "86.91", ("MSFA+FR+AW", "MRE"): "1.15"}),
    ("farnet", "Table 3"): (
        8,
        12,
        {
            ("Ibragimov et al.[20]", "Test2 data MRE"): "-",
            ("Zhong et al.[38]", "Input size"): "968 × 968",
            ("FARNet(Our)", "Test2 data 2mm"): "77.00",
            ("FARNet(Our)", "Test2 data MRE"): "1.42",
        },
    ),
    ("farnet", "Table 4"): (
        6,
        6,
        {("FARNet(Our)", "MRE ± Std(mm)"): "0.62 ± 0.55", ("FARNet(Our)", "10 mm(%)"): "100"},
    ),
    ("farnet", "Table 5"): (
        4,
        3,
        {("BoostNet[33]", "MSE(fraction of image)"): "0.0046", ("SVR[27]", "ρ"): "0.93"},
    ),
    ("fsf_ld", "Table 1"): (
        4,
        13,
        {
            ("HRNet", "Test2, MRE (mm)"): "4.1372",
            ("UNet4", "FLOPs(G)"): "19.9375",
            ("SEG-UNet5", "Total Parameters"): "46,022,154",
        },
    ),
    ("fsf_ld", "Table 2"): (4, 13, {("HRNet", f"Test1, {WIDEST}"): "48.2", ("UNet5", "GFLOPs"): "103.78125"}),
    ("fsf_ld", "Table 3"): (
        4,
        13,
        {("HRNet", "Test2, MRE (mm)"): "72.8118", ("SEG-UNet5", "Test2, SDR (%), r = 2 mm"): "74.0"},
    ),
    ("fsf_ld", "Table 4"): (
        6,
        12,
        {
            ("UNet5 / FSF-LD(ours)", "Test1, MRE (mm)"): "2.5480",
            ("SEG-UNet5 / FSF-LD(ours)", f"Test2, {WIDEST}"): "98.1",
        },
    ),
    ("fsf_ld", "Table 5"): (
        6,
        12,
        {
            ("- / UNet-4", "Test1, MRE (mm)"): "2.1110",
            ("SEG-UNet5 / Fast-KD [12]", f"Test1, {WIDEST}"): "90.6",
        },
    ),
    ("fsf_ld", "Table 6"): (
        6,
        12,
        {
            ("- / UNet-4", "Test1, MRE (mm)"): "3.5213",
            ("UNet5 / Fast-KD [12]", "Test1, MRE (mm)"): "2.2899",
            ("SEG-UNet5 / FSF-LD(ours)", "Test2, MRE (mm)"): "1.9798",
        },
    ),
    ("spatial_configuration", "Table 1"): (4, 2, {("Number of images", "Digital Hand Atlas"): "895"}),
    ("spatial_configuration", "Table 2"): (6, 6, {("Kang et al. [37]", "EDR (%), >10 mm"): "0.02%"}),
    ("spatial_configuration", "Table 3"): (4, 6, {("U-Net", "PE (mm), SD"): "±0.85"}),
    ("spatial_configuration", "Table 4"): (
        5,
        6,
        {("20", "PE (mm), Mean"): "0.65", ("1", "EDR (%), >2 mm"): "3.74%"},
    ),
    ("spatial_configuration", "Table 5"): (
        8,
        6,
        {("1 × 10⁰", "EDR (%), >4 mm"): "4.85%", ("1 × 10⁻¹⁰", "PE (mm), Mean"): "0.67"},
    ),
    ("self_training", "Table 1, Cephalogram dataset"): (
        15,
        6,
        {("Li et al. [12]", "∞r in %, 2 mm"): "16.27", ("AFPF-RV+ours‡", "MRE(SD)"): "1.19(0.91)"},
    ),
    ("self_training", "Table 1, Hand X-ray dataset"): (
        14,
        5,
        {("Payer et al. [9]", "∞r in %, 10 mm"): "3(0.01)", ("U-Net+ours‡", "MRE(SD)"): "0.62(0.42)"},
    ),
    ("self_training", "Table 1, Head CBCT dataset"): (
        8,
        5,
        {("3D U-Net+TS‡ [17]", "∞r in %, 4 mm"): "154(15.06)", ("SCN+ours‡", "MRE(SD)"): "2.49(1.56)"},
    ),
    ("self_training", "Table 2, Cephalogram dataset"): (
        4,
        5,
        {("U-Net†", "20"): "1.74(1.61)", ("AFPF-RV", "100"): "1.36(1.44)"},
    ),
    ("self_training", "Table 2, Hand X-ray dataset"): (4, 4, {("Modified U-Net†", "50%"): "0.68(0.50)"}),
    ("self_training", "Table 2, Head CBCT dataset"): (4, 3, {("SCN", "50%"): "2.82(1.70)"}),
    ("one_shot", "Table 1"): (
        9,
        7,
        {
            ("SAM [22]", "SDR(%), 2mm"): "54.11",
            ("C-ATD(ours)", "MRE(↓) (mm)"): "1.79",
            ("C-F2(ours)", "Model Count"): "3",
        },
    ),
    ("one_shot", "Table 2"): (
        20,
        9,
        {("10", "CC2D MRE"): "4.19", ("15", "C-ATD SDR(2mm)"): "50.0", ("Mean", "C-F2 SDR(2mm)"): "70.5"},
    ),
    ("one_shot", "Table 3"): (
        7,
        7,
        {
            ("CA / 32", "SDR(%), 2mm"): "68.21",
            ("CC2D's channels / +16×19", "MRE(↓) (mm)"): "2.02",
        },
    ),
    ("self_training", "Figure 6"): (5, 2, {("w/o SR", "MRE (mm)"): "0.9117"}),
    ("self_training", "Figure 7"): (3, 2, {("U-300", "Relative improvement"): "5.8%"}),
}


def test_all_tables_exist():
    assert {(paper, name) for paper, (_, tables) in PAPERS.items() for name in tables} == set(PRINTED)


@pytest.mark.parametrize("key", PRINTED, ids=" ".join)
def test_cells_are_as_printed(key):
    paper, name = key
    table, (rows, columns, cells) = PAPERS[paper][1][name], PRINTED[key]
    assert (len(table.rows), len(table.columns)) == (rows, columns)
    assert {place: table.cell(*place) for place in cells} == cells
    assert all(
        isinstance(cell, str) and cell == cell.strip() != "" for row in table.rows.values() for cell in row
    )
    with pytest.raises(KeyError, match=r"has no cell .*nobody"):
        table.cell("nobody", table.columns[0])


@pytest.mark.parametrize("key", PRINTED, ids=" ".join)
def test_rates_increase_with_the_radius(key):
    """Success rates increase with the radius; a wrong digit would often violate that."""
    table = PAPERS[key[0]][1][key[1]]
    for name, cells in table.rows.items():
        groups: dict[str, list[tuple[float, float]]] = {}
        for column, cell in zip(table.columns, cells, strict=True):
            radius = re.search(r"(>?)\s*([\d.]+) ?mm", column)
            shown = re.fullmatch(
                r"\d+\(([\d.]+)\)|([\d.]+)%?", cell
            )  # a count and its percentage, or that alone
            if radius and shown:
                rate = float(shown[1] or shown[2])
                part = column[: radius.start(1)].replace("r = ", "")
                outliers = radius[1] or "\N{INFINITY}" in column
                groups.setdefault(part, []).append((float(radius[2]), 100 - rate if outliers else rate))
        for rates in groups.values():
            assert [r for _, r in sorted(rates)] == sorted(r for _, r in rates), name


# Slips that only a comparison with other parts of the publication shows.
def test_slips_are_marked():
    marked = {
        (paper, name, slip.row, column)
        for paper, (_, tables) in PAPERS.items()
        for name, table in tables.items()
        for slip in table.slips
        for column in slip.columns
    }
    fsf_ld = PAPERS["fsf_ld"][1]
    # The same network on the same films, in two tables.
    for first, second in (("Table 1", "Table 4"), ("Table 2", "Table 5"), ("Table 3", "Table 6")):
        for row in ("HRNet", "UNet4"):
            other = "- / " + row.replace("UNet4", "UNet-4")
            for column in fsf_ld[second].columns[2:]:
                if fsf_ld[first].cell(row, column) != fsf_ld[second].cell(other, column):
                    assert {("fsf_ld", first, row, column), ("fsf_ld", second, other, column)} <= marked
    for name in ("Table 2", "Table 3"):  # other numbers of landmarks, the same counts
        for row in ("UNet4", "UNet5", "SEG-UNet5"):
            assert fsf_ld[name].cell(row, "Total Parameters") == fsf_ld["Table 1"].cell(
                row, "Total Parameters"
            )
            assert ("fsf_ld", name, row, "Total Parameters") in marked
    assert fsf_ld["Table 3"].cell("UNet5", "GFLOPs") == fsf_ld["Table 2"].cell("UNet5", "GFLOPs")
    assert ("fsf_ld", "Table 3", "UNet5", "GFLOPs") in marked
    assert fsf_ld["Table 2"].rows["SEG-UNet5"][6:10] == fsf_ld["Table 1"].rows["SEG-UNet5"][6:10]
    assert ("fsf_ld", "Table 2", "SEG-UNet5", "Test2, SDR (%), r = 2 mm") in marked
    assert ("spatial_configuration", "Table 5", "1 × 10⁻³", "PE (mm), Mean") in marked


def test_means_over_landmarks_are_those_of_the_methods():
    """The last row of table 2 is the mean of the others, and that of the methods in table 1."""
    tables = PAPERS["one_shot"][1]
    landmarks = [cells for name, cells in tables["Table 2"].rows.items() if name != "Mean"]
    methods = dict(
        zip(("CC2D [24]", "FM-OSD(fine) [13]", "C-ATD(ours)", "C-F2(ours)"), (1, 3, 5, 7), strict=True)
    )
    for name, column in methods.items():
        for offset, of, digits in ((0, "MRE(↓) (mm)", 2), (1, "SDR(%), 2mm", 1)):
            mean = sum(float(cells[column + offset]) for cells in landmarks) / len(landmarks)
            printed = tables["Table 2"].rows["Mean"][column + offset]
            assert abs(mean - float(printed)) < 0.51 * 10**-digits + 1e-2
            assert abs(float(printed) - float(tables["Table 1"].cell(name, of))) < 0.51 * 10**-digits


def published_numbers():
    for paper, (numbers, tables) in PAPERS.items():
        for name, values in numbers.items():
            for row, metrics in values.items() if "source" not in values else [(name, values)]:
                yield pytest.param(metrics, tables, id=f"{paper} {name} {row}")


@pytest.mark.parametrize(("metrics", "tables"), list(published_numbers()))
def test_published_numbers_are_those_of_a_row(metrics, tables):
    """They are from one row of the named table; an MRE may be rounded, a rate 100 minus the printed one."""
    table = tables[max((name for name in tables if metrics["source"].startswith(name)), key=len)]
    wanted = {key: value for key, value in metrics.items() if key != "source"}
    assert any(
        all(_matches(key, value, cells, _of_outliers(table)) for key, value in wanted.items())
        for cells in table.rows.values()
    )


@pytest.mark.parametrize(
    ("paper", "name"), [(paper, name) for paper, (numbers, _) in PAPERS.items() for name in numbers]
)
def test_published_numbers_are_of_configs_and_arms(paper, name):
    sweep = CONFIGS / paper / "sweeps" / f"{name}.py"
    if sweep.is_file():
        assert set(PAPERS[paper][0][name]) <= set(Config.fromfile(sweep).arms)
    else:
        assert (CONFIGS / paper / f"{name}.py").is_file()


def _of_outliers(table):
    cells = [cell for row in table.rows.values() for cell in row]
    return any(cell.endswith("%") for cell in cells) or any("\N{INFINITY}" in name for name in table.columns)


def _matches(key, value, cells, outliers):
    # "1.44(1.18)": a mean and its deviation, "159(0.48)": a count and its percentage
    shown = [re.fullmatch(r"([\d.]+)%?(?:\(([\d.-]+)\))?", c) for c in cells]
    counted = [m[2] for m in shown if m and m[2] and "." not in m[1]]
    means = [m[1] for m in shown if m and (m[2] is None or "." in m[1])]
    numbers = [float(n) for n in (counted + means if key.startswith("sdr") else means)]
    if key.startswith("sdr") and outliers:
        numbers = [100 - n for n in numbers]
    digits = len(str(value).partition(".")[2])
    return any(abs(round(n, digits) - value) < 1e-9 for n in numbers)


@pytest.mark.parametrize("folder", [p.parent for p in CONFIGS.glob("*/paper.json")], ids=lambda f: f.name)
def test_pages_are_up_to_date(folder):
    assert (folder / "PAPER.md").read_text(encoding="utf-8") == published_page(folder / "paper.json")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (dict(caption=""), r"Table 1 lacks \['caption'\]"),
        (dict(footnote="x"), r"unknown keys \['footnote'\]"),
        (dict(columns=["A", "A"]), "two columns share a name"),
        (dict(rows=[["x", "1"], ["x", "2"]]), "two rows are named 'x'"),
        (dict(rows=[["x"]]), "row 'x' has 1 cells, expected 2"),
        (dict(slips=[dict(row="y", columns=["A"], note="")]), "a slip names row 'y'"),
        (dict(slips=[dict(row="x", columns=["C"], note="")]), r"columns \['C'\], which do not exist"),
    ],
)
def test_bad_tables_are_named(tmp_path, change, words):
    table = dict(caption="All.", columns=["A", "B"], rows=[["x", "1"]]) | change
    path = tmp_path / "paper.json"
    path.write_text(json.dumps(dict(publication="P", tables={"Table 1": table})))
    with pytest.raises(ValueError, match=words):
        read_published(path)


def test_a_page_marks_slips_and_names_the_publication(tmp_path):
    assert read_published(tmp_path / "none.json") == ({}, {})
    slip = dict(row="x", columns=["B"], note="Is 2.")
    table = dict(caption="All.", columns=["A", "B"], rows=[["x", "1"]], slips=[slip])
    path = tmp_path / "paper.json"
    path.write_text(json.dumps(dict(tables={"Table 1": table})))
    with pytest.raises(ValueError, match="'publication' must name"):
        published_page(path)
    path.write_text(json.dumps(dict(read_json(path), publication="P")))
    assert "| x | 1<sup>1</sup> |\n\n1. x: Is 2." in published_page(path)
