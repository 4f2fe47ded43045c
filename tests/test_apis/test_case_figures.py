"""Figures of a test."""

from __future__ import annotations

import json

import cv2
import pytest

from mmlandmark.apis import draw_test_figures
from mmlandmark.registry import DATASETS
from mmlandmark.utils.files import read_json


@pytest.fixture(scope="module")
def figures(trained, tested):
    """The figures of that test."""
    return draw_test_figures(trained.config(), tested[0])


@pytest.mark.slow
def test_figures_are_drawn(tested, figures):
    names = {p.name for p in figures}
    assert {"cumulative_error.png", "landmark_errors.png", "training.png"} <= names
    assert {p.name.split("_")[1] for p in figures if p.name.startswith("case_")} == {"median", "p95", "worst"}
    for path in figures:
        assert path.parent == tested[0]
        picture = cv2.imread(str(path))
        assert picture is not None
        assert min(picture.shape[:2]) > 200
        assert picture.std() > 1


def test_the_worst_case_is_the_worst(tested, figures):
    (worst,) = [p for p in figures if p.name.startswith("case_worst_")]
    cases = json.loads((tested[0] / "predictions.json").read_text())["cases"]
    means = {c["sample_id"]: sum(c["errors"]) / len(c["errors"]) for c in cases}
    assert worst.name == f"case_worst_{max(means, key=means.get)}.png"


def test_a_figure_named_after_a_case_lies_beside_the_others(trained, tested, tmp_path):
    found = read_json(tested[0] / "predictions.json")
    dataset = DATASETS.build(trained.config().test_dataloader.dataset)
    samples = []
    for i, case in enumerate(found["cases"]):
        image = dataset.get_data_info(i)["img"]
        case["sample_id"] = f"x/../../evil{i}"
        cv2.imwrite(str(tmp_path / f"{i}.png"), image)
        samples.append(dict(id=case["sample_id"], image=f"{i}.png", landmarks=case["gt"]))
    out = tmp_path / "deep" / "out"
    out.mkdir(parents=True)
    (out / "predictions.json").write_text(json.dumps(found))
    (tmp_path / "all.json").write_text(json.dumps(dict(samples=samples)))
    config = trained.config()
    config.test_dataloader.dataset = dict(
        type="LandmarkDataset", ann_file="all.json", data_root=str(tmp_path), pipeline=[]
    )
    figures = draw_test_figures(config, out)
    assert {p.parent for p in figures} == {out}
    assert not [p for p in tmp_path.rglob("*evil*") if p.parent != out]


def test_figures_of_wrapped_data_and_missing_points(trained, tested, tmp_path):
    out, _ = tested
    predictions = read_json(out / "predictions.json")
    for case in predictions["cases"]:  # as an image without its first landmark is written
        case["gt"][0], case["errors"][0] = [None, None], None
    (tmp_path / "predictions.json").write_text(json.dumps(predictions))
    config = trained.config()
    inner = dict(config.test_dataloader.dataset)
    config.test_dataloader.dataset = dict(type="RepeatDataset", times=1, dataset=inner)
    assert len(draw_test_figures(config, tmp_path)) == 6


def test_figures_without_a_training_log(trained, tested, tmp_path):
    out, _ = tested
    (tmp_path / "predictions.json").write_text((out / "predictions.json").read_text())
    paths = draw_test_figures(trained.config(work_dir=str(tmp_path / "elsewhere")), tmp_path)
    assert "training.png" not in {p.name for p in paths}
    assert len(paths) == 5


def test_figures_need_predictions(trained, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"predictions\.json"):
        draw_test_figures(trained.config(), tmp_path)
    assert list(tmp_path.iterdir()) == []
