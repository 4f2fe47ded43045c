"""Predictions on their images: regions, what is in question, and the frame of the file."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from image_writers import write_nifti
from mmlandmark.inference.overlays import draw_prediction, regions_of
from mmlandmark.structures import LandmarkSchema, Prediction, world_matrix
from mmlandmark.visualization import style

SCHEMA = LandmarkSchema("two", ("left one", "right one"))


def made(image=None, shape=(200, 300), **kwargs) -> Prediction:
    points = np.array([[60.0, 80.0], [220.0, 120.0]])
    return Prediction("film", image, shape, SCHEMA, points, np.ones(2), **kwargs)


def mark_of(picture: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    """Return the (N, 2) pixels of a picture, (x, y), that are nearly of a colour."""
    return np.argwhere(np.abs(picture.astype(int) - color).max(-1) < 30)[:, ::-1]


def test_radii_are_round_in_millimetres():
    flat = made(
        radii={0.9: np.array([2.0, np.nan])}, radius_unit="mm", world_from_original=world_matrix((0.5, 0.2))
    )
    regions = regions_of(flat, 0.9)
    np.testing.assert_allclose(regions[0], np.diag([16.0, 100.0]))  # 4 and 10 pixels
    assert np.isnan(regions[1]).any()
    pixels = made(radii={0.9: np.array([3.0, 4.0])})
    np.testing.assert_allclose(regions_of(pixels, 0.9)[1], np.diag([16.0, 16.0]))
    ellipses = np.stack([np.diag([9.0, 4.0])] * 2)
    assert regions_of(made(radii={0.9: np.ones(2)}, regions={0.9: ellipses}), 0.9) is not None
    np.testing.assert_allclose(
        regions_of(made(radii={0.9: np.ones(2)}, regions={0.9: ellipses}), 0.9), ellipses
    )
    with pytest.raises(ValueError, match=r"no regions of level 0.5, only of \[0.9\]"):
        regions_of(pixels, 0.5)


def test_regions_and_questions_are_drawn_where_they_belong():
    image = np.zeros((200, 300), np.uint8)
    plain = draw_prediction(made(), image)
    sure = draw_prediction(
        made(regions={0.95: np.stack([np.diag([900.0, 100.0]), np.full((2, 2), np.nan)])}), image
    )
    scale = sure.shape[1] / 300
    assert len(mark_of(plain[: int(200 * scale)], style.REGION_COLOR)) == 0
    marks = mark_of(sure[: int(200 * scale)], style.REGION_COLOR) / scale
    np.testing.assert_allclose(marks.mean(0), [60, 80], atol=2)
    np.testing.assert_allclose(np.ptp(marks, axis=0), [60, 20], atol=4)
    asked = draw_prediction(made(reasons=("", "far from where others are")), image)
    rings = mark_of(asked[: int(200 * scale)], style.VERMILLION) / scale
    np.testing.assert_allclose(rings.mean(0), [220, 120], atol=3)
    below = int(200 * scale)
    assert not np.array_equal(asked[below:], plain[below:]), "the band says why"


def test_the_legend_names_regions_only_where_there_are_some():
    """Radii in mm have no size on an image of unknown pixels."""
    image = np.zeros((200, 300), np.uint8)
    plain = draw_prediction(made(), image)
    unknown = draw_prediction(made(radii={0.9: np.ones(2)}, radius_unit="mm"), image)
    assert np.array_equal(unknown, plain)


def test_a_file_is_read_as_stored(tmp_path):
    image = np.zeros((200, 300), np.uint8)
    image[75:86, 55:66] = 255
    path = tmp_path / "film.png"
    assert cv2.imwrite(str(path), image)
    assert np.array_equal(draw_prediction(made(str(path))), draw_prediction(made(), image))
    with pytest.raises(
        ValueError, match=r"'film': the image has shape \(200, 300\), but the predicted one had"
    ):
        draw_prediction(made(str(path), shape=(300, 200)))
    with pytest.raises(ValueError, match="give the image to draw it on"):
        draw_prediction(made())
    with pytest.raises(FileNotFoundError):
        draw_prediction(made(str(tmp_path / "gone.png")))


def test_a_volume_is_drawn_in_the_patients_axes(tmp_path):
    """A volume that is stored from head to feet is turned, and its landmark with it."""
    schema = LandmarkSchema("one", ("a",), dims=3)
    volume = np.zeros((20, 30, 40), np.uint8)
    volume[3, 8, 10] = 255
    world = world_matrix((1.0, 1.0, 2.0), direction=np.diag([1.0, 1.0, -1.0]))
    write_nifti(tmp_path / "v.nii", volume, None, world)
    regions = {0.9: np.stack([np.diag([25.0, 25.0, 4.0])])}
    prediction = Prediction(
        "v", str(tmp_path / "v.nii"), volume.shape, schema, np.array([[10.0, 8.0, 3.0]]), np.ones(1),
        world_from_original=world, regions=regions,
    )  # fmt: skip
    picture = draw_prediction(prediction)
    upright = draw_prediction(
        Prediction("v", None, volume.shape, schema, np.array([[10.0, 8.0, 16.0]]), np.ones(1),
                   world_from_original=world_matrix((1.0, 1.0, 2.0)), regions=regions),
        volume[::-1],
    )  # fmt: skip
    assert np.array_equal(picture, upright)
    assert len(mark_of(picture, style.REGION_COLOR)) > 50
