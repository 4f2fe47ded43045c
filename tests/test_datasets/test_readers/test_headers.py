"""A header that claims 100,000 x 100,000 pixels is refused before memory is reserved, in every format."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from image_writers import write_dicom, write_nifti, write_sitk
from memory_limit import limited_memory
from mmlandmark.datasets.image_files import image_header
from mmlandmark.datasets.image_io import read_image
from mmlandmark.datasets.readers.claimed_size import VARIABLE
from mmlandmark.datasets.readers.headers import HEADERS, check_size
from mmlandmark.testing.mutations import gunzipped, gzipped, with_png_checksums
from mmlandmark.testing.volume_files import write_dicom_series

HUGE = 100_000
GRAY = np.arange(30 * 40, dtype=np.uint16).astype(np.uint8).reshape(30, 40)


def changed(path: Path, at: int, fmt: str, *numbers: int) -> None:
    data = bytearray(path.read_bytes())
    struct.pack_into(fmt, data, at, *numbers)
    path.write_bytes(bytes(data))


def replaced(path: Path, old: bytes, new: bytes) -> None:
    data = path.read_bytes()
    assert data.count(old) == 1
    path.write_bytes(data.replace(old, new))


def png(path):
    cv2.imwrite(str(path), GRAY)
    changed(path, 16, ">II", HUGE, HUGE)
    path.write_bytes(with_png_checksums(path.read_bytes()))


def jpg(path):  # which holds 16 bits of a side
    cv2.imwrite(str(path), GRAY)
    data = path.read_bytes()
    changed(path, data.index(b"\xff\xc0") + 5, ">HH", 65_500, 65_500)


def bmp(path):
    cv2.imwrite(str(path), GRAY)
    changed(path, 18, "<ii", HUGE, HUGE)


def tif(path):
    cv2.imwrite(str(path), GRAY)
    data = path.read_bytes()
    at = struct.unpack_from("<I", data, 4)[0] + 2
    for entry in range(at, at + 12 * 2, 12):  # width and height come first
        assert struct.unpack_from("<H", data, entry)[0] in (256, 257)
        changed(path, entry + 2, "<HII", 4, 1, HUGE)


def pgm(path):
    path.write_bytes(b"P5\n# by hand\n%d %d\n255\n" % (HUGE, HUGE) + bytes(100))


def webp(path):  # which holds 14 bits of a side
    cv2.imwrite(str(path), GRAY, [cv2.IMWRITE_WEBP_QUALITY, 50])
    changed(path, 26, "<HH", 16_383, 16_383)


def npy(path):
    np.save(path, GRAY)
    replaced(path, b"(30, 40), }" + b" " * 14, b"(%d, %d), }" % (HUGE, HUGE) + b" " * 6)


def mha(path):
    write_sitk(path, GRAY, (1, 1))
    replaced(path, b"DimSize = 40 30", b"DimSize = %d %d" % (HUGE, HUGE))


def nrrd(path):
    write_sitk(path, GRAY, (1, 1))
    replaced(path, b"sizes: 40 30", b"sizes: %d %d" % (HUGE, HUGE))


def nii(path):  # which holds 15 bits of a side
    write_nifti(path, np.zeros((4, 30, 40), np.uint8), (1, 1, 1), np.eye(4))
    changed(path, 42, "<3h", 32_767, 32_767, 32_767)


def nii_gz(path):
    nii(path.with_name("a.nii"))
    path.write_bytes(gzipped(path.with_name("a.nii").read_bytes()))


def dcm(path):  # which holds 16 bits of a side
    write_dicom(path, GRAY, None, 8)
    pydicom = pytest.importorskip("pydicom")
    data = pydicom.dcmread(path)
    data.Rows = data.Columns = 65_535
    data.save_as(path)


FILES = {
    "a.png": png, "a.jpg": jpg, "a.bmp": bmp, "a.tif": tif, "a.pgm": pgm, "a.webp": webp, "a.npy": npy,
    "a.mha": mha, "a.mhd": mha, "a.nrrd": nrrd, "a.nii": nii, "a.nii.gz": nii_gz, "a.dcm": dcm,
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_it_is_refused_before_memory_is_reserved(tmp_path, monkeypatch, name):
    monkeypatch.delenv(VARIABLE, raising=False)
    FILES[name](tmp_path / name)
    with (
        limited_memory(),
        pytest.raises(ValueError, match=r"claims .* pixels.*MMLANDMARK_MAX_PIXELS") as caught,
    ):
        read_image(tmp_path / name)
    assert name in str(caught.value)
    assert "memory" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a.png", "a.mha", "a.dcm"])
def test_what_the_user_allows_is_read_as_far_as_it_goes(tmp_path, monkeypatch, name):
    FILES[name](tmp_path / name)
    monkeypatch.setenv(VARIABLE, "100_000_000_000")
    with limited_memory(), pytest.raises(ValueError, match=name.replace(".", r"\.")) as caught:
        read_image(tmp_path / name)
    assert VARIABLE not in str(caught.value)


def test_a_header_alone_may_say_what_it_likes(tmp_path):
    png(tmp_path / "a.png")
    assert image_header(tmp_path / "a.png").shape == (HUGE, HUGE)


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
