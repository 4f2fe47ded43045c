"""The config of a plan reads like one that a person wrote."""

from __future__ import annotations

import ast
import dataclasses
import json
import math

import numpy as np
import pytest
import torch

from mmlandmark.apis import run_plan
from mmlandmark.datasets.samplers import with_unlabelled
from mmlandmark.engine import load_config, plan_of_run, plan_of_stages
from mmlandmark.inference import LandmarkInferencer
from mmlandmark.planning import (
    Answers,
    assumptions,
    decide_network,
    decisions,
    find_data,
    read_data,
    write_plan,
)
from mmlandmark.planning.budget_rules import PUBLISHED, Speed
from mmlandmark.planning.config_text import config_text
from mmlandmark.registry import DATASETS, METRICS, MODELS
from mmlandmark.structures import apply_matrix, spacing_of
from test_planning.kites import write_kites
from test_planning.scans import write_scans
from test_planning.test_unlabelled import write_films


def plan_of(tmp_path, kind="csv", **answers):
    write_kites(tmp_path / "kites", kind, y_up=kind == "tps")
    plan = read_data(find_data(tmp_path / "kites"), Answers(**answers))
    decide_network(plan, lambda plan, ids: Speed(0.1, 0.001, 5.0, 4))
    return plan


@pytest.mark.parametrize(
    ("kind", "answers"),
    [
        ("csv", {}),
        (
            "csv",
            dict(pairs=("left_wing:right_wing",), reference=("nose", "tail", 50.0), group_pattern="kite.."),
        ),
        ("tps", dict(spacing=(0.1, 0.2), on_gpu=True, cores=4)),
    ],
)
def test_a_config_is_short_and_says_why(tmp_path, kind, answers):
    text = config_text(
        "written for kites", *(lambda p: (p.choices, p.dataset))(plan_of(tmp_path, kind, **answers))
    )
    lines = text.splitlines()
    assert len(lines) <= (70 if answers else 60)
    assert len([line for line in lines if not line.startswith("#")]) <= 60
    assert max(map(len, lines)) <= 110
    ast.parse(text)
    assert lines[0] == "# Written for kites; all reasons are in plan.json."
    for word in ("Size: ", "Split: ", "Unit: ", "Network: ", "Epochs: ", "sigma: ", "batch: ", "Y: "):
        assert word in text.replace("\n# ", " ")
    assert ("RandomFlip" in text) == bool(answers.get("pairs"))


def test_a_config_can_be_loaded_from_any_folder(tmp_path, monkeypatch):
    plan = plan_of(tmp_path, pairs=("left_wing:right_wing",))
    write_plan(plan, tmp_path / "mine")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    config = load_config("../mine/config.py")
    assert config.work_dir == str(tmp_path / "mine" / "run")
    assert config.train_dataloader.dataset.ids == str(tmp_path / "mine" / "train.txt")
    assert config.train_dataloader.dataset.schema == str(tmp_path / "mine" / "schema.json")
    assert config.model.backbone.widths == [16, 32, 64, 128, 256] or config.model.backbone.widths == (
        16,
        32,
        64,
        128,
        256,
    )
    assert config.train_cfg.max_epochs == plan.choices["epochs"].value


def test_a_plan_may_start_from_published_weights(tmp_path, monkeypatch):
    plan = plan_of(tmp_path)
    object.__setattr__(plan.fingerprint, "median_size", [480, 640])
    plan.answers = dataclasses.replace(plan.answers, published_weights=True)
    decide_network(plan, lambda plan, ids: Speed(0.1, 0.001, 5.0, 4))
    write_plan(plan, tmp_path / "mine")
    config = load_config(tmp_path / "mine" / "config.py")
    assert config.model.backbone.type == "EfficientNetLite"
    assert config.model.backbone.init_cfg.checkpoint == PUBLISHED
    assert config.optim_wrapper.dtype == "float32"
    assert config.model.data_preprocessor.mean == pytest.approx(127 / 255, abs=1e-3)
    config.model.backbone.init_cfg = None
    detector = MODELS.build(config.model)
    maps = detector.raw_maps(torch.zeros(1, 3, 96, 128))
    assert maps.shape == (1, 4, 48, 64)


