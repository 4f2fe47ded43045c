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
    dataset.pseudo_labels.set(points, weight=0.5)
    samples = list(loader)
    np.testing.assert_array_equal([sample[0] for sample in samples], points)
    assert {float(w) for sample in samples for w in sample[1]} == {0.5}


def test_an_image_that_cannot_be_read_makes_way_for_the_next(root, monkeypatch):
    told = []
    monkeypatch.setattr("mmlandmark.datasets.pseudo_labels.print_log", lambda text, *_: told.append(text))
    steps = [dict(type="LoadImage"), lambda results: results["sample_id"]]
    dataset = build(root, unlabelled=True, pipeline=steps)
    for n in (1, 2, 5):
        path = root / "images" / f"case{n}.png"
        path.write_bytes(path.read_bytes()[:-20])
    assert [dataset[n] for n in range(6)] == ["case0", "case3", "case3", "case3", "case4", "case0"]
    assert [dataset[n] for n in (5, 1)] == ["case0", "case3"]
    assert [name in text for name, text in zip(("case1", "case2", "case5"), told, strict=True)] == [True] * 3
    # One that somebody has annotated stops the run.
    with pytest.raises(ValueError, match=r"case1\.png' cannot be read"):
        _ = build(root, pipeline=steps)[1]
    for path in (root / "images").iterdir():
        path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(ValueError, match=r"none of 6 unlabelled images can be used; the last: .*case3\.png"):
        _ = dataset[4]


def test_an_image_is_not_left_out_for_lack_of_memory(root, monkeypatch):
    def full(*_, **__):
        raise MemoryError("full")

    dataset = build(root, unlabelled=True, pipeline=[dict(type="LoadImage")])
    monkeypatch.setattr("mmlandmark.datasets.image_io._read", full)
    with pytest.raises(MemoryError, match="full"):
        _ = dataset[0]


def test_a_copy_has_labels_of_its_own():
    labels = PseudoLabels(2, 3, 2)
    labels.set(np.ones((2, 3, 2)))
    other = copy.deepcopy(labels)
    labels.set(np.zeros((2, 3, 2)))
    assert (other.points == 1).all()
    with pytest.raises(ValueError, match=r"expected labels \(2, 3, 2\), got \(2, 2, 2\)"):
        labels.set(np.zeros((2, 2, 2)))
