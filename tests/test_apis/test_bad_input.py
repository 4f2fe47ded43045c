"""Bad input through the front door: one clear error, before training starts where it can be known.

Every case goes from a config file and an annotation file on disk through ``prepare_config`` and
``train_config``, as ``mmlandmark train`` does. What a dataset alone refuses stands in
``tests/test_datasets/test_bad_input.py``; here one of each kind shows that it stops the run in time.
"""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from mmlandmark.engine import ConfigError
from mmlandmark.utils.checkpoint import load_checkpoint


def one_line(caught) -> str:
    text = str(caught.value)
    assert "\n" not in text.strip(), text
    return text


def test_good_input_trains(lab):
    metrics = lab.train()
    assert metrics["num_annotated"] == 3
    assert lab.steps == 1
    assert (lab.run / "epoch_1.pth").is_file()


# ---- annotations ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize(
    ("change", "error", "parts"),
    [
        (
            dict(image="gone.png"),
            FileNotFoundError,
            ["gone.png", "check data_root and image_dir", "--images of mmlandmark plan"],
        ),
        (dict(landmarks=[[3, 4], [5, 6]]), ValueError, ["2 landmarks", "has 3", "missing ones as null"]),
        (dict(landmarks=[[3, 4], [5, 6], [7, float("inf")]]), ValueError, ["landmark 2", "is infinite"]),
        (dict(landmarks=[[3, 4], [5, 6], [7, float("nan")]]), ValueError, ["landmark 2", "only some of its"]),
        (dict(landmarks=[[3, 4], [5, 6], [700, 8]]), ValueError, ["landmark 2", "far outside", "(30, 20)"]),
        (dict(spacing=0), ValueError, ["spacing must be", "positive", "got 0"]),
        (dict(id="b"), ValueError, ["duplicate sample id", "samples[1]"]),
    ],
    ids=[
        "missing_image",
        "wrong_number",
        "infinite",
        "half_a_point",
        "outside",
        "zero_spacing",
        "duplicate_id",
    ],
)
def test_a_bad_record_stops_the_run_before_it_starts(lab, split, change, error, parts):
    place = dict(train=0, test=2)[split]
    lab.samples[place].update(change)
    lab.write(schema=dict(name="three", landmarks=["nose", "chin", "ear"]))
    with pytest.raises(error) as caught:
        lab.train()
    text = one_line(caught)
    for part in ["points.json", f"samples[{place}]", *parts]:
        assert part in text
    lab.assert_not_started()


def test_a_missing_landmark_is_no_fault(lab):
    lab.samples[0]["landmarks"][1] = None
    lab.samples[1]["landmarks"] = [None, None, None]
    lab.samples[2]["landmarks"][0] = None
    lab.write(schema=dict(name="three", landmarks=["nose", "chin", "ear"]))
    metrics = lab.train()
    assert lab.steps == 1
    assert metrics["num_annotated"] == 2
    assert metrics["num_missing_gt"] == 1
    state = load_checkpoint(lab.run / "epoch_1.pth")["state_dict"]
    assert all(bool(torch.isfinite(w).all()) for w in state.values())


def test_a_point_at_the_border_is_no_fault(lab):
    lab.samples[0]["landmarks"][1] = [-2, 21]
    lab.write()
    lab.train()
    assert lab.steps == 1


def test_a_broken_image_is_named(lab):
    # Only reading it shows that it is broken; nothing of the run is kept.
    lab.folder.joinpath("b.png").write_bytes(b"\x89PNG\r\n\x1a\n and then nothing")
    with pytest.raises(ValueError, match=r"b\.png") as caught:
        lab.train()
    one_line(caught)
    lab.assert_not_started()


def test_an_image_of_another_size_is_named(lab):
    cv2.imwrite(str(lab.folder / "b.png"), np.zeros((40, 60), np.uint8))
    with pytest.raises(ValueError, match=r"b\.png.*\(40, 60\).*\(20, 30\)") as caught:
        lab.train()
    one_line(caught)
    lab.assert_not_started()


@pytest.mark.parametrize("content", ["", "{", '{"samples": [}', "[1, 2]", '{"cases": []}'])
def test_annotations_that_are_none_are_named(lab, content):
    lab.points.write_text(content)
    with pytest.raises(ValueError, match=r"points\.json"):
        lab.train()
    lab.assert_not_started()


def test_an_empty_split_is_named(lab):
    for key, name in (("train", "training"), ("val", "validation")):
        with pytest.raises(
            ValueError, match=rf"points\.json.*split '{name}' is empty; .*\['test', 'train'\]"
        ):
            lab.train({f"{key}_dataloader.dataset.split": name})
    lab.assert_not_started()


def test_zero_spacing_in_the_config_is_named(lab):
    for sample in lab.samples:
        del sample["spacing"]
    lab.write()
    with pytest.raises(ValueError, match="spacing must be one or 2 positive numbers"):
        lab.train({"train_dataloader.dataset.spacing": 0.0})
    lab.assert_not_started()


def test_millimetres_without_spacing_are_refused(lab):
    del lab.samples[2]["spacing"]
    lab.write()
    with pytest.raises(ValueError, match="c: no spacing, so no millimetres") as caught:
        lab.train()
    one_line(caught)