@pytest.mark.parametrize(
    "name",
    [
        'a"b\\c.csv',
        "two\nlines\t.csv",
        "{{ fileDirname }}.csv",
        "{{{ _base_.x }}}.csv",
        "{{$HOME:/x}}.csv",
        "\u00e4\U0001f98b\udce4.csv",
    ],
)
def test_any_name_stays_what_it_is(tmp_path, name):
    plan = plan_of(tmp_path)
    text = config_text(f"for {name}", plan.choices, dict(plan.dataset, ann_file=name))
    (tmp_path / "config.py").write_text(text, encoding="utf-8")
    config = load_config(tmp_path / "config.py")
    assert config.train_dataloader.dataset.ann_file == name
    assert config.train_dataloader.dataset.ids == str(tmp_path / "train.txt")


def test_measures_of_the_schema_are_tested(tmp_path):
    path = write_kites(tmp_path / "kites", "json")
    content = json.loads(path.read_text())
    content["schema"]["measures"] = [dict(name="span", kind="distance", points=["left_wing", "right_wing"])]
    path.write_text(json.dumps(content))
    plan = read_data(find_data(path), Answers(pairs=("left_wing:right_wing",)))
    assert plan.choices["measures"].value == ["span"]
    assert "the test compares span" in "\n".join(assumptions(plan))
    decide_network(plan, lambda plan, ids: Speed(0.1, 0.001, 5.0, 4))
    write_plan(plan, tmp_path / "mine")
    config = load_config(tmp_path / "mine" / "config.py")
    landmarks, measures = config.test_evaluator
    assert (landmarks, measures) == (config.val_evaluator, dict(type="MeasureMetric"))
    metric = METRICS.build(measures)
    metric.dataset_meta = DATASETS.build(config.test_dataloader.dataset).metainfo
    metric.check_sample(None)


def test_who_validates_on_the_test_part_is_told(tmp_path):
    plan = plan_of(tmp_path)
    text = config_text("kites", plan.choices, plan.dataset).replace("\n# ", " ")
    assert "only 16 patients; validation and test use the same images (test.txt)" in text
    assert "validation and test look at the same images" in "\n".join(assumptions(plan))


def test_a_config_for_volumes_is_in_mm(tmp_path):
    world = write_scans(tmp_path / "scans")
    plan = read_data(find_data(tmp_path / "scans"), Answers(pairs=("left:right",)))
    decide_network(plan, lambda plan, ids: Speed(0.1, 0.001, 5.0, 1))
    write_plan(plan, tmp_path / "mine")
    text = (tmp_path / "mine" / "config.py").read_text()
    assert len([line for line in text.splitlines() if not line.startswith("#")]) <= 60
    assert "6 volumes with 4 landmarks" in text.replace("\n# ", " ")
    assert "Axes: all volumes are turned to LPS" in text
    config = load_config(tmp_path / "mine" / "config.py")
    sample = DATASETS.build(config.test_dataloader.dataset)[0]["data_samples"]
    matrix = sample.world_from_original @ np.linalg.inv(sample.input_from_original)
    assert spacing_of(matrix) == pytest.approx(plan.choices["spacing"].value)
    number = int(sample.sample_id)
    points = apply_matrix(sample.world_from_original, sample.gt_landmarks.numpy())
    assert points == pytest.approx(world[number], abs=1e-3)


@pytest.mark.slow
def test_two_stages_are_one_config_that_trains_and_tests(tmp_path):
    """A slow machine sees whole volumes of coarse voxels, then patches of those of the data."""
    write_scans(tmp_path / "scans", spacing=0.2, more=True)
    plan = read_data(find_data(tmp_path / "scans"), Answers(minutes=80.0))
    decide_network(plan, lambda plan, ids: Speed(math.prod(plan.choices["size"].value) / 5e4, 0.001, 5.0, 1))
    assert plan.choices["stages"].value == 2
    assert plan.choices["spacing"].value == [0.625] * 3
    assert (plan.fine["spacing"].value, plan.fine["shrink"].value) == ([0.2] * 3, [3.125] * 3)
    assert "second stage:" in "\n".join(decisions(plan))
    write_plan(plan, tmp_path / "mine")
    text = (tmp_path / "mine" / "config.py").read_text()
    assert max(map(len, text.splitlines())) <= 110
    assert len([line for line in text.splitlines() if not line.startswith("#")]) <= 105
    assert plan.fine["align"].value == dict(pixel=0.2, margin=0.5)
    assert text.count('dict(type="AlignToTypicalShape", pixel=0.2, margin=0.5)') == 1
    config = load_config(tmp_path / "mine" / "config.py")
    config.train_cfg.update(max_epochs=1, val_interval=1)
    config.stages[1].train_cfg.update(max_epochs=1, val_interval=1)
    run_plan(plan_of_run(config, config.work_dir))
    fine = tmp_path / "mine" / "run" / "02_fine"
    assert (fine / "epoch_1.pth").is_file()
    (found,) = LandmarkInferencer(fine)(tmp_path / "scans" / "images" / "1.nii.gz")
    assert found.points.shape == (8, 3)


