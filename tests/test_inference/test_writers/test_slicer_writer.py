"""Predictions as markups of 3D Slicer."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from mmlandmark.inference import write_predictions
from mmlandmark.structures import LandmarkSchema, Prediction, world_matrix
from test_inference.predictions import NAMES, random_frame, random_prediction, schema_of

SCHEMA = LandmarkSchema("two", ("a", "b"))


def written(tmp_path, one, name="a.mrk.json"):
    write_predictions([one], one.schema, tmp_path, "slicer")
    return json.loads((tmp_path / name).read_text(encoding="utf-8"))


def places(document):
    return [point.get("position") for point in document["markups"][0]["controlPoints"]]


def bare(points, world=None, shape=(20, 30)):
    points = np.array(points, dtype=float)
    schema = LandmarkSchema("two", ("a", "b"), len(shape))
    return Prediction("a", None, shape, schema, points, np.ones(2), world_from_original=world)


def test_what_slicer_asks_for(tmp_path):
    """Checked against the published schema 1.0.3: types, enumerations, lengths."""
    one = random_prediction(np.random.default_rng(0), schema_of(3))
    document = written(tmp_path, one)
    assert set(document) == {"@schema", "markups"}
    assert re.fullmatch(r".*markups-schema-v1\.0\.3\.json#", document["@schema"])
    (markup,) = document["markups"]
    assert (markup["type"], markup["coordinateSystem"], markup["coordinateUnits"]) == (
        "Fiducial",
        "LPS",
        "mm",
    )
    assert [point["label"] for point in markup["controlPoints"]] == list(NAMES)
    for k, point in enumerate(markup["controlPoints"]):
        assert isinstance(point["id"], str)
        assert isinstance(point["description"], str)
        assert all(isinstance(point[key], bool) for key in ("selected", "locked", "visibility"))
        assert point["positionStatus"] == ("defined" if one.found[k] else "undefined")
        if one.found[k]:
            np.testing.assert_allclose(point["position"], one.world_points[k], atol=1e-6)
        else:
            assert "position" not in point


def test_the_world_of_a_slice_a_film_and_a_bare_image(tmp_path):
    points = [[1, 2], [np.nan] * 2]
    section = bare(points, random_frame(np.random.default_rng(0), 2, 3))
    np.testing.assert_allclose(places(written(tmp_path, section))[0], section.world_points[0], atol=1e-6)
    film = bare(points, world_matrix((0.1, 0.2), (5, 6)))
    assert places(written(tmp_path, film)) == [[5.1, 6.4, 0.0], None]
    assert places(written(tmp_path, bare(points))) == [[1.0, 2.0, 0.0], None]
    assert places(written(tmp_path, bare([[1, 2, 3], [4, 5, 6]], shape=(9, 9, 9)))) == [[1, 2, 3], [4, 5, 6]]


def test_the_description_tells_a_person_what_to_look_at(tmp_path):
    one = Prediction(
        "a", None, (20, 30), SCHEMA, np.array([[1, 2], [np.nan] * 2]), np.array([0.123456, 0]),
        presence=np.array([0.99, 0.01]), radii={0.9: np.array([1.25, np.nan])}, radius_unit="mm",
        reasons=("far off", ""),
    )  # fmt: skip
    descriptions = [p["description"] for p in written(tmp_path, one)["markups"][0]["controlPoints"]]
    assert descriptions == [
        "score 0.123; presence 0.99; 90 % within 1.25 mm; look: far off",
        "probably absent; presence 0.01",
    ]


@pytest.mark.parametrize(
    ("sample_id", "name"),
    [
        ("a", "a.mrk.json"),
        ("sub/a b", "sub/a b.mrk.json"),
        ("Größe", "Größe.mrk.json"),
        ("film (1), l'un & [2]~", "film (1), l'un & [2]~.mrk.json"),
        ("nai\u0308ve", "nai\u0308ve.mrk.json"),
        ("con", "_con~1143da2bc5.mrk.json"),
    ],
)
def test_names_of_files(tmp_path, sample_id, name):
    one = random_prediction(np.random.default_rng(0), SCHEMA, sample_id)
    assert written(tmp_path, one, name)["markups"]


@pytest.mark.parametrize("sample_id", ["../a", "/tmp/a", "..", "a/../../b", "a:b", ""])
def test_no_id_leads_out_of_the_folder(tmp_path, sample_id):
    one = random_prediction(np.random.default_rng(0), SCHEMA, sample_id)
    write_predictions([one], SCHEMA, tmp_path / "in", "slicer")
    assert len(list((tmp_path / "in").rglob("*.mrk.json"))) == 1
    assert list(tmp_path.iterdir()) == [tmp_path / "in"]
