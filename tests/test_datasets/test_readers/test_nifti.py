"""NIfTI: pixels, frames and units."""

from __future__ import annotations

import numpy as np
import pytest

from mmlandmark.datasets.image_io import read_image
from mmlandmark.structures import apply_matrix


def test_nifti_is_turned_to_lps(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    volume = np.zeros((6, 5, 4), np.uint8)  # x, y, z
    volume[1, 2, 3] = 9
    affine = np.diag([0.5, 0.6, 0.7, 1.0])  # right and anterior: LPS is mirrored in x and y
    nibabel.save(nibabel.Nifti1Image(volume, affine), tmp_path / "a.nii.gz")
    loaded = read_image(tmp_path / "a.nii.gz")
    assert loaded.ori_shape == (4, 5, 6)
    assert loaded.array[3, 5 - 1 - 2, 6 - 1 - 1] == 9
    marked = apply_matrix(loaded.img_from_original, np.array([[1.0, 2.0, 3.0]]))
    np.testing.assert_array_equal(marked, [[6 - 1 - 1, 5 - 1 - 2, 3]])
    np.testing.assert_allclose(loaded.spacing, (0.5, 0.6, 0.7), rtol=1e-6)


@pytest.mark.parametrize(("unit", "factor"), [("mm", 1), ("meter", 1000), ("micron", 0.001), ("unknown", 1)])
def test_unit_of_length_of_nifti(tmp_path, unit, factor):
    nibabel = pytest.importorskip("nibabel")
    image = nibabel.Nifti1Image(np.zeros((4, 5, 6), np.uint8), np.diag([0.5, 0.25, 2.0, 1]))
    image.header.set_xyzt_units(None if unit == "unknown" else unit)
    nibabel.save(image, tmp_path / "a.nii")
    np.testing.assert_allclose(read_image(tmp_path / "a.nii").spacing, np.array([0.5, 0.25, 2.0]) * factor)


@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 1), (5, 4, 1, 1)])
def test_the_world_of_one_slice_has_no_place_in_the_patient_unless_stated(tmp_path, shape):
    nibabel = pytest.importorskip("nibabel")
    image = nibabel.Nifti1Image(np.zeros(shape, np.uint8), None)
    image.header.set_zooms((0.5, 0.25, 2.0, 1.0)[: len(shape)])
    nibabel.save(image, tmp_path / "plane.nii")
    np.testing.assert_array_equal(
        read_image(tmp_path / "plane.nii").world_from_original, np.diag([0.5, 0.25, 1.0])
    )
    placed = nibabel.Nifti1Image(np.zeros(shape, np.uint8), np.diag([-0.5, -0.25, 2.0, 1.0]))
    nibabel.save(placed, tmp_path / "a.nii")
    assert read_image(tmp_path / "a.nii").world_from_original.shape == (4, 3)


def test_nifti_without_directions_stays_as_it_is(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    volume = np.random.default_rng(0).integers(0, 255, (4, 5, 6)).astype(np.uint8)
    image = nibabel.Nifti1Image(volume, None)
    image.header.set_zooms((0.5, 0.6, 0.7))
    nibabel.save(image, tmp_path / "a.nii")
    header = nibabel.load(tmp_path / "a.nii").header
    assert (int(header["qform_code"]), int(header["sform_code"])) == (0, 0)
    loaded = read_image(tmp_path / "a.nii")
    np.testing.assert_array_equal(loaded.array, volume.transpose())
    np.testing.assert_allclose(loaded.spacing, (0.5, 0.6, 0.7), rtol=1e-6)
    assert [remark.check for remark in loaded.remarks] == ["no directions"]


def test_nifti_is_rescaled_and_so_is_its_range(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    stored = np.random.default_rng(0).integers(0, 4096, (4, 5, 6)).astype(np.int16)
    image = nibabel.Nifti1Image(stored, np.diag([-1, -1, 1, 1]))
    image.header.set_slope_inter(2, -1000)
    nibabel.save(image, tmp_path / "a.nii.gz")
    written = nibabel.load(tmp_path / "a.nii.gz")
    loaded = read_image(tmp_path / "a.nii.gz")
    np.testing.assert_allclose(loaded.array, written.get_fdata().transpose(), rtol=1e-6)
    slope, intercept = written.dataobj.slope, written.dataobj.inter
    np.testing.assert_allclose(loaded.value_range, (intercept, intercept + slope * 32767))


def test_half_of_a_nifti_pair_is_no_volume(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    pair = nibabel.Nifti1Pair(np.zeros((9, 9, 9), np.uint8), np.eye(4))
    nibabel.save(pair, tmp_path / "a.img")
    with pytest.raises(ValueError, match=r"a\.hdr.*pair.*store both as one \.nii"):
        read_image(tmp_path / "a.hdr")
