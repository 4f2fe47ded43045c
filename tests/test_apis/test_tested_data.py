"""A detector is calibrated on its own answers, or those of its folds, to images that were not trained on."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from mmlandmark import apis
from mmlandmark.apis.tested_data import check_tested, read_tested
from mmlandmark.engine import ConfigError
from mmlandmark.evaluation import TestedCases
from mmlandmark.inference.loading import load_model
from mmlandmark.structures import LandmarkSchema
from mmlandmark.utils.files import read_json


def changed_copy(source, target, **origin):
    """Write a copy of predictions with another origin; None takes it out."""
    content = read_json(source)
    if origin.get("origin", ...) is None:
        del content["origin"]
    else:
        content["origin"].update(origin)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(content))
    return target


def test_images_are_predicted_as_a_test_does(model, trained, tested, annotated):
    (from_test,) = read_tested(model, tested[0])
    (predicted,) = read_tested(model, trained.path)
    assert predicted.origin == from_test.origin
    assert not from_test.of_fold
    assert predicted.cases.sample_ids == from_test.cases.sample_ids
    np.testing.assert_allclose(predicted.cases.points, from_test.cases.points, atol=1e-4)
    np.testing.assert_allclose(predicted.cases.scores, from_test.cases.scores, atol=1e-5)
    assert predicted.cases.has_spread
    assert predicted.cases.in_mm
    (images,) = read_tested(model, annotated)
    assert len(images.cases) == 12
    assert images.cases.landmarks == model.schema.landmarks
    assert check_tested(model, [predicted, from_test]) == []


def test_data_that_cannot_be_used(model, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.json: no such file"):
        read_tested(model, tmp_path / "gone.json")
    (tmp_path / "markups").mkdir()
    (tmp_path / "markups" / "a.mrk.json").write_text("{}")
    words = "convert .*markups annotation.json --to json makes JSON of other annotations, such as a f"
    with pytest.raises(ConfigError, match=words):
        read_tested(model, tmp_path / "markups")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match="no predictions in it; give the folder of mmlandmark test"):
        read_tested(model, tmp_path / "run")
    (tmp_path / "plain.py").write_text("model = dict()\n")
    with pytest.raises(ConfigError, match="has no test_dataloader"):
        read_tested(model, tmp_path / "plain.py")
    other = replace(model, schema=LandmarkSchema.numbered(19))
    row = dict(sample_id="a", pred=[[0, 0]], gt=[[0, 0]], spacing=None)
    (tmp_path / "p.json").write_text(json.dumps(dict(cases=[row], landmark_names=["x"])))
    with pytest.raises(ValueError, match=r"p\.json has 1 landmarks \(x, \.\.\.\), the detector 19"):
        read_tested(other, tmp_path / "p.json")


def test_images_of_the_training_are_refused(model, trained, annotated):
    config = trained.config()
    config.test_dataloader.dataset = dict(config.train_dataloader.dataset, num_samples=6, offset=2)
    config.dump(trained.folder / "seen.py")
    seen = read_tested(model, trained.folder / "seen.py")
    with pytest.raises(ConfigError, match=r"trained on 2 of these 6 images, e\.g\. \['ceph_0_000002'"):
        check_tested(model, seen)
    assert check_tested(model, seen, allow_seen=True) == []
    unseen = read_tested(model, annotated)
    assert check_tested(model, unseen) == []
    known = {key: model.training["trained_on"][key] for key in ("images", "hash")}
    older = replace(model, training=dict(model.training, trained_on=known))
    (note,) = check_tested(older, read_tested(older, annotated))
    assert "names its training set only as a whole" in note
    whole = trained.config()
    whole.test_dataloader.dataset = whole.train_dataloader.dataset
    whole.dump(trained.folder / "whole.py")
    with pytest.raises(ConfigError, match="trained on 4 of these 4 images"):
        check_tested(older, read_tested(older, trained.folder / "whole.py"))
    bare = replace(model, training={})
    (note,) = check_tested(bare, read_tested(bare, trained.folder / "seen.py"))
    assert "does not say what it was trained on" in note


def test_predictions_of_another_detector_are_refused(model, tested, tmp_path):
    source = tested[0] / "predictions.json"
    other = changed_copy(source, tmp_path / "other.json", weights="0" * 16, recipe="1" * 16)
    with pytest.raises(ConfigError, match=r"other\.json: these are predictions of another detector"):
        check_tested(model, read_tested(model, other))
    assert check_tested(model, read_tested(model, other), allow_other=True) == []
    nameless = replace(model, training={})
    without = changed_copy(source, tmp_path / "without.json", weights="0" * 16, recipe="")
    with pytest.raises(ConfigError, match="predictions of another detector"):
        check_tested(nameless, read_tested(nameless, without))


def test_predictions_with_other_options_are_refused(model, trained, tmp_path):
    config = trained.config(**{"model.test_cfg": dict(views=[dict(), dict(rotation=3)])})
    apis.test_config(config, trained.folder / "epoch_2.pth", out_dir=tmp_path)
    with pytest.raises(ConfigError, match="made with other views than this detector predicts with"):
        check_tested(model, read_tested(model, tmp_path))
    apis.test_config(
        trained.config(**{"model.test_cfg": dict(spread=True)}),
        trained.folder / "epoch_2.pth",
        out_dir=tmp_path,
    )
    assert check_tested(model, read_tested(model, tmp_path)) == []
    codec = {"model.head.codec.sigma": 3.0}
    apis.test_config(trained.config(**codec), trained.folder / "epoch_2.pth", out_dir=tmp_path)
    with pytest.raises(ConfigError, match="made with other parts of model or pipeline"):
        check_tested(model, read_tested(model, tmp_path))


def test_older_files_are_taken_with_a_warning(model, tested, tmp_path):
    source = tested[0] / "predictions.json"
    plain = changed_copy(source, tmp_path / "predictions.json", origin=None)
    (note,) = check_tested(model, read_tested(model, plain))
    assert "does not say which detector predicted it" in note
    changed_copy(source, tmp_path / "cv" / "fold_0" / "test" / "predictions.json", origin=None)
    notes = check_tested(model, read_tested(model, tmp_path / "cv"))
    assert len(notes) == 2
    assert "does not say what its fold was trained on" in notes[1]


def test_folds_of_the_same_config_calibrate_a_detector_of_all_images(trained, annotated, tmp_path):
    content = json.loads(annotated.read_text())
    for n, sample in enumerate(content["samples"]):
        sample["split"] = "train" if n < 8 else "test"
    (annotated.parent / "splits.json").write_text(json.dumps(content))
    config = trained.config(**{"train_cfg.max_epochs": 1})
    for name in ("train", "val", "test"):
        config[f"{name}_dataloader"].dataset = dict(
            type="LandmarkDataset",
            data_root=str(annotated.parent),
            ann_file="splits.json",
            split="train" if name == "train" else "test",
            pipeline=config[f"{name}_dataloader"].dataset.pipeline,
            test_mode=name != "train",
        )
    config.work_dir = str(tmp_path / "cv")
    apis.cross_validate(apis.fold_configs(config, deal=dict(num_folds=2)), tmp_path / "cv")
    config.work_dir = str(tmp_path / "run")
    apis.train_config(config)
    model = load_model(tmp_path / "run")
    parts = read_tested(model, tmp_path / "cv")
    assert [part.of_fold for part in parts] == [True, True]
    assert len(TestedCases.joined([part.cases for part in parts])) == 8
    (note,) = check_tested(model, parts)
    assert "2 of 2 parts are predicted by other weights that the config of this detector made" in note

    # A folder that only looks like a fold: the network was trained on what it predicts.
    config.test_dataloader.dataset.split = "train"
    checkpoint = tmp_path / "run" / "epoch_1.pth"
    apis.test_config(config, checkpoint, out_dir=tmp_path / "like" / "fold_0" / "test")
    with pytest.raises(ConfigError, match="trained on 8 of these 8 images"):
        check_tested(model, read_tested(model, tmp_path / "like"))
