"""Tables without a header: how many coordinates a point has."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mmlandmark.datasets import LandmarkDataset
from mmlandmark.datasets.bare_table import named_record
from mmlandmark.datasets.table_files import read_csv


def points(folder, text, **kwargs):
    """Return the landmarks of the first record of a table."""
    path = folder / "a.csv"
    path.write_text(text)
    return read_csv(path, **kwargs)[0][0]["landmarks"]


SIX = "v,1,2,3,4,5,6\n"


@pytest.mark.parametrize("dims", [2, 3])
def test_a_schema_decides(tmp_path, dims):
    assert points(tmp_path, SIX, dims=dims).shape == (6 // dims, dims)
    assert points(tmp_path, SIX, dims=dims, names=["n"] * (6 // dims)).shape == (6 // dims, dims)


@pytest.mark.parametrize(("dims", "other"), [(2, 3), (3, 2)])
def test_a_schema_of_other_dims_is_refused_with_the_cure(tmp_path, dims, other):
    names = list("abcdef")[: 6 // other]
    with pytest.raises(ValueError, match=rf'a\.csv, line 1: .* write "dims": {other} in the schema'):
        points(tmp_path, SIX, dims=dims, names=names)


@pytest.mark.parametrize("dims", [2, 3])
def test_the_first_image_that_can_be_read_decides(tmp_path, dims):
    asked = {"lost": None, "v": dims}
    assert points(tmp_path, "lost,,,,,,\n" + SIX, image_dims=asked.get).shape == (6 // dims, dims)


def test_numbers_that_make_points_in_one_way_only_decide(tmp_path):
    assert points(tmp_path, "v,1,2,3,4,5,6,7,8,9\n").shape == (3, 3)
    assert points(tmp_path, "v,1,2,3,4\n").shape == (2, 2)
    assert points(tmp_path, "v,1,2,,,5,6\n").shape == (3, 2)  # a point has all its coordinates or none
    assert points(tmp_path, "v,1,2,3,,,\n").shape == (2, 3)
    assert points(tmp_path, SIX, names=["a", "b"]).shape == (2, 3)


def test_where_nothing_decides_the_user_is_asked(tmp_path):
    message = r"a\.csv, line 1: 6 numbers may be 3 points of 2 coordinates or 2 of 3.*give the dataset a"
    with pytest.raises(ValueError, match=message):
        points(tmp_path, SIX)
    with pytest.raises(ValueError, match=message):
        points(tmp_path, SIX, image_dims=lambda name: None)


def test_numbers_that_contradict_the_image_are_refused(tmp_path):
    with pytest.raises(ValueError, match="4 numbers after the first cell are not points of 3 coordinates"):
        points(tmp_path, "v,1,2,3,4\n", image_dims=lambda name: 3)


def test_points_of_volumes_are_not_twice_as_many_in_images(tmp_path):
    rng = np.random.default_rng(0)
    rows = []
    for name in ("a", "b"):
        np.save(tmp_path / f"{name}.npy", rng.random((6, 7, 8)))
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.zeros((7, 8), np.uint8))
        rows.append(",".join(map(str, [name, *rng.integers(0, 6, 12)])))
    for suffix, shape in ((".npy", (4, 3)), (".png", (6, 2))):
        (tmp_path / "a.csv").write_text("\n".join(r.replace(",", f"{suffix},", 1) for r in rows))
        dataset = LandmarkDataset("a.csv", str(tmp_path), lazy_init=True)
        assert dataset.dims == shape[1]
        assert dataset.metainfo["dims"] == shape[1]
        assert dataset.get_data_info(1)["landmarks"].shape == shape


def test_a_broken_image_does_not_decide(tmp_path):
    (tmp_path / "v.npy").write_bytes(b"\x93NUMPY broken")
    (tmp_path / "a.csv").write_text(SIX.replace("v", "v.npy"))
    with pytest.raises(ValueError, match="6 numbers may be"):
        LandmarkDataset("a.csv", str(tmp_path))


def test_an_id_or_an_image_names_a_record():
    assert named_record("x", "sub/y.png", "here") == dict(sample_id="x", image="sub/y.png", source="here")
    assert named_record(None, "sub/y.nii.gz", "here")["sample_id"] == "y"
    assert named_record("y.png", "y.png", "here")["sample_id"] == "y.png"
    with pytest.raises(ValueError, match="here: neither id nor image is given"):
        named_record("", None, "here")
