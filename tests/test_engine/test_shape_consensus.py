"""Labels that agree with one annotated shape and with each other are kept."""

import numpy as np
import pytest

from mmlandmark.datasets import PhantomDataset
from mmlandmark.engine.shape_consensus import ShapeConsensus
from mmlandmark.structures import LandmarkDataSample

COUNT = 24


@pytest.fixture(scope="module")
def heads():
    """The shapes of generated heads, and the data set that one annotated of them makes."""
    dataset = PhantomDataset("ceph", COUNT, (160, 128), serialize_data=False)
    points = np.stack([dataset.get_data_info(n)["landmarks"] for n in range(COUNT)]).astype(np.float64)
    return points, PhantomDataset("ceph", 1, (160, 128), serialize_data=False)


def predicted(points, wrong, seed=0):
    """Return shapes whose landmarks are found by a pixel, but for a share anywhere, and which are wrong."""
    rng = np.random.default_rng(seed)
    bad = rng.random(points.shape[:2]) < wrong
    found = points + rng.normal(size=points.shape)
    found[bad] = rng.uniform(0, [128, 160], (bad.sum(), 2))
    return found, np.linalg.norm(found - points, axis=2) > 6


def select(template, found, spacing=None, **options):
    selector = ShapeConsensus(**options)
    selector.learn(template)
    samples = [LandmarkDataSample(metainfo=dict(spacing=spacing)) for _ in found]
    return selector.select(found, samples)


@pytest.mark.slow
@pytest.mark.parametrize(("wrong", "right_kept"), [(0.1, 0.95), (0.3, 0.85)])
def test_wrong_landmarks_are_left_out(heads, wrong, right_kept):
    points, template = heads
    found, bad = predicted(points, wrong)
    # One landmark is always taken for another: what all images agree on is not what is annotated.
    found[:, 3] = points[:, 7]
    bad[:, 3] = True
    chosen = select(template, found)
    np.testing.assert_array_equal(chosen.points, found)
    assert not chosen.adjusted.any()
    assert chosen.kept[bad].mean() < 0.03
    assert chosen.kept[~bad].mean() > right_kept
    with np.errstate(invalid="ignore"):
        assert np.nanmedian(chosen.deviation[bad]) > 5 * np.nanmedian(chosen.deviation[~bad])
    # Position, rotation and size of an image do not matter, nor its spacing.
    turn = np.array([[0.0, -2.5], [2.5, 0.0]])
    other = select(template, (found @ turn.T + 30) / 0.2, spacing=(0.2, 0.2))
    assert (other.kept == chosen.kept).mean() > 0.99


def test_an_image_of_which_most_is_wrong_is_left_out(heads):
    points, template = heads
    found, _ = predicted(points, 0.0)
    found[5, 4:] = np.random.default_rng(3).uniform(0, [128, 160], (15, 2))
    chosen = select(template, found)
    assert not chosen.kept[5].any()
    assert np.delete(chosen.kept, 5, axis=0).mean() > 0.9


def test_what_is_missing_is_not_kept(heads):
    points, template = heads
    found, _ = predicted(points, 0.0)
    found[2, 1] = np.nan
    found[3, 2:] = np.nan  # two landmarks are no shape
    found[:, 9] = np.nan
    chosen = select(template, found)
    assert not chosen.kept[2, 1]
    assert not chosen.kept[3].any()
    assert not chosen.kept[:, 9].any()
    assert chosen.kept[4:, 10:].mean() > 0.9
    assert not select(template, found, far=1e-6).kept.any()


def test_bad_arguments_and_shapes_are_named():
    with pytest.raises(ValueError, match="far must be positive, got 0"):
        ShapeConsensus(far=0)
    with pytest.raises(RuntimeError, match="learn has not been called"):
        ShapeConsensus().select(np.zeros((1, 3, 2)), [LandmarkDataSample()])
    two = PhantomDataset("ceph", 1, (64, 64), landmarks=[0, 1], serialize_data=False)
    with pytest.raises(ValueError, match=r"more than 2 landmarks.*there are 2: take KeepAll"):
        ShapeConsensus().learn(two)