def test_self_training_is_three_stages_of_one_config(tmp_path):
    films = write_films(tmp_path / 'films "of" {{ fileDirname }}')
    plan = plan_of(tmp_path, unlabelled=str(films), pairs=("left_wing:right_wing",), spacing=(0.1, 0.2))
    write_plan(plan, tmp_path / "mine")
    text = (tmp_path / "mine" / "config.py").read_text()
    assert len([line for line in text.splitlines() if not line.startswith("#")]) <= 90
    assert max(len(line) for line in text.splitlines() if str(tmp_path) not in line) <= 110
    pre_train, self_train, fine_tune = (
        node.config
        for node in plan_of_stages(load_config(tmp_path / "mine" / "config.py"), tmp_path).children
    )
    assert pre_train.train_cfg.max_epochs == plan.choices["epochs"].value
    assert self_train.train_cfg.max_epochs == plan.labels["self_train"].value
    assert fine_tune.train_cfg.max_epochs == plan.labels["fine_tune"].value
    assert [stage.model.head.loss.type for stage in (self_train, fine_tune)] == ["RegionAttentionLoss"] * 2
    assert pre_train.model.head.loss.type == "SpatialCrossEntropyLoss"
    hook = self_train.default_hooks.pseudo_labels
    assert hook.selector == dict(type="ShapeRegulator", way="agreement", unit="mm")
    assert "pseudo_labels" not in fine_tune.default_hooks
    both = with_unlabelled(self_train.train_dataloader)["dataset"]["datasets"]
    labelled, images = (DATASETS.build(config) for config in both)
    assert (len(labelled), len(images), images.unlabelled) == (13, 4, True)
    assert images.schema.flip_pairs == labelled.schema.flip_pairs == plan.schema.flip_pairs
    assert images[0]["data_samples"].spacing == (0.1, 0.2)
    assert images.image_cache is not None


@pytest.mark.slow
def test_volumes_are_self_trained(tmp_path):
    write_scans(tmp_path / "scans")
    write_scans(tmp_path / "more", count=9)
    answers = Answers(unlabelled=str(tmp_path / "more" / "images"))
    plan = read_data(find_data(tmp_path / "scans"), answers)
    # Three of nine are others than the annotated ones.
    decide_network(plan, lambda plan, ids: Speed(0.1, 0.001, 5.0, 1))
    write_plan(plan, tmp_path / "mine")
    config = load_config(tmp_path / "mine" / "config.py")
    for part in (config, *config.stages[1:]):
        part.train_cfg.update(max_epochs=1, val_interval=1)
    # Region Attention is for images.
    stages = [node.config for node in plan_of_stages(config, tmp_path).children]
    assert len({str(stage.model) for stage in stages}) == 1
    rates = [stage.optim_wrapper.optimizer.lr for stage in stages]
    assert rates == [stage.param_scheduler[0].eta_max for stage in stages]
    assert rates == [rates[0], rates[0] / 2, rates[0] / 2]
    run_plan(plan_of_run(config, config.work_dir))
    run = tmp_path / "mine" / "run"
    (row,) = json.loads((run / "02_self_train" / "pseudo_labels" / "rounds.json").read_text())["rounds"]
    assert (row["epoch"], row["images"], row["landmarks"]) == (0, 3, 12)
    assert (run / "03_fine_tune" / "epoch_1.pth").is_file()
