"""Volumes and points that cannot be used: one sentence each, when a data set is built."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from mmlandmark.datasets import LandmarkDataset
from mmlandmark.datasets.checks import check_dataset
from mmlandmark.datasets.releases import SlicerMarkups
from mmlandmark.structures import apply_matrix, world_matrix
from mmlandmark.testing.volume_files import write_dicom_series, write_itk, write_nifti

pydicom = pytest.importorskip("pydicom")
nibabel = pytest.importorskip("nibabel")
pytest.importorskip("SimpleITK")

VOLUME = np.zeros((6, 10, 12), np.uint8)
WORLD = world_matrix((0.5, 1, 2), (100, -200, 50))
PLACES = np.array([[1.0, 2, 3], [7, 8, 2.5], [0, 9, 4]])


def markups(path, world=WORLD):
    points = [
        dict(label=n, position=p) for n, p in zip("abc", apply_matrix(world, PLACES).tolist(), strict=True)
    ]
    path.write_text(
        json.dumps(dict(markups=[dict(type="Fiducial", coordinateSystem="LPS", controlPoints=points)]))
    )


def no_spacing(folder):
    np.save(folder / "a.npy", VOLUME)


def no_spacing_in_a_metaimage(folder):
    header = (
        "ObjectType = Image\nNDims = 3\nDimSize = 12 10 6\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n"
    )
    (folder / "a.mha").write_bytes(header.encode() + VOLUME.tobytes())


def zero_direction(folder):
    image = nibabel.Nifti1Image(VOLUME.transpose(), np.eye(4))
    image.header["srow_x"] = image.header["srow_y"] = image.header["srow_z"] = 0
    nibabel.save(image, folder / "a.nii")
    data = bytearray((folder / "a.nii").read_bytes())
    data[280:328] = bytes(48)  # nibabel writes the affine of the image, so by hand
    data[252:256] = b"\0\0\1\0"  # sform alone
    (folder / "a.nii").write_bytes(data)


def zero_direction_in_a_metaimage(folder):
    write_itk(folder / "a.mha", VOLUME, WORLD)
    data = (folder / "a.mha").read_bytes()
    (folder / "a.mha").write_bytes(
        data.replace(b"TransformMatrix = 1 0 0 0 1 0 0 0 1", b"TransformMatrix = " + b"0 " * 9)
    )


def no_orientation(folder):
    image = nibabel.Nifti1Image(VOLUME.transpose(), None)
    image.header.set_zooms((0.5, 1, 2))
    nibabel.save(image, folder / "a.nii")


def over_time(folder):
    nibabel.save(nibabel.Nifti1Image(np.zeros((12, 10, 6, 4), np.uint8), np.eye(4)), folder / "a.nii")


def mixed_orientation(folder):
    path = sorted(write_dicom_series(folder / "a", VOLUME, WORLD).iterdir())[2]
    data = pydicom.dcmread(path)
    data.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
    data.save_as(path, enforce_file_format=True)


def slice_missing(folder):
    sorted(write_dicom_series(folder / "a", VOLUME, WORLD).iterdir())[2].unlink()


def other_case(folder):
    there = WORLD.copy()
    there[:3, 3] -= 300
    write_nifti(folder / "a.nii", VOLUME, there)
    write_nifti(folder / "b.nii", VOLUME, WORLD)
    markups(folder / "b.mrk.json")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (no_spacing, r"a.npy: the volume does not say where its voxels lie in mm, so"),
        (no_spacing_in_a_metaimage, r"a.mha: the volume does not say where its voxels lie in mm"),
        (zero_direction, r"a.nii: the volume does not say where its voxels lie in mm"),
        (zero_direction_in_a_metaimage, r"a.mha: the volume does not say where its voxels lie in mm"),
        (no_orientation, r"all 3 points lie outside of the image; a.nii states no orientation \(sform_code "
         r"and qform_code are 0\), so its axes count as .* \(LPS\) from a first voxel at 0 mm, as in ITK"),
        (over_time, r"a.nii: an image of 2 or 3 dimensions is needed, the shape is \(4, 6, 10, 12\)"),
        (mixed_orientation, r"slices 00001.dcm and 00003.dcm have different orientations: remove wh"),
        (slice_missing, r"a slice is missing between 00004.dcm and 00002.dcm, which are 4 mm apart; the"),
        (other_case, r"a.mrk.json: all 3 points lie outside of the image; they fit 'b': is this the file of"),
    ],
)  # fmt: skip
def test_one_sentence_names_file_and_fault(tmp_path, spoil, message):
    markups(tmp_path / "a.mrk.json")
    spoil(tmp_path)
    with pytest.raises(ValueError, match=message) as error:
        SlicerMarkups(data_root=str(tmp_path))
    assert "\n" not in str(error.value)
    # The same with a sound volume in its place is a data set.
    for path in tmp_path.glob("a*"):
        if path.name != "a.mrk.json":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    write_nifti(tmp_path / "a.nii", VOLUME, WORLD)
    np.testing.assert_allclose(
        SlicerMarkups(data_root=str(tmp_path)).get_data_info(0)["landmarks"], PLACES, atol=1e-4
    )


def test_points_in_mm_of_a_table_need_an_orientation(tmp_path):
    no_orientation(tmp_path)
    rows = [f"{c:g}" for point in apply_matrix(WORLD, PLACES) for c in point]
    header = [f"{name}_{axis} [mm]" for name in "abc" for axis in "xyz"]
    (tmp_path / "t.csv").write_text(f"image,{','.join(header)}\na.nii,{','.join(rows)}\n")
    with pytest.raises(ValueError, match=r"t.csv.*lie outside of the image; a.nii states no orientation"):
        LandmarkDataset("t.csv", str(tmp_path))


def test_a_check_names_volumes_without_orientation(tmp_path):
    """The first header says it: no voxel is read."""
    for name in "abc":
        write_nifti(tmp_path / f"{name}.nii", VOLUME, WORLD)
        markups(tmp_path / f"{name}.mrk.json")
    no_orientation(tmp_path)
    markups(tmp_path / "a.mrk.json", world_matrix((0.5, 1, 2)))

    def found(**more):
        report = check_dataset(dict(train=SlicerMarkups(data_root=str(tmp_path))), **more)
        every = (f for f in report["findings"] if f["check"] == "no directions")
        return [(f["sample_id"], f["severity"]) for f in every]

    assert found() == found(images=True) == [("a", "warning")]
    for path in tmp_path.glob("[bc]*"):
        path.unlink()
    assert found() == [("a", "note")]
