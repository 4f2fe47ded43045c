"""Configs inside of model files: what is refused, and what is kept."""

from __future__ import annotations

import copy

import pytest

from mmlandmark.models.frozen_config import build_steps, check_frozen, without_files, without_starts
from mmlandmark.testing import tiny_model


@pytest.fixture(scope="module")
def config():
    return tiny_model().config


def changed(config, path, value):
    """Return a copy with another value at a dotted path."""
    config = copy.deepcopy(config)
    *way, last = [int(key) if key.isdigit() else key for key in path.split(".")]
    node = config
    for key in way:
        node = node[key]
    if isinstance(last, int) and last == len(node):
        node.append(value)
    else:
        node[last] = value
    return config


REFUSED = [
    ("model.head.codec.decoder", "antigravity.png", "runs code of the package 'antigravity'"),
    ("pipeline.1.mode", "this.md", "runs code of the package 'this'"),
    ("model.type", "os.system", "importing it runs code of the package 'os'"),
    (
        "model.backbone.type",
        "mmlandmark.utils.files.atomic_write_text",
        "runs code of the package 'mmlandmark'",
    ),
    ("model.backbone.type", "UNte", r"'UNte' is not registered \(did you mean 'UNet'"),
    ("model.backbone.type", 5, "must be the name of a class, got int"),
    ("model.backbone._scope_", "evil", "runs code of the package 'evil'"),
    ("model.backbone._scope_", "mmengine", "looked up in mmlandmark only"),
    (
        "model.backbone.init_cfg",
        dict(type="Pretrained", checkpoint="https://e.org/a.pth"),
        "names something beside",
    ),
    ("model.teacher", dict(checkpoint="a.pth"), "model.teacher.checkpoint names something beside"),
    ("model.init_cfg", [dict(type="Pretrained", checkpoint="a.pth")], "model.init_cfg names something"),
    ("pipeline.1", dict(type="LoadAnnotations"), "a class of mmcv.transforms"),
    ("pipeline.1", dict(type="LoadImageFromFile"), "a class of mmcv.transforms"),
    ("pipeline.1", "Resize", "every step of its pipeline must be a section"),
    ("pipeline", [], "'pipeline', a list of steps"),
    ("pipeline", None, "'pipeline', a list of steps"),
    ("pipeline.1.size", [10**6, 10**6], "out of bounds"),
    ("pipeline.0.size", [float("inf"), 1], "out of bounds"),
    ("model", None, "its config needs 'model'"),
    ("mode", {}, r"unknown keys mode \(did you mean 'model'"),
    ("custom_imports", dict(imports=["evil"]), "unknown keys custom_imports"),
    ("test_evaluator.out_file", "/tmp/x.json", "test_evaluator.out_file names something beside"),
    ("test_evaluator", dict(type="DumpResults", out_file_path="x.pkl"), "a class of mmengine.evaluator"),
    ("test_dataloader.dataset.image_cache", dict(mode="disk"), "names something beside"),
    ("test_dataloader.dataset.cache_dir", "/scratch/films", "dataset.cache_dir names something beside"),
    ("test_dataloader.dataset.backend_args", dict(backend="http"), "backend_args names something beside"),
    (
        "test_dataloader.dataset.ann_file",
        "http://198.51.100.1/index.json",
        "ann_file is the address of a server",
    ),
    ("test_dataloader.dataset.data_root", "S3://films", "data_root is the address of a server"),
    ("test_dataloader.dataset.ann_file", "http:$EMPTY//e.org/i.json", "ann_file is the address of a server"),
    ("pipeline.1", dict(type="PackInputs", keys=["https://e.org"]), "pipeline.1.keys.0 is the address"),
    ("test_dataloader", 5, "test_dataloader is no section"),
    ("test_evaluator", [5], "test_evaluator is no section"),
    ("test_cfg", [], "test_cfg is no section"),
    ("test_dataloader.num_workers", 10**6, "at most 64 are allowed"),
    ("model.data_preprocessor.size_divisor", 65536, "at most 1024 are allowed"),
    ("model.test_cfg", dict(views=[{}] * 100_000), "at most 64 are allowed"),
    ("model.test_cfg", dict(shape_prior=dict(candidates=10**9)), "at most 64 are allowed"),
    ("test_dataloader.collate_fn", dict(type="os.system"), "runs code of the package 'os'"),
]


