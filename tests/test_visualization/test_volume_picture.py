"""Volumes with their landmarks: projections, slices, and every landmark in slices of its own."""

from __future__ import annotations

import numpy as np
import pytest

from mmlandmark.structures import resize_matrix, world_matrix
from mmlandmark.visualization import VolumeHeat, VolumePicture, style

BELOW_TITLE = 30


def places(view, color):
    """Return the (N, 2) pixels of a picture that are nearly of a colour, below its title."""
    near = np.abs(view.astype(int) - color).max(axis=2) < 50
    near[:BELOW_TITLE] = False
    return np.argwhere(near)[:, ::-1]


def orange(view):
    return places(view, style.PRED_COLOR).mean(axis=0)


def test_views_have_square_pixels_and_marks_in_place():
    volume = np.zeros((20, 40, 60), np.float32)
    picture = VolumePicture(volume, pred=np.array([[15, 10, 5]]), spacing=(1, 1, 2)).views(long_side=600)
    # Along z 600 x 400; along y 600 x (20 * 2 * 10); along x 400 x 400; parted by 4 pixels.
    assert picture.shape == (400, 600 + 4 + 600 + 4 + 400, 3)
    np.testing.assert_allclose(orange(picture[:, :600]), [154.5, 104.5], atol=0.7)
    np.testing.assert_allclose(orange(picture[:, 604:1204]), [154.5, 109.5], atol=0.7)
    np.testing.assert_allclose(orange(picture[:, 1208:]), [104.5, 109.5], atol=0.7)


def test_with_a_frame_the_head_is_up():
    volume = np.zeros((40, 40, 40), np.uint8)
    given = dict(volume=volume, pred=np.array([[20, 20, 30]]))
    as_stored = VolumePicture(**given).views(long_side=400)
    upright = VolumePicture(**given, world_from_volume=world_matrix((1.0, 1, 1))).views(long_side=400)
    assert orange(as_stored[:, 404:804])[1] == pytest.approx(304.5, abs=1)
    assert orange(upright[:, 404:804])[1] == pytest.approx(94.5, abs=1)
    assert orange(upright[:, :400])[1] == pytest.approx(orange(as_stored[:, :400])[1])
    assert len(places(upright, style.EDGE_COLOR)) > 0 == len(places(as_stored, style.EDGE_COLOR))


def test_a_slice_shows_only_the_points_near_it():
    volume = np.zeros((40, 40, 40), np.uint8)
    points = np.array([[10, 10, 5], [30, 30, 35.0]])
    picture = VolumePicture(volume, pred=points).views((20, 20, 5), thickness=3, long_side=400)
    np.testing.assert_allclose(orange(picture[:, :400]), [104.5, 104.5], atol=0.7)
    assert (np.ptp(picture[BELOW_TITLE:, 404:], axis=2) == 0).all()
    flat = VolumePicture(volume, pred=points, spacing=(1, 1, 5))  # 3 mm are less than a voxel along z
    assert not len(places(flat.views((20, 20, 6), thickness=3, long_side=400)[:, :80], style.PRED_COLOR))


def test_slices_have_the_window_of_the_volume():
    volume = np.full((10, 10, 10), 40, np.int16)
    volume[5:], volume[0, 0, 0] = 80, 3000
    picture = VolumePicture(volume, window=(0, 160)).views((5, 5, 2), long_side=100)
    assert picture[50, 50, 0] == 64
    assert VolumePicture(volume, window=(0, 160)).views((5, 5, 7), long_side=100)[50, 50, 0] == 128


def test_regions_cast_their_shadow_in_every_view():
    volume = np.zeros((40, 40, 40), np.uint8)
    regions = np.diag([100.0, 36.0, 9.0])[None]  # radii of 10, 6 and 3 voxels
    picture = VolumePicture(volume, pred=np.array([[20, 20, 20.0]]), regions=regions).views(long_side=400)
    for left, radii in ((0, (10, 6)), (404, (10, 3)), (808, (6, 3))):
        yellow = places(picture[:, left : left + 400], style.REGION_COLOR)
        np.testing.assert_allclose(np.ptp(yellow, axis=0) / 20, radii, atol=0.2)


def test_every_landmark_gets_three_slices_around_it():
    volume = np.zeros((40, 40, 40), np.uint8)
    gt = np.array([[20.0, 20, 20], [np.nan] * 3, [5, 30, 10]])
    picture = VolumePicture(volume, gt, gt + np.array([2.0, 0, 0]), spacing=(1, 1, 1), names=["a", "b", "c"])
    side = (1800 - 24) // 3 // 3 - 2
    sheet = picture.slices(extent=20)
    assert sheet.shape == (side + 20, 2 * (3 * side + 4) + 12, 3)
    axial = sheet[20 : 20 + side, :side]
    ring = places(axial, style.GT_COLOR).mean(axis=0)
    np.testing.assert_allclose(ring, [(side - 1) / 2] * 2, atol=1)
    np.testing.assert_allclose(orange(axial) - ring, [2 * side / 20, 0], atol=1)
    assert len(places(sheet[20:, 2 * side + 4 : 3 * side + 4], style.GT_COLOR)), "sagittal: along the error"
    assert picture.slices([1]) is None
    assert picture.slices([2]).shape[1] == 3 * side + 4