# ---- numbers of landmarks that disagree -----------------------------------------------------------------


def test_head_and_data_disagree(lab):
    with pytest.raises(
        ValueError,
        match=r"train_dataloader: the dataset has 3 landmarks, model\.head\.num_landmarks is 4",
    ) as caught:
        lab.train({"model.head.num_landmarks": 4})
    one_line(caught)
    lab.assert_not_started()


def test_validation_data_disagree(lab):
    with pytest.raises(ValueError, match=r"val_dataloader: the dataset has 2 landmarks, .* is 3"):
        lab.train({"val_dataloader.dataset.landmarks": [0, 2]})
    lab.assert_not_started()


def test_schema_and_data_disagree(lab):
    with pytest.raises(ValueError, match=r"samples\[0\].*3 landmarks, but schema 'hand_atlas' has 37"):
        lab.train({"train_dataloader.dataset.schema": "hand_atlas"})
    lab.write(schema=dict(name="two", landmarks=["nose", "chin"]))
    with pytest.raises(ValueError, match=r"samples\[0\].*3 landmarks, but schema 'two' has 2"):
        lab.train()
    lab.assert_not_started()


def test_test_data_disagree(lab):
    lab.train()
    with pytest.raises(ValueError, match=r"test_dataloader: the dataset has 2 landmarks, .* is 3"):
        lab.test(lab.run / "epoch_1.pth", {"test_dataloader.dataset.landmarks": [0, 2]})
    assert not list((lab.run / "test").rglob("*.json"))


# ---- configs --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "optim_wrapper",
            "optim_wraper",
            r"tiny\.py: unknown key 'optim_wraper'; did you mean 'optim_wrapper'",
        ),
        (
            "default_hooks",
            "defaults_hooks",
            r"tiny\.py: unknown key 'defaults_hooks'; did you mean 'default_h",
        ),
        ("test_cfg = dict()", "test_cfg = dict(", r"tiny\.py: SyntaxError"),
    ],
)
def test_a_slip_in_the_config_is_named(lab, old, new, message):
    text = lab.config.read_text()
    assert old in text
    lab.config.write_text(text.replace(old, new))
    with pytest.raises(ConfigError, match=message):
        lab.train()
    assert not lab.run.exists()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"train_cfg.max_epoch": 3}, ConfigError, "no key 'max_epoch'. Did you mean max_epochs"),
        ({"model_.head": 3}, ConfigError, "no key 'model_'. Did you mean model"),
        ({"model.backbone.channels": 3}, ConfigError, "UNet.* unexpected keyword argument 'channels'"),
        ({"model.head.codec.radius": 3}, ConfigError, "Codec.* unexpected keyword argument 'radius'"),
        ({"train_dataloader.dataset.folder": "x"}, ConfigError, "LandmarkDataset.* unexpected .* 'folder'"),
        (
            {"val_evaluator.threshold": 2},
            ConfigError,
            "LandmarkMetric.* unexpected keyword argument 'threshold'",
        ),
        ({"model.test_cfg": dict(flop=True)}, ValueError, r"test_cfg has unknown keys \['flop'\]"),
    ],
)
def test_an_unknown_key_is_named(lab, options, error, message):
    with pytest.raises(error, match=message) as caught:
        lab.train(options)
    one_line(caught)
    lab.assert_not_started()


@pytest.mark.parametrize(
    ("key", "name", "near"),
    [
        ("model", "LandmarkDetctor", "LandmarkDetector"),
        ("model.backbone", "UNett", "UNet"),
        ("model.head.loss", "EWCLos", "EWCLoss"),
        ("model.head.codec", "GaussHeatmapCodec", "GaussianHeatmapCodec"),
        ("train_dataloader.dataset", "LandmarkData", "LandmarkDataset"),
        ("train_dataloader.sampler", "DefaultSample", "DefaultSampler"),
        ("train_dataloader.dataset.pipeline.2", "Resampl", "Resample"),
        ("optim_wrapper", "OptimWraper", "OptimWrapper"),
        ("optim_wrapper.optimizer", "Adamm", "Adam"),
        ("val_evaluator", "LandmarkMetrics", "LandmarkMetric"),
        ("default_hooks.safe_checkpoint", "SafeCheckpoint", "SafeCheckpointHook"),
    ],
)
def test_an_unknown_type_lists_near_names(lab, key, name, near):
    with pytest.raises((KeyError, ConfigError)) as caught:
        lab.train({f"{key}.type": name})
    text = one_line(caught)
    assert f"{name!r} is not in the mmlandmark registry of " in text
    assert near in text.partition("Did you mean ")[2].rstrip("?").split(", ")
    lab.assert_not_started()


def test_a_type_from_a_package_that_is_not_there(lab):
    with pytest.raises(KeyError, match="Importing 'no_such_package' failed: ModuleNotFoundError"):
        lab.train({"model.backbone.type": "no_such_package.ResNet"})
    lab.assert_not_started()


def test_an_image_too_small_for_the_network(lab):
    with pytest.raises(ValueError, match=r"an image of \(16, 16\) is too small for a UNet of 6 levels"):
        lab.train({"model.backbone.widths": [4] * 6})
    lab.assert_nothing_written()
