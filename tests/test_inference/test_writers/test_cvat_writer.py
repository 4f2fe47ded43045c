"""Predictions as XML of CVAT."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from mmlandmark.inference import write_predictions
from mmlandmark.structures import LandmarkSchema, Prediction
from test_inference.predictions import NAMES, random_prediction, schema_of


def test_what_cvat_reads(tmp_path):
    """The attributes that its importer asks for, and coordinates from the corner of the image."""
    schema = schema_of(2)
    one = random_prediction(np.random.default_rng(0), schema, 'a "film" & more')
    bare = Prediction("bare", None, (8, 9), schema, np.full((len(schema), 2), np.nan), np.zeros(len(schema)))
    write_predictions([one, bare], schema, tmp_path / "a.xml", "cvat")
    root = ElementTree.parse(tmp_path / "a.xml").getroot()
    assert root.tag == "annotations"
    assert root.findtext("version") == "1.1"
    labels = [(label.findtext("name"), label.findtext("type")) for label in root.iter("label")]
    assert labels == [(name, "points") for name in NAMES]
    image, empty = root.findall("image")
    height, width = one.shape
    assert image.attrib == dict(id="0", name=one.image, width=str(width), height=str(height))
    assert empty.attrib["name"] == "bare"
    assert len(empty) == 0
    found = [NAMES[k] for k in one.found.nonzero()[0]]
    assert [points.attrib["label"] for points in image] == found
    for points in image:
        assert set(points.attrib) == {"label", "source", "occluded", "points", "z_order"}
        place = np.array(points.attrib["points"].split(","), dtype=float) - 0.5
        np.testing.assert_allclose(place, one[points.attrib["label"]], atol=1e-6)
    flagged = next(p for p in image if p.attrib["label"] == NAMES[1])
    assert [a.attrib["name"] for a in flagged] == ["score", "reason"]
    assert flagged.findall("attribute")[1].text == one.reasons[1]


def test_control_letters_do_not_end_the_file(tmp_path):
    schema = LandmarkSchema("two", ("sella", "nasion"))
    one = Prediction(
        "a", "films/x\x01.png", (8, 9), schema, np.ones((2, 2)), np.ones(2), reasons=("odd \x0c here", "")
    )
    write_predictions([one], schema, tmp_path / "a.xml", "cvat")
    (image,) = ElementTree.parse(tmp_path / "a.xml").getroot().findall("image")
    assert image.attrib["name"] == "films/x\ufffd.png"
    assert [points.attrib["label"] for points in image] == ["sella", "nasion"]
    assert image[0].findall("attribute")[1].text == "odd \ufffd here"


def test_a_volume_is_refused(tmp_path):
    schema = LandmarkSchema("x", ("a",), 3)
    with pytest.raises(
        ValueError, match=r"holds points of 2 coordinates, and landmarks 'x' have 3; write json"
    ):
        write_predictions([], schema, tmp_path / "a.xml", "cvat")
