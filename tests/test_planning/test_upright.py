"""Plans count the sides of photographs as a viewer shows them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mmlandmark.datasets.image_io import read_image
from mmlandmark.planning import DataView, find_data
from mmlandmark.planning.upright import upright
from mmlandmark.structures import apply_matrix
from test_planning.kites import write_kites
from test_planning.test_fingerprint import fingerprint_of


def turn(path, orientation):
    """Give a JPEG an Exif orientation."""
    data = path.read_bytes()
    entry = b"\x12\x01\x03\x00\x01\x00\x00\x00" + bytes([orientation]) + b"\x00\x00\x00"
    content = b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x01\x00" + entry + bytes(4)
    path.write_bytes(data[:2] + b"\xff\xe1" + (len(content) + 2).to_bytes(2, "big") + content + data[2:])


def test_sizes_are_those_that_the_network_sees(tmp_path):
    path = write_kites(tmp_path / "kites")
    before, _ = fingerprint_of(path)
    for photo in sorted((tmp_path / "kites" / "photos").iterdir()):
        turn(photo, 6)
    after, _ = fingerprint_of(path)
    for name in ("median_size", "smallest_size", "largest_size"):
        assert getattr(after, name) == getattr(before, name)[::-1]
    assert after.orientation_tags > 0
    assert after.rotation == pytest.approx(before.rotation, abs=0.01)  # all of them are turned


@pytest.mark.parametrize("orientation", [2, 3, 5, 8])
def test_landmarks_are_where_the_reader_puts_them(tmp_path, orientation):
    path = write_kites(tmp_path / "kites", count=4)
    photo = tmp_path / "kites" / "photos" / "kite02.jpg"
    turn(photo, orientation)
    cases = DataView(find_data(path).build()).cases
    seen = upright(cases)
    image = read_image(photo)
    n = [record["sample_id"] for record in cases.records].index("kite02")
    np.testing.assert_allclose(seen.points[n], apply_matrix(image.img_from_original, cases.points[n]))
    assert tuple(seen.sizes[n][::-1]) == image.array.shape[:2]
    others = np.arange(4) != n
    np.testing.assert_array_equal(seen.points[others], cases.points[others])
    assert cv2.imread(str(photo)).shape == image.array.shape
