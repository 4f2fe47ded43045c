"""What is drawn lies where it should."""

from __future__ import annotations

import numpy as np
import pytest

from mmlandmark.visualization import style
from mmlandmark.visualization.overlay import draw_landmarks

NAN = np.nan


def near(picture, color, tolerance=60):
    """Return (H, W) bool: pixels close to a colour."""
    return (np.abs(picture.astype(int) - color).max(axis=2) < tolerance) & (np.ptp(picture, axis=2) > 60)


def center(mask):
    y, x = np.nonzero(mask)
    return x.mean(), y.mean()


@pytest.mark.parametrize("shape", [(120, 160), (120, 160, 1), (120, 160, 3)])
def test_size_and_type(shape):
    picture = draw_landmarks(np.zeros(shape, np.uint8))
    assert picture.shape == (120, 160, 3)
    assert picture.dtype == np.uint8


def test_the_image_given_is_not_changed():
    image = np.full((50, 50, 3), 9, np.uint8)
    draw_landmarks(image, gt=[[20, 20]], names=["a"])
    assert (image == 9).all()


def test_marks_lie_on_their_points():
    image = np.zeros((300, 400), np.uint8)
    ring = near(draw_landmarks(image, gt=np.array([[100, 60]])), style.GT_COLOR)
    assert center(ring) == pytest.approx((100, 60), abs=0.5)
    assert not ring[60, 100]  # A ring leaves its point free.
    cross = near(draw_landmarks(image, pred=np.array([[300, 200]])), style.PRED_COLOR)
    assert center(cross) == pytest.approx((300, 200), abs=0.5)
    assert cross[200, 300]


def test_error_line_joins_both_points():
    points = dict(gt=np.array([[50, 100]]), pred=np.array([[250, 100]]))
    line = near(draw_landmarks(np.zeros((200, 300), np.uint8), **points), style.ERROR_COLOR)
    assert line[98:103, 60:240].any(axis=0).all()
    assert not line[:95].any()


def test_resized_marks_follow_the_half_pixel_convention():
    image, point = np.zeros((40, 60), np.uint8), np.array([[20, 10]])
    picture = draw_landmarks(image, pred=point, long_side=600)
    assert picture.shape == (400, 600, 3)
    assert center(near(picture, style.PRED_COLOR)) == pytest.approx((204.5, 104.5), abs=0.5)
    small = draw_landmarks(np.zeros((2400, 1935), np.uint8), long_side=800)
    assert small.shape == (800, 645, 3)


def test_marks_grow_with_the_image():
    def width(side):
        picture = draw_landmarks(np.zeros((side, side), np.uint8), gt=np.array([[side / 2, side / 2]]))
        return np.ptp(np.nonzero(near(picture, style.GT_COLOR))[1])

    assert width(2400) == pytest.approx(2 * width(1200), rel=0.15)
    assert width(100) >= 7


def test_links_join_points():
    picture = draw_landmarks(
        np.zeros((100, 100), np.uint8), gt=np.array([[10, 50], [90, 50]]), links=[(0, 1)]
    )
    assert (picture[50, 20:80] > 100).all()


def test_missing_and_far_points_are_left_out():
    gt = np.array([[NAN, NAN], [10, NAN], [1e9, -1e9], [np.inf, 0], [50, 50]])
    pred = np.array([[20, 20], [NAN, 5], [30, 30], [40, 40], [NAN, NAN]])
    names = list("abcde")
    picture = draw_landmarks(
        np.zeros((100, 100), np.uint8), gt, pred, names=names, spacing=(1, 1), links=[(0, 1)], caption="x"
    )
    assert near(picture, style.PRED_COLOR)[20, 20]
    assert not near(picture[:100], style.GT_COLOR)[:25, :25].any()
    empty = draw_landmarks(np.zeros((30, 30), np.uint8), np.full((2, 2), NAN), names=["a", "b"])
    assert empty.max() == 0


def test_names_and_errors_are_written_beside_the_point():
    image, gt, pred = np.full((400, 400), 128, np.uint8), np.array([[200, 200]]), np.array([[203, 204]])
    plain = draw_landmarks(image, gt, pred)
    named = draw_landmarks(image, gt, pred, names=["sella"])
    measured = draw_landmarks(image, gt, pred, spacing=(0.1, 0.1))
    given = draw_landmarks(image, gt, pred, errors=np.array([0.5]))
    for picture in (named, measured):
        changed = np.argwhere((picture != plain).any(axis=2))
        assert len(changed) > 50
        assert np.abs(changed - 200).max() < 120
    np.testing.assert_array_equal(measured, given)


