"""Detectors and the weights of files."""

from __future__ import annotations

import time
from contextlib import nullcontext

import pytest
import torch

from mmlandmark.models.detector_weights import check_detector, check_maps, detector_with_weights, one_line
from mmlandmark.testing import tiny_model


@pytest.fixture(scope="module")
def model():
    return tiny_model()


def test_a_detector_gets_its_weights(model):
    detector = detector_with_weights(model.config["model"], dict(state_dict=dict(model.state_dict)), "here")
    assert not detector.training
    assert all(torch.equal(detector.state_dict()[key], value) for key, value in model.state_dict.items())


def test_a_comparison_reserves_no_memory_and_draws_nothing(model):
    before = torch.random.get_rng_state()
    detector = check_detector(model.config["model"], model.state_dict, "here")
    assert {p.device.type for p in detector.parameters()} == {"meta"}
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.empty(1).device.type == "cpu"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(backbone=dict(type="UNet", in_channels=1, widths=[8, 2**20])), "of another shape"),
        (dict(backbone=dict(type="UNet", in_channels=1, widths=[8, 2**62])), "describes no detector"),
        (dict(backbone=dict(type="UNet", in_channels=1, widths=[8, "x"])), "describes no detector"),
        (dict(type="EnsembleDetector", members=10**9), "more parts than there are weights"),
        (dict(type="UNet"), "'UNet' is no detector"),
        (dict(type=None), "describes no detector"),
        (dict(backbone=[]), "describes no detector"),
    ],
)
def test_other_and_endless_networks_are_refused_at_once(model, change, message):
    start = time.monotonic()
    with pytest.raises(ValueError, match=rf"^here.*{message}") as caught:
        check_detector({**model.config["model"], **change}, model.state_dict, "here")
    assert "\n" not in str(caught.value)
    assert time.monotonic() - start < 10


def test_a_network_with_large_parts_beside_its_weights_is_refused(model):
    huge = [1000, 10_000]
    head = dict(model.config["model"]["head"], in_channels=10_000)
    branch = dict(taps=["backbone.up0"], decoder=dict(type="UNetDecoder", in_channels=huge), head=head)
    config = {**model.config["model"], "type": "MultiTaskDetector", "branches": dict(more=branch)}
    with pytest.raises(ValueError, match=r"larger than its weights|describes no detector"):
        check_detector(config, model.state_dict, "here")


@pytest.mark.parametrize(
    ("preprocessor", "size", "message"),
    [
        (dict(mean=[0.1, 0.2]), [64, 64], r"an image of \[64, 64\] does not pass its network: .*channel"),
        (dict(), [64, 64, 64], r"an image of .* does not pass its network"),
        (dict(), [64, 64], None),
        (dict(mean=[0.1, 0.2]), None, None),  # of any size: not compared
    ],
)
def test_an_image_of_the_pipeline_passes_the_network(model, preprocessor, size, message):
    config = model.config["model"] | dict(
        data_preprocessor=dict(type="LandmarkDataPreprocessor", **preprocessor)
    )
    detector = check_detector(config, model.state_dict, "here")
    pipeline = [dict(type="LoadImage"), dict(type="Resize", size=size)]
    with pytest.raises(ValueError, match=f"^here: {message}") if message else nullcontext():
        check_maps(detector, pipeline, 2, "here")


def test_the_number_of_maps_is_that_of_the_head(model):
    detector = check_detector(model.config["model"], model.state_dict, "here")
    detector.head.num_annotators = 2
    with pytest.raises(ValueError, match=r"makes maps of shape \(1, 19, 64, 64\), its head needs 38 maps"):
        check_maps(detector, [dict(size=[64, 64])], 2, "here")


def test_a_reason_is_one_line():
    assert one_line(KeyError("a\nb")) == "a b"
    assert one_line(ValueError()) == "ValueError"
    assert len(one_line(ValueError("x" * 9999))) == 400
