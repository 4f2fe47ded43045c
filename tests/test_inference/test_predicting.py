"""Packed samples get their predictions in batches."""

from __future__ import annotations

import pytest
import torch

from mmlandmark.inference.predicting import items_of_test, predict_batch, predict_dataset
from mmlandmark.testing import tiny_model


@pytest.fixture(scope="module")
def model():
    return tiny_model()


def test_a_data_set_is_predicted_in_batches_and_stays_as_it_is(model):
    items, detector = items_of_test(model), model.detector()
    batches = list(predict_dataset(detector, items, batch_size=3))
    assert [len(batch) for batch in batches] == [3, 1]
    found = [sample for batch in batches for sample in batch]
    assert [sample.sample_id for sample in found] == [item["data_samples"].sample_id for item in items]
    (alone,) = predict_batch(detector, items[2:3])
    torch.testing.assert_close(alone.pred_landmarks, found[2].pred_landmarks, atol=1e-3, rtol=0)
    assert "pred_landmarks" not in items[0]["data_samples"]


def test_bfloat16_is_an_option(model):
    items, detector = items_of_test(model, 1), model.detector()
    (full,), (half,) = (predict_batch(detector, items, precision) for precision in ("fp32", "bf16"))
    assert not torch.equal(full.pred_landmarks, half.pred_landmarks)
    ((again,),) = predict_dataset(detector, items, precision="bf16")
    assert torch.equal(again.pred_landmarks, half.pred_landmarks)
    (float16,) = predict_batch(detector, items, "fp16")
    assert torch.equal(float16.pred_landmarks, half.pred_landmarks), "as MMEngine on a CPU"


def test_the_first_images_of_the_test_are_enough(model):
    assert [len(items_of_test(model, count)) for count in (None, 2, 9)] == [4, 2, 4]


def test_images_of_other_sizes_are_seen_in_batches_of_their_own(model):
    items, detector = items_of_test(model), model.detector()
    wide = [dict(item, inputs=torch.cat([item["inputs"]] * 2, -1)) for item in items]
    mixed = [items[0], items[1], wide[2], items[3], items[2]]
    batches = list(predict_dataset(detector, mixed, batch_size=2))
    assert [len(batch) for batch in batches] == [2, 1, 2]
    names = [sample.sample_id for batch in batches for sample in batch]
    assert names == [item["data_samples"].sample_id for item in mixed]
