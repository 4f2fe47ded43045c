"""CL-Detection 2023, on tiny copies."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from mmlandmark.datasets.releases import ClDetection2023
from mmlandmark.datasets.releases.cl_detection2023 import open_stack, strip_padding
from test_datasets.test_releases.release_files import metaimage, text


def cl_detection(root, **kwargs):
    stack = np.zeros((3, 12, 16, 3), np.uint8)
    for n, (height, width) in enumerate([(12, 16), (10, 16), (12, 9)]):
        stack[n, :height, :width] = 50 * (n + 1)
    metaimage(root / "train_stack.mha", stack, channels=3, **kwargs)
    points = [
        dict(name=str(k + 1), point=[k / 10, 2.5, n + 1], scale=0.1 + n / 100)
        for n in (2, 0, 1)
        for k in range(38)
    ]
    text(root / "train-gt.json", json.dumps(dict(points=points)))
    return str(root)


def test_cl_detection(tmp_path):
    dataset = ClDetection2023(data_root=cl_detection(tmp_path))
    assert [r["img"].shape for r in dataset] == [(12, 16), (10, 16), (12, 9)]
    record = dataset[1]
    assert (record["sample_id"], record["spacing"]) == ("002", (0.11, 0.11))
    assert (record["img"] == 100).all()
    np.testing.assert_allclose(record["landmarks"][37], [3.7, 2.5], rtol=1e-6)
    pipeline = [
        dict(type="LoadImage"),
        dict(type="Resize", size=(6, 8)),
        dict(type="Resample"),
        dict(type="PackInputs"),
    ]
    packed = ClDetection2023(data_root=str(tmp_path), ids=["003"], pipeline=pipeline)[0]
    assert packed["data_samples"].ori_shape == (12, 9)
    torch.testing.assert_close(packed["inputs"], torch.full((1, 6, 8), 150, dtype=torch.uint8))


def test_cl_detection_reads_one_slice_only(tmp_path):
    cl_detection(tmp_path)
    assert isinstance(open_stack(tmp_path / "train_stack.mha"), np.memmap)


def test_cl_detection_bad_stack(tmp_path):
    root = cl_detection(tmp_path, compressed=True)
    with pytest.raises(ValueError, match="the stack is compressed"):
        ClDetection2023(data_root=root)
    cl_detection(tmp_path)
    data = (tmp_path / "train_stack.mha").read_bytes()
    (tmp_path / "train_stack.mha").write_bytes(data[:-10])
    with pytest.raises(ValueError, match="shorter than its header says"):
        ClDetection2023(data_root=root)
    (tmp_path / "train_stack.mha").write_bytes(b"hello\nworld\n")
    with pytest.raises(ValueError, match="header of this stack is broken"):
        ClDetection2023(data_root=root)
    (tmp_path / "train_stack.mha").unlink()
    with pytest.raises(FileNotFoundError, match=r"train_stack\.mha"):
        ClDetection2023(data_root=root)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(point=[1, 2, 4]), r"points\[5\]: image 4 is not in train_stack"),
        (dict(name="39"), "landmark '39' is not in schema"),
        (dict(name="1"), "landmark '1' of image 003 is given twice"),
        (dict(scale=7), "scale 7 of image 003 was 0.12 before"),
        (dict(point=[1, 2]), r"points\[5\]: needs 'name', 'point'"),
    ],
)
def test_cl_detection_bad_annotation(tmp_path, change, message):
    root = cl_detection(tmp_path)
    data = json.loads((tmp_path / "train-gt.json").read_text())
    data["points"][5].update(change)
    text(tmp_path / "train-gt.json", json.dumps(data))
    with pytest.raises(ValueError, match=message):
        ClDetection2023(data_root=root)


def test_padding_is_stripped_at_the_end_only():
    padded = np.zeros((6, 7), np.uint8)
    padded[2:4, 1:5] = 9
    assert strip_padding(padded).shape == (4, 5)
    assert strip_padding(np.zeros((3, 3), np.uint8)).shape == (3, 3)
