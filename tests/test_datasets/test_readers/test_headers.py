"""A header that claims 100,000 x 100,000 pixels is refused before memory is reserved, in every format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from image_writers import write_nifti, write_sitk
from memory_limit import limited_memory
from mmlandmark.datasets.image_files import image_header
from mmlandmark.datasets.image_io import read_image
from mmlandmark.datasets.readers.claimed_size import VARIABLE
from mmlandmark.datasets.readers.headers import HEADERS, check_size
from mmlandmark.testing.claimed_sizes import CLAIMS
from mmlandmark.testing.fuzz_images import image_cases
from mmlandmark.testing.mutations import gunzipped, gzipped
from mmlandmark.testing.volume_files import write_dicom_series

# File -> the valid one of the fuzzer, whose header then claims as much as its format can say.
FILES = {
    "a.png": "gray_png", "a.jpg": "gray_jpg", "a.bmp": "gray_bmp", "a.tif": "gray_tif", "a.pgm": "deep_pgm",
    "a.webp": "lossy_webp", "a.npy": "plain_npy", "a.mha": "plain_mha", "a.mhd": "header_mhd",
    "a.nrrd": "plain_nrrd", "a.nii": "plain_nii", "a.nii.gz": "packed_nii_gz", "a.dcm": "slice",
}  # fmt: skip


@pytest.fixture(scope="module")
def valid(tmp_path_factory):
    """Return the valid files of the fuzzer by the name of their case, and their formats."""
    for package in ("SimpleITK", "nibabel", "pydicom"):
        pytest.importorskip(package)
    root = tmp_path_factory.mktemp("valid")
    return {case.name: (case.place(root) / case.target, case.format) for case in image_cases(root)}


@pytest.fixture
def huge(valid, tmp_path):
    """Return a function that writes a file of :data:`FILES`."""

    def write(name):
        path, kind = valid[FILES[name]]
        change, most = CLAIMS[kind]
        (tmp_path / name).write_bytes(change(path.read_bytes(), most, most))
        return tmp_path / name

    return write


def replaced(path: Path, old: bytes, new: bytes) -> None:
    data = path.read_bytes()
    assert data.count(old) == 1
    path.write_bytes(data.replace(old, new))


@pytest.mark.parametrize("name", FILES)
def test_it_is_refused_before_memory_is_reserved(huge, monkeypatch, name):
    monkeypatch.delenv(VARIABLE, raising=False)
    path = huge(name)
    with (
        limited_memory(),
        pytest.raises(ValueError, match=r"claims .* pixels.*MMLANDMARK_MAX_PIXELS") as caught,
    ):
        read_image(path)
    assert name in str(caught.value)
    assert "memory" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a.png", "a.mha", "a.dcm"])
def test_what_the_user_allows_is_read_as_far_as_it_goes(huge, monkeypatch, name):
    path = huge(name)
    monkeypatch.setenv(VARIABLE, "100_000_000_000")
    with limited_memory(), pytest.raises(ValueError, match=name.replace(".", r"\.")) as caught:
        read_image(path)
    assert VARIABLE not in str(caught.value)


def test_a_header_alone_may_say_what_it_likes(huge):
    assert image_header(huge("a.png")).shape == (100_000, 100_000)


def test_all_slices_of_a_folder_count(tmp_path, monkeypatch):
    pytest.importorskip("pydicom")
    write_dicom_series(tmp_path / "ct", np.zeros((4, 6, 5), np.int16), np.eye(4))
    monkeypatch.setenv(VARIABLE, "120")
    assert read_image(tmp_path / "ct").ori_shape == (4, 6, 5)
    monkeypatch.setenv(VARIABLE, "119")
    with pytest.raises(
        ValueError, match=r"ct: its header claims 4 x 6 x 5 pixels, more than the 119 allowed"
    ):
        read_image(tmp_path / "ct")


def test_pixels_in_other_files(tmp_path, monkeypatch):
    write_sitk(tmp_path / "a.mhd", np.zeros((30, 40), np.uint8), (1, 1))
    monkeypatch.setattr("mmlandmark.datasets.readers.claimed_size.SMALL", 0)
    assert read_image(tmp_path / "a.mhd").ori_shape == (30, 40)  # the other file holds them
    replaced(tmp_path / "a.mhd", b"DimSize = 40 30", b"DimSize = 40 31")
    with pytest.raises(ValueError, match="which a file of 1,200 bytes cannot hold"):
        read_image(tmp_path / "a.mhd")
    with pytest.raises(ValueError, match="cannot hold"):
        check_size(tmp_path / "a.mhd", "metaimage")
    replaced(tmp_path / "a.mhd", b"a.raw", b"a%01d.raw 0 1 1")
    check_size(tmp_path / "a.mhd", "metaimage")  # as several files are not counted


def test_a_packed_volume_that_unpacks_to_more_than_it_says(tmp_path):
    write_nifti(tmp_path / "a.nii.gz", np.zeros((4, 30, 40), np.uint8), (1, 1, 1), np.eye(4))
    inside = gunzipped((tmp_path / "a.nii.gz").read_bytes())
    (tmp_path / "a.nii.gz").write_bytes(gzipped(inside + bytes(1 << 29)))
    with limited_memory(), pytest.raises(ValueError, match=r"a\.nii\.gz.*more than its header says"):
        read_image(tmp_path / "a.nii.gz")


def test_every_format_with_a_header_is_tested():
    kinds = {
        "nii": "nifti",
        "nii.gz": "nifti",
        "jpg": "jpeg",
        "tif": "tiff",
        "mha": "metaimage",
        "mhd": "metaimage",
    }
    assert set(HEADERS) <= {kinds.get(name[2:], name[2:]) for name in FILES}
