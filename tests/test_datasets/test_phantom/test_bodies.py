"""Bodies fill the voxels that they cover, to their volume."""

from __future__ import annotations

import numpy as np
import pytest

from mmlandmark.datasets.phantom.bodies import Capsule, Ellipsoid, fill, tube


def grid(side: int = 40) -> list[np.ndarray]:
    """x, y and z of voxels of 1 mm about 0."""
    steps = np.arange(side, dtype=np.float32) - side / 2 + 0.5
    z, y, x = np.meshgrid(steps, steps, steps, indexing="ij")
    return [x, y, z]


def filled(*bodies, edge: float = 1.0) -> np.ndarray:
    volume = np.zeros((40, 40, 40), dtype=np.float32)
    boxes = np.broadcast_to(np.array([[0, 0, 0], [40, 40, 40]]), (len(bodies), 2, 3))
    fill(volume, grid(), bodies, boxes, edge)
    return volume


@pytest.mark.parametrize("center", [(0, 0, 0), (0.5, 0.5, 0.5), (1.3, -2.2, 0.7)])
def test_an_ellipsoid_has_its_volume_and_centroid(center):
    volume = filled(Ellipsoid(1.0, center, (12, 8, 5)))
    assert volume.sum() == pytest.approx(4 / 3 * np.pi * 12 * 8 * 5, rel=0.01)
    centroid = [float((volume * axis).sum() / volume.sum()) for axis in grid()]
    assert centroid == pytest.approx(center, abs=0.02)
    assert volume.max() == 1


def test_depth_is_the_distance_to_the_surface():
    x, y, z = (
        np.array(values, dtype=np.float32) for values in ([11, 13, 0, 0], [0, 0, 7.5, 0], [0, 0, 0, 0])
    )
    depth = Ellipsoid(1.0, (0, 0, 0), (12, 8, 5)).depth(x, y, z)
    np.testing.assert_allclose(depth[:3], [1, -1, 0.5], rtol=0.1)
    assert depth[3] == pytest.approx(5, rel=0.01)  # the centre
    rod = Capsule(1.0, (0, 0, 0), (10, 0, 0), (2, 4)).depth(x, y, z)
    np.testing.assert_allclose(rod, [3, 1, -5.5, 2], rtol=1e-5)


def test_a_plane_cuts_an_ellipsoid():
    volume = filled(Ellipsoid(1.0, (0, 0, 0), (10, 10, 10), above=(0, 0, 1, 0)))
    assert volume.sum() == pytest.approx(2 / 3 * np.pi * 1000, rel=0.02)
    assert volume[:19].max() == 0


def test_a_tube_has_the_volume_of_a_cylinder_with_round_ends():
    line = [(-8, 0, 0), (0, 0, 0), (8, 0, 0)]
    parts = tube(1.0, line, 3.0)
    assert [(p.radii, list(p.start)) for p in parts] == [((3, 3), [-8, 0, 0]), ((3, 3), [0, 0, 0])]
    assert filled(*parts).sum() == pytest.approx(np.pi * 9 * 16 + 4 / 3 * np.pi * 27, rel=0.02)
    wide = tube(1.0, line, [1, 2, 3])
    assert [p.radii for p in wide] == [(1, 2), (2, 3)]


def test_bounds_hold_what_is_filled():
    for body in (Ellipsoid(1.0, (1, -2, 3), (12, 8, 5)), Capsule(1.0, (-5, 0, 2), (9, 4, 0), (2, 4))):
        low, high = body.bounds()
        inside = body.depth(*grid()) > 0
        for axis, values in enumerate(grid()):
            assert low[axis] <= values[inside].min() < low[axis] + 1.5
            assert high[axis] - 1.5 < values[inside].max() <= high[axis]


def test_a_later_body_replaces_an_earlier_one_and_a_box_limits_it():
    volume = filled(Ellipsoid(900.0, (0, 0, 0), (9, 9, 9)), Ellipsoid(-1000.0, (0, 0, 0), (4, 4, 4)))
    assert volume[20, 20, 20] == -1000
    assert volume[20, 20, 26] == 900
    boxes = np.array([[[0, 0, 0], [40, 40, 20]], [[5, 5, 5], [5, 9, 9]]])
    half = np.zeros((40, 40, 40), dtype=np.float32)
    fill(half, grid(), [Ellipsoid(1.0, (0, 0, 0), (9, 9, 9))] * 2, boxes, 1.0)
    assert half[..., 19].max() == 1
    assert half[..., 20:].max() == 0


def test_a_surface_between_two_voxels_is_shared_by_their_parts():
    for radius in (8.0, 8.25, 8.5):
        volume = filled(Ellipsoid(100.0, (0.5, 0.5, 0.5), (radius,) * 3))
        line = volume[20, 20, 20:]  # voxels 0, 1, 2, ... mm from the centre
        assert line.sum() == pytest.approx(100 * (radius + 0.5), rel=0.01)
