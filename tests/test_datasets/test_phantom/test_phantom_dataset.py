"""Phantoms as a dataset: records, splits, missing landmarks, annotators."""

from __future__ import annotations

import numpy as np
import pytest

from mmlandmark.datasets import set_epoch, set_seed
from mmlandmark.datasets.phantom import PhantomDataset, render_phantom, sample_scene
from mmlandmark.registry import DATASETS
from mmlandmark.structures import apply_matrix


def test_dataset_yields_packed_samples():
    pipeline = [dict(type="LoadImage"), dict(type="PackInputs")]
    dataset = DATASETS.build(dict(type="PhantomDataset", kind="hand", num_samples=3, pipeline=pipeline))
    assert len(dataset) == 3
    assert dataset.metainfo["num_landmarks"] == 37
    sample = dataset[1]
    image, landmarks, spacing = render_phantom("hand", 0, 1)
    assert tuple(sample["inputs"].shape) == (1, *image.shape)
    assert np.array_equal(sample["data_samples"].gt_landmarks.numpy(), landmarks)
    assert sample["data_samples"].spacing == pytest.approx(spacing)
    assert sample["data_samples"].sample_id == "hand_0_000001"


def test_records_carry_the_image_that_belongs_to_them():
    dataset = PhantomDataset("ceph", 2, (128, 96), seed=5, offset=10, bits=16)
    record = dataset.get_data_info(1)
    image, landmarks, _ = render_phantom("ceph", 5, 11, (128, 96), bits=16)
    assert np.array_equal(record["img"], image)
    assert np.array_equal(record["landmarks"], landmarks)


def test_splits_by_offset_do_not_overlap():
    train, test = PhantomDataset("ceph", 3), PhantomDataset("ceph", 3, offset=3)
    ids = [dataset.get_data_info(i)["sample_id"] for dataset in (train, test) for i in range(3)]
    assert len(set(ids)) == 6


def test_the_seed_of_a_run_leaves_the_patients_alone():
    dataset = PhantomDataset("ceph", 1, seed=3)
    before = dataset.get_data_info(0)["img"]
    set_seed(dataset, 99)
    set_epoch(dataset, 4)
    assert np.array_equal(dataset.get_data_info(0)["img"], before)


@pytest.mark.slow
def test_missing_landmarks():
    dataset = PhantomDataset("spine", 20, missing=0.3)
    gone = np.array([np.isnan(dataset.get_data_info(i)["landmarks"]).all(axis=1) for i in range(20)])
    assert 0.2 < gone.mean() < 0.4
    most = PhantomDataset("spine", 5, missing=0.999)
    assert all(np.isfinite(most.get_data_info(i)["landmarks"]).all(axis=1).sum() >= 1 for i in range(5))
    whole = PhantomDataset("spine", 20).get_data_info(4)["landmarks"]
    assert np.array_equal(whole[~gone[4]], dataset.get_data_info(4)["landmarks"][~gone[4]])


def test_heads_are_volumes_with_a_frame_and_absent_landmarks():
    pipeline = [dict(type="LoadImage", value_range=(-1000, 2000)), dict(type="PackInputs")]
    dataset = PhantomDataset("head", 12, (20, 24, 28), missing=0.1, pipeline=pipeline)
    assert dataset.metainfo["num_landmarks"] == 26
    assert len(dataset.metainfo["flip_pairs"]) == 9
    kinds = set()
    for index in range(12):
        scan, sample = sample_scene("head", 0, index, (20, 24, 28)), dataset[index]
        case, visibility = sample["data_samples"], sample["data_samples"].gt_visibility.numpy()
        kinds |= set(visibility.tolist())
        assert np.array_equal(visibility < 0, scan.visibility < 0)
        assert np.array_equal(case.mask.numpy(), visibility > 0)
        seen = visibility > 0
        world = apply_matrix(scan.world_from_original, scan.landmarks.astype(float))
        np.testing.assert_allclose(case.to_world(case.gt_landmarks)[seen], world[seen], atol=1e-3)
        # Columns and rows are stored backwards: the input runs to the left and to the back.
        stored = render_phantom("head", 0, index, (20, 24, 28))[0][:, ::-1, ::-1]
        assert sample["inputs"].shape == (1, 20, 24, 28)
        assert np.array_equal(sample["inputs"][0], stored)
        points = case.to_input(case.gt_landmarks).numpy()
        np.testing.assert_allclose(points[seen], ((27, 23, 0) - scan.landmarks * (1, 1, -1))[seen], atol=1e-3)
    assert kinds == {-1, 0, 1}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(kind="foot"), "unknown phantom kind"),
        (dict(num_samples=0), "num_samples >= 1"),
        (dict(offset=-1), "offset >= 0"),
        (dict(missing=1.0), "missing is a fraction"),
        (dict(bits=12), "'ceph' has 8 or 16 bits, got bits=12"),
        (dict(seed=-1), "seed must be"),
        (dict(size=(9, 9)), "size must be"),
        (dict(kind="head", bits=8), "has 16 bits"),
        (dict(ann_file="a.json"), "reads no files"),
    ],
)
def test_bad_dataset_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        PhantomDataset(**arguments)


def test_annotators_have_habits_and_are_right_on_average():
    alone, read = (PhantomDataset(num_samples=3, size=(96, 80), num_annotators=n) for n in (1, 3))
    assert "by_annotator" not in alone.get_data_info(0)
    habits = []
    for index in range(3):
        readings, truth = read.get_data_info(index)["by_annotator"], alone.get_data_info(index)["landmarks"]
        assert readings.shape == (3, 19, 2)
        np.testing.assert_allclose(readings.mean(0), truth, atol=1e-4)
        np.testing.assert_allclose(read.get_data_info(index)["landmarks"], truth, atol=1e-4)
        habits.append(readings - truth)
    np.testing.assert_allclose(habits[0], habits[2], atol=1e-4)
    assert np.abs(habits[0]).max() > 0.3
    with pytest.raises(ValueError, match="num_annotators must be at least 1, got 0"):
        PhantomDataset(num_annotators=0)
