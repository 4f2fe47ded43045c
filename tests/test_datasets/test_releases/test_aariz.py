"""Aariz, on tiny copies."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mmlandmark.datasets.releases import Aariz
from mmlandmark.structures import LandmarkSchema
from test_datasets.test_releases.release_files import ids, image, text

SYMBOLS = list(LandmarkSchema.load("aariz").landmarks)


def aariz(root, train="train", symbols=SYMBOLS):
    for split in (train, "valid", "test"):
        for name in ("b2", "a1"):
            name = f"{split[0].lower()}{name}"
            image(root / split / "Cephalograms" / f"{name}.png")
            notes = root / split / "Annotations"
            for observer, shift in (("Senior", 0), ("Junior", 1)):
                marks = [dict(symbol=s, value=dict(x=SYMBOLS.index(s) + shift, y=2)) for s in symbols]
                folder = notes / "Cephalometric Landmarks" / f"{observer} Orthodontists"
                text(folder / f"{name}.json", json.dumps(dict(landmarks=marks)))
            text(notes / "CVM Stages" / f"{name}.json", json.dumps(dict(cvm_stage=dict(value=3))))
    text(
        root / "cephalogram_machine_mappings.csv",
        "cephalogram_id,machine,pixel_size\nta1,X,0.1\ntb2,Y,0.125\n",
    )
    return str(root)


@pytest.mark.parametrize("train", ["train", "Train", "TRAIN"])
@pytest.mark.parametrize("symbols", [SYMBOLS, SYMBOLS[::-1]])
def test_aariz(tmp_path, train, symbols):
    dataset = Aariz(data_root=aariz(tmp_path, train, symbols), split="train")
    assert ids(dataset) == ["ta1", "tb2"]
    record = dataset[1]
    assert (record["spacing"], record["cvm_stage"]) == ((0.125, 0.125), 3)
    np.testing.assert_array_equal(record["landmarks"], [[k + 0.5, 2] for k in range(29)])
    np.testing.assert_array_equal(record["by_annotator"][1], [[k + 1, 2] for k in range(29)])


def test_aariz_splits_and_annotators(tmp_path):
    root = aariz(tmp_path)
    assert (
        ids(Aariz(data_root=root, split="val")) == ids(Aariz(data_root=root, split="valid")) == ["va1", "vb2"]
    )
    assert Aariz(data_root=root, split="valid")[0]["spacing"] is None
    assert Aariz(data_root=root, split="valid", annotator="junior")[0]["landmarks"][0, 0] == 1
    with pytest.raises(FileNotFoundError, match=r"sizes\.csv"):
        Aariz(data_root=root, pixel_size_file="sizes.csv")
    text(tmp_path / "sizes.csv", "a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"sizes\.csv, line 1: needs a column"):
        Aariz(data_root=root, pixel_size_file="sizes.csv")


def test_aariz_wrong_count(tmp_path):
    with pytest.raises(ValueError, match=r"ta1\.json: 28 landmarks, expected 29"):
        Aariz(data_root=aariz(tmp_path, symbols=SYMBOLS[1:]))
