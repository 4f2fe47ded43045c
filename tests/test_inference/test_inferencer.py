"""From a model and images to predictions: those of a test, whatever the file, size and batch."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from zlib import crc32

import cv2
import numpy as np
import pytest
import torch

from image_writers import write_cv, write_dicom, write_nifti
from mmlandmark.apis import test_config as run_test
from mmlandmark.apis import train_config
from mmlandmark.cli import invoke
from mmlandmark.evaluation import Calibration
from mmlandmark.evaluation.tested_cases import TestedCases
from mmlandmark.inference import Failure, LandmarkInferencer, find_cases, load_model
from mmlandmark.inference.inferencer import with_spacing
from mmlandmark.inference.overlays import draw_prediction
from mmlandmark.inference.shape_prior import with_shape_prior
from mmlandmark.models.model_file import ModelFile
from mmlandmark.registry import DATASETS, MODELS
from mmlandmark.structures import LandmarkSchema, spacing_of, world_matrix
from mmlandmark.testing import tiny_config, tiny_model
from mmlandmark.utils.checkpoint import save_checkpoint


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """Write 5 phantoms of a spine, which has two sides; two of them have sizes of their own."""
    folder = tmp_path_factory.mktemp("films") / "data"
    words = ["--kind", "spine", "--num-train", "0", "--num-test", "5", "--size", "120", "90"]
    invoke("phantoms", [*words, "--out", str(folder)])
    annotations = json.loads((folder / "annotations.json").read_text())
    for sample, factor in zip(annotations["samples"], (1, 1, 2, 1, 3), strict=False):
        path = folder / sample["image"]
        image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        size = (image.shape[1] * factor, image.shape[0] * factor)
        assert cv2.imwrite(str(path), cv2.resize(image, size))
        sample["width"], sample["height"] = size
        # What is marked does not matter here, only that it lies inside.
        sample["landmarks"] = [p and [p[0] * factor, p[1] * factor] for p in sample["landmarks"]]
    (folder / "annotations.json").write_text(json.dumps(annotations))
    return folder


@pytest.fixture(scope="module")
def model() -> ModelFile:
    return tiny_model(68)


def points(results) -> list[list]:
    return [result.points.tolist() for result in results]


@pytest.mark.parametrize(("flip", "fp16"), [(False, False), (True, False), (False, True)])
def test_predictions_are_those_of_a_test_to_the_last_digit(films, model, tmp_path, flip, fp16):
    config = tiny_config(tmp_path / "run")
    config.model.head.num_landmarks = 68
    config.model.test_cfg, config.test_cfg = dict(flip=flip), dict(fp16=fp16)
    model = replace(model, config=dict(model.config, test_cfg=dict(fp16=fp16)))
    dataset = config.test_dataloader.dataset
    pipeline = dataset.pipeline
    config.test_dataloader.dataset = dict(
        type="LandmarkDataset", ann_file="annotations.json", data_root=str(films), pipeline=pipeline,
        serialize_data=False, test_mode=True,
    )  # fmt: skip
    save_checkpoint(dict(state_dict=model.state_dict), tmp_path / "weights.pth")
    run_test(config, tmp_path / "weights.pth", out_dir=tmp_path / "test")
    tested = json.loads((tmp_path / "test" / "predictions.json").read_text())["cases"]
    inferencer = LandmarkInferencer(model, "cpu", batch_size=2, num_workers=1, flip=flip)
    predicted = inferencer(films / "images")
    assert len(predicted) == len(tested) == 5
    for case, prediction in zip(tested, predicted, strict=True):
        assert prediction.sample_id == case["sample_id"]
        assert prediction.points.tolist() == case["pred"]
        assert list(prediction.shape) == case["ori_shape"]
        assert np.isfinite(prediction.points).all()


@pytest.mark.slow
@pytest.mark.real_data
def test_predictions_of_real_films_are_those_of_a_test(real_data, tmp_path):
    """A detector that has looked at a few films for a moment, at the size and batch of the real configs."""
    load = [dict(type="LoadImage", size=(640, 512), channels=1), dict(type="Resize", size=(320, 256))]
    pipeline = [*load, dict(type="Resample"), dict(type="PackInputs")]
    films = dict(
        type="Isbi2015Cephalogram",
        data_root=str(real_data("isbi2015_ceph")),
        annotator="mean",
        pipeline=pipeline,
    )
    config = tiny_config(tmp_path / "run", max_epochs=1)
    config.train_dataloader.dataset = dict(films, split="train", indices=4)
    for loader in (config.val_dataloader, config.test_dataloader):
        loader.batch_size = 6
        loader.dataset = dict(films, split="test1", indices=8, test_mode=True)
    train_config(config)
    checkpoint = tmp_path / "run" / "epoch_1.pth"
    run_test(config, checkpoint, out_dir=tmp_path / "test")
    tested = json.loads((tmp_path / "test" / "predictions.json").read_text())["cases"]
    records = DATASETS.build(config.test_dataloader.dataset)
    files = [records.get_data_info(index)["img_path"] for index in range(len(records))]
    predicted = LandmarkInferencer(checkpoint, "cpu", batch_size=6)(files)
    assert [one.points.tolist() for one in predicted] == [case["pred"] for case in tested]
    assert len(predicted) == 8


def test_one_picture_in_every_kind_of_file_has_the_same_points(tmp_path):
    """Points are pixels as stored, whatever a tag turns for the network; white is white in every format."""
    model = tiny_model()
    image = cv2.GaussianBlur(np.random.default_rng(0).random((60, 44)), (0, 0), 2)
    image = np.round(255 * (image - image.min()) / np.ptp(image)).astype(np.uint8)
    deep = image.astype(np.uint16) * 257
    write_cv(tmp_path / "plain.png", image, None)
    write_cv(tmp_path / "deep.png", deep, None)
    write_cv(tmp_path / "colour.png", cv2.merge([image] * 3), None)
    write_cv(tmp_path / "alpha.png", cv2.merge([image] * 3 + [np.full_like(image, 90)]), None)
    write_dicom(tmp_path / "mono2.dcm", deep, None, bits=16)
    write_dicom(tmp_path / "mono1.dcm", deep, None, bits=16, inverted=True)
    png = cv2.imencode(".png", np.rot90(image))[1].tobytes()
    tag = b"eXIfMM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"  # turn it back
    chunk = struct.pack(">I", len(tag) - 4) + tag + struct.pack(">I", crc32(tag))
    (tmp_path / "turned.png").write_bytes(png[:33] + chunk + png[33:])
    found = {result.sample_id: result for result in LandmarkInferencer(model, "cpu")(tmp_path)}
    for name in ("deep", "colour", "alpha", "mono2", "mono1"):
        np.testing.assert_allclose(found[name].points, found["plain"].points, atol=1e-3, err_msg=name)
    assert found["turned"].shape == (44, 60)
    x, y = found["plain"].points.T
    np.testing.assert_allclose(found["turned"].points, np.stack([y, 43 - x], axis=1), atol=1e-4)
    pictures = [draw_prediction(replace(found[name], sample_id="x")) for name in ("plain", "turned")]
    assert np.abs(pictures[0].astype(int) - pictures[1]).mean() < 1, "a person sees it upright, too"
    (array,) = LandmarkInferencer(model, "cpu")(image)
    np.testing.assert_allclose(array.points, found["plain"].points, atol=1e-5)
    assert (array.image, array.sample_id) == (None, "array_1")


def volume_model() -> ModelFile:
    """Return an untrained detector of 3 landmarks in volumes."""
    config = tiny_config("untrained").model.to_dict()
    config["dims"], config["head"]["num_landmarks"] = 3, 3
    torch.manual_seed(0)
    state = MODELS.build(config).state_dict()
    pipeline = [dict(type="LoadImage"), dict(type="PackInputs")]
    return ModelFile("volumes", dict(model=config, pipeline=pipeline), state, LandmarkSchema.numbered(3, 3))


def test_one_volume_in_two_orders_has_the_same_points_in_the_world(tmp_path):
    volume = np.random.default_rng(0).integers(0, 255, (16, 20, 24)).astype(np.uint8)
    world = world_matrix((0.8, 0.9, 2.0), (-30, 10, 5))
    write_nifti(tmp_path / "as_it_is.nii.gz", volume, None, world)
    turned = world.copy()  # stored from the head to the feet and from left to right
    turned[:3, 3] += 15 * world[:3, 2] + 23 * world[:3, 0]
    turned[:3, [0, 2]] *= -1
    write_nifti(tmp_path / "turned.nii.gz", volume[::-1, :, ::-1], None, turned)
    one, other = LandmarkInferencer(volume_model(), "cpu")(tmp_path)
    assert one.shape == other.shape == (16, 20, 24)
    np.testing.assert_allclose(one.world_points, other.world_points, atol=1e-4)
    flipped = np.array([23.0, 0, 15]) + one.points * [-1, 1, -1]
    np.testing.assert_allclose(other.points, flipped, atol=1e-4)
    windowed = LandmarkInferencer(volume_model(), "cpu", window=(16, 16, 16), spacing=2.0)
    assert windowed(tmp_path / "turned.nii.gz")[0].spacing == pytest.approx((2, 2, 2))
    (failure,) = LandmarkInferencer(volume_model(), "cpu").stream(np.zeros((20, 20), np.uint8))
    assert failure.reason == "it is an image of shape (20, 20), but the model takes volumes"


def test_results_come_in_order_and_failures_are_values(films, model, tmp_path):
    for path in sorted((films / "images").iterdir()):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "a_broken.png").write_bytes(b"no image")
    inferencer = LandmarkInferencer(model, "cpu", batch_size=2, num_workers=2)
    results = list(inferencer.stream(tmp_path))
    assert [result.sample_id for result in results] == [case.sample_id for case in find_cases(tmp_path)]
    assert isinstance(results[0], Failure)
    assert "broken" in results[0].reason
    with pytest.raises(ValueError, match=r"1 of 6 images could not be predicted, first 'a_broken': image"):
        inferencer(tmp_path)


def test_sizes_that_no_pipeline_makes_equal_are_batched_by_themselves(model):
    """Without Resize the network sees every size; the points do not depend on the company."""
    pipeline = [step for step in model.config["pipeline"] if step["type"] in ("LoadImage", "PackInputs")]
    free = replace(model, config=dict(model.config, pipeline=pipeline))
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, size, np.uint8) for size in [(32, 48), (48, 32), (32, 48), (64, 64)]]
    together = LandmarkInferencer(free, "cpu", batch_size=2)(images)
    assert [result.shape for result in together] == [(32, 48), (48, 32), (32, 48), (64, 64)]
    for image, result in zip(images, together, strict=True):
        (alone,) = LandmarkInferencer(free, "cpu", batch_size=1)(image)
        np.testing.assert_allclose(result.points, alone.points, atol=1e-3)
    (small,) = LandmarkInferencer(free, "cpu").stream(np.zeros((1, 1), np.uint8))
    assert isinstance(small, Failure), "too small for the network, which is no reason to end"


def test_what_decides_on_the_result(films, model):
    image = next((films / "images").iterdir())
    plain = LandmarkInferencer(model, "cpu")
    (reference,) = plain(image)
    assert reference.spread.shape == (68, 2, 2)
    turned = LandmarkInferencer(model, "cpu", views=[{}, dict(rotation=90)], flip=True)
    assert turned.options["views"] == [{}, dict(rotation=90)]
    assert turned.options["flip"] is True
    assert turned(image)[0].points.tolist() != reference.points.tolist()
    rough = LandmarkInferencer(model, "cpu", precision="bf16")
    assert rough.options["precision"] == "bf16"
    difference = np.linalg.norm(rough(image)[0].points - reference.points, axis=1)
    assert 0 < np.median(difference) < 3
    whole = LandmarkInferencer(model, "cpu", window=(64, 64))
    assert whole(image)[0].points.tolist() == reference.points.tolist(), "the window covers the input"
    parts = LandmarkInferencer(model, "cpu", window=(32, 32), overlap=0.25)
    assert parts.options["window"] == [32, 32]
    assert parts(image)[0].points.tolist() != reference.points.tolist()
    assert plain.identity == turned.identity


def test_the_given_spacing_counts(films, model, tmp_path):
    image = next((films / "images").iterdir())
    (unknown,) = LandmarkInferencer(model, "cpu")(image)
    assert unknown.world_from_original is None
    (known,) = LandmarkInferencer(model, "cpu", spacing=0.3)(image)
    assert known.spacing == pytest.approx((0.3, 0.3))
    assert [m.unit for m in known.measures] == [m.unit for m in unknown.measures]
    world = world_matrix((2.0, 4.0), (1, 2, 3), [[0, 0], [1, 0], [0, 1]])
    changed = with_spacing(world, (0.5, 0.5))
    assert spacing_of(changed) == (0.5, 0.5)
    np.testing.assert_allclose(changed[:, 2], world[:, 2])
    with pytest.raises(ValueError, match="spacing must be one or 2 positive numbers"):
        LandmarkInferencer(model, "cpu", spacing=-1.0)


def test_the_network_sees_the_given_spacing(tmp_path):
    """A pipeline that resamples to a spacing takes the given one, of a file that states another or none."""
    steps = [
        dict(type="LoadImage", file_spacing=True),
        dict(type="ResampleSpacing", spacing=1.0),
        dict(type="Resample"),
        dict(type="PackInputs"),
    ]
    model = volume_model()
    model = replace(model, config=dict(model.config, pipeline=steps))
    volume = np.random.default_rng(0).integers(0, 255, (16, 20, 24)).astype(np.uint8)
    write_nifti(tmp_path / "stated.nii.gz", volume, None, world_matrix((1.0, 1.0, 1.0)))
    inferencer, seen = LandmarkInferencer(model, "cpu", spacing=(0.5, 1.0, 2.0)), []
    inferencer.detector.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[2:]))
    for image in (tmp_path / "stated.nii.gz", volume):
        (found,) = inferencer(image)
        assert found.spacing == pytest.approx((0.5, 1.0, 2.0))
    assert seen == [(32, 20, 12)] * 2


def test_a_calibrated_model_says_how_sure_it_is(films, model):
    plain = LandmarkInferencer(model, "cpu", spacing=0.3)
    results = plain(films / "images")
    truth = np.stack([result.points for result in results]) + np.random.default_rng(0).normal(size=(5, 68, 2))
    # Doubt is learnt from large errors, which this noise has none of.
    calibration = replace(Calibration.fit(TestedCases.from_predictions(results, truth)), doubt=None)
    calibrated = replace(model, calibration=json.loads(json.dumps(calibration.to_dict())))
    inferencer = LandmarkInferencer(calibrated, "cpu", spacing=0.3)
    assert inferencer.options["levels"] == [0.9, 0.95]
    (one, *_) = inferencer(films / "images")
    expected = calibration.apply(results[0])
    for level in (0.9, 0.95):
        np.testing.assert_allclose(one.radii[level], expected.radii[level], rtol=1e-3)
    assert not any(measure.std for measure in results[0].measures)
    if calibration.temperature is not None:
        assert any(measure.std for measure in one.measures), "measures know how sure they are"
    (other, *_) = LandmarkInferencer(calibrated, "cpu", levels=[0.5])(films / "images")
    assert list(other.radii) == [0.5]
    assert inferencer.identity["digest"] != plain.identity["digest"]
    with pytest.raises(
        ValueError, match=r"'untrained' is not calibrated, so it knows no radii.*mmlandmark cal"
    ):
        LandmarkInferencer(model, "cpu", levels=[0.9])
    with pytest.raises(ValueError, match="level"):
        LandmarkInferencer(calibrated, "cpu", levels=[1.5])


def test_another_view_than_that_of_the_calibration_is_warned_of(films, model, monkeypatch):
    said = []
    monkeypatch.setattr("mmlandmark.inference.inferencer.print_log", lambda text, *_: said.append(text))
    results = LandmarkInferencer(model, "cpu", spacing=0.3)(films / "images")
    truth = np.stack([result.points for result in results]) + np.random.default_rng(0).normal(size=(68, 2))
    calibration = replace(Calibration.fit(TestedCases.from_predictions(results, truth)), doubt=None)
    calibrated = replace(model, calibration=calibration.to_dict())
    LandmarkInferencer(calibrated, "cpu")
    LandmarkInferencer(model, "cpu", precision="bf16")
    LandmarkInferencer(calibrated, "cpu", views=[{}], flip=False)  # as they are
    assert said == []
    LandmarkInferencer(calibrated, "cpu", views=[{}, dict(scale=1.1)], precision="bf16")
    assert "calibrated with other views, precision" in said[0]
    tested_in_half = replace(calibrated, config=dict(model.config, test_cfg=dict(fp16=True)))
    LandmarkInferencer(tested_in_half, "cpu")
    assert len(said) == 1
    LandmarkInferencer(tested_in_half, "cpu", precision="fp32")
    assert "calibrated with other precision" in said[1]


@pytest.mark.slow
def test_without_a_calibration_a_prior_of_shapes_raises_flags(films):
    plain = tiny_model(68)
    shapes = np.random.default_rng(0).normal(size=(200, 68, 2)) + np.arange(136).reshape(68, 2) % 17 * 5
    model = with_shape_prior(plain, shapes)
    flagged = LandmarkInferencer(model, "cpu")(films / "images")[0]  # of a network that was not trained
    gate = 5.0
    far = flagged.deviation > gate
    assert far.any()
    assert flagged.flagged.tolist() == far.tolist()
    assert "from where the others expect it" in flagged.reasons[int(np.argmax(far))]
    assert not LandmarkInferencer(plain, "cpu")(films / "images")[0].flagged.any()


def test_a_file_and_its_model_are_the_same(films, model, tmp_path):
    model.save(tmp_path / "m.mml.pth")
    inferencer = LandmarkInferencer(tmp_path / "m.mml.pth", "cpu")
    assert inferencer.identity == LandmarkInferencer(model, "cpu").identity
    assert points(inferencer(films / "images")) == points(
        LandmarkInferencer(load_model(model), "cpu")(films / "images")
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(precision="fp8"), "precision must be one of"),
        (dict(batch_size=0), "batch_size must be at least 1"),
        (dict(num_workers=-1), "num_workers at least 0"),
        (dict(device="abacus"), "there is no device 'abacus': give cpu"),
        (dict(device="cuda:77"), "there is no device 'cuda:77': this machine has"),
        (dict(views=[dict(zoom=2)]), "unknown keys"),
        (dict(window=(0, 1)), "window must be"),
    ],
)
def test_wrong_options_are_refused(model, options, message):
    with pytest.raises(ValueError, match=message):
        LandmarkInferencer(model, **options)


def test_too_little_memory_is_said(model, monkeypatch):
    inferencer = LandmarkInferencer(model, "cpu")

    def full(data):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(inferencer.detector, "test_step", full)
    with pytest.raises(
        ValueError, match=r"cpu has not enough memory for 1 images .*smaller batches or in windows"
    ):
        inferencer(np.zeros((20, 20), np.uint8))
