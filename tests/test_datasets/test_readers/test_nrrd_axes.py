"""Entries of a NRRD header are of one number of axes, before ITK sees them."""

from __future__ import annotations

import numpy as np
import pytest

from image_writers import write_sitk
from mmlandmark.datasets.image_io import read_image
from mmlandmark.datasets.readers.nrrd_axes import check_axes

HEADER = {
    "dimension": "3",
    "sizes": "5 6 4",
    "kinds": "domain domain domain",
    "space": "left-posterior-superior",
    "space directions": "(0.5,0,0) (0, 0.6, 0) (0,0,2)",
    "space origin": "(1,2,3)",
    "labels": '"x" "the \\"y\\"" ""',
}


@pytest.mark.parametrize(
    "change",
    [
        {},
        {
            "dimension": "4",
            "sizes": "3 5 6 4",
            "kinds": "RGB-color domain domain domain",
            "labels": '"" "" "" ""',
        }
        | {"space directions": "none (1,0,0) (0,1,0) (0,0,1)"},
    ],
)
def test_a_whole_header(change):
    check_axes(HEADER | change)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"dimension": ""}, "its dimension '' is not a number from 1 to 16"),
        ({"dimension": "17"}, "its dimension '17' is not"),
        ({"dimension": "1e3"}, "its dimension '1e3' is not"),
        ({"space dimension": "400"}, "its space dimension '400' is not"),
        ({"dimension": "2"}, "its sizes '5 6 4' are 3, but its dimension is 2"),
        ({"kinds": "domain"}, "its kinds 'domain' are 1"),
        ({"labels": '"x" "y" "z" "t"'}, "its labels .* are 4"),
        ({"space directions": "(0.5,0,0) (0,0.6,0)" + " (0,0,2)" * 100}, "are 102, but its dimension is 3"),
        ({"space origin": "(1,2,3,4)"}, "its vectors have different lengths"),
    ],
)
def test_what_is_refused(change, told):
    with pytest.raises(ValueError, match=told):
        check_axes(HEADER | change)


def test_a_header_with_too_many_vectors_does_not_end_the_process(tmp_path):
    write_sitk(tmp_path / "a.nrrd", np.zeros((4, 6, 5), np.int16), (1, 1, 1), np.eye(4))
    data = (tmp_path / "a.nrrd").read_bytes()
    start, end = data.index(b"space directions:"), data.index(b"\n", data.index(b"space directions:"))
    (tmp_path / "b.nrrd").write_bytes(data[:end] + b" (0,0,1)" * 50 + data[end:])
    assert start > 0
    assert read_image(tmp_path / "a.nrrd").ori_shape == (4, 6, 5)
    with pytest.raises(ValueError, match=r"b\.nrrd.*are 53, but its dimension is 3"):
        read_image(tmp_path / "b.nrrd")
