"""Files of one volume in several formats."""

from __future__ import annotations

import numpy as np
import pytest

from mmlandmark.datasets.image_io import read_image
from mmlandmark.structures import world_matrix
from mmlandmark.testing.volume_files import write_dicom_series, write_itk, write_nifti


@pytest.mark.parametrize(
    ("write", "name"),
    [(write_nifti, "a.nii.gz"), (write_itk, "a.nrrd"), (write_itk, "a.mha"), (write_dicom_series, "a")],
)
def test_voxels_and_world_come_back(tmp_path, write, name):
    pytest.importorskip({"a.nii.gz": "nibabel", "a": "pydicom"}.get(name, "SimpleITK"))
    volume = np.random.default_rng(0).integers(-900, 900, (3, 4, 5)).astype(np.int16)
    world = world_matrix((0.1 + 0.2, 1 / 3, 1e-5 + 1), (-1e-4, 123.456789, 7), np.diag([1, 1, 1]))
    image = read_image(write(tmp_path / name, volume, world))
    np.testing.assert_array_equal(image.array, volume)
    np.testing.assert_allclose(image.world_from_original, world, atol=1e-5)


def test_stored_values_of_a_series_are_rescaled(tmp_path):
    pytest.importorskip("pydicom")
    stored = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    image = read_image(write_dicom_series(tmp_path / "a", stored, np.eye(4), slope=2, intercept=-5))
    np.testing.assert_array_equal(image.array, stored.astype(int) * 2 - 5)
