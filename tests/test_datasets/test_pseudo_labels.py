"""Labels that a training gives to images without any."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from torch.utils.data import DataLoader

from mmlandmark.datasets import PseudoLabels
from mmlandmark.datasets.annotated_shapes import annotated_shapes
from test_datasets.six_cases import build, first


def pick(results):
    """A pipeline step that shows what the sample is labelled with."""
    return results["landmarks"], results["weights"]


def test_an_unlabelled_data_set_hides_its_annotation(root):
    dataset = build(root, unlabelled=True, pipeline=[pick])
    truth = build(root)
    for hidden, record in zip(dataset, truth, strict=True):
        assert np.isnan(hidden[0]).all()
        assert "landmarks" in record
    np.testing.assert_array_equal(
        dataset.get_data_info(1)["hidden_landmarks"], truth.get_data_info(1)["landmarks"]
    )
    assert annotated_shapes(truth)[0].shape == (6, 3, 2)


def test_living_workers_see_new_labels_and_their_weight(root):
    dataset = build(root, unlabelled=True, pipeline=[pick])
    points = np.arange(36, dtype=np.float32).reshape(6, 3, 2)
    points[2, 1] = np.nan
    _ = dataset.pseudo_labels
    loader = DataLoader(
        dataset, batch_size=1, num_workers=1, persistent_workers=True, collate_fn=first, prefetch_factor=1
    )
    assert all(np.isnan(sample[0]).all() for sample in loader)
    dataset.pseudo_labels.set(points)
    dataset.pseudo_labels.weigh(0.5)
    samples = list(loader)
    np.testing.assert_array_equal([sample[0] for sample in samples], points)
    assert {float(w) for sample in samples for w in sample[1]} == {0.5}


def test_a_copy_has_labels_of_its_own():
    labels = PseudoLabels(2, 3, 2)
    labels.set(np.ones((2, 3, 2)))
    labels.weigh(0.5)
    other = copy.deepcopy(labels)
    labels.set(np.zeros((2, 3, 2)))
    assert (other.points == 1).all()
    assert other[0]["weights"].tolist() == [0.5] * 3
    with pytest.raises(ValueError, match=r"expected labels \(2, 3, 2\), got \(2, 2, 2\)"):
        labels.set(np.zeros((2, 2, 2)))
