"""Labels come from chance, or from a detector that was trained before."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mmlandmark.engine import LandmarkRunner, labellers
from mmlandmark.engine.labellers import Labellers, RandomPlaces, load_labeller
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
    Labellers(path).load(None, dict(landmark_names=landmarks["landmark_names"]))
    with pytest.raises(ValueError, match=r"epoch_1\.pth: .*name a detector of the landmarks of this run"):
        Labellers(path).load(None, dict(landmark_names=landmarks["landmark_names"][::-1]))
    run = RunContext(config, "run 'x'")
    Labellers(path).check(run, None, 19)
    with pytest.raises(ValueError, match=r"it finds 19 landmarks, and the model that learns from it 3"):
        Labellers([path, path]).check(run, None, 3)
    # A run that is still to be trained is known by its config.
    blind = tiny_config(tmp_path)
    blind.val_dataloader = blind.test_dataloader = None
    later = RunContext(config, "run 'x'", {"run:ssl:last": blind})
    Labellers("run:ssl:last").check(later, pipeline, 19)
    with pytest.raises(ValueError, match=r"run:ssl:last: its config has neither test_dataloader nor"):
        Labellers([path, "run:ssl:last"]).check(later, None, 19)


@pytest.mark.parametrize("sources", [[], [1], 1.0])
def test_a_labeller_is_a_file_or_files(sources):
    with pytest.raises(ValueError, match="labeller is the file of a detector, or a list of files"):
        Labellers(sources)


class Says(torch.nn.Module):
    """A detector that says the same of every image; it cannot read some of them."""

    def __init__(self, place):
        super().__init__()
        self.place = place


def test_of_several_labellers_the_median_counts(monkeypatch):
    """One of three may be anywhere; what one cannot read or find has no label."""
    unread = {20.0: "a", 1000.0: "b"}

    def predict(runner, labeller, parts, pipeline):
        samples = []
        for name in ("a", "b", "c", "d"):
            sample = LandmarkDataSample(metainfo=dict(sample_id=name))
            sample.pred_landmarks = torch.full((2, 2), labeller.place)
            if name == "d" and labeller.place == 10.0:
                sample.pred_landmarks[1] = torch.nan
            samples += [sample] if unread.get(labeller.place) != name else []
        return samples

    monkeypatch.setattr(labellers, "predict_parts", predict)
    runner = SimpleNamespace(model=torch.nn.Linear(1, 1))
    several = Labellers(["x", "y", "z"])
    several._loaded = [(Says(place), []) for place in (10.0, 1000.0, 20.0)]
    found = several.predict(runner, [])
    assert [sample.sample_id for sample in found] == ["c", "d"]
    assert found[0].pred_landmarks.tolist() == [[20.0, 20.0]] * 2
    assert found[1].pred_landmarks[0].tolist() == [20.0, 20.0]
    assert found[1].pred_landmarks[1].isnan().all()
    assert several._loaded == [], "their memory is free"
    several._loaded = [(Says(place), []) for place in (20.0, 1000.0)]
    unread.update({20.0: "a", 1000.0: "a"})
    assert [sample.sample_id for sample in several.predict(runner, [])] == ["b", "c", "d"]
    monkeypatch.setattr(labellers, "predict_parts", lambda *_: predict(*_)[: 1 if _[1].place == 20.0 else 0])
    several._loaded = [(Says(place), []) for place in (20.0, 30.0)]
    with pytest.raises(ValueError, match="no image can be read by all of 2 labellers"):
        several.predict(runner, [])