@pytest.mark.parametrize(("path", "value", "message"), REFUSED)
def test_a_config_that_may_do_more_than_compute_is_refused(config, path, value, message, monkeypatch):
    monkeypatch.delenv("MMLANDMARK_TRUST", raising=False)
    monkeypatch.setenv("EMPTY", "")
    with pytest.raises(ValueError, match=f"^here.*{message}") as caught:
        check_frozen(changed(config, path, value), "here")
    assert "\n" not in str(caught.value)


def test_what_it_accepts(config, monkeypatch):
    monkeypatch.delenv("MMLANDMARK_TRUST", raising=False)
    check_frozen(config, "here")
    check_frozen(changed(config, "model.backbone.init_cfg", None), "here")
    named = changed(config, "model.type", "mmlandmark.models.detectors.landmark_detector.LandmarkDetector")
    check_frozen(named, "here")
    check_frozen(changed(config, "test_cfg", dict(type="TestLoop")), "here")
    collated = changed(config, "test_dataloader.collate_fn", dict(type="default_collate"))
    check_frozen(collated, "here")
    check_frozen(changed(config, "test_dataloader.dataset.ann_file", "test.json"), "here")
    about = dict(dataset_name="films", paper="https://example.org/films")
    check_frozen(changed(config, "test_dataloader.dataset.metainfo", about), "here")
    monkeypatch.setenv("MMLANDMARK_TRUST", "mmcv")
    check_frozen(changed(config, "pipeline.1", dict(type="LoadAnnotations")), "here")
    foreign = changed(config, "model.backbone.type", "my_package.Backbone")
    check_frozen(foreign, "here", trust=True)


def test_nesting_without_end_and_keys_of_other_types_are_refused(config):
    deep: list = []
    for _ in range(50):
        deep = [deep]
    with pytest.raises(ValueError, match="more than 40 levels deep"):
        check_frozen(changed(config, "model.backbone.widths", deep), "here")
    with pytest.raises(ValueError, match="keys of a section must be text"):
        check_frozen(changed(config, "model.backbone", {1: 2}), "here")
    for number in (10**400, float("nan"), -float("inf")):
        with pytest.raises(ValueError, match="which is out of bounds"):
            check_frozen(changed(config, "model.backbone.widths", [number]), "here")
    with pytest.raises(ValueError, match="expected a section with named keys, got list"):
        check_frozen([], "here")


def test_starts_and_files_are_left_out():
    model = dict(a=[dict(init_cfg=dict(x=1), b=2)], checkpoint="x", frozen_stages=1)
    assert without_starts(model) == dict(a=[dict(b=2)], frozen_stages=1)
    assert without_files([dict(out_file="x", unit="mm")]) == [dict(unit="mm")]
    shards = dict(type="ShardedDataset", cache_dir="/scratch", backend_args=dict(tries=2), cache_gb=1)
    assert without_files(shards) == dict(type="ShardedDataset", cache_gb=1)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([dict(type="PackInputs")], "must begin with LoadImage and end with PackInputs"),
        ([dict(type="LoadImage")], "must begin with LoadImage and end with PackInputs"),
        ([dict(type="LoadImage", size=5), dict(type="PackInputs")], "a step of its pipeline cannot be built"),
        ([dict(type="LoadImage", path="x"), dict(type="PackInputs")], "unexpected keyword argument 'path'"),
        ([{}], "cannot be built"),
    ],
)
def test_pipelines_have_two_ends(steps, message):
    with pytest.raises(ValueError, match=f"^here: .*{message}"):
        build_steps(steps, "here")


def test_steps_are_built(config):
    names = [type(step).__name__ for step in build_steps(config["pipeline"], "here")]
    assert names == ["LoadImage", "Resize", "Resample", "PackInputs"]
