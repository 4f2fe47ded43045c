"""Cross-validation: every image tested once, by a model that has not seen its patient."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmlandmark.apis import check_folds, cross_validate, fold_configs, plan_of_folds
from mmlandmark.datasets import with_unlabelled
from mmlandmark.engine import ConfigError, Node, plan_of_run, plan_of_stages
from mmlandmark.evaluation import FoldReport, summarize
from mmlandmark.registry import DATASETS
from mmlandmark.testing import tiny_config
from mmlandmark.utils.files import safe_name


def config_of(folder: Path, **overrides):
    """Six phantoms, of which a loader takes what belongs to its fold."""
    config = tiny_config(folder, max_epochs=1, **overrides)
    for loader, split in (("train", "train"), ("val", None), ("test", None)):
        config[f"{loader}_dataloader"].dataset.update(num_samples=6, offset=0, split=split)
    return config


def test_three_folds_test_every_image_once(tmp_path):
    config = config_of(tmp_path)
    # A predictions file keeps landmarks, but no published values of a sample.
    measures = dict(type="MeasureMetric", measures=["SNA", "SNB"])
    config.test_evaluator = [
        config.test_evaluator,
        measures,
        dict(measures, published="spacing", prefix="published"),
    ]
    folds = fold_configs(config, deal=dict(num_folds=3, fold_seed=1))
    assert list(folds) == ["0", "1", "2"]
    report = cross_validate(folds, tmp_path / "cv")
    assert report.images == {"0": 2, "1": 2, "2": 2}
    cases = json.loads((tmp_path / "cv" / "pooled" / "predictions.json").read_text())["cases"]
    assert len({case["sample_id"] for case in cases}) == 6
    errors = np.array([case["errors"] for case in cases])
    assert report.pooled["mre"] == pytest.approx(summarize(errors)["mre"], rel=1e-9)
    assert report.pooled["num_images"] == 6
    each = [(m["mae_SNA"], m["published/mae_SNA"]) for m in report.folds.values()]
    assert report.pooled["mae_SNA"] == pytest.approx(np.mean(each, axis=0)[0])
    assert "published/mae_SNA" not in report.pooled
    assert report.pooled["mre"] == pytest.approx(np.mean([m["mre"] for m in report.folds.values()]))
    text = report.to_markdown()
    assert text.count("\n| ") == 2 * 7  # head and rule, three folds, all, their mean; of both prefixes
    assert f"| all | 6 | {report.pooled['mre']:.3f} ± {report.pooled['mre_sd']:.3f} |" in text
    # The same call again runs nothing: all files keep their times.
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.pth")}
    assert len(before) == 3
    again = cross_validate(fold_configs(config, deal=dict(num_folds=3, fold_seed=1)), tmp_path / "cv")
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.pth")} == before
    assert again == report
    # A fold that was lost is run again, the others are not.
    (tmp_path / "cv" / "fold_1" / "run.json").unlink()
    assert cross_validate(folds, tmp_path / "cv").pooled == report.pooled
    # Other values in the same folder are refused.
    other = fold_configs(config_of(tmp_path, **{"optim_wrapper.optimizer.lr": 0.5}), deal=dict(num_folds=3))
    with pytest.raises(ConfigError, match=r"fold_0 holds a run with other values .* remove that folder"):
        cross_validate(other, tmp_path / "cv")


def test_the_name_of_a_fold_leads_nowhere_else(tmp_path):
    (config, _) = fold_configs(config_of(tmp_path), deal=dict(num_folds=2)).values()
    name = "x/../../evil|"
    report = cross_validate({name: config}, tmp_path / "deep" / "cv")
    assert (tmp_path / "deep" / "cv" / f"fold_{safe_name(name)}" / "run.json").is_file()
    assert not [p for p in tmp_path.rglob("*evil*") if tmp_path / "deep" / "cv" not in p.parents]
    assert r"| x/../../evil\| | 3 |" in report.to_markdown()


def test_datasets_inside_of_wrappers_get_the_fold(tmp_path):
    config = config_of(tmp_path)
    inner = config.train_dataloader.dataset
    phantoms = dict(inner, offset=100, split=None)
    inner.fold = 0
    config.train_dataloader.dataset = dict(
        type="ConcatDataset", datasets=[dict(type="RepeatDataset", dataset=inner, times=2), phantoms]
    )
    folds = fold_configs(config, ["2"], dict(num_folds=3))
    repeated, added = folds["2"].train_dataloader.dataset.datasets
    assert (repeated.dataset.fold, repeated.dataset.num_folds) == ("2", 3)
    assert "fold" not in added
    assert folds["2"].test_dataloader.dataset.fold == "2"


def ids_of(folds):
    """Return what every fold tests."""
    return {
        name: {r["sample_id"] for r in DATASETS.build(fold.test_dataloader.dataset).load_data_list()}
        for name, fold in folds.items()
    }


def test_dealt_folds_depend_on_their_seed(tmp_path):
    found = [
        ids_of(fold_configs(config_of(tmp_path), deal=dict(num_folds=2, fold_seed=s))) for s in (0, 0, 1, 2)
    ]
    assert found[0] == found[1]
    assert found[0] not in found[2:]


def test_folds_in_the_config_are_dealt_out_anew(tmp_path):
    config = config_of(tmp_path)
    for loader in ("train", "val", "test"):
        config[f"{loader}_dataloader"].dataset.update(fold=0, num_folds=6)
    config.author_says = "anything"
    folds = fold_configs(config)
    assert list(folds) == ["0", "1", "2", "3", "4", "5"]
    assert "author_says" not in folds["0"]
    folds = fold_configs(config, deal=dict(num_folds=2))
    assert {name: len(ids) for name, ids in ids_of(folds).items()} == {"0": 3, "1": 3}


def test_stages_get_the_fold_and_are_looked_at(tmp_path):
    config = config_of(tmp_path)
    whole = config.train_dataloader
    config.stages = [
        dict(name="first", train_dataloader=dict(dataset=dict(fold=0, num_samples=6))),
        dict(name="second", train_cfg=dict(max_epochs=2)),
    ]
    folds = fold_configs(config, deal=dict(num_folds=3))
    first, second = plan_of_stages(folds["2"], tmp_path).children
    assert first.config.train_dataloader.dataset.fold == second.config.train_dataloader.dataset.fold == "2"
    # A stage with a data set of its own that no fold reaches: it trains on what is tested.
    config.stages[0] = dict(
        name="first",
        train_dataloader=dict(
            dataset=dict(
                _delete_=True,
                type="ConcatDataset",
                datasets=[dict(whole.dataset, fold=1), dict(whole.dataset, split=None)],
            )
        ),
    )
    with pytest.raises(ValueError, match="fold 0 trains on 2 images that it also tests"):
        fold_configs(config, deal=dict(num_folds=3))


def test_unlabelled_images_are_those_of_their_split_in_every_fold(tmp_path):
    points = [[[9.0, 9.0 + n]] for n in range(9)]
    samples = [
        dict(id=str(n), image=f"{n}.png", landmarks=points[n], split="train" if n < 6 else "rest")
        for n in range(9)
    ]
    content = dict(schema=dict(name="tips", landmarks=["tip"]), samples=samples)
    (tmp_path / "a.json").write_text(json.dumps(content))
    for n in range(9):
        cv2.imwrite(str(tmp_path / f"{n}.png"), np.zeros((20, 20), np.uint8))
    data = dict(type="LandmarkDataset", data_root=str(tmp_path), ann_file="a.json", pipeline=[])
    config = tiny_config(tmp_path / "run")
    config.train_dataloader = dict(dataset=dict(data, split="train"), unlabelled=dict(split="rest"))
    config.val_dataloader = config.test_dataloader = dict(dataset=data)
    folds = fold_configs(config, deal=dict(num_folds=3))
    for fold in folds.values():
        (labelled, rest) = with_unlabelled(fold.train_dataloader)["dataset"]["datasets"]
        assert len(DATASETS.build(dict(labelled, lazy_init=True)).load_data_list()) == 4
        ids = [r["sample_id"] for r in DATASETS.build(dict(rest, lazy_init=True)).load_data_list()]
        assert ids == ["6", "7", "8"]
    # All splits are tested, the unlabelled one, too.
    with pytest.raises(ValueError, match=r"fold \d trains on \d images that it also tests"):
        fold_configs(config, deal=dict(num_folds=3, fold_split=None))


def test_stages_are_cross_validated(tmp_path):
    config = config_of(tmp_path)
    config.stages = [dict(name="one"), dict(name="two", load_from="run:one:last")]
    report = cross_validate(fold_configs(config, deal=dict(num_folds=2)), tmp_path / "cv")
    assert report.images == {"0": 3, "1": 3}
    assert (tmp_path / "cv" / "fold_1" / "02_two" / "run.json").is_file()


def test_plans_of_folds_go_into_other_plans(tmp_path):
    """Seeds of folds of stages: every stage starts from the one of its own fold and seed."""
    seeds = []
    for seed in range(2):
        config = config_of(tmp_path, randomness=dict(seed=seed))
        config.stages = [dict(name="one"), dict(name="two", load_from="run:one:last")]
        seeds.append(plan_of_folds(fold_configs(config, deal=dict(num_folds=2)), tmp_path / f"seed{seed}"))
    runs = {run.path: run for run in Node("all", tmp_path, children=seeds).runs()}
    assert list(runs)[:3] == ["seed0/fold_0/one", "seed0/fold_0/two", "seed0/fold_1/one"]
    assert runs["seed1/fold_0/two"].inputs == [runs["seed1/fold_0/one"]]
    assert len({run.fingerprint for run in runs.values()}) == len({run.folder for run in runs.values()}) == 8


def test_numbers_that_do_not_exist_stay_so(tmp_path):
    """A fold without any prediction of a metric: NaN is kept, and does not stop what comes after."""
    folder = tmp_path / "fold"
    config = config_of(tmp_path)
    run = plan_of_run(config, folder).run_folder
    assert run.step_metrics("test") is None
    run.begin()
    run.finish_step("test", dict(mre=float("nan"), sdr_2mm=0.0))
    assert math.isnan(run.step_metrics("test")["mre"])
    values = dict(mre=1.0, mre_sd=0.5, sdr_2mm=80.0)
    folds = {"0": run.step_metrics("test"), "1": values, "2": values}
    text = FoldReport(
        folds, {"0": 2, "1": 2, "2": 2}, values, {"": "mm, spacing of every image"}
    ).to_markdown()
    assert "| 0 | 2 | - | 0.00 | 100.00 |" in text
    assert "| all | 6 | 1.000 ± 0.500 | 80.00 | 20.00 |" in text
    assert "| mean of folds |  | 1.000 ± 0.000 | 53.33 ± 46.19 | 46.67 ± 46.19 |" in text
    assert text.startswith(
        "Errors in mm, spacing of every image.\n\n| fold | images | MRE (mm) | SDR 2 mm | EDR 2 mm |"
    )


def test_other_starting_weights_are_another_run(tmp_path):
    plan_of_run(config_of(tmp_path, load_from="a.pth"), tmp_path).run_folder.begin()
    with pytest.raises(ConfigError, match="holds a run with other values"):
        plan_of_run(config_of(tmp_path, load_from="b.pth"), tmp_path).run_folder.begin()


def test_unknown_folds_and_missing_ones_are_named(tmp_path):
    with pytest.raises(ConfigError, match=r"no folds \['7'\]; the data has \['0', '1', '2'\]"):
        fold_configs(config_of(tmp_path), ["7"], dict(num_folds=3))
    with pytest.raises(ValueError, match="has no folds; give num_folds"):
        fold_configs(config_of(tmp_path))
    config = config_of(tmp_path)
    config.test_dataloader = None
    with pytest.raises(ConfigError, match="needs test_dataloader"):
        fold_configs(config, deal=dict(num_folds=3))


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
            "folds 1 and 2 both test image 'c': folds must not overlap",
        ),
        (
            {
                "1": [records("a"), records("b", group="anna")],
                "2": [records("a"), records("c", group="anna")],
            },
            "folds 1 and 2 both test group 'anna'",
        ),
    ],
)
def test_folds_that_leak_are_refused(contents, message):
    with pytest.raises(ValueError, match=message):
        check_folds(contents)


def test_folds_without_a_common_patient_are_fine():
    check_folds({"1": [records("a", "b"), records("c")], "2": [records("b", "c"), records("a")]})


@pytest.mark.parametrize(
    ("evaluator", "message"),
    [
        (dict(type="CoordinateMetric"), "needs a LandmarkMetric without prefix"),
        (dict(type="LandmarkMetric", unit="px", prefix="a"), "needs a LandmarkMetric without prefix"),
        (None, "needs test_evaluator"),
    ],
)
def test_what_the_report_needs_is_asked_for_before_anything_runs(tmp_path, evaluator, message):
    config = config_of(tmp_path)
    config.test_evaluator = evaluator
    with pytest.raises(ConfigError, match=message):
        fold_configs(config, deal=dict(num_folds=3))


def test_a_metric_may_go_by_its_full_name(tmp_path):
    config = config_of(tmp_path)
    config.test_evaluator.type = "mmlandmark.evaluation.LandmarkMetric"
    report = cross_validate(fold_configs(config, ["0"], dict(num_folds=3)), tmp_path / "cv")
    assert report.pooled["num_images"] == 2
    shutil.rmtree(tmp_path / "cv" / "fold_0" / "test")
    with pytest.raises(ConfigError, match=r"fold_0 is finished, but .*predictions\.json is gone"):
        cross_validate(fold_configs(config, ["0"], dict(num_folds=3)), tmp_path / "cv")


@pytest.mark.parametrize("count", [0, 1, -2])
def test_one_fold_is_none(tmp_path, count):
    with pytest.raises(ConfigError, match=f"num_folds must be at least 2, got {count}"):
        fold_configs(config_of(tmp_path), deal=dict(num_folds=count))
