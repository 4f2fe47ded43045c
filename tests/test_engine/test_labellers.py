"""Labels come from chance, or from a detector that was trained before."""

import numpy as np
import pytest

from mmlandmark.engine import LandmarkRunner
from mmlandmark.engine.labellers import RandomPlaces, check_labeller, check_names, load_labeller
from mmlandmark.engine.run_checks import RunContext
from mmlandmark.structures import LandmarkDataSample
from mmlandmark.testing import tiny_config


def places(name, size, seed=0, names=("a", "b")):
    sample = LandmarkDataSample(metainfo=dict(sample_id=name, ori_shape=size))
    (told,) = RandomPlaces(seed, names).test_step(dict(data_samples=[sample]))
    return told.pred_landmarks.numpy()


def test_random_places_depend_on_seed_sample_and_landmark_alone():
    one = places("x", (40, 20))
    np.testing.assert_array_equal(one, places("x", (40, 20)))
    # A detector of some of the landmarks starts from the places that one of all starts from.
    np.testing.assert_array_equal(places("x", (40, 20), names=["b"]), one[1:])
    for other in (places("y", (40, 20)), places("x", (40, 20), seed=1), one[::-1]):
        assert np.abs(one - other).min() > 0
    np.testing.assert_allclose((places("x", (80, 60)) + 0.5) / (60, 80), (one + 0.5) / (20, 40), rtol=1e-6)


@pytest.mark.parametrize("size", [(40, 20), (10, 20, 30)])
def test_random_places_fill_the_image(size):
    many = np.concatenate([places(f"{n}", size, names=list("abcdefgh")) for n in range(500)])
    shares = (many + 0.5) / size[::-1]
    assert shares.min() > 0
    assert shares.max() < 1
    for axis in range(len(size)):
        counts = np.histogram(shares[:, axis], bins=8, range=(0, 1))[0]
        assert np.abs(counts - 500).max() < 5 * np.sqrt(500)


def test_a_labeller_has_its_own_pipeline_and_names(tmp_path):
    config = tiny_config(tmp_path, max_epochs=1)
    LandmarkRunner.from_cfg(config).train()
    path = str(tmp_path / "epoch_1.pth")
    labeller, pipeline, landmarks = load_labeller(path)
    assert [step["type"] for step in pipeline] == ["LoadImage", "Resize", "Resample", "PackInputs"]
    assert not labeller.training
    check_names(path, landmarks, dict(landmark_names=landmarks["landmark_names"]))
    with pytest.raises(ValueError, match=r"epoch_1\.pth: .*name a detector of the landmarks of this run"):
        check_names(path, landmarks, dict(landmark_names=landmarks["landmark_names"][::-1]))
    run = RunContext(config, "run 'x'")
    check_labeller(run, path, None, 19)
    with pytest.raises(ValueError, match=r"it finds 19 landmarks, and the model that learns from it 3"):
        check_labeller(run, path, None, 3)
    # A run that is still to be trained is known by its config.
    blind = tiny_config(tmp_path)
    blind.val_dataloader = blind.test_dataloader = None
    later = RunContext(config, "run 'x'", {"run:ssl:last": blind})
    check_labeller(later, "run:ssl:last", pipeline, 19)
    with pytest.raises(ValueError, match=r"run:ssl:last: its config has neither test_dataloader nor"):
        check_labeller(later, "run:ssl:last", None, 19)
