"""Predicted shapes are adjusted, and their abnormal landmarks are left out."""

from __future__ import annotations

import numpy as np
import pytest

from mmlandmark.datasets import LandmarkDataset
from mmlandmark.engine import KeepAll, ShapeRegulator
from mmlandmark.engine.shape_regulator import WAYS
from mmlandmark.structures import LandmarkDataSample, LandmarkSchema

RNG = np.random.default_rng(0)
MEAN = RNG.uniform(20, 180, (8, 2))
MODES = RNG.normal(0, 1, (2, 8, 2))
TRUE = MEAN + np.einsum("nm,mkd->nkd", RNG.normal(0, 2, (34, 2)), MODES)


class Shapes(LandmarkDataset):
    """Landmarks without images."""

    def __init__(self, count=30, spacing=(0.5, 0.5), reference=None):
        self.count, self.given = count, spacing
        schema = LandmarkSchema("eight", tuple("abcdefgh"), reference_length=reference)
        super().__init__(schema=schema, missing_images="keep", serialize_data=False)

    def load_records(self):
        return [
            dict(sample_id=str(n), img_path=None, landmarks=p, spacing=self.given, ori_shape=(200, 200))
            for n, p in enumerate(TRUE[: self.count])
        ]


def samples(spacing=(0.5, 0.5)):
    return [
        LandmarkDataSample.from_landmarks(None, sample_id=str(n), ori_shape=(200, 200), spacing=spacing)
        for n in range(4)
    ]


def predicted():
    points = TRUE[30:] + np.random.default_rng(1).normal(0, 0.2, (4, 8, 2))
    points[2, 5] += (40, 0)
    points[3, 1] = np.nan
    return points


@pytest.mark.parametrize("way", WAYS)
def test_a_landmark_that_was_moved_is_left_out(way):
    regulator = ShapeRegulator(way)
    regulator.learn(Shapes())
    result = regulator.select(predicted(), samples())
    assert not result.kept[2, 5]
    assert not result.kept[3, 1]
    assert result.kept[:2].all()
    # Adjustment by principal components loses neighbours of a wrong landmark, agreement does not.
    assert way != "agreement" or result.kept[2].sum() == 7
    assert result.adjusted[:2].all() == way.endswith("adjustment")
    assert np.linalg.norm(result.points[:2] - TRUE[30:32], axis=2).mean() < 0.4
    np.testing.assert_allclose(result.points[2, 5], predicted()[2, 5])


def test_masking_keeps_what_adjustment_keeps_where_it_is():
    masking, adjustment = ShapeRegulator("masking"), ShapeRegulator("adjustment")
    for regulator in (masking, adjustment):
        regulator.learn(Shapes())
    masked, adjusted = (regulator.select(predicted(), samples()) for regulator in (masking, adjustment))
    np.testing.assert_array_equal(masked.points, predicted())
    np.testing.assert_array_equal(masked.kept, adjusted.kept)
    np.testing.assert_array_equal(masked.deviation, adjusted.deviation)
    assert adjusted.adjusted[:2].all()
    assert not masked.adjusted.any()


def test_millimetres_come_from_a_known_length_or_are_not_needed():
    pair = dict(pair=("a", "b"), mm=float(0.5 * np.linalg.norm(MEAN[0] - MEAN[1])))
    by_length, by_spacing, by_pixel = ShapeRegulator(), ShapeRegulator(), ShapeRegulator(limit=4.0, unit="px")
    by_length.learn(Shapes(spacing=None, reference=pair))
    by_spacing.learn(Shapes())
    by_pixel.learn(Shapes(spacing=None))
    points = predicted()[:3]
    known = by_spacing.select(points, samples()[:3])
    np.testing.assert_array_equal(by_pixel.select(points, samples(None)[:3]).kept, known.kept)
    np.testing.assert_array_equal(by_length.select(points, samples(None)[:3]).kept, known.kept)
    with pytest.raises(ValueError, match=r"limit of 2 mm needs the spacing of all labelled images"):
        ShapeRegulator().learn(Shapes(spacing=None))
    with pytest.raises(ValueError, match=r"'0' has no spacing"):
        by_spacing.select(points, samples(None)[:3])


def test_too_few_shapes_and_wrong_arguments_are_named():
    with pytest.raises(ValueError, match=r"labelled shapes are not enough: .*at least 3 complete shapes"):
        ShapeRegulator().learn(Shapes(2))
    with pytest.raises(ValueError, match=r"labelled shapes are not enough: .*at least 10 shapes"):
        ShapeRegulator("agreement").learn(Shapes(9))
    for wrong in (dict(way="pca"), dict(limit=0), dict(unit="cm"), dict(gate=-1)):
        with pytest.raises(ValueError, match="ShapeRegulator"):
            ShapeRegulator(**wrong)


def test_naive_self_training_keeps_what_was_predicted():
    keeper = KeepAll()
    keeper.learn(Shapes())
    result = keeper.select(predicted(), samples())
    np.testing.assert_array_equal(result.points, predicted())
    assert result.kept.sum() == 31
    assert not result.adjusted.any()
