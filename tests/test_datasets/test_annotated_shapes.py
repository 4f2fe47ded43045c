"""Annotated shapes of data sets, also of those inside of others."""

from __future__ import annotations

import json

import numpy as np
import pytest

from image_writers import write_nifti
from mmlandmark.datasets import LandmarkDataset, PhantomDataset, RepeatDataset
from mmlandmark.datasets.annotated_shapes import annotated_shapes
from mmlandmark.structures import world_matrix


def test_points_and_spacing_of_a_phantom():
    dataset = PhantomDataset("ceph", num_samples=5, seed=3)
    points, steps = annotated_shapes(RepeatDataset(dataset=dataset, times=3))
    assert points.shape == (5, len(dataset.schema), 2)
    np.testing.assert_array_equal(points[2], dataset.get_data_info(2)["landmarks"])
    assert steps.shape == (5, 2, 2)
    np.testing.assert_array_equal(steps[2], np.diag(dataset.get_data_info(2)["spacing"]))


def test_spacing_counts_only_if_it_is_known_of_all(tmp_path):
    samples = [dict(id=str(n), landmarks=[[n, 1], None if n else [2, 2]]) for n in range(3)]
    samples[1]["spacing"] = 0.5
    (tmp_path / "a.json").write_text(json.dumps(dict(samples=samples)))
    points, steps = annotated_shapes(LandmarkDataset("a.json", str(tmp_path), missing_images="keep"))
    assert steps is None
    np.testing.assert_array_equal(points[:, 0], [[0, 1], [1, 1], [2, 1]])
    assert np.isnan(points[1:, 1]).all()


def test_steps_of_volumes_lead_along_the_axes_of_the_patient(tmp_path):
    pytest.importorskip("nibabel")
    samples = []
    for name, direction in (("lps", np.eye(3)), ("las", np.diag([1, -1, 1]))):
        world = world_matrix((0.5, 1.0, 2.0), (3, -4, 5), direction)
        write_nifti(tmp_path / f"{name}.nii.gz", np.zeros((9, 8, 7), np.uint8), None, world)
        samples.append(dict(image=f"{name}.nii.gz", landmarks=[[1, 2, 3]]))
    content = dict(schema=dict(name="v", landmarks=["a"], dims=3), samples=samples)
    (tmp_path / "v.json").write_text(json.dumps(content))
    _, steps = annotated_shapes(LandmarkDataset("v.json", str(tmp_path)))
    np.testing.assert_allclose(steps, [np.diag([0.5, 1, 2]), np.diag([0.5, -1, 2])], atol=1e-6)


def test_a_data_set_without_annotation_has_no_shapes():
    with pytest.raises(ValueError, match="no image of the training data is annotated"):
        annotated_shapes(PhantomDataset("ceph", num_samples=2, unlabelled=True))
