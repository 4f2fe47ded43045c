"""Points of images and their descriptions, by SIFT and by a trained detector."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from mmlandmark.datasets import PhantomDataset
from mmlandmark.inference.case_loader import Failure
from mmlandmark.inference.image_descriptions import (
    describe_by_model,
    describe_by_sift,
    load_case,
    steep_points,
)
from mmlandmark.inference.image_inputs import Case
from mmlandmark.registry import MODELS
from mmlandmark.testing import tiny_model


def phantom(index=0, size=(240, 200)):
    dataset = PhantomDataset("ceph", num_samples=index + 1, size=size)
    return dataset.get_data_info(index)["img"]


def template_model(num_landmarks=19, size=(64, 64)):
    """Return a TemplateDetector that has learnt nothing."""
    model = tiny_model(num_landmarks, size)
    config = dict(model.config["model"], type="TemplateDetector")
    config["head"] = dict(config["head"], type="TemplateHead", loss=[])
    config["backbone"] = dict(config["backbone"], out_indices=(0, 1))
    torch.manual_seed(0)
    state = MODELS.build(config).state_dict()
    return replace(model, config=dict(model.config, model=config), state_dict=state)


def test_sift_points_are_spread_out_and_inside():
    (found,) = describe_by_sift([Case("a", array=phantom())], 60)
    assert found.sample_id == "a"
    assert 40 < len(found.points) <= 60
    assert ((found.places > 0.04) & (found.places < 0.96)).all()
    np.testing.assert_allclose((found.points + 0.5) / (200, 240), found.places)
    gaps = np.linalg.norm(found.points[:, None] - found.points, axis=2)
    assert gaps[gaps > 0].min() >= 0.02 * 240 - 1e-6
    np.testing.assert_allclose(np.linalg.norm(found.vectors[0], axis=1), 1, atol=1e-3)


def test_sift_finds_the_same_points_at_another_size_and_contrast():
    image = phantom(size=(512, 400))
    darker = (cv2.resize(image, (800, 1024), interpolation=cv2.INTER_CUBIC) * 0.7).astype(np.uint8)
    one, other = describe_by_sift([Case("a", array=image), Case("b", array=darker)], 50)
    gaps = np.linalg.norm(one.places[:, None] - other.places, axis=2)
    same = gaps.min(1) < 0.01
    assert same.mean() > 0.7
    cosine = (one.vectors[0][same] * other.vectors[0][gaps.argmin(1)[same]]).sum(1)
    assert np.median(cosine) > 0.9


def test_images_without_points_and_volumes_fail_alone(tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    cases = [
        Case("flat", array=np.full((64, 64), 9, np.uint8)),
        Case("broken", str(broken)),
        Case("volume", array=np.zeros((20, 20, 20), np.float32)),
        Case("good", array=phantom()),
    ]
    *failed, good = describe_by_sift(cases, 20)
    assert all(isinstance(one, Failure) for one in failed)
    assert [one.sample_id for one in failed] == ["flat", "broken", "volume"]
    assert failed[0].reason == "SIFT finds no point in it"
    assert "cannot be read" in failed[1].reason
    assert failed[2].reason == "it is a volume, which SIFT does not describe: give a model"
    assert good.sample_id == "good"
    with pytest.raises(FileNotFoundError, match="does not exist"):
        load_case(Case("gone", str(tmp_path / "gone.png")))


@pytest.mark.parametrize("dims", [2, 3])
def test_steep_points_lie_on_edges(dims):
    image = torch.zeros((48,) * dims)
    image[(slice(12, 36),) * dims] = 1
    points = steep_points(image, 20)
    assert 0 < len(points) <= 20
    on_edge = ((points - 11).abs() <= 1) | ((points - 35).abs() <= 1)
    assert on_edge.any(1).all()
    assert len({tuple(point) for point in points.tolist()}) == len(points)
    assert len(steep_points(torch.zeros((48,) * dims), 20)) == 0


def test_a_model_describes_points_by_its_embeddings():
    cases = [Case("a", array=phantom(0)), Case("b", array=phantom(1, (96, 160)))]
    found = list(describe_by_model(template_model(), cases, 30))
    assert [one.sample_id for one in found] == ["a", "b"]
    for one in found:
        assert [level.shape[1] for level in one.vectors] == [8, 16]
        assert all(np.allclose(np.linalg.norm(level, axis=1), 1, atol=1e-3) for level in one.vectors)
        assert ((one.places > 0) & (one.places < 1)).all()
    assert found[1].points[:, 0].max() > 96  # in pixels of its own image, which is 160 wide


def test_a_model_describes_volumes():
    dataset = PhantomDataset("head", num_samples=1, size=(32, 32, 32))
    case = Case("a", array=dataset.get_data_info(0)["img"])
    (found,) = describe_by_model(template_model(26, (32, 32, 32)), [case], 30)
    assert found.points.shape == (30, 3)
    assert [level.shape for level in found.vectors] == [(30, 8), (30, 16)]


def test_a_detector_without_embeddings_is_refused():
    with pytest.raises(ValueError, match="untrained: a LandmarkDetector has no embeddings of pixels: give a"):
        list(describe_by_model(tiny_model(), [Case("a", array=phantom())], 10))
