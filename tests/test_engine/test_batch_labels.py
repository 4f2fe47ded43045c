"""Labels of batches are given to their samples, and become one round."""

import numpy as np
import torch

from mmlandmark.engine.batch_labels import BatchLabels
from mmlandmark.engine.label_rounds import LabelRound
from mmlandmark.structures import LandmarkDataSample


def test_labels_of_batches_become_a_round_in_the_order_of_the_images():
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 9, (2, 3, 2)).astype(np.float32)
    kept = np.array([[True, False, True], [True, True, True]])
    nothing = np.full((2, 3), np.nan)
    made = LabelRound(4, ("b", "a"), points, points, kept, nothing, np.array([False, True]))
    labels = BatchLabels()
    assert labels.gathered(4, ["a", "b"]) is None
    samples = [LandmarkDataSample(metainfo=dict(sample_id=name, spacing=(0.5, 0.5))) for name in ("b", "a")]
    labels.give(samples[0], made, 0, [0, 1, 2], 0.5)
    labels.give(samples[1], made, 1, [2, 1, 0], 0.25)  # a mirror image
    assert samples[0].mask.tolist() == [True, False, True]
    assert samples[0].gt_landmarks[1].isnan().all()
    torch.testing.assert_close(samples[1].gt_landmarks, torch.from_numpy(points[1][::-1].copy()))
    assert [set(sample.gt_weights.tolist()) for sample in samples] == [{0.5}, {0.25}]
    gathered, of_mm = labels.gathered(4, ["a", "b", "c"])
    assert (gathered.epoch, gathered.ids) == (4, ("a", "b"))
    np.testing.assert_array_equal(gathered.points, points[::-1])  # those of the patient
    np.testing.assert_array_equal(gathered.kept, kept[::-1])
    assert gathered.adjusted.tolist() == [True, False]
    assert [(s.sample_id, s.spacing) for s in of_mm] == [("a", (0.5, 0.5)), ("b", (0.5, 0.5))]
