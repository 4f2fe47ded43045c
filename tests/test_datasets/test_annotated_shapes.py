"""Annotated shapes of data sets, also of those inside of others."""

from __future__ import annotations

import json

import numpy as np

from mmlandmark.datasets import LandmarkDataset, PhantomDataset, RepeatDataset
from mmlandmark.datasets.annotated_shapes import annotated_shapes


def test_points_and_spacing_of_a_phantom():
    dataset = PhantomDataset("ceph", num_samples=5, seed=3)
    points, spacing = annotated_shapes(RepeatDataset(dataset=dataset, times=3))
    assert points.shape == (5, len(dataset.schema), 2)
    np.testing.assert_array_equal(points[2], dataset.get_data_info(2)["landmarks"])
    assert spacing.shape == (5, 2)
    np.testing.assert_array_equal(spacing[2], dataset.get_data_info(2)["spacing"])


def test_spacing_counts_only_if_it_is_known_of_all(tmp_path):
    samples = [dict(id=str(n), landmarks=[[n, 1], None if n else [2, 2]]) for n in range(3)]
    samples[1]["spacing"] = 0.5
    (tmp_path / "a.json").write_text(json.dumps(dict(samples=samples)))
    points, spacing = annotated_shapes(LandmarkDataset("a.json", str(tmp_path), missing_images="keep"))
    assert spacing is None
    np.testing.assert_array_equal(points[:, 0], [[0, 1], [1, 1], [2, 1]])
    assert np.isnan(points[1:, 1]).all()
