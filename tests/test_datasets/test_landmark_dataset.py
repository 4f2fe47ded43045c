"""The dataset: selection, frames of reference, draws, epochs."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from mmlandmark.datasets import LandmarkDataset
from test_datasets.six_cases import NAMES, build, draw


def test_records_are_complete(root):
    dataset = build(root)
    assert len(dataset) == 6
    record = dataset[2]
    assert record["sample_id"] == "case2"
    assert record["img_path"] == str(root / "images" / "case2.png")
    np.testing.assert_array_equal(record["landmarks"], np.float32([[2, 1.5], [np.nan, np.nan], [4, 5]]))
    assert record["landmarks"].dtype == np.float32
    assert (record["group"], record["ori_shape"], record["machine"]) == ("patient1", (20, 30), "A")
    assert record["spacing"] == (0.5, 0.5)
    assert dataset[1]["spacing"] == (0.1, 0.2)
    assert record["flip_pairs"] == ((1, 2),)
    assert record["image_cache"] is None


def test_metainfo_is_plain_and_follows_the_schema(root):
    meta = build(root, metainfo=dict(extra="yes")).metainfo
    assert meta["schema"] == "three"
    assert meta["num_landmarks"] == 3
    assert meta["landmark_names"] == list(NAMES)
    assert meta["flip_pairs"] == [[1, 2]]
    assert meta["reference_length"] == {"pair": [0, 2], "mm": 50.0}
    assert meta["extra"] == "yes"
    json.dumps(meta)


def test_schema_is_numbered_when_nothing_names_it(root):
    data = json.loads((root / "all.json").read_text())
    del data["schema"]
    (root / "all.json").write_text(json.dumps(data))
    assert build(root).schema.name == "numbered3"


def test_lazy_dataset_reads_when_asked(root):
    dataset = build(root, lazy_init=True)
    (root / "moved").mkdir()
    assert not dataset._fully_initialized
    assert dataset.metainfo["num_landmarks"] == 3
    assert len(dataset) == 6


def test_subset_of_landmarks(root):
    dataset = build(root, landmarks=["right", 1])
    assert dataset.schema.landmarks == ("right", "left")
    assert dataset.schema.flip_pairs == ((1, 0),)
    assert dataset.schema.links == ()
    assert dataset.schema.reference_length is None
    assert dataset.schema.measures == ()
    np.testing.assert_array_equal(dataset[0]["landmarks"], [[4, 5], [2, 3]])
    record = dict(sample_id="r", by_annotator=np.arange(12.0).reshape(2, 3, 2), landmarks=np.zeros((3, 2)))
    dataset.load_records = lambda: [record]
    kept = dataset.load_data_list()[0]["by_annotator"]
    np.testing.assert_array_equal(kept, [[[4, 5], [2, 3]], [[10, 11], [8, 9]]])
    kept = build(root, landmarks=["right", "sella"]).schema
    assert kept.reference_length == {"pair": [1, 0], "mm": 50.0}


def test_environment_variables_in_paths(root, monkeypatch):
    monkeypatch.setenv("SOME_DATA", str(root.parent))
    dataset = LandmarkDataset("all.json", f"$SOME_DATA/{root.name}", "images")
    assert len(dataset) == 6
    folder = root.parent / "$SOME_DATA"  # the very name of a folder
    shutil.copytree(root, folder)
    monkeypatch.chdir(root.parent)
    assert LandmarkDataset("all.json", str(folder), "images").data_root == str(folder)
    assert len(LandmarkDataset("all.json", "$SOME_DATA", "images")) == 6


def test_index_runs_from_either_end_and_stops(root):
    dataset = build(root, pipeline=[draw])
    assert dataset[-1] == dataset[5]
    with pytest.raises(IndexError, match="out of range for 6"):
        dataset[6]
    assert len(list(dataset)) == 6


def test_missing_images_can_be_dropped_or_kept(root):
    (root / "images" / "case3.png").unlink()
    assert [r["sample_id"] for r in build(root, missing_images="drop")] == [
        f"case{i}" for i in (0, 1, 2, 4, 5)
    ]
    assert len(build(root, missing_images="keep")) == 6


def test_whole_path_to_the_network(root):
    pipeline = [
        dict(type="LoadImage"),
        dict(type="Resize", size=(10, 15)),
        dict(type="Resample"),
        dict(type="PackInputs"),
    ]
    packed = build(root, pipeline=pipeline, image_cache=dict(mode="ram", max_gb=0.01))[2]
    assert tuple(packed["inputs"].shape) == (1, 10, 15)
    sample = packed["data_samples"]
    assert sample.mask.tolist() == [True, False, True]
    assert sample.spacing == (0.5, 0.5)
    # (4, 5) in a frame of half the size: (x + 0.5) / 2 - 0.5.
    np.testing.assert_allclose(sample.to_input(sample.gt_landmarks)[2], [1.75, 2.25], rtol=1e-6)


def test_serialised_records_are_the_same(root):
    plain, serialised = (build(root, serialize_data=serialize) for serialize in (False, True))
    assert len(plain) == len(serialised) == 6
    for index in range(6):
        np.testing.assert_equal(serialised.get_data_info(index), plain.get_data_info(index))
