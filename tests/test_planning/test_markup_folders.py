"""Folders of markups and images."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from mmlandmark.planning.markup_folders import has_markups, markup_folders
from mmlandmark.testing.volume_files import write_dicom_series


def make(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.mark.parametrize(
    "names",
    [
        ("a.nii.gz", "a.mrk.json", "b.nrrd", "b.fcsv"),
        ("site1/a.nii.gz", "site1/a.mrk.json", "site2/b.nrrd"),
        ("a.png", "a.png.mrk.json"),
    ],
)
def test_markups_beside_their_images(tmp_path, names):
    make(tmp_path, *names)
    assert has_markups(tmp_path)
    assert markup_folders(tmp_path) == (tmp_path, "")


def test_markups_in_a_folder_of_their_own(tmp_path):
    make(tmp_path, "targets/a.nii.gz", "targets/b.nii.gz", "LMs/a.mrk.json", "LMs/c.mrk.json", "old/d.fcsv")
    assert markup_folders(tmp_path) == (tmp_path / "LMs", "../targets")
    make(tmp_path, "second/b.mrk.json")
    with pytest.raises(ValueError, match="several folders: LMs, second; name one of them"):
        markup_folders(tmp_path)
    shutil.rmtree(tmp_path / "targets")
    with pytest.raises(
        FileNotFoundError, match=r"no markups have an image of the same name \(such as .*LMs.a\)"
    ):
        markup_folders(tmp_path)


@pytest.mark.parametrize(
    ("points", "found"), [("points/a.fcsv", ("points", "../ct")), ("ct/a.fcsv", ("", ""))]
)
def test_folders_of_slices_are_images(tmp_path, points, found):
    pytest.importorskip("pydicom")
    write_dicom_series(tmp_path / "ct" / "a", np.zeros((3, 4, 5), np.uint8), np.eye(4))
    make(tmp_path, points)
    assert markup_folders(tmp_path) == (tmp_path / found[0], found[1])
    make(tmp_path, "points/b.fcsv", "ct/a/c.fcsv")
    assert markup_folders(tmp_path) == (tmp_path / found[0], found[1])


def test_a_folder_without_markups(tmp_path):
    make(tmp_path, "a.nii.gz", "notes.json", ".hidden/x.txt")
    assert not has_markups(tmp_path)
