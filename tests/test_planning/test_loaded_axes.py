"""Sizes, spacing and points along the axes of the patient."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from image_writers import write_nifti
from mmlandmark.datasets import LandmarkDataset
from mmlandmark.datasets.check_cases import Cases
from mmlandmark.datasets.transforms import LoadImage
from mmlandmark.planning.loaded_axes import loaded_axes, pose_angles
from mmlandmark.structures import apply_matrix, world_matrix

POINTS = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [0.0, 1.0, 7.0]]
DIRECTIONS = {"LPS": np.eye(3), "RAS": np.diag([-1, -1, 1]), "SLP": np.eye(3)[:, [2, 0, 1]]}


def cases_of(folder, directions=DIRECTIONS, **sample):
    samples = []
    for name, direction in directions.items():
        world = world_matrix((0.5, 1.0, 2.0), (3, -4, 5), direction)
        array = np.arange(9 * 8 * 7, dtype=np.uint8).reshape(9, 8, 7)
        write_nifti(folder / f"{name}.nii.gz", array, None, world)
        samples.append(dict(image=f"{name}.nii.gz", landmarks=POINTS, **sample))
    schema = dict(name="v", landmarks=["a", "b", "c"], dims=3)
    (folder / "v.json").write_text(json.dumps(dict(schema=schema, samples=samples)))
    dataset = LandmarkDataset(str(folder / "v.json"), image_dir=str(folder))
    return Cases({"all": dataset}), dataset


def test_axes_are_those_of_the_loaded_volume(tmp_path):
    cases, dataset = cases_of(tmp_path)
    axes = loaded_axes(cases)
    assert axes.orientations == dict(LPS=1, RAS=1, SLP=1)
    for n in range(len(cases)):
        loaded = LoadImage()(dict(dataset.get_data_info(n)))
        matrix = loaded["input_from_original"]
        assert tuple(axes.sizes[n, ::-1]) == loaded["input_shape"]
        assert axes.points[n] == pytest.approx(apply_matrix(matrix, np.array(POINTS)))
    assert axes.spacing.tolist() == [[0.5, 1.0, 2.0], [0.5, 1.0, 2.0], [1.0, 2.0, 0.5]]


def test_a_spacing_of_the_record_precedes_that_of_the_file(tmp_path):
    cases, _ = cases_of(tmp_path, dict(SLP=DIRECTIONS["SLP"]), spacing=[3, 4, 5])
    assert loaded_axes(cases).spacing.tolist() == [[4.0, 5.0, 3.0]]


def test_a_volume_without_directions_keeps_its_axes(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((9, 8, 7), np.uint8))
    content = dict(
        schema=dict(name="v", landmarks=["a", "b", "c"], dims=3),
        samples=[dict(image="a.npy", landmarks=POINTS)],
    )
    (tmp_path / "v.json").write_text(json.dumps(content))
    axes = loaded_axes(Cases({"all": LandmarkDataset(str(tmp_path / "v.json"), image_dir=str(tmp_path))}))
    assert axes.orientations == {"": 1}
    assert axes.sizes.tolist() == [[7, 8, 9]]
    assert np.isnan(axes.spacing).all()


def test_angles_are_from_the_mean_rotation():
    turns = np.array([[0.0, 0, 0], [10, 0, 0], [-10, 0, 0], [0, -20, 0], [0, 20, 0]])
    mean = Rotation.from_rotvec([0, 175, 0], degrees=True)
    found = pose_angles((Rotation.from_rotvec(turns, degrees=True) * mean).as_matrix())
    assert found == pytest.approx(turns, abs=1e-6)
