"""mmlandmark browse: sheets of the expected size that show image, augmentation and landmarks."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmlandmark.cli import invoke

CONFIG = """
load = [dict(type="LoadImage"), dict(type="Resize", size=(96, 72))]
augment = [dict(type="RandomAffine", rotation=20, scale=0.1, shift=0.07)]
pack = [dict(type="Resample"), dict(type="PackInputs")]
dataset = dict(type="PhantomDataset", kind="ceph", num_samples=5, size=(96, 72))
train_dataloader = dict(dataset=dict(dataset, missing=0.2, pipeline=[*load, *augment, *pack]))
plain = dict(dataset, pipeline=[*load, *pack])
val_dataloader = dict(dataset=dict(type="RepeatDataset", times=2, dataset=plain))
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "config.py"
    path.write_text(CONFIG)
    return str(path)


def browse(config: str, out: Path, *arguments: object) -> np.ndarray:
    invoke("browse", [config, "--side", "192", "--out", str(out), *map(str, arguments)])
    return cv2.imread(str(out))


def test_sheet_has_a_strip_per_image(config, tmp_path):
    one = browse(config, tmp_path / "one.png", "--num", 1, "--draws", 2)
    four = browse(config, tmp_path / "four.png", "--num", 4, "--draws", 2)
    assert one.shape[1] == 3 * 144 + 2 * 4
    assert four.shape == (2 * one.shape[0] + 12, 2 * one.shape[1] + 12, 3)


def test_landmarks_are_drawn_and_draws_differ(config, tmp_path):
    sheet = browse(config, tmp_path / "sheet.png", "--num", 1, "--draws", 2).astype(int)
    pictures = [sheet[:192, start : start + 144] for start in (0, 148, 296)]
    for picture in pictures:
        coloured = np.ptp(picture, axis=2) > 60
        assert coloured.sum() > 50  # rings are the only colour on a grey image
    assert np.abs(pictures[0] - pictures[1]).mean() > 2
    assert np.abs(pictures[1] - pictures[2]).mean() > 2


def test_images_in_shards_are_drawn_as_those_in_files(tmp_path):
    steps = "[dict(type='LoadImage'), dict(type='PackInputs')]"
    image = np.random.default_rng(0).integers(0, 255, (60, 48), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), image)
    samples = [dict(id="a", image="a.png", landmarks=[[20.0, 30.0]])]
    schema = dict(name="one", landmarks=["tip"])
    (tmp_path / "all.json").write_text(json.dumps(dict(schema=schema, samples=samples)))
    sheets = []
    for name, kind in (("all.json", "LandmarkDataset"), ("shards/index.json", "ShardedDataset")):
        data = f"dict(type={kind!r}, ann_file={name!r}, data_root={str(tmp_path)!r}, pipeline={steps})"
        (tmp_path / "c.py").write_text(f"train_dataloader = dict(dataset={data})\n")
        sheets.append(browse(str(tmp_path / "c.py"), tmp_path / "sheet.png", "--draws", 1))
        if kind == "LandmarkDataset":
            invoke("pack-data", [str(tmp_path / "c.py"), "--shards", "1", "--out", str(tmp_path / "shards")])
    np.testing.assert_array_equal(*sheets)


def test_seed_decides_the_draws(config, tmp_path):
    sheets = [
        browse(config, tmp_path / f"{number}.png", "--num", 2, "--draws", 1, "--seed", seed)
        for number, seed in enumerate((1, 1, 2))
    ]
    assert np.array_equal(sheets[0], sheets[1])
    assert not np.array_equal(sheets[0], sheets[2])


def test_wrapped_datasets_and_options(config, tmp_path):
    sheet = browse(config, tmp_path / "v.png", "--split", "val", "--num", 2, "--draws", 1, "--names")
    fewer = browse(
        config, tmp_path / "w.png", "--split", "val", "--num", 99, "--draws", 0, "--columns", 99,
        "--cfg-options", "val_dataloader.dataset.times=1",
    )  # fmt: skip
    assert sheet.shape[1] == 2 * (2 * 144 + 4) + 12
    assert fewer.shape[1] == 5 * 144 + 4 * 12


def test_missing_split_is_named(config, tmp_path):
    with pytest.raises(ValueError, match="has no test_dataloader"):
        browse(config, tmp_path / "x.png", "--split", "test")
    assert not (tmp_path / "x.png").exists()


def test_a_pipeline_that_does_not_pack_is_named(config, tmp_path):
    Path(config).write_text(CONFIG.replace(', dict(type="PackInputs")]', "]"))
    with pytest.raises(ValueError, match="must end with PackInputs"):
        browse(config, tmp_path / "x.png")


@pytest.fixture
def volumes(tmp_path):
    """A config of one NIfTI volume, x to the right and y to the front, with a landmark on its bright cube."""
    nibabel = pytest.importorskip("nibabel")
    volume = np.zeros((60, 40, 20), np.uint8)  # x, y, z
    volume[50:53, 9:12, 9:12] = 255
    nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), tmp_path / "a.nii")
    points = [[51, 10, 10], [5, 30, 10]]
    (tmp_path / "a.json").write_text(
        json.dumps({"samples": [{"id": "a", "image": "a.nii", "landmarks": points}]})
    )
    (tmp_path / "config.py").write_text(
        'pipeline = [dict(type="LoadImage"), dict(type="PackInputs")]\n'
        'schema = dict(name="two", landmarks=["first", "second"], dims=3)\n'
        f'dataset = dict(type="LandmarkDataset", ann_file="a.json", data_root={str(tmp_path)!r})\n'
        "train_dataloader = dict(dataset=dict(dataset, schema=schema, pipeline=pipeline))\n"
    )
    return str(tmp_path / "config.py")


def test_volumes_stored_otherwise_are_drawn_under_their_landmarks(volumes, tmp_path):
    """Views of the volume, and below them the views of what the pipeline delivers."""
    sheet = browse(volumes, tmp_path / "sheet.png", "--num", 1, "--draws", 1)
    height = (sheet.shape[0] - 4) // 2
    stored, packed = (sheet[start : start + 128, :192].astype(int) for start in (0, height + 4))
    np.testing.assert_allclose(stored, packed, atol=2)
    ringed, bright = np.ptp(stored, axis=2) > 60, np.ptp(stored, axis=2) < 10
    bright &= (stored.min(axis=2) > 200) & (np.arange(128) > 20)[:, None] & (np.arange(192) < 100)
    (y, x), (rows, columns) = np.argwhere(bright).mean(axis=0), np.nonzero(ringed)
    assert x == pytest.approx(3.2 * (59 - 51) + 1.1, abs=3)  # x grows to the left
    assert np.hypot(rows - y, columns - x).min() < 10


def test_slices_through_a_landmark(volumes, tmp_path):
    sheets = {
        at: browse(volumes, tmp_path / "sheet.png", "--num", 1, "--draws", 0, *(("--at", at) if at else ()))
        for at in (None, "first", "0", "second")
    }
    np.testing.assert_array_equal(sheets["first"], sheets["0"])
    cube = {at: (sheet[22:42, 196:256].min(axis=2) > 200).sum() for at, sheet in sheets.items()}  # coronal
    assert cube["first"] > 20
    assert cube["second"] == 0, "the bright cube lies in another slice"
    with pytest.raises(ValueError, match=r"--at frst: there is no such landmark.*'first'"):
        browse(volumes, tmp_path / "sheet.png", "--at", "frst")
