"""Which landmarks a template shows."""

import numpy as np
import torch

from mmlandmark.models.detectors.template_learner import shown_points
from mmlandmark.structures import LandmarkDataSample


def test_points_that_the_input_shows():
    points = np.array([[10.0, 20.0], [np.nan, np.nan], [47.4, 31.4], [47.6, 3.0], [-0.6, 3.0]])
    sample = LandmarkDataSample.from_landmarks(points, sample_id="one", ori_shape=(32, 48))
    found, shown = shown_points(sample, torch.device("cpu"))
    assert shown.tolist() == [True, False, True, False, False]
    np.testing.assert_allclose(found[[0, 2]], points[[0, 2]], rtol=1e-6)
    assert not found[[1, 3, 4]].any()
