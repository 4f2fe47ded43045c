"""What is known of a run's data without its images."""

import time

import numpy as np
from mmengine.dataset import ConcatDataset
from torch.utils.data import Dataset, Subset

from mmlandmark.datasets import PhantomDataset, RepeatDataset
from mmlandmark.datasets.split_records import landmark_datasets, read_splits


def phantoms(count=3, **kwargs):
    return PhantomDataset("ceph", count, size=(32, 32), **kwargs)


class Foreign(Dataset):
    def __len__(self):
        return 2


def test_every_record_counts_once_through_any_wrapper():
    one, two = phantoms(3), phantoms(2, offset=10)
    wrapped = RepeatDataset(ConcatDataset([one, two]), 2)
    splits = read_splits(dict(train=wrapped, val=Subset(one, [2, 0])), seconds=1)
    assert [r["sample_id"][-2:] for r in splits["train"].records] == ["00", "01", "02", "10", "11"]
    assert [r["sample_id"][-2:] for r in splits["val"].records] == ["02", "00"]
    assert splits["train"].points.shape == (5, 19, 2)
    assert (splits["val"].sizes == 32).all()
    assert splits["train"].spacing.shape == (5, 2)


def test_a_foreign_data_set_is_left_out():
    assert landmark_datasets(Foreign()) == []
    assert landmark_datasets(ConcatDataset([phantoms(), phantoms()]))[0].metainfo["num_landmarks"] == 19
    assert list(read_splits(dict(train=Foreign(), val=phantoms()), seconds=1)) == ["val"]
    assert read_splits(dict(train=Foreign()), seconds=1) == {}


def test_what_a_loss_and_a_metric_look_at(write_samples):
    data = write_samples(
        [
            dict(landmarks=[[1, 2], [3, 4], [5, 6], None], visibility=[1, -1, 1, 0], weights=[1, 1, 0, 1]),
            dict(landmarks=[None, None, [1, 1], None]),
        ]
    )
    split = read_splits(dict(train=data), seconds=1)["train"]
    assert split.annotated.tolist() == [[True, False, True, False], [False, False, True, False]]
    assert split.counts.tolist() == [[True, False, False, False], [False, False, True, False]]
    assert np.array_equal(split.read, split.counts)


def test_no_image_is_opened_when_the_time_is_up(write_samples, monkeypatch):
    data = write_samples([dict(landmarks=[[1, 2]])] * 3)
    monkeypatch.setattr("mmlandmark.datasets.check_cases.image_shape", lambda path: 1 / 0)
    begin = time.monotonic()
    split = read_splits(dict(train=data), seconds=-1)["train"]
    assert np.isnan(split.sizes).all()
    assert split.cases.left_out == ["sizes of images, for lack of time"]
    assert time.monotonic() - begin < 5
