"""Predictions as tables."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from mmlandmark.datasets import LandmarkDataset
from mmlandmark.datasets.values import is_text_number
from mmlandmark.inference import write_predictions
from mmlandmark.structures import LandmarkSchema, Prediction
from test_inference.predictions import error_in_mm, random_frame, random_prediction, schema_of


def rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("named", [False, True], ids=["header", "schema"])
@pytest.mark.parametrize("dims", [2, 3])
def test_a_dataset_reads_predictions_as_they_are(tmp_path, dims, named):
    rng = np.random.default_rng(dims)
    schema = schema_of(dims)
    every = [random_prediction(rng, schema, f"case, {n}") for n in range(20)]
    write_predictions(every, schema, tmp_path / "a.csv", "csv")
    data = LandmarkDataset(str(tmp_path / "a.csv"), missing_images="keep", schema=schema if named else None)
    assert data.schema.landmarks == schema.landmarks
    assert data.schema.dims == dims
    for one, record in zip(every, data.load_records(), strict=True):
        assert record["sample_id"] == one.sample_id
        assert record["img_path"] == one.image
        assert record["ori_shape"] == one.shape
        assert error_in_mm(one, record["landmarks"]) < 1e-5
        assert record.get("visibility") is None  # no person has said anything
        np.testing.assert_allclose(record["spacing"], one.spacing, rtol=1e-12)


def test_header_with_units(tmp_path):
    schema = LandmarkSchema("two", ("sella", "nasion"))
    one = random_prediction(np.random.default_rng(0), schema, world_from_original=None)
    write_predictions([one], schema, tmp_path / "a.csv", "csv")
    assert list(rows(tmp_path / "a.csv")[0]) == [
        *("id", "image", "width [px]", "height [px]", "flagged"),
        *("sella_x [px]", "sella_y [px]", "nasion_x [px]", "nasion_y [px]"),
        *("sella score", "nasion score", "sella presence", "nasion presence"),
        *("sella radius 90 % [mm]", "nasion radius 90 % [mm]"),
        *("sella radius 95 % [mm]", "nasion radius 95 % [mm]"),
        *("nasion reason", "measure ANB [degrees]", "measure ANB std [degrees]", "measure ANB class"),
        "measure d [mm]",
    ]


def test_a_mixture_of_films_slices_and_arrays_has_one_header(tmp_path):
    rng = np.random.default_rng(1)
    schema = LandmarkSchema("two", ("sella", "nasion"))
    film = random_prediction(rng, schema, "film")
    section = random_prediction(rng, schema, "section", world_from_original=random_frame(rng, 2, 3))
    bare = Prediction("bare", None, (8, 9), schema, np.array([[1.5, 2], [3, 4]]), np.ones(2))
    write_predictions([bare, film, section], schema, tmp_path / "a.csv", "csv")
    table = {row["id"]: row for row in rows(tmp_path / "a.csv")}
    assert table["bare"]["sella_x [px]"] == "1.5"
    assert table["bare"]["sella_x [mm]"] == table["bare"]["nasion presence"] == ""
    assert table["film"]["nasion_z [mm]"] == ""
    assert float(table["section"]["nasion_z [mm]"]) == pytest.approx(section.world_points[1, 2], abs=1e-5)
    assert table["film"]["flagged"] == "nasion"
    assert table["film"]["nasion reason"] == 'far, from "all"; others'
    data = LandmarkDataset(str(tmp_path / "a.csv"), missing_images="keep")
    assert [record["sample_id"] for record in data.load_records()] == ["bare", "film", "section"]


@pytest.mark.parametrize("text", ["=1+cmd|'/C calc'!A0", "+1", "-2", "@SUM(A1)", "'=1", "'quoted'"])
def test_text_is_no_formula_and_comes_back(tmp_path, text):
    schema = LandmarkSchema("two", (text, "nasion"))
    one = random_prediction(
        np.random.default_rng(0), schema, text, image=f"{text}.png", reasons=("-far", text)
    )
    write_predictions([one], schema, tmp_path / "a.csv", "csv")
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    formulas = [cell for cell in cells if cell[:1] in tuple("=+-@") and not is_text_number(cell)]
    assert not formulas
    data = LandmarkDataset(str(tmp_path / "a.csv"), missing_images="keep")
    (record,) = data.load_records()
    assert data.schema.landmarks == schema.landmarks
    assert (record["sample_id"], record["img_path"]) == (text, f"{text}.png")
    assert error_in_mm(one, record["landmarks"]) < 1e-5


def test_an_empty_answer_has_the_columns_of_its_landmarks(tmp_path):
    assert write_predictions([], LandmarkSchema("x", ("a",)), tmp_path / "a.csv", "csv") == 0
    assert (tmp_path / "a.csv").read_text() == "id,a_x [px],a_y [px]\n"


def test_a_name_that_a_table_does_not_keep(tmp_path):
    schema = LandmarkSchema("two", ("sella", " nasion"))
    one = random_prediction(np.random.default_rng(0), schema)
    with pytest.raises(ValueError, match=r"predictions.csv: landmark ' nasion' begins with a blank"):
        write_predictions([one], schema, tmp_path / "a.csv", "csv")
