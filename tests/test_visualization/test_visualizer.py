"""The visualiser of MMEngine's loops."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from mmlandmark.structures import LandmarkDataSample, resize_matrix
from mmlandmark.utils.files import safe_name
from mmlandmark.visualization import LandmarkVisualizer, style

SHAPE, INPUT = (120, 160), (60, 80)


@pytest.fixture
def visualizer():
    made = LandmarkVisualizer(long_side=None)
    made.dataset_meta = dict(landmark_names=["a", "b"], links=[[0, 1]])
    return made


@pytest.fixture
def sample():
    made = LandmarkDataSample.from_landmarks(
        [[100, 40], [50, 80]],
        sample_id="case/1",
        ori_shape=SHAPE,
        spacing=(0.1, 0.1),
        input_from_original=resize_matrix(SHAPE, INPUT),
        input_shape=INPUT,
    )
    made.pred_landmarks = torch.tensor([[104.0, 40], [50, 85]])
    return made


def blue(picture):
    mask = (np.abs(picture.astype(int) - style.GT_COLOR).max(axis=2) < 60) & (np.ptp(picture, axis=2) > 60)
    return np.argwhere(mask)[:, ::-1]


def test_draws_in_the_original_frame(visualizer, sample):
    picture = visualizer.draw(np.zeros(SHAPE, np.uint8), sample, draw_pred=False)
    assert picture.shape[1] == 160
    assert picture.shape[0] > 120  # The caption's band.
    places = blue(picture[:120])
    for point in ([100, 40], [50, 80]):
        assert np.abs(places - point).max(axis=1).min() <= 6


def test_draws_in_the_input_frame_of_a_tensor(visualizer, sample):
    picture = visualizer.draw(
        torch.zeros(1, *INPUT), sample, image_from_original=sample.input_from_original, draw_pred=False
    )
    places = blue(picture[:60])
    assert np.abs(places - [49.75, 19.75]).max(axis=1).min() <= 6
    colour = visualizer.draw(torch.zeros(3, *INPUT, dtype=torch.uint8), sample)
    assert colour.shape[1] == 80


def test_points_that_are_not_annotated_are_not_drawn(visualizer, sample):
    sample.gt_visibility = torch.tensor([0, -1], dtype=torch.int8)
    assert not len(blue(visualizer.draw(np.zeros(SHAPE, np.uint8), sample, draw_pred=False)[:120]))


@pytest.mark.parametrize("padded", [None, (64, 96)])
def test_heatmaps_lie_in_the_input_frame(sample, padded):
    if padded:
        sample.set_metainfo(dict(pad_shape=padded))
    sample.pred_heatmaps = torch.zeros(2, *[side // 2 for side in padded or INPUT])
    sample.pred_heatmaps[0, 10, 30] = 1  # Original pixel ((30 + 0.5) * 4 - 0.5, (10 + 0.5) * 4 - 0.5).
    plain = LandmarkVisualizer(long_side=None).draw(
        np.zeros(SHAPE, np.uint8), sample, draw_gt=False, draw_pred=False
    )
    shown = LandmarkVisualizer(long_side=None, show_heatmaps=True)
    heat = shown.draw(np.zeros(SHAPE, np.uint8), sample, draw_gt=False, draw_pred=False).astype(int) - plain
    y, x = np.unravel_index(heat.sum(axis=2).argmax(), heat.shape[:2])
    assert (x, y) == (pytest.approx(121.5, abs=1), pytest.approx(41.5, abs=1))


def test_three_dimensions(visualizer):
    sample = LandmarkDataSample.from_landmarks(
        [[3, 4, 5], [np.nan] * 3], sample_id="v", ori_shape=(10, 12, 14), spacing=(1, 1, 2)
    )
    sample.pred_landmarks = torch.tensor([[3.0, 4, 6], [1, 1, 1]])
    array = visualizer.draw(np.zeros((10, 12, 14), np.int16), sample)
    tensor = visualizer.draw(torch.zeros(1, 10, 12, 14), sample)
    assert array.shape == tensor.shape
    half = resize_matrix((10, 12, 14), (10, 12, 7))  # Pixels twice as wide: the views stay the same.
    assert visualizer.draw(torch.zeros(1, 10, 12, 7), sample, image_from_original=half).shape == array.shape
    assert array.shape[1] > 1000


def test_heatmaps_of_a_volume_lie_in_the_input_frame():
    sample = LandmarkDataSample.from_landmarks(
        [[30, 20, 10]], sample_id="v", ori_shape=(40, 40, 40), input_shape=(20, 20, 20),
        world_from_original=np.eye(4), input_from_original=resize_matrix((40, 40, 40), (20, 20, 20)),
    )  # fmt: skip
    sample.pred_heatmaps = torch.zeros(1, 10, 10, 10)
    sample.pred_heatmaps[0, 2, 5, 7] = 1  # original voxel (29.5, 21.5, 9.5)
    pictures = [
        LandmarkVisualizer(show_heatmaps=shown).draw(np.zeros((40, 40, 40), np.uint8), sample, draw_gt=False)
        for shown in (False, True)
    ]
    heat = np.abs(pictures[1][:600, :600].astype(int) - pictures[0][:600, :600]).sum(axis=2)  # axial
    rows, columns = np.nonzero(heat > 200)
    np.testing.assert_allclose([columns.mean(), rows.mean()], [15 * 29.5 + 7, 15 * 21.5 + 7], atol=8)


def test_no_sample(visualizer):
    np.testing.assert_array_equal(visualizer.draw(np.full((5, 6), 7, np.uint8)), np.full((5, 6, 3), 7))
    assert visualizer.draw(np.zeros((5, 6, 7), np.uint8)).ndim == 3


def test_add_datasample_stores(visualizer, sample, tmp_path):
    image = np.zeros(SHAPE, np.uint8)
    visualizer.add_datasample("x", image, sample, out_file=tmp_path / "a" / "x.png")
    expected = visualizer.draw(image, sample)
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "a" / "x.png"))[..., ::-1], expected)
    stored = LandmarkVisualizer(
        name="stored", vis_backends=[dict(type="LocalVisBackend")], save_dir=str(tmp_path), long_side=200
    )
    stored.add_datasample("val/case 1", image, sample, step=3)
    stored.add_datasample("val_x/../../evil", image, sample, step=3)
    names = [safe_name("val/case 1"), safe_name("val_x/../../evil")]
    images = tmp_path / "vis_data" / "vis_image"
    assert {p.name for p in images.iterdir()} == {f"{name}_3.png" for name in names}
    assert not list(tmp_path.rglob("evil*"))
