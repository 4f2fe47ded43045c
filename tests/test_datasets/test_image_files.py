"""Image headers and folders."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mmlandmark.datasets.image_files import (
    child_ignoring_case,
    image_shape,
    image_stem,
    index_images,
    stem_of,
)


@pytest.mark.parametrize("suffix", ["png", "jpg", "jpeg", "bmp", "tif"])
@pytest.mark.parametrize("channels", [1, 3])
def test_shape_comes_from_the_header(tmp_path, suffix, channels):
    path = tmp_path / f"a.{suffix}"
    shape = (31, 17) if channels == 1 else (31, 17, 3)
    assert cv2.imwrite(str(path), np.zeros(shape, np.uint8))
    assert image_shape(path) == (31, 17)


def test_shape_of_a_metaimage(tmp_path):
    sitk = pytest.importorskip("SimpleITK")
    for shape, expected in (((4, 5, 6), (4, 5, 6)), ((1, 5, 6), (5, 6)), ((5, 6), (5, 6))):
        path = tmp_path / "a.mha"
        sitk.WriteImage(sitk.GetImageFromArray(np.zeros(shape, np.uint8)), str(path), True)
        assert image_shape(path) == expected


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "mha"])
@pytest.mark.parametrize("content", [b"", b"nothing of the kind"])
def test_broken_header_is_named(tmp_path, suffix, content):
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"a\.{suffix}: the header of this \.{suffix} file is broken"):
        image_shape(path)


def test_missing_image(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"a\.png"):
        image_shape(tmp_path / "a.png")


def test_index_prefers_lossless_and_looks_below(tmp_path):
    (tmp_path / "x" / "y").mkdir(parents=True)
    for name in ("x/1.jpg", "x/y/1.png", "2.JPG", "3.nii.gz", "notes.txt", ".hidden.png"):
        (tmp_path / name).touch()
    found = {stem: path[len(str(tmp_path)) + 1 :] for stem, path in index_images(tmp_path).items()}
    assert found == {"1": "x/y/1.png", "2": "2.JPG", "3": "3.nii.gz"}
    assert index_images(tmp_path / "nowhere") == {}


def test_names():
    assert image_stem("a/b.c.nii.gz") == "b.c"
    assert image_stem("a/b 310 a ap.jpg") == "b 310 a ap"
    assert image_stem("a/b.17") == "b.17"


def test_child_ignoring_case(tmp_path):
    (tmp_path / "TRAIN").mkdir()
    assert child_ignoring_case(tmp_path, "train", "training") == tmp_path / "TRAIN"
    assert child_ignoring_case(tmp_path, "test") is None
    assert child_ignoring_case(tmp_path / "nowhere", "test") is None


def test_names_of_files_lose_folders_of_any_system():
    names = ("a/001.png", "a\\001.png", "C:\\x\\001.png", "v.nii.gz", "v.1.nii")
    assert [stem_of(name) for name in names] == ["001"] * 3 + ["v", "v.1"]
