"""Names of files of pixels in headers."""

from __future__ import annotations

from io import BytesIO

import pytest

from mmlandmark.datasets.readers.pixel_files import check_data_files, named_files


@pytest.mark.parametrize(
    ("entry", "rest", "names"),
    [
        ("LOCAL", b"voxels", []),
        ("Local", b"voxels", []),
        ("my voxels.raw", b"", ["my voxels.raw"]),
        ("voxels 1 2 3", b"", ["voxels 1 2 3"]),
        ("s%02d.raw 1 5 2", b"", ["s01.raw", "s03.raw", "s05.raw"]),
        ("s %d.raw 3 1 -1 2", b"", ["s 3.raw", "s 2.raw", "s 1.raw"]),
        ("s%d.raw 1 1 0", b"", ["s1.raw"]),
        ("LIST", b"b.raw\r\n\na.raw", ["b.raw", "a.raw"]),
        ("LIST 2", b"b.raw\na.raw\n", ["b.raw", "a.raw"]),
    ],
)
def test_names(entry, rest, names):
    assert named_files(entry, BytesIO(rest)) == names


def test_a_pattern_does_not_stand_for_millions():
    assert len(named_files("s%d.raw 1 999999999 1", BytesIO())) == 2**16


@pytest.mark.parametrize(
    ("entry", "rest"),
    [("/a.raw", b""), ("b/../../a.raw", b""), ("C:a.raw", b""), ("%s 1 2 1", b""), ("LIST", b"../a.raw")],
)
def test_names_outside_of_the_folder_are_refused(entry, rest):
    for refuse in (check_data_files, named_files):
        with pytest.raises(ValueError, match="its header takes the pixels from"):
            refuse(entry, BytesIO(rest))
