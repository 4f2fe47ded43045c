"""Volumes as pictures."""

from __future__ import annotations

import numpy as np
import pytest

from mmlandmark.visualization import style
from mmlandmark.visualization.volume_views import draw_views, flatten


def test_flatten_keeps_the_coordinates_left_in_order():
    volume = np.zeros((3, 4, 5))
    volume[2, 1, 4] = 1  # x 4, y 1, z 2
    for axis, shape, place in ((2, (4, 5), (1, 4)), (1, (3, 5), (2, 4)), (0, (3, 4), (2, 1))):
        plane = flatten(volume, axis)
        assert plane.shape == shape
        assert plane[place] == 1
    assert flatten(volume, 2, at=2.3)[1, 4] == 1
    assert flatten(volume, 2, at=0).max() == 0
    assert flatten(volume, 2, at=99)[1, 4] == 1
    image = np.ones((2, 3))
    assert flatten(image) is image
    with pytest.raises(ValueError, match="expected"):
        flatten(volume, 3)


def orange(view):
    return np.argwhere(np.abs(view.astype(int) - style.PRED_COLOR).max(axis=2) < 50)[:, ::-1].mean(axis=0)


def test_views_have_square_pixels_and_marks_in_place():
    volume = np.zeros((20, 40, 60), np.float32)
    picture = draw_views(volume, pred=np.array([[15, 10, 5]]), spacing=(1, 1, 2), long_side=600)
    # Along z 600 x 400; along y 600 x (20 * 2 * 10); along x 400 x 400; parted by 4 pixels.
    # Below stands a band that names the views.
    assert picture.shape[1:] == (600 + 4 + 600 + 4 + 400, 3)
    assert picture.shape[0] > 400
    picture = picture[:400]
    np.testing.assert_allclose(orange(picture[:, :600]), [154.5, 104.5], atol=0.7)
    np.testing.assert_allclose(orange(picture[:, 604:1204]), [154.5, 109.5], atol=0.7)
    np.testing.assert_allclose(orange(picture[:, 1208:]), [104.5, 109.5], atol=0.7)


def test_a_slice_shows_only_the_points_near_it():
    volume = np.zeros((40, 40, 40), np.uint8)
    points = np.array([[10, 10, 5], [30, 30, 35.0]])
    picture = draw_views(volume, pred=points, at=(20, 20, 5), thickness=3, long_side=400)[:400]
    np.testing.assert_allclose(orange(picture[:, :400]), [104.5, 104.5], atol=0.7)
    assert (np.ptp(picture[:, 404:], axis=2) == 0).all()


def test_missing_points_errors_and_caption():
    gt = np.array([[5, 5, 5], [np.nan] * 3])
    picture = draw_views(
        np.zeros((10, 12, 14), np.int16), gt, gt + 1, spacing=(1, 1, 1), names=["a", "b"], caption="case 1"
    )
    assert picture.dtype == np.uint8
    with pytest.raises(ValueError, match="expected a volume"):
        draw_views(np.zeros((10, 10)))
    with pytest.raises(ValueError, match=r"\(K, 3\)"):
        draw_views(np.zeros((10, 10, 10)), np.zeros((2, 2)))


def test_regions_cast_their_shadow_in_every_view():
    volume = np.zeros((40, 40, 40), np.uint8)
    regions = np.diag([100.0, 36.0, 9.0])[None]  # radii of 10, 6 and 3 voxels
    picture = draw_views(volume, pred=np.array([[20, 20, 20.0]]), regions=regions, long_side=400)[:400]
    for left, radii in ((0, (10, 6)), (404, (10, 3)), (808, (6, 3))):
        view = picture[:, left : left + 400].astype(int)
        yellow = np.argwhere(np.abs(view - style.REGION_COLOR).max(axis=2) < 40)[:, ::-1]
        np.testing.assert_allclose(np.ptp(yellow, axis=0) / 20, radii, atol=0.2)