def test_marks_of_many_landmarks_stay_apart():
    angle = np.linspace(0, 2 * np.pi, 140, endpoint=False)
    gt = 200 + 168 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    picture = draw_landmarks(np.zeros((400, 400), np.uint8), gt=gt)
    marked = near(picture, style.GT_COLOR, tolerance=100)
    middle = gt.round().astype(int)
    assert marked[middle[:, 1], middle[:, 0]].mean() < 0.2  # rings leave their points free


def test_highlighted_landmarks_are_red():
    gt = np.array([[50.0, 50], [150, 150], [-40, 100]])
    arguments = dict(image=np.zeros((200, 200), np.uint8), gt=gt, names=["a", "b", "c"], highlight=[1, 2])
    red = near(draw_landmarks(**arguments), style.VERMILLION, tolerance=40)
    assert red[140:160, 140:160].any()
    assert not red[40:60, 40:60].any()


def test_caption_adds_a_band_and_leaves_the_image():
    image, gt = np.full((200, 300), 77, np.uint8), np.array([[150, 100]])
    picture = draw_landmarks(image, gt, gt, caption="case 1: MRE 1.2 mm " + "long " * 40)
    np.testing.assert_array_equal(picture[:200], draw_landmarks(image, gt, gt))
    band = picture[200:]
    assert band.shape[1] == 300
    assert near(band, style.GT_COLOR).any()
    assert near(band, style.PRED_COLOR).any()
    assert not near(draw_landmarks(image, gt, caption="x")[200:], style.PRED_COLOR).any()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (dict(gt=np.zeros((2, 3))), "gt must be"),
        (dict(gt=np.zeros((2, 2)), pred=np.zeros((3, 2))), "same landmarks"),
        (dict(gt=np.zeros((2, 2)), names=["a"]), "names has 1 entries for 2"),
        (dict(gt=np.zeros((2, 2)), errors=[1.0]), "errors has 1 entries for 2"),
        (dict(long_side=0), "long_side"),
        (dict(pred=np.zeros((2, 2)), regions=np.zeros((3, 2, 2))), r"regions must be \(2, 2, 2\)"),
    ],
)
def test_refuses(arguments, words):
    with pytest.raises(ValueError, match=words):
        draw_landmarks(np.zeros((20, 20), np.uint8), **arguments)


def test_regions_grow_with_the_picture_and_are_explained():
    image, pred = np.zeros((200, 300), np.uint8), np.array([[150.0, 100], [np.nan, 0]])
    regions = np.stack([np.diag([40.0**2, 20.0**2])] * 2)
    plain = draw_landmarks(image, pred=pred, caption="x", long_side=600)
    picture = draw_landmarks(
        image, pred=pred, regions=regions, region_label="90 %", caption="x", long_side=600
    )
    yellow = np.argwhere(near(picture[:400], style.REGION_COLOR, tolerance=40))[:, ::-1]
    np.testing.assert_allclose(np.ptp(yellow, axis=0), [160, 80], atol=4)
    np.testing.assert_allclose(yellow.mean(0), [300.5, 200.5], atol=2)
    assert near(picture[400:], style.REGION_COLOR, tolerance=40).any()
    assert not near(plain, style.REGION_COLOR, tolerance=40).any()


@pytest.mark.real_data
def test_real_radiograph(real_data):
    import cv2

    folder = real_data("isbi2015_ceph")
    image = cv2.imread(str(next((folder / "RawImage" / "Test1Data").glob("151.*"))), cv2.IMREAD_GRAYSCALE)
    lines = (folder / "AnnotationsByMD" / "400_senior" / "151.txt").read_text().split()[:19]
    gt = np.array([[float(value) for value in line.split(",")] for line in lines])
    picture = draw_landmarks(image, gt)
    assert picture.shape == (*image.shape, 3)
    blue = near(picture, style.GT_COLOR, tolerance=30)
    assert all(blue[round(y) - 40 : round(y) + 40, round(x) - 40 : round(x) + 40].any() for x, y in gt)
