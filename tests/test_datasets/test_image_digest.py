"""What the images of a test are."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mmlandmark.datasets.image_digest import digest_images, image_format, jpeg_quality
from mmlandmark.testing.volume_files import write_dicom_series, write_itk

IMAGE = np.random.default_rng(0).integers(0, 255, (40, 30)).astype(np.uint8)


@pytest.mark.parametrize("quality", [1, 30, 49, 50, 75, 100])
def test_the_quality_of_a_jpeg(tmp_path, quality):
    path = tmp_path / "called.png"  # the content counts
    path.write_bytes(cv2.imencode(".jpg", IMAGE, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes())
    assert jpeg_quality(path.read_bytes()) == quality
    assert image_format(path) == f"JPEG of quality {quality}"


def test_a_jpeg_with_a_table_of_its_own():
    data = bytearray(cv2.imencode(".jpg", IMAGE)[1].tobytes())
    data[data.index(b"\xff\xdb") + 5] ^= 1
    assert jpeg_quality(bytes(data)) is None
    assert jpeg_quality(b"\xff\xd8") is None


@pytest.mark.parametrize(("suffix", "name"), [(".png", "PNG"), (".bmp", "BMP"), (".tif", "TIFF")])
def test_formats_by_their_content(tmp_path, suffix, name):
    path = tmp_path / "image"
    path.write_bytes(cv2.imencode(suffix, IMAGE)[1].tobytes())
    assert image_format(path) == name


def test_what_no_signature_tells_goes_by_its_suffix(tmp_path):
    for name, wanted in (("a.nii.gz", "nii.gz"), ("b", "unknown")):
        (tmp_path / name).write_bytes(b"?" * 200)
        assert image_format(tmp_path / name) == wanted
    (tmp_path / "c").write_bytes(b"\0" * 128 + b"DICM")
    assert image_format(tmp_path / "c") == "DICOM"


def test_a_folder_of_slices_counts_with_all_of_them(tmp_path):
    pytest.importorskip("pydicom")
    folder = write_dicom_series(tmp_path / "ct", np.zeros((3, 4, 5), np.uint8), np.eye(4))
    before = digest_images({"a": folder})
    assert before["formats"] == {"DICOM series": 1}
    write_dicom_series(tmp_path / "ct", np.full((3, 4, 5), 1, np.uint8), np.eye(4))
    assert digest_images({"a": folder})["digest"] != before["digest"]


@pytest.mark.parametrize("suffix", [".mhd", ".nhdr"])
def test_pixels_beside_their_header_count(tmp_path, suffix):
    pytest.importorskip("SimpleITK")
    found = []
    for value in (1, 2):
        path = write_itk(tmp_path / f"ct{suffix}", np.full((3, 4, 5), value, np.uint8), np.eye(4))
        found.append((path.read_bytes(), digest_images({"a": path})))
    assert found[0][0] == found[1][0]  # the header says nothing about them
    assert found[0][1]["files"] == 1
    assert found[0][1]["digest"] != found[1][1]["digest"]


def test_the_digest_sees_content_and_ids_but_not_places(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / "a.png"), IMAGE)
        cv2.imwrite(str(tmp_path / folder / "b.jpg"), IMAGE, [cv2.IMWRITE_JPEG_QUALITY, 30])
    one, two = (
        {"a": tmp_path / folder / "a.png", "b": tmp_path / folder / "b.jpg"} for folder in ("one", "two")
    )
    digest = digest_images(one)
    assert digest["files"] == 2
    assert digest["formats"] == {"JPEG of quality 30": 1, "PNG": 1}
    assert digest_images(dict(reversed(two.items()))) == digest
    assert digest_images({"a": one["b"], "b": one["a"]})["digest"] != digest["digest"]
    cv2.imwrite(str(two["a"]), IMAGE // 2)
    assert digest_images(two)["digest"] != digest["digest"]
    with pytest.raises(FileNotFoundError):
        digest_images({"a": tmp_path / "gone.png"})
