"""The dataset: selection, frames of reference, draws, epochs."""

from __future__ import annotations

import copy
import json
from itertools import chain

import cv2
import numpy as np
import pytest
from mmengine.dataset import ConcatDataset
from torch.utils.data import DataLoader, Subset

from mmlandmark.datasets import LandmarkDataset, RepeatDataset, leaf_datasets, set_epoch, set_seed
from mmlandmark.datasets.records import turned_y
from mmlandmark.registry import DATASETS

NAMES = ("sella", "left", "right")
SCHEMA = dict(
    name="three",
    landmarks=NAMES,
    flip_pairs=[[1, 2]],
    links=[[0, 1]],
    reference_length={"pair": [0, 2], "mm": 50.0},
    measures=[{"name": "angle", "kind": "angle", "points": [0, 1, 2]}],
)


@pytest.fixture
def root(tmp_path):
    """A folder with six images and an annotation file of groups, splits and folds."""
    (tmp_path / "images").mkdir()
    samples = []
    for i in range(6):
        cv2.imwrite(str(tmp_path / "images" / f"case{i}.png"), np.full((20, 30), 40 * i, np.uint8))
        samples.append(
            dict(
                image=f"case{i}.png",
                landmarks=[[i, 1.5], None if i == 2 else [2, 3], [4, 5]],
                spacing=[0.1, 0.2] if i == 1 else None,
                group=f"patient{i // 2}",
                split="train" if i < 4 else "test",
                fold=i % 2,
                width=30,
                height=20,
                machine="A",
            )
        )
    data = dict(schema=SCHEMA, spacing=0.5, samples=samples)
    (tmp_path / "all.json").write_text(json.dumps(data), encoding="utf-8")
    return tmp_path


def build(root, **kwargs):
    return LandmarkDataset("all.json", str(root), "images", **kwargs)


def draw(results):
    """A pipeline step that shows what the sample draws and in which epoch."""
    return dict(id=results["sample_id"], draw=float(results["rng"].random()))


def first(batch):
    return batch[0]


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


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (dict(split="train"), [0, 1, 2, 3]),
        (dict(split="test"), [4, 5]),
        (dict(fold=1), [1, 3]),
        (dict(fold=1, split="train"), [0, 2]),
        (dict(fold=1, split="val"), [1, 3]),
        (dict(ids=["case5", "case0"]), [5, 0]),
        (dict(split="train", ids=["case3"]), [3]),
        (dict(indices=2), [0, 1]),
        (dict(indices=[3, 1]), [3, 1]),
    ],
)
def test_selection(root, selection, expected):
    dataset = build(root, **selection)
    assert [r["sample_id"] for r in dataset] == [f"case{i}" for i in expected]


def test_ids_from_a_text_file(root):
    (root / "list.txt").write_text("case4\n\n case1 \n")
    assert [r["sample_id"] for r in build(root, ids="list.txt")] == ["case4", "case1"]


def test_dealt_folds_partition_the_training_part_by_group(root):
    data = json.loads((root / "all.json").read_text())
    for sample in data["samples"]:
        del sample["split"], sample["fold"]
    (root / "all.json").write_text(json.dumps(data))
    parts = [build(root, fold=k, num_folds=3) for k in range(3)]
    groups = [{r["group"] for r in part} for part in parts]
    assert all(len(g) == 1 for g in groups)
    assert set.union(*groups) == {"patient0", "patient1", "patient2"}
    rest = build(root, fold=0, num_folds=3, split="train")
    assert {r["sample_id"] for r in rest} == {r["sample_id"] for part in parts[1:] for r in part}


def names(dataset):
    return [r["sample_id"] for r in dataset]


def test_dealt_folds_follow_their_seed_and_may_divide_all_splits(root):
    parts = [[names(build(root, fold=k, num_folds=2, fold_seed=s)) for k in range(2)] for s in range(6)]
    assert {tuple(sorted(part[0] + part[1])) for part in parts} == {("case0", "case1", "case2", "case3")}
    assert len({tuple(map(tuple, part)) for part in parts}) == 2  # either patient may come first
    whole = [names(build(root, fold=k, num_folds=3, fold_split=None)) for k in range(3)]
    assert sorted(chain(*whole)) == [f"case{i}" for i in range(6)]


