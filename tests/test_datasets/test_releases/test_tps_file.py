"""TPS files, on tiny copies."""

from __future__ import annotations

import numpy as np
import pytest

from mmlandmark.datasets.releases import TpsFile, tps_file
from test_datasets.test_releases.release_files import image, text

TPS = """LM=3
1.0 2.0
NA NA
-1 -1
CURVES=1
POINTS=2
9 9
8 8
IMAGE=C:\\pictures\\a.png
ID=0
SCALE=0.05

LM=3
1 0
2 0
3 23
IMAGE=b.png
"""


def tps(root, content=TPS):
    for name in "ab":
        image(root / f"{name}.png")
    text(root / "all.tps", content)
    return dict(ann_file="all.tps", data_root=str(root))


def test_tps_counts_y_from_the_bottom(tmp_path):
    first, second = TpsFile(**tps(tmp_path), scale_to_mm=10)
    np.testing.assert_array_equal(first["landmarks"], [[1, 21], [np.nan] * 2, [np.nan] * 2])
    np.testing.assert_array_equal(second["landmarks"], [[1, 23], [2, 23], [3, 0]])
    assert (first["sample_id"], first["spacing"], second["spacing"]) == ("a", (0.5, 0.5), None)
    assert second["source"].endswith("line 13")


def test_images_of_one_name_have_their_folders_in_the_id(tmp_path):
    for name in ("p1", "p2"):
        image(tmp_path / name / "a.png")
    content = "".join(f"LM=1\n1 2\nIMAGE={name}\n" for name in ("p1/a.png", "p2\\a.png"))
    text(tmp_path / "all.tps", content)
    assert [one["sample_id"] for one in TpsFile("all.tps", str(tmp_path))] == ["p1/a", "p2/a"]


@pytest.mark.parametrize(
    ("scale_to_mm", "said"),
    [
        (None, "SCALE= is 0.05, its unit is unknown: scale_to_mm=1 for mm, 10 for cm"),
        (10, "SCALE= gives 0.5 mm per pixel (by scale_to_mm)"),
    ],
)
def test_the_unit_of_scale_is_told(tmp_path, monkeypatch, scale_to_mm, said):
    told = []
    monkeypatch.setattr(tps_file, "print_log", lambda text, *_: told.append(text))
    for _ in range(3):  # train, val, test
        TpsFile(**tps(tmp_path), scale_to_mm=scale_to_mm)
    assert len(told) == 1
    assert told[0].endswith(said)


def test_a_scale_without_unit_is_no_spacing(tmp_path):
    first, second = TpsFile(**tps(tmp_path))
    assert (first["spacing"], first["scale_without_unit"]) == (None, 0.05)
    assert (second["spacing"], "scale_without_unit" in second) == (None, False)
    assert TpsFile(**tps(tmp_path), spacing=0.2)[0]["spacing"] == (0.2, 0.2)


def test_tps_from_the_top(tmp_path):
    assert TpsFile(**tps(tmp_path), y_up=False)[0]["landmarks"][0].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("LM=2\n1 2\n", "line 1: 2 lines of 2 or 3 coordinates must follow"),
        ("LM=1\n1 two\nID=1\n", "line 2: '1 two' are not numbers"),
        ("LM=1\n1 2\n3 4\nIMAGE=a.png\n", "line 3: '3 4' is not expected here"),
        ("LM=x\n", "line 1: expected a number of points"),
        ("LM=\n", "line 1: expected a number of points"),
        ("LM=-1\n", "line 1: expected a number of points"),
        ("LM=1.0\n1 2\n", "line 1: expected a number of points"),
        ("LM=²\n", "line 1: expected a number of points"),
        (
            "LM=999999999\n1 2\nIMAGE=a.png\n",
            "line 1: LM=999999999 needs 999999999 lines of coordinates, but line 3 is 'IMAGE=a.png'",
        ),
        (
            "LM=2\n1 2\nIMAGE=a.png\n",
            "line 1: LM=2 needs 2 lines of coordinates, but line 3 is 'IMAGE=a.png'",
        ),
        ("LM=1\n1 inf\nIMAGE=a.png\n", "line 2: '1 inf' are not numbers"),
        ("LM=1\n1 1e999\nIMAGE=a.png\n", "line 2: '1e999' is too large"),
        ("LM=1\n1,5 2,5\nIMAGE=a.png\n", "line 2: '1,5' is not a number"),
        ("LM=1\n1 2\nIMAGE=a.png\nSCALE=x\n", "line 4: 'x' are not numbers"),
        ("LM=1\n1 2\nIMAGE=a.png\nSCALE=1 2\n", "line 4: SCALE= must be one positive number"),
        ("LM=1\n1 2\nIMAGE=a.png\nSCALE=-1\n", "line 4: SCALE= must be one positive number"),
        ("LM=1\n1 2\nIMAGE=a.png\nSCALE=nan\n", "line 4: SCALE= must be one positive number"),
        ("LM=1\n1 2\nIMAGE=a.png\nIMAGE=b.png\n", "line 4: IMAGE= is given twice"),
        ("LM=1\n1 2\nIMGAE=a.png\n", "line 3: unknown key 'IMGAE', did you mean 'IMAGE'"),
        ("LM=1\n1 2\nSACLE=0.1\n", "line 3: unknown key 'SACLE', did you mean 'SCALE'"),
        ("LM=1\n1 2\n", "neither IMAGE= nor ID="),
        ("LM=1\n1 2\nID=4\n", "y_up needs IMAGE="),
        (
            "LM=1\n1 2\nIMAGE=a.png\nLM=2\n1 2\n3 4\nIMAGE=b.png\n",
            "2 landmarks, but schema 'numbered1' has 1",
        ),
    ],
)
def test_tps_bad_input(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        TpsFile(**tps(tmp_path, content))


def test_tps_without_scale_or_landmarks(tmp_path):
    content = "LM=0\nIMAGE=a.png\nSCALE=\nLM=1\n1 2\nIMAGE=b.png\nSCALE= 0.5\nCOMMENT=a|b\n"
    first, second = TpsFile(**tps(tmp_path, content), scale_to_mm=1)
    assert np.isnan(first["landmarks"]).all()
    assert (first["spacing"], second["spacing"]) == (None, (0.5, 0.5))
    assert second["landmarks"].tolist() == [[1, 21]]


def test_tps_of_old_programs(tmp_path):
    (tmp_path / "a.tps").write_bytes("LM=1\r\n1 2\r\nIMAGE=ä.png\r\n".encode("cp1252"))
    image(tmp_path / "ä.png")
    assert TpsFile("a.tps", str(tmp_path))[0]["sample_id"] == "ä"


def test_tps_y_is_not_left_as_it_is_where_the_image_is_missing(tmp_path):
    arguments = dict(tps(tmp_path, "LM=1\n1 2\nIMAGE=gone.png\n"), missing_images="keep")
    with pytest.raises(ValueError, match=r"all\.tps, line 1: .*y_up counts from the image's bottom"):
        TpsFile(**arguments)
    assert TpsFile(**arguments, y_up=False).get_data_info(0)["landmarks"].tolist() == [[1, 2]]
