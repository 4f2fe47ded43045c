"""Cross-validation: every image tested once, by a model that has not seen its patient."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mmlandmark.apis import check_folds, cross_validate, plan_folds
from mmlandmark.engine import ConfigError
from mmlandmark.evaluation import summarize
from mmlandmark.testing import tiny_config


def config_of(folder: Path, **overrides):
    """Six phantoms, of which a loader takes what belongs to its fold."""
    config = tiny_config(folder, max_epochs=1, **overrides)
    for loader, split in (("train", "train"), ("val", None), ("test", None)):
        config[f"{loader}_dataloader"].dataset.update(num_samples=6, offset=0, split=split)
    return config


def test_three_folds_test_every_image_once(tmp_path):
    config = config_of(tmp_path)
    folds = plan_folds(config, deal=dict(num_folds=3, fold_seed=1))
    assert list(folds) == ["0", "1", "2"]
    report = cross_validate(folds, tmp_path / "cv")
    assert report.images == {"0": 2, "1": 2, "2": 2}
    cases = json.loads((tmp_path / "cv" / "pooled" / "predictions.json").read_text())["cases"]
    assert len({case["sample_id"] for case in cases}) == 6
    errors = np.array([case["errors"] for case in cases])
    assert report.pooled["mre"] == pytest.approx(summarize(errors)["mre"], rel=1e-9)
    assert report.pooled["num_images"] == 6
    assert report.pooled["mre"] == pytest.approx(np.mean([m["mre"] for m in report.folds.values()]))
    text = report.to_markdown()
    assert text.count("\n| ") == 5 + 1  # three folds, all, their mean; and the rule below the head
    assert f"| all | 6 | {report.pooled['mre']:.3f} ± {report.pooled['mre_sd']:.3f} |" in text
    # The same call again runs nothing: all files keep their times.
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.pth")}
    assert len(before) == 3
    again = cross_validate(plan_folds(config, deal=dict(num_folds=3, fold_seed=1)), tmp_path / "cv")
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.pth")} == before
    assert again == report
    # A fold that was lost is run again, the others are not.
    (tmp_path / "cv" / "fold_1" / "run.json").unlink()
    assert cross_validate(folds, tmp_path / "cv").pooled == report.pooled
    # Other values in the same folder are refused.
    other = plan_folds(config_of(tmp_path, **{"optim_wrapper.optimizer.lr": 0.5}), deal=dict(num_folds=3))
    with pytest.raises(ConfigError, match=r"fold_0 holds a run with other values: remove it"):
        cross_validate(other, tmp_path / "cv")


def test_datasets_inside_of_wrappers_get_the_fold(tmp_path):
    config = config_of(tmp_path)
    inner = config.train_dataloader.dataset
    phantoms = dict(inner, offset=100, split=None)
    inner.fold = 0
    config.train_dataloader.dataset = dict(
        type="ConcatDataset", datasets=[dict(type="RepeatDataset", dataset=inner, times=2), phantoms]
    )
    folds = plan_folds(config, ["2"], dict(num_folds=3))
    repeated, added = folds["2"].train_dataloader.dataset.datasets
    assert (repeated.dataset.fold, repeated.dataset.num_folds) == ("2", 3)
    assert "fold" not in added
    assert folds["2"].test_dataloader.dataset.fold == "2"


def test_dealt_folds_depend_on_their_seed(tmp_path):
    def tested(seed):
        folds = plan_folds(config_of(tmp_path), deal=dict(num_folds=2, fold_seed=seed))
        return {name: fold.test_dataloader.dataset.fold_seed for name, fold in folds.items()}

    assert tested(5) == {"0": 5, "1": 5}


def test_unknown_folds_and_missing_ones_are_named(tmp_path):
    with pytest.raises(ConfigError, match=r"no folds \['7'\]; the data has \['0', '1', '2'\]"):
        plan_folds(config_of(tmp_path), ["7"], dict(num_folds=3))
    with pytest.raises(ValueError, match="has no folds: say with num_folds"):
        plan_folds(config_of(tmp_path))
    config = config_of(tmp_path)
    config.test_dataloader = None
    with pytest.raises(ConfigError, match="needs test_dataloader"):
        plan_folds(config, deal=dict(num_folds=3))


def records(*ids, group=None):
    return [dict(sample_id=i, group=group) for i in ids]


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (
            {"1": [records("a", "b"), records("b")]},
            r"fold 1 trains on 1 images that it also tests, e.g. \['b'\]",
        ),
        (
            {"1": [records("a", group="anna"), records("b", group="anna")]},
            r"trains on 1 groups that it also tests, e.g. \['anna'\]",
        ),
        (
            {"1": [records("a"), records("b", "c")], "2": [records("a"), records("c")]},
            "folds 1 and 2 both test 'c': folds must not overlap",
        ),
    ],
)
def test_folds_that_leak_are_refused(contents, message):
    with pytest.raises(ValueError, match=message):
        check_folds(contents)


def test_folds_without_a_common_patient_are_fine():
    check_folds({"1": [records("a", "b"), records("c")], "2": [records("b", "c"), records("a")]})


def test_predictions_are_needed(tmp_path):
    config = config_of(tmp_path, test_evaluator=dict(type="CoordinateMetric", _delete_=True))
    with pytest.raises(ConfigError, match="test_evaluator needs a LandmarkMetric"):
        cross_validate(plan_folds(config, ["0"], dict(num_folds=3)), tmp_path / "cv")
