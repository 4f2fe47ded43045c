"""mmlandmark benchmark-loader: a record of all ways to load an image."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from mmlandmark.cli import benchmark_loader, invoke


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    smooth = cv2.resize(rng.integers(0, 255, (30, 24), dtype=np.uint8), (384, 480))
    for number in range(2):
        cv2.imwrite(str(folder / f"{number}.jpg"), np.roll(smooth, number, axis=0))
    return folder


def test_writes_a_record(images, tmp_path, capsys):
    out = tmp_path / "loader.json"
    invoke("benchmark-loader", [str(images), "--size", "60", "48", "--rounds", "1", "--out", str(out)])
    record = json.loads(out.read_text())
    assert (record["source"], record["images"]) == ("folder", 2)
    assert set(record["loader"]) == set(benchmark_loader.LOOPS)
    assert record["loader"]["plain_area"]["speedup_over_plain_area"] == 1
    assert all(row["milliseconds"] > 0 for row in record["loader"].values())
    first, second = record["reduced_decode"]
    assert (first["decoded_at"], second["decoded_at"]) == (["1/4"], ["1/2"])
    assert first["largest_residual_shift_px"] < 0.05
    assert "images/s" in capsys.readouterr().out


def test_generated_images_look_like_radiographs(tmp_path):
    benchmark_loader.make_images(tmp_path, 1)
    image = cv2.imread(str(tmp_path / "000.jpg"), cv2.IMREAD_GRAYSCALE)
    assert image.shape == (2400, 1935)
    assert 20 < image.std() < 100


def test_a_folder_without_images_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no images"):
        invoke("benchmark-loader", [str(tmp_path)])
    with pytest.raises(NotADirectoryError, match="is not a folder"):
        invoke("benchmark-loader", [str(tmp_path / "nowhere")])
