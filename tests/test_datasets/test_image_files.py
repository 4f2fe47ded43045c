"""Image headers and folders."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from image_writers import FLAT, VOLUMES, write_cv
from mmlandmark.datasets.image_files import (
    child_ignoring_case,
    image_frame,
    image_header,
    image_parts,
    image_shape,
    image_stem,
    index_images,
    stem_of,
)
from mmlandmark.datasets.image_io import read_image
from mmlandmark.structures import world_matrix


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


@pytest.mark.parametrize("name", [*FLAT, "a.webp"])
def test_a_header_says_what_reading_finds(tmp_path, name):
    write, bits, more, _ = FLAT.get(name, (write_cv, 8, {}, False))
    picture = np.arange(24 * 17).reshape(24, 17) % 200 * (1 if bits == 8 else 2 ** (bits - 8))
    write(tmp_path / name, picture.astype(np.uint8 if bits == 8 else np.uint16), (0.5, 0.25), **more)
    header, image = image_header(tmp_path / name), read_image(tmp_path / name)
    assert header.shape == image.ori_shape == image_shape(tmp_path / name)
    assert header.dtype == (np.uint8 if bits == 8 else np.uint16)
    assert header.spacing == image.spacing


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "f4", "f8"])
@pytest.mark.parametrize("name", [name for name in VOLUMES if name != "a.dcm"])
def test_a_header_knows_the_type_of_voxels(tmp_path, name, dtype):
    write, more = VOLUMES[name]
    world = world_matrix((0.5, 0.75, 2), (1, 2, 3), np.diag([1, -1, 1]))
    write(tmp_path / name, np.zeros((3, 4, 5), dtype), None, world=world, **more)
    header = image_header(tmp_path / name)
    assert (header.shape, header.dtype) == ((3, 4, 5), np.dtype(dtype))
    np.testing.assert_allclose(header.world_from_original, world, atol=1e-6)
    np.testing.assert_array_equal(header.world_from_original, image_frame(tmp_path / name))
    np.testing.assert_array_equal(header.world_from_original, read_image(tmp_path / name).world_from_original)


def test_a_header_without_a_type_or_frame(tmp_path):
    (tmp_path / "a.mha").write_bytes(
        b"ObjectType = Image\nNDims = 2\nDimSize = 3 2\nElementDataFile = LOCAL\n"
    )
    header = image_header(tmp_path / "a.mha")
    assert (header.shape, header.dtype, header.world_from_original, header.spacing) == (
        (2, 3),
        None,
        None,
        None,
    )


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "mha"])
@pytest.mark.parametrize("content", [b"", b"nothing of the kind"])
def test_broken_header_is_named(tmp_path, suffix, content):
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(content)
    wrong = f"the header of this .{suffix} file is broken" if content else "the file is empty"
    with pytest.raises(ValueError, match=rf"a\.{suffix}: {wrong}"):
        image_shape(path)


def test_missing_image(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"a\.png"):
        image_shape(tmp_path / "a.png")


def test_index_prefers_lossless_and_looks_below(tmp_path):
    (tmp_path / "x" / "y").mkdir(parents=True)
    for name in (
        "x/1.jpg",
        "x/y/1.png",
        "2.JPG",
        "3.nii.gz",
        "4.nhdr",
        "4.raw.gz",
        "notes.txt",
        ".hidden.png",
    ):
        (tmp_path / name).touch()
    found = {stem: path[len(str(tmp_path)) + 1 :] for stem, path in index_images(tmp_path).items()}
    assert found == {"1": "x/y/1.png", "2": "2.JPG", "3": "3.nii.gz", "4": "4.nhdr"}
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


@pytest.mark.parametrize(
    ("name", "entry", "parts"),
    [
        ("a.mhd", "ElementDataFile = LOCAL\n", ()),
        ("a.mhd", "ElementDataFile = all voxels.raw\n", ("all voxels.raw",)),
        ("a.mhd", "ElementDataFile = s%02d.raw 1 5 2\n", ("s01.raw", "s03.raw", "s05.raw")),
        ("a.mhd", "ElementDataFile = LIST\ns03.raw\ns01.raw\n", ("s03.raw", "s01.raw")),
        ("a.mhd", "ElementDataFile = gone.raw\n", ()),
        ("a.mhd", "ElementDataFile = below/../../outside.raw\n", ()),
        ("a.mhd", "NDims = 3\n", ()),
        ("a.nhdr", "data file: s%02d.raw 3 1 -2 2\n\n", ("s03.raw", "s01.raw")),
        ("a.nhdr", "data file: LIST 2\ns01.raw\ns05.raw", ("s01.raw", "s05.raw")),
        ("a.nhdr", "sizes: 2 3 4\n\n", ()),
    ],
)
def test_the_files_of_an_image(tmp_path, name, entry, parts):
    (tmp_path.parent / "outside.raw").write_bytes(b"0")
    (tmp_path / "below").mkdir()
    for file in ("all voxels.raw", "s01.raw", "s03.raw", "s05.raw"):
        (tmp_path / file).write_bytes(b"0")
    head = "NDims = 3\n" if name == "a.mhd" else "NRRD0004\n"
    (tmp_path / name).write_text(head + entry)
    assert image_parts(tmp_path / name) == [str(tmp_path / part) for part in (name, *parts)]


def test_the_files_of_other_images(tmp_path):
    write_cv(tmp_path / "a.png", np.zeros((4, 5), np.uint8), None)
    (tmp_path / ".hidden").write_bytes(b"0")
    assert image_parts(tmp_path / "a.png") == [str(tmp_path / "a.png")]
    assert image_parts(str(tmp_path)) == [str(tmp_path / "a.png")]
    with pytest.raises(FileNotFoundError):
        image_parts(tmp_path / "gone.png")
