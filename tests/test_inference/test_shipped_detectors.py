"""The detectors that come with the package: small, described, and as good as their page says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mmlandmark.datasets.phantom import PhantomDataset
from mmlandmark.inference import LandmarkInferencer, load_model
from mmlandmark.utils.shipped import shipped_detectors

PAGE = Path(__file__).parents[2] / "docs" / "detectors.md"


def test_there_are_some_and_the_page_lists_all():
    assert set(shipped_detectors()) == {"ceph19", "phantom-hand37", "phantom-spine68"}
    assert all(f"| `{name}` |" in PAGE.read_text(encoding="utf-8") for name in shipped_detectors())


@pytest.mark.parametrize("name", sorted(shipped_detectors()))
def test_small_and_described(name):
    assert shipped_detectors()[name].stat().st_size < 5e6
    model = load_model(name)
    assert model.name == name
    assert model.calibration is not None
    assert {"test", "half precision"} < set(model.measured)
    assert len(model.measured["test"]["landmarks"]) == len(model.schema)
    assert model.training["config"]
    assert "research" in model.licence or "generated" in model.licence


@pytest.mark.parametrize(("name", "kind"), [("phantom-hand37", "hand"), ("phantom-spine68", "spine")])
def test_new_phantoms_are_predicted_as_well_as_measured(name, kind):
    films = PhantomDataset(kind, 3, seed=77)
    inferencer = LandmarkInferencer(name, "cpu")
    errors = []
    for film in (films.get_data_info(index) for index in range(3)):
        (prediction,) = inferencer(film["img"])
        errors.append(np.linalg.norm(prediction.points - film["landmarks"], axis=1))
    assert np.median(errors) < 1.5  # pixels
    assert np.mean(errors) < 3


def test_cephalograms_are_predicted_as_well_as_measured(real_data):
    root = real_data("isbi2015_ceph")
    films = [root / "RawImage" / "Test1Data" / f"{number}.jpg" for number in (151, 200, 250)]
    errors = []
    for film, prediction in zip(films, LandmarkInferencer("ceph19", "cpu", spacing=0.1)(films), strict=True):
        marks = [
            np.loadtxt(root / "AnnotationsByMD" / who / f"{film.stem}.txt", delimiter=",", max_rows=19)
            for who in ("400_senior", "400_junior")
        ]
        errors.append(np.linalg.norm(prediction.points - np.mean(marks, axis=0), axis=1) * 0.1)
    assert np.mean(errors) < 1.6  # mm
    assert len(prediction.measures) == 8
    assert set(prediction.radii) == {0.9, 0.95}
