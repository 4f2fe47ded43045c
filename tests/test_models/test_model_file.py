"""The model file: everything comes back, and a new image passes."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from mmlandmark.inference.shape_prior import with_shape_prior
from mmlandmark.models.model_file import FORMAT_VERSION, ModelFile, is_model_file
from mmlandmark.structures import LandmarkSchema
from mmlandmark.testing import tiny_model
from mmlandmark.utils.checkpoint import load_checkpoint, load_weights, save_checkpoint


def image(shape=(90, 70), seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def detected(model: ModelFile, pixels: np.ndarray) -> torch.Tensor:
    packed = model.transforms()(dict(sample_id="a", img=pixels))
    batch = dict(inputs=[packed["inputs"]], data_samples=[packed["data_samples"]])
    with torch.no_grad():
        return model.detector().test_step(batch)[0].pred_landmarks


@pytest.fixture(scope="module")
def model():
    return tiny_model()


def test_everything_comes_back(model, tmp_path):
    full = replace(
        model,
        calibration=dict(levels=[0.9], radii=[[1.5] * 19]),
        measured=dict(test=dict(mre=1.25)),
        training=dict(seed=3),
        licence="research use\nno clinical use",
    )
    full.save(tmp_path / "a.mml.pth")
    back = ModelFile.load(tmp_path / "a.mml.pth")
    for key in ("name", "config", "schema", "calibration", "measured", "training", "licence"):
        assert getattr(back, key) == getattr(full, key), key
    assert list(back.state_dict) == list(full.state_dict)
    assert all(torch.equal(back.state_dict[key], value) for key, value in full.state_dict.items())
    assert torch.equal(detected(back, image()), detected(full, image()))
    assert not back.detector().training


def test_it_is_a_checkpoint_of_plain_data(model, tmp_path):
    model.save(tmp_path / "a.mml.pth")
    content = load_checkpoint(tmp_path / "a.mml.pth")
    assert is_model_file(content)
    assert (content["format"], content["format_version"]) == ("mmlandmark-model", FORMAT_VERSION)
    assert json.loads(content["config"])["pipeline"][0] == {"type": "LoadImage"}
    assert json.loads(content["schema"])["landmarks"] == list(model.schema.landmarks)
    backbone = load_weights(tmp_path / "a.mml.pth", "backbone.")
    assert all(torch.equal(value, model.state_dict[f"backbone.{key}"]) for key, value in backbone.items())


def test_half_precision_halves_kernels_and_nothing_else(model, tmp_path):
    model.save(tmp_path / "full.mml.pth")
    replace(model, half=True).save(tmp_path / "half.mml.pth")
    stored = load_checkpoint(tmp_path / "half.mml.pth")["state_dict"]
    kernels = {key for key, value in stored.items() if value.ndim > 1}
    assert {key for key, value in stored.items() if value.dtype == torch.float16} == kernels
    assert (tmp_path / "half.mml.pth").stat().st_size < 0.75 * (tmp_path / "full.mml.pth").stat().st_size
    back = ModelFile.load(tmp_path / "half.mml.pth")
    assert {v.dtype for v in back.state_dict.values() if v.is_floating_point()} == {torch.float32}
    assert back.half  # so that whatever changes a file keeps its size
    assert not ModelFile.load(tmp_path / "full.mml.pth").half
    back.save(tmp_path / "again.mml.pth")
    again = load_checkpoint(tmp_path / "again.mml.pth")["state_dict"]
    assert all(torch.equal(again[key], value) for key, value in stored.items())


def test_what_was_measured_on_shapes_stays_whole(model, tmp_path):
    points = np.random.default_rng(0).normal(size=(60, 19, 2)) * 5 + np.arange(38).reshape(19, 2) * 20
    replace(with_shape_prior(model, points), half=True).save(tmp_path / "a.pth")
    stored = load_checkpoint(tmp_path / "a.pth")["state_dict"]
    assert stored["shape_choice.correlation"].dtype == torch.float32
    assert stored["head.convs.0.weight"].dtype == torch.float16


def test_a_kernel_that_half_precision_cannot_hold_stays_whole(model, tmp_path):
    key = next(key for key, value in model.state_dict.items() if value.ndim > 1)
    big = replace(model, state_dict=model.state_dict | {key: model.state_dict[key] * 1e7})
    replace(big, half=True).save(tmp_path / "a.pth")
    assert torch.equal(ModelFile.load(tmp_path / "a.pth").state_dict[key], big.state_dict[key])


def test_the_pipeline_takes_an_image_without_annotation(model):
    packed = model.transforms()(dict(sample_id="a", img=image((50, 120))))
    assert packed["inputs"].shape == (1, 64, 64)
    assert "gt_landmarks" not in packed["data_samples"]
    paired = replace(model, schema=replace(model.schema, flip_pairs=((0, 1),)))
    assert paired.transforms()(dict(sample_id="a", img=image()))["data_samples"].flip_pairs == ((0, 1),)


def test_a_file_of_a_newer_version_says_so(model, tmp_path):
    model.save(tmp_path / "a.pth")
    content = load_checkpoint(tmp_path / "a.pth")
    save_checkpoint(content | dict(format_version=FORMAT_VERSION + 1, invented="x"), tmp_path / "b.pth")
    with pytest.raises(ValueError, match=r"b\.pth has version 2 of the format.*up to 1: upgrade mmlandmark"):
        ModelFile.load(tmp_path / "b.pth")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(schema=LandmarkSchema.numbered(3)), "is for 19 landmarks in 2D, its schema 'numbered3' has 3"),
        (dict(schema=LandmarkSchema.numbered(19, 3)), "has 19 in 3D"),
        (dict(measured=dict(mre=float("nan"))), "measured cannot be written as JSON"),
        (dict(training=dict(a=torch.ones(1))), "training cannot be written as JSON"),
        (dict(name="a\nb"), "name holds letters that cannot be printed"),
        (dict(calibration=[1]), "calibration: expected a section"),
    ],
)
def test_what_could_not_be_loaded_is_not_written(model, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        replace(model, **changes).save(tmp_path / "a.pth")
    assert not list(tmp_path.iterdir())


def test_a_pipeline_that_needs_an_annotation_is_not_written(model, tmp_path):
    crop = dict(type="CropAroundLandmarks")
    steps = [model.config["pipeline"][0], crop, *model.config["pipeline"][1:]]
    with pytest.raises(ValueError, match="a new image cannot pass the pipeline of the test"):
        replace(model, config=model.config | dict(pipeline=steps)).save(tmp_path / "a.pth")


def test_a_pipeline_in_mm_is_written(model, tmp_path):
    spacing = dict(type="ResampleSpacing", spacing=(0.5, 0.25))
    steps = [model.config["pipeline"][0], spacing, *model.config["pipeline"][1:]]
    replace(model, config=model.config | dict(pipeline=steps)).save(tmp_path / "a.mml.pth")
    assert (tmp_path / "a.mml.pth").is_file()


def test_a_name_without_the_suffix_is_refused(model, tmp_path):
    with pytest.raises(ValueError, match=r"must end with \.pth, as in a\.mml\.pth"):
        model.save(tmp_path / "a.onnx")


def test_weights_of_another_model_are_refused(model, tmp_path):
    other = {key: value for key, value in model.state_dict.items() if "head" not in key}
    with pytest.raises(ValueError, match=r"a\.pth holds the weights of another model: .* missing"):
        replace(model, state_dict=other).save(tmp_path / "a.pth")
