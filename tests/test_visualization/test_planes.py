"""Planes of a volume: which voxel lies at which pixel, and which direction of the patient at which edge."""

from __future__ import annotations

import numpy as np
import pytest

from mmlandmark.structures import world_matrix
from mmlandmark.visualization.pen import Pen
from mmlandmark.visualization.planes import View, direction_letters, flatten, window_of


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


def test_the_window_is_that_of_most_voxels():
    volume = np.random.default_rng(0).normal(40, 10, (30, 30, 30)).astype(np.int16)
    volume[0, 0, :5] = 3000  # metal
    low, high = window_of(volume)
    assert 5 < low < 20
    assert 60 < high < 75
    assert window_of(np.full((3, 3, 3), 7, np.uint8)) == (7, 7)
    assert window_of(np.full((3, 3, 3), np.nan, np.float32)) == (0, 1)


def test_letters_say_where_the_patient_is():
    upright = world_matrix((1.0, 1, 1))
    assert View.whole((4, 5, 6), 2, np.ones(3), upright).letters == ("R", "L", "A", "P")
    assert View.whole((4, 5, 6), 1, np.ones(3), upright).letters == ("R", "L", "S", "I")
    assert View.whole((4, 5, 6), 0, np.ones(3), upright).letters == ("A", "P", "S", "I")
    mirrored = world_matrix((1.0, 1, 1), direction=np.diag([-1, 1, 1]))
    assert View.whole((4, 5, 6), 2, np.ones(3), mirrored).letters == ("L", "R", "A", "P")
    assert View.whole((4, 5, 6), 2, np.ones(3), None).letters == ()
    assert direction_letters(np.array([0, 1, 0.2])) == "P"
    assert direction_letters(np.array([0.5, 1, 0.2])) == "PL"  # tilted by 26 degrees


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("around", [False, True])
def test_a_voxel_and_its_point_share_a_pixel(axis, known, around):
    volume = np.zeros((12, 14, 16), np.float32)
    volume[3, 9, 5] = 1
    point, factor = np.array([[5.0, 9, 3]]), np.array([10.0, 8, 20])
    world = world_matrix((1.0, 1, 1)) if known else None
    view = (
        View.around(np.array([6.0, 8, 4]), axis, factor, 151, world)
        if around
        else View.whole(volume.shape, axis, factor, world)
    )
    cut = point[0, axis]
    canvas = view.picture(flatten(volume, axis, cut), (0.0, 1.0))[..., 0].astype(float)
    assert canvas.shape == view.size
    grid = np.mgrid[: view.size[0], : view.size[1]][::-1]
    center = (grid * canvas).sum(axis=(1, 2)) / canvas.sum()
    np.testing.assert_allclose(center, view.points(point)[0], atol=0.6)
    voxels = view.voxels(cut)
    x, y = view.points(point)[0].round().astype(int)
    np.testing.assert_allclose(voxels[:, y, x], point[0], atol=0.1)
    if known and axis != 2 and not around:
        assert center[1] > view.size[0] / 2, "z = 3 of 12 lies in the lower half: the head is up"


def test_planes_that_shrink_are_averaged():
    plane = np.zeros((200, 200), np.uint8)
    plane[::2] = 200
    view = View.whole((1, 200, 200), 2, np.full(3, 0.25), None)
    picture = view.picture(plane)
    assert picture.shape == (50, 50, 3)
    assert picture.min() > 70
    assert picture.max() < 130


def test_letters_stand_at_the_edges():
    view = View.whole((10, 10, 10), 2, np.full(3, 30.0), world_matrix((1.0, 1, 1)))
    canvas = np.zeros((*view.size, 3), np.uint8)
    view.write_letters(Pen(canvas))
    rows, columns = np.nonzero(canvas.max(axis=2) > 100)
    middle = (np.abs(rows - 150) < 20) | (np.abs(columns - 150) < 20)
    assert middle.all()
    assert {columns.min() < 15, columns.max() > 284, rows.min() < 15, rows.max() > 284} == {True}
