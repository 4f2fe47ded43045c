"""Folders of DICOM slices: the volume they make, and what is wrong with those that make none."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mmlandmark.datasets.image_files import image_exists, image_header, image_shape, index_images
from mmlandmark.datasets.image_io import read_image
from mmlandmark.datasets.readers.dicom_series import find_series, is_series, read_series
from mmlandmark.structures import apply_matrix, world_matrix
from mmlandmark.testing.volume_files import write_dicom_series

pydicom = pytest.importorskip("pydicom")

WORLD = world_matrix(
    (0.5, 0.75, 2), (-10, 20, 300), Rotation.from_euler("xyz", [10, 80, -25], True).as_matrix()
)
VOLUME = np.random.default_rng(0).integers(0, 4000, (6, 5, 4)).astype(np.uint16)


@pytest.fixture
def folder(tmp_path):
    return write_dicom_series(tmp_path / "ct", VOLUME, WORLD)


def change(path, **tags):
    """Write a slice again with other tags; None deletes one."""
    data = pydicom.dcmread(path)
    for name, value in tags.items():
        if value is None:
            delattr(data, name)
        else:
            setattr(data, name, value)
    data.save_as(path, enforce_file_format=True)


def test_slices_are_ordered_by_their_place_whatever_they_are_called(folder):
    series = find_series(folder)
    assert [file.name for file in series.files] == [f"{6 - n:05d}.dcm" for n in range(6)]
    np.testing.assert_allclose(series.world_from_original, WORLD, atol=1e-9)
    header, image = image_header(folder), read_image(folder)
    assert header.shape == image.ori_shape == image_shape(folder) == (6, 5, 4)
    assert header.dtype == np.uint16
    np.testing.assert_array_equal(header.world_from_original, image.world_from_original)
    for voxel in ([0, 0, 0], [3, 1, 5], [1, 4, 2]):
        x, y, z = np.rint(apply_matrix(image.img_from_original, np.array([voxel], float)))[0].astype(int)
        assert image.array[z, y, x] == VOLUME[tuple(voxel[::-1])]


def test_the_window_of_a_series_is_that_of_its_slices(folder):
    assert read_image(folder).window is None
    for file in find_series(folder).files:
        change(file, WindowCenter=300, WindowWidth=1000)
    assert read_image(folder).window == (-200, 799)


def test_hounsfield_units_stay_whole(tmp_path):
    write_dicom_series(tmp_path / "ct", VOLUME, WORLD, intercept=-1024)
    image = read_series(tmp_path / "ct")
    assert image.array.dtype == np.int16
    np.testing.assert_array_equal(np.sort(image.array, None), np.sort(VOLUME.astype(int) - 1024, None))
    assert image.value_range == (-1024, 65535 - 1024)


def test_every_slice_may_have_a_slope_of_its_own(folder):
    change(folder / "00006.dcm", RescaleSlope="0.5")  # the first along the normal
    flat = np.sort(read_series(folder).array, None)
    expected = VOLUME.astype(np.float32)
    expected[0] *= 0.5
    np.testing.assert_array_equal(flat, np.sort(expected, None))


def test_slices_may_be_microns_thin(tmp_path):
    world = world_matrix((0.004, 0.004, 0.005), (1, 2, 3))
    series = find_series(write_dicom_series(tmp_path / "micro", VOLUME, world))
    np.testing.assert_allclose(series.world_from_original, world, atol=1e-9)


def test_what_lies_beside_the_slices_does_not_matter(folder):
    (folder / "notes.txt").write_text("x")
    (folder / ".hidden.dcm").write_text("x")
    shutil.copy(folder / "00001.dcm", folder / "DICOMDIR")
    (folder / "00003.dcm").rename(folder / "IM0")  # no suffix
    assert len(find_series(folder).files) == 6
    assert is_series(folder)
    assert image_exists(folder)
    assert not is_series(folder.parent)
    assert not is_series(folder / "notes.txt")
    assert not image_exists(folder.parent)


def test_a_folder_of_slices_is_one_image_of_its_name(folder, tmp_path):
    radiographs = tmp_path / "films"
    for name in ("a", "b"):  # of two series
        write_dicom_series(radiographs, VOLUME[:1], WORLD, names=[f"{name}.dcm"])
        change(radiographs / f"{name}.dcm", SeriesInstanceUID=f"1.2.{ord(name)}")
    found = index_images(tmp_path)
    assert found == {
        "ct": str(folder), "a": str(radiographs / "a.dcm"), "b": str(radiographs / "b.dcm")
    }  # fmt: skip


def one_slice_missing(folder):
    (folder / "00004.dcm").unlink()  # the third of six


def two_missing(folder):
    (folder / "00003.dcm").unlink()
    (folder / "00004.dcm").unlink()


def doubled(folder):
    shutil.copy(folder / "00004.dcm", folder / "again.dcm")


def two_phases(folder):
    for path in list(folder.iterdir()):
        shutil.copy(path, folder / f"b{path.name}")


def tilted(folder):
    for index in range(6):
        place = WORLD @ [0, 2 / 0.75 * index * np.tan(np.radians(12)), index, 1]
        change(folder / f"{6 - index:05d}.dcm", ImagePositionPatient=[f"{c:.9g}" for c in place[:3]])


def mixed(folder):
    change(folder / "00002.dcm", ImageOrientationPatient=[1, 0, 0, 0, 0, -1])


def uneven(folder):
    place = WORLD @ [0, 0, 2.3, 1]
    change(folder / "00004.dcm", ImagePositionPatient=[f"{c:.9g}" for c in place[:3]])


def another_series(folder):
    change(folder / "00002.dcm", SeriesInstanceUID="1.2.3")


def single(folder):
    for path in sorted(folder.iterdir())[1:]:
        path.unlink()


def tag(**tags):
    return lambda folder: change(folder / "00002.dcm", **tags)


def smaller(folder):
    change(folder / "00002.dcm", Rows=3, PixelData=bytes(24))


def volume_among_slices(folder):
    change(folder / "00002.dcm", NumberOfFrames=2)


def broken_tag(folder):
    """Give the number of columns a representation that there is not: pydicom sees it when it is asked."""
    path = sorted(folder.iterdir())[1]
    data = path.read_bytes()
    place = data.index(b"\x28\x00\x11\x00US")
    path.write_bytes(data[: place + 4] + b"\x55\x7f" + data[place + 6 :])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (one_slice_missing, r"a slice is missing between 00005.dcm and 00003.dcm, which are 4 mm apart; the"),
        (two_missing, r"2 slices are missing between 00005.dcm and 00002.dcm, which are 6 mm apart"),
        (doubled, r"slices 00004.dcm and again.dcm lie in the same place: remove one"),
        (two_phases, r"every place has 2 slices, so it is several volumes \(phases, echoes\)"),
        (tilted, r"the stack is tilted by 12.0 degrees against its slices \(a tilted gantry\): straighten"),
        (mixed, r"slices 00001.dcm and 00002.dcm have different orientations: remove what is not of the vol"),
        (uneven, r"not evenly spaced: 1.4 to 2.6 mm, the largest step between 00005.dcm and 00004.dcm"),
        (another_series, r"it holds 2 series, of 5, 1 slices \(00002.dcm is of the smallest\): keep one"),
        (single, r"one slice is no volume: give the file itself"),
        (smaller, r"slices 00001.dcm and 00002.dcm are of different sizes, \(5, 4\) and \(3, 4\) pixels"),
        (broken_tag, r"00002.dcm: Unknown Value Representation '0x55 0x7f' in tag \(0028,0011\)"),
        (volume_among_slices, r"00002.dcm: a volume of several frames lies among slices"),
        (tag(PixelSpacing=[1, 2]), r"have different PixelSpacing, \(0.5, 0.75\) and \(2.0, 1.0\) mm"),
        (tag(PixelSpacing=None), r"00002.dcm: the slice has no PixelSpacing, so its size in mm is unknown"),
        (tag(ImagePositionPatient=None), r"00002.dcm: the slice has no ImagePositionPatient, so its place"),
        (tag(ImageOrientationPatient=None), r"00002.dcm: the slice has no ImageOrientationPatient"),
        (tag(ImageOrientationPatient=[0] * 6), r"00002.dcm: the slice has ImageOrientationPatient .* no dir"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("read", [read_image, image_header])
def test_what_makes_no_volume_is_told_in_one_sentence(folder, read, spoil, message):
    spoil(folder)
    with pytest.raises(ValueError, match=message) as error:
        read(folder)
    assert "\n" not in str(error.value)
    assert str(folder) in str(error.value)


def test_rounded_positions_are_even(folder):
    """Headers often round positions to 0.01 mm."""
    for path in folder.iterdir():
        place = pydicom.dcmread(path).ImagePositionPatient
        change(path, ImagePositionPatient=[f"{c:.2f}" for c in place])
    np.testing.assert_allclose(find_series(folder).world_from_original, WORLD, atol=0.01)


def test_a_folder_without_slices(tmp_path):
    with pytest.raises(ValueError, match="the folder holds no DICOM slices"):
        read_image(tmp_path)