def test_patients_are_found_in_the_ids(root):
    data = json.loads((root / "all.json").read_text())
    for number, sample in enumerate(data["samples"]):
        del sample["split"], sample["fold"]
        if number != 5:
            del sample["group"]
    (root / "all.json").write_text(json.dumps(data))
    assert [r["group"] for r in build(root)] == [None] * 5 + ["patient2"]
    groups = [r["group"] for r in build(root, group_pattern=r"case(\d)")]
    assert groups == ["0", "1", "2", "3", "4", "patient2"]
    assert [r["group"] for r in build(root, group_pattern="c")][:5] == ["c"] * 5
    parts = [names(build(root, group_pattern="case[0-4]", fold=k, num_folds=6)) for k in range(6)]
    assert sorted(chain(*parts)) == [f"case{i}" for i in range(6)]
    with pytest.raises(ValueError, match=r"case3.*group_pattern 'case\[0-2\]' finds no patient in its id"):
        build(root, group_pattern="case[0-2]")
    with pytest.raises(ValueError, match="finds no patient in its id"):
        build(root, group_pattern="(x)?case")
    with pytest.raises(ValueError, match="is no regular expression"):
        build(root, group_pattern="(")


def publish(root, fold, train, test, name="test"):
    folder = root / "cv" / f"set{fold}"
    folder.mkdir(parents=True)
    (folder / "train.txt").write_text("\n".join(train))
    (folder / f"{name}.txt").write_text("\n".join(test))


def test_published_folds_take_the_place_of_splits(root):
    publish(root, 1, ["case0", "case5"], ["case1"])
    publish(root, 10, ["case1"], ["case0", "case4"], name="val")
    assert names(build(root, fold_dir="cv", fold=1, split="train")) == ["case0", "case5"]
    assert names(build(root, fold_dir="cv", fold="1")) == ["case1"]
    assert names(build(root, fold_dir="cv", fold=10, split="val")) == ["case0", "case4"]
    assert build(root, fold_dir="cv", lazy_init=True).available_folds() == ["1", "10"]
    publish(root, 2, ["case0"], ["case7"])
    with pytest.raises(ValueError, match=r"1 ids of fold 2 are not in .*\['case7'\]"):
        build(root, fold_dir="cv", fold=2)
    with pytest.raises(FileNotFoundError, match="no folders set1, set2"):
        build(root, fold_dir="images", lazy_init=True).available_folds()
    with pytest.raises(ValueError, match="give one of them"):
        build(root, fold_dir="cv", fold=0, num_folds=2)


def test_available_folds(root):
    assert build(root, lazy_init=True).available_folds() == ["0", "1"]
    assert build(root, fold=3, num_folds=12, lazy_init=True).available_folds() == [str(k) for k in range(12)]
    data = json.loads((root / "all.json").read_text())
    for sample in data["samples"]:
        del sample["fold"]
    (root / "all.json").write_text(json.dumps(data))
    with pytest.raises(ValueError, match="has no folds: say with num_folds"):
        build(root).available_folds()


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


def test_index_runs_from_either_end_and_stops(root):
    dataset = build(root, pipeline=[draw])
    assert dataset[-1] == dataset[5]
    with pytest.raises(IndexError, match="out of range for 6"):
        dataset[6]
    assert len(list(dataset)) == 6


def test_draws_depend_on_seed_epoch_and_index_only(root):
    dataset = build(root, pipeline=[draw], seed=3)
    before = [s["draw"] for s in dataset]
    assert [s["draw"] for s in dataset] == before
    assert len(set(before)) == 6
    assert before[4] == np.random.default_rng((3, 0, 4)).random()
    dataset.set_epoch(1)
    after = [s["draw"] for s in dataset]
    assert not set(after) & set(before)
    assert build(root, pipeline=[draw], seed=4)[0]["draw"] != before[0]


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_epoch_reaches_workers_that_are_alive(root, context):
    dataset = build(root, pipeline=[draw], seed=7)
    loader = DataLoader(
        dataset, num_workers=2, persistent_workers=True, multiprocessing_context=context, collate_fn=first
    )
    for epoch in (0, 1, 5):
        dataset.set_epoch(epoch)
        expected = [np.random.default_rng((7, epoch, i)).random() for i in range(6)]
        assert [s["draw"] for s in loader] == expected


def test_copies_have_an_epoch_of_their_own_that_still_reaches_workers(root):
    dataset = build(root, pipeline=[draw])
    twin = copy.deepcopy(dataset)
    twin.set_epoch(4)
    assert (dataset.epoch, twin.epoch) == (0, 4)
    assert twin._epoch._cell.is_shared()
    assert dataset.get_subset([1, 2])._epoch._cell.is_shared()


def test_repeated_dataset_draws_anew_each_time(root):
    dataset = DATASETS.build(
        dict(
            type="RepeatDataset",
            times=3,
            dataset=dict(
                type="LandmarkDataset", ann_file="all.json", data_root=str(root), image_dir="images"
            ),
        )
    )
    dataset.dataset.pipeline = draw
    samples = [dataset[i] for i in range(len(dataset))]
    assert [s["id"] for s in samples[:6]] == [s["id"] for s in samples[6:12]]
    assert len({s["draw"] for s in samples}) == 18
    assert samples[0]["draw"] == dataset.dataset[0]["draw"]
    assert [dataset[i] for i in range(18)] == samples


