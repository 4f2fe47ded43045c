"""The annotated image: in a file of names, or as a row of an annotation in any format."""

import json

import cv2
import numpy as np
import pytest

from mmlandmark.planning.template import read_template
from test_planning.kites import NAMES, draw_kites, write_kites


@pytest.mark.parametrize("kind", ["csv", "coco", "json", "tps"])
def test_the_row_of_the_image_is_found(tmp_path, kind):
    path = write_kites(tmp_path, kind, count=4, y_up=kind == "tps")
    points = draw_kites(4)[1][2]
    template = read_template(tmp_path / "photos" / "kite02.jpg", path)
    assert template.size == (54, 76)
    assert template.left_out == []
    order = list(range(4)) if kind in ("tps", "json") else [NAMES.index(n) for n in template.schema.landmarks]
    np.testing.assert_allclose(template.points, points[order], atol=0.02)
    # One landmark of the second image is missing.
    other = read_template(tmp_path / "photos" / "kite01.jpg", path)
    assert len(other.points) == len(other.schema.landmarks) == 3
    assert len(other.left_out) == 1
    assert "which the template does not show" in other.left_out[0]
    cv2.imwrite(str(tmp_path / "other.png"), np.zeros((8, 8), np.uint8))
    with pytest.raises(ValueError, match=r"none of 4 rows is of other\.png"):
        read_template(tmp_path / "other.png", path)


def test_the_row_of_an_image_of_another_size_is_refused(tmp_path):
    """Such as that of the film that the template was shrunk from."""
    path = write_kites(tmp_path, "json", count=4, width=[128] * 4, height=[96] * 4)
    with pytest.raises(ValueError, match=r"kite02\.jpg has 128 x 96 pixels, but it has 76 x 54"):
        read_template(tmp_path / "photos" / "kite02.jpg", path)


def test_names_with_points_are_enough(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((20, 30), np.uint8))
    points = dict(a=[-0.5, 19.49], b=[29.5, 3], c=None, d=[3, 4])
    (tmp_path / "a.json").write_text(json.dumps(points))
    template = read_template(tmp_path / "a.png", tmp_path / "a.json")
    assert template.schema.landmarks == ("a", "d")
    assert [text.split()[0] for text in template.left_out] == ["'c',", "'b'"]
    sample = template.annotation()["samples"][0]
    assert sample == dict(id="a", image=str(tmp_path / "a.png"), landmarks=[[-0.5, 19.49], [3.0, 4.0]])
    for wrong in (dict(a=[1]), dict(a="x"), dict(a=[True, 1])):
        (tmp_path / "a.json").write_text(json.dumps(wrong))
        with pytest.raises(ValueError, match=r"'a' is .* expected \[x, y\] or null"):
            read_template(tmp_path / "a.png", tmp_path / "a.json")


def test_volumes_are_refused(tmp_path):
    np.save(tmp_path / "v.npy", np.zeros((4, 5, 6), np.uint8))
    with pytest.raises(ValueError, match="this is a volume"):
        read_template(tmp_path / "v.npy", tmp_path / "a.json")
