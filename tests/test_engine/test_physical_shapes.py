"""Shapes in mm."""

from __future__ import annotations

import numpy as np
import pytest

from mmlandmark.datasets import LandmarkDataset, PhantomDataset
from mmlandmark.engine.physical_shapes import physical_shapes, steps_by_reference
from mmlandmark.structures import LandmarkSchema

POINTS = np.random.default_rng(0).uniform(0, 99, (5, 4, 2)).astype(np.float32)


class Arrays(LandmarkDataset):
    """Landmarks without images."""

    def __init__(self, spacing=None, reference=None):
        self.given = spacing
        schema = LandmarkSchema("four", tuple("abcd"), reference_length=reference)
        super().__init__(schema=schema, missing_images="keep", serialize_data=False)

    def load_records(self):
        return [
            dict(sample_id=str(n), img_path=None, landmarks=p, spacing=self.given, ori_shape=(99, 99))
            for n, p in enumerate(POINTS)
        ]


def test_a_known_length_gives_the_scale():
    steps = steps_by_reference(POINTS, dict(pair=(0, 2), mm=50.0))
    mm = POINTS @ steps.swapaxes(1, 2)
    np.testing.assert_allclose(np.linalg.norm(mm[:, 0] - mm[:, 2], axis=1), 50, rtol=1e-6)
    partial = POINTS.copy()
    partial[1, 2] = np.nan
    np.testing.assert_array_equal(np.isnan(steps_by_reference(partial, dict(pair=(0, 2), mm=50.0))[1]), True)


@pytest.mark.parametrize("spacing", [(0.5, 0.25), None])
def test_spacing_counts_before_a_known_length(spacing):
    reference = dict(pair=[0, 1], mm=7.0)
    points, unit = physical_shapes(Arrays(spacing, reference))
    length = np.linalg.norm(POINTS[:, 0] - POINTS[:, 1], axis=1)[:, None, None]
    np.testing.assert_allclose(points, POINTS * (7 / length if spacing is None else spacing), rtol=1e-5)
    assert unit == "mm"


def test_without_either_shapes_are_in_pixels():
    points, unit = physical_shapes(Arrays())
    np.testing.assert_array_equal(points, POINTS)
    assert unit == "pixels"


def test_volumes_are_in_the_axes_of_the_patient():
    dataset = PhantomDataset("head", num_samples=2)
    points, unit = physical_shapes(dataset)
    frame = np.asarray(dataset.get_data_info(1)["world_from_original"])
    expected = dataset.get_data_info(1)["landmarks"] @ frame[:3, :3].T
    np.testing.assert_allclose(points[1], expected, rtol=1e-5)
    assert (unit, points.shape) == ("mm", (2, 26, 3))