def test_set_epoch_walks_through_wrappers(root):
    one, two = build(root, split="train"), build(root, split="test")
    wrapped = RepeatDataset(ConcatDataset([one, two]), 2)
    assert len(wrapped) == 12
    assert wrapped.metainfo["num_landmarks"] == 3
    assert wrapped[11]["sample_id"] == wrapped.get_data_info(11)["sample_id"] == "case5"
    assert set_epoch(Subset(wrapped, [0, 1]), 9) == 2
    assert (one.epoch, two.epoch) == (9, 9)
    assert set_epoch(object(), 1) == 0
    assert leaf_datasets(wrapped) == [one, two]
    assert set_seed(wrapped, 5) == 2
    assert (one.seed, two.seed) == (5, 5)
    with pytest.raises(ValueError, match="seed must be an integer"):
        set_seed(wrapped, -1)


def test_repeating_less_than_once_is_refused(root):
    with pytest.raises(ValueError, match="times must be at least 1"):
        RepeatDataset(build(root), 0)


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


def test_y_that_counts_from_the_bottom(root):
    plain, turned = build(root), build(root, y_up=True)
    for a, b in zip(plain, turned, strict=True):
        np.testing.assert_array_equal(b["landmarks"][:, 0], a["landmarks"][:, 0])
        np.testing.assert_array_equal(b["landmarks"][:, 1], 20 - 1 - a["landmarks"][:, 1])


def test_y_that_counts_from_the_bottom_in_a_table(root):
    (root / "all.csv").write_text("image,a_x,a_y\ncase1.png,3,0\ncase2.png,,\n")
    dataset = LandmarkDataset("all.csv", str(root), "images", y_up=True)
    assert dataset[0]["landmarks"].tolist() == [[3, 19]]  # the bottom row of 20
    assert dataset[0]["ori_shape"] == (20, 30)
    assert np.isnan(dataset[1]["landmarks"]).all()


def test_readings_that_count_from_the_bottom(root):
    samples = [dict(id="case1", image="case1.png", by_annotator=[[[1, 0]], [[1, 2]]])]
    (root / "two.json").write_text(json.dumps(dict(samples=samples)))
    record = LandmarkDataset("two.json", str(root), "images", y_up=True)[0]
    assert record["by_annotator"].tolist() == [[[1, 19]], [[1, 17]]]
    assert record["landmarks"].tolist() == [[1, 18]]


def test_y_up_needs_the_height_and_says_what_it_does(root, monkeypatch):
    said = []
    monkeypatch.setattr("mmlandmark.datasets.landmark_dataset.print_log", lambda text, *_: said.append(text))
    assert len(build(root, y_up=True)) == 6
    assert len(said) == 1
    assert "y_up, so y of 6 samples became H - 1 - y" in said[0]
    (root / "bare.json").write_text(
        json.dumps(dict(samples=[dict(id="x", image="x.png", landmarks=[[1, 2]])]))
    )
    with pytest.raises(ValueError, match=r"bare\.json, samples\[0\].*y_up counts from the image's bottom"):
        LandmarkDataset("bare.json", str(root), missing_images="keep", y_up=True)


def test_a_list_of_ids_is_found_where_a_tool_printed_it(root, tmp_path, monkeypatch):
    (tmp_path / "here" / "splits").mkdir(parents=True)
    (tmp_path / "here" / "splits" / "train.txt").write_text("case3\ncase1\n")
    monkeypatch.chdir(tmp_path / "here")
    assert [r["sample_id"] for r in build(root, ids="splits/train.txt")] == ["case3", "case1"]
    (root / "splits").mkdir()
    (root / "splits" / "train.txt").write_text("case3\ncase1\n")
    assert len(build(root, ids="splits/train.txt")) == 2
    (root / "splits" / "train.txt").write_text("case0\n")
    with pytest.raises(
        ValueError, match=r"two lists of ids that differ, .*splits/train\.txt and .*here/splits"
    ):
        build(root, ids="splits/train.txt")
    with pytest.raises(FileNotFoundError, match=r"list of ids .*splits/test\.txt' does not exist"):
        build(root, ids="splits/test.txt")


def test_points_without_y_cannot_be_turned():
    with pytest.raises(ValueError, match=r"sample 'a': points of \(1,\) coordinates have no y to turn"):
        turned_y(dict(sample_id="a", landmarks=[[1.0]], ori_shape=(2, 2)))
