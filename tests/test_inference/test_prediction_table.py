"""A prediction as a table."""

from __future__ import annotations

import numpy as np

from mmlandmark.inference.prediction_table import prediction_table
from mmlandmark.structures import LandmarkSchema, MeasuredValue, Prediction, world_matrix

SCHEMA = LandmarkSchema("two", ("nasion", "a|b"))


def made(**kwargs) -> Prediction:
    points = np.array([[12.34, 5.0], [np.nan, np.nan]])
    return Prediction("film", None, (20, 30), SCHEMA, points, np.array([0.876, 0.0]), **kwargs)


def test_pixels_and_scores():
    assert prediction_table(made()).splitlines() == [
        "film (30 x 20 pixels)",
        "",
        "| landmark |    x |   y | score |",
        "| -------- | ---: | --: | ----: |",
        "| nasion   | 12.3 | 5.0 |  0.88 |",
        "| a\\|b     |    - |   - |     - |",
    ]


def test_everything_that_is_known():
    text = prediction_table(
        made(
            world_from_original=world_matrix((0.5, 0.5), (1, 2)),
            presence=np.array([0.99, 0.01]),
            radii={0.95: np.array([2.0, np.nan]), 0.9: np.array([1.5, np.nan])},
            radius_unit="mm",
            reasons=("", "not found"),
            measures=(
                MeasuredValue("ANB", 3.456, "degrees", 0.5, "I", 0.696),
                MeasuredValue("FHI", 0.6543, ""),
                MeasuredValue("MW", np.nan, "mm"),
            ),
        )
    )
    head, _, nasion, _ = text.splitlines()[2:6]
    assert [cell.strip() for cell in head.split("|")[1:-1]] == [
        "landmark", "x", "y", "x mm", "y mm", "score", "present", "90 % radius mm", "95 % radius mm",
        "look at it",
    ]  # fmt: skip
    assert [cell.strip() for cell in nasion.split("|")[1:-1]] == [
        "nasion", "12.3", "5.0", "7.2", "4.5", "0.88", "0.99", "1.5", "2.0", "",
    ]  # fmt: skip
    assert "not found" in text
    assert "| ANB         | 3.46 ± 0.50 | degrees | I (70%) |" in text
    assert "| FHI         |       0.654 |" in text
    assert "| MW          |           - |" in text


def test_radii_without_the_size_of_a_pixel_are_explained():
    radii = {0.9: np.array([np.nan, np.nan])}
    hint = "the image does not say how large a pixel is: give its spacing"
    assert hint in prediction_table(made(radii=radii, radius_unit="mm"))
    known = made(radii=radii, radius_unit="mm", world_from_original=world_matrix((0.5, 0.5)))
    assert hint not in prediction_table(known)
    assert hint not in prediction_table(made(radii=radii))


def test_volumes_have_voxels():
    points, schema = np.array([[1.0, 2, 3]]), LandmarkSchema("one", ("nasion",), 3)
    radii = {0.9: np.array([1.5])}
    one = Prediction(
        "head", None, (10, 20, 30), schema, points, np.ones(1), radii=radii, radius_unit="pixels"
    )
    text = prediction_table(one)
    assert text.startswith("head (30 x 20 x 10 voxels)")
    assert "90 % radius voxels" in text