def test_slices_show_the_whole_error():
    volume = np.zeros((100, 100, 100), np.uint8)
    gt = np.array([[50.0, 50, 50]])
    sheet = VolumePicture(volume, gt, gt + np.array([30.0, 0, 0])).slices(extent=10)
    side = (1800 - 24) // 3 // 3 - 2
    assert len(places(sheet[:, :side], style.PRED_COLOR)) > 10


def test_of_many_landmarks_the_worst_are_shown():
    rng = np.random.default_rng(0)
    gt = rng.uniform(5, 25, (60, 3))
    errors = np.arange(60.0)
    picture = VolumePicture(np.zeros((30, 30, 30), np.uint8), gt, gt + 1, errors=errors, highlight=[3])
    assert picture._chosen(None) == [3, *range(13, 60)]
    assert picture._chosen([7, 2]) == [7, 2]
    few = VolumePicture(np.zeros((30, 30, 30), np.uint8), gt[:40])
    assert few._chosen(None) == list(range(40))


def test_heat_lies_where_its_landmark_is():
    """A map of another size, blended over a projection, a slice and the slices of its landmark alone."""
    volume = np.zeros((40, 40, 40), np.uint8)
    maps = np.zeros((2, 20, 20, 20), np.float32)
    maps[0, 5, 10, 15], maps[1, 15, 10, 5] = 1, 1
    heat = VolumeHeat(maps, resize_matrix((40, 40, 40), (20, 20, 20)))
    gt = np.array([[30.5, 20.5, 10.5], [10.5, 20.5, 30.5]])  # those voxels: (15 + 0.5) * 2 - 0.5

    def bright(picture):
        grey = picture.astype(float).max(axis=2)
        grey[:BELOW_TITLE] = 0
        rows, columns = np.nonzero(grey > 100)
        return columns.mean(), rows.mean()

    picture = VolumePicture(volume, heat=heat, world_from_volume=world_matrix((1.0, 1, 1)))
    axial = picture.views(gt[0], long_side=400)[:, :380]
    np.testing.assert_allclose(bright(axial[20:380, 20:]), np.array([309.5, 209.5]) - 20, atol=2)
    coronal = picture.views(long_side=400)[20:380, 424:784]
    assert coronal[400 - 110 - 20, 310 - 20].max() > 150
    assert coronal[400 - 310 - 20, 110 - 20].max() > 150
    assert coronal[400 - 310 - 20, 310 - 20].max() < 20
    side = (1800 - 24) // 3 // 3 - 2
    cells = VolumePicture(volume, gt, heat=heat).slices()
    np.testing.assert_allclose(
        bright(cells[20 : 20 + side, 40 : side - 40]), [side / 2 - 40.5, side / 2], atol=2
    )


def test_a_sheet_holds_views_slices_and_a_band():
    gt = np.array([[5, 5, 5], [np.nan] * 3, [8, 8, 8]])
    picture = VolumePicture(
        np.zeros((10, 12, 14), np.int16), gt, gt + 1, spacing=(1, 1, 1), names=["a", "b", "c"]
    )
    sheet, views, slices = picture.sheet("case 1"), picture.views(), picture.slices()
    assert sheet.dtype == np.uint8
    np.testing.assert_array_equal(sheet[: len(views), : views.shape[1]], views)
    top = len(views) + 12
    np.testing.assert_array_equal(sheet[top : top + len(slices), : slices.shape[1]], slices)
    assert len(sheet) > top + len(slices) + 20
    assert len(VolumePicture(np.zeros((10, 12, 14))).sheet("no landmark")) > 0


def test_errors_are_in_mm_or_voxels():
    gt, pred = np.zeros((1, 3)), np.array([[0.0, 0, 2]])
    known = VolumePicture(np.zeros((4, 4, 4)), gt, pred, spacing=(1, 1, 3))
    assert (known.errors, known.unit) == (6, "mm")
    frame = world_matrix((1, 1, 5))
    assert VolumePicture(np.zeros((4, 4, 4)), gt, pred, frame, spacing=(1, 1, 3)).errors == 10
    unknown = VolumePicture(np.zeros((4, 4, 4)), gt, pred)
    assert (unknown.errors, unknown.unit) == (2, "voxels")


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="expected a volume"):
        VolumePicture(np.zeros((10, 10)))
    with pytest.raises(ValueError, match=r"\(K, 3\)"):
        VolumePicture(np.zeros((10, 10, 10)), np.zeros((2, 2)))
    with pytest.raises(ValueError, match="both must hold the same"):
        VolumePicture(np.zeros((10, 10, 10)), np.zeros((2, 3)), np.zeros((3, 3)))
    with pytest.raises(ValueError, match="names has 1 entries for 2"):
        VolumePicture(np.zeros((10, 10, 10)), np.zeros((2, 3)), names=["a"])
