"""Figures of methods, drawn from runs on phantoms."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmlandmark.apis import draw_configuration, draw_features, draw_loss_weights, figures, train_config
from mmlandmark.engine import ConfigError, load_config
from mmlandmark.testing import tiny_config
from mmlandmark.utils.shipped import config_root

SIZE = (64, 64)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Return the work folders of a network, a larger one, and one with the spatial configuration loss."""
    folder = tmp_path_factory.mktemp("runs")
    configuration = dict(_delete_=True, type="SpatialConfigurationLoss", features=["polar"], beta=20.0)
    changes = {
        "small": {"model.backbone.widths": (4, 8, 8)},
        "large": {"model.backbone.widths": (4, 8, 8, 8)},
        "configuration": {"model.backbone.widths": (4, 8, 8), "model.head.loss": configuration},
    }
    for name, options in changes.items():
        train_config(tiny_config(folder / name, max_epochs=1, **options))
    return {name: folder / name for name in changes}


@pytest.fixture
def drawn(monkeypatch):
    """Return what is handed to the functions that draw, by name of the argument."""
    seen = {}

    def feature_rows(rows, **options):
        seen.update(rows=rows, **options)
        return np.zeros((8, 8, 3), np.uint8)

    def plot(*arguments):
        seen["plotted"] = arguments

    monkeypatch.setattr(figures, "feature_rows", feature_rows)
    monkeypatch.setattr(figures, "plot_configuration", plot)
    monkeypatch.setattr(figures, "plot_loss_weights", plot)
    return seen


def test_features_of_several_networks(runs, tmp_path, drawn):
    checkpoint = runs["small"] / "epoch_1.pth"
    draw_features({"one": checkpoint, "two": runs["large"]}, tmp_path / "f.png")
    titles = {name: [title for title, _ in row] for name, row in drawn["rows"].items()}
    assert titles == {
        "one": ["image", "backbone.up1", "backbone.up2", "heatmaps", "annotated"],
        "two": ["image", "backbone.up2", "backbone.up3", "heatmaps", "annotated"],
    }
    assert (drawn["heatmaps"], drawn["images"]) == (("heatmaps", "annotated"), ("image",))
    maps = dict(drawn["rows"]["one"])
    view = figures._view(runs["small"], None, None)
    np.testing.assert_array_equal(maps["heatmaps"], view.model.raw_maps(view.inputs)[0].numpy())
    assert maps["backbone.up1"].shape == (8, 32, 32)
    assert maps["image"].shape == (1, *SIZE)
    # The annotation is that of the case, in the frame of the network's input.
    points = view.sample.to_input(view.sample.gt_landmarks)
    rows, columns = np.unravel_index(maps["annotated"].reshape(19, -1).argmax(1), SIZE)
    np.testing.assert_allclose(np.stack([columns, rows], 1), points.numpy(), atol=0.5)


def test_other_cases_modules_and_data(runs, tmp_path, drawn):
    ids = [figures._view(runs["small"], None, None).sample.sample_id]
    options = {"test_dataloader.dataset.offset": 7}
    ids.append(figures._view(runs["small"], None, options).sample.sample_id)
    assert ids[0] != ids[1]
    modules = {"small": ["backbone.down1"], "large": ["backbone.up1"]}
    draw_features(
        {n: runs[n] for n in modules}, tmp_path / "f.png", case=ids[1], modules=modules, options=options
    )
    assert [row[1][0] for row in drawn["rows"].values()] == ["backbone.down1", "backbone.up1"]
    with pytest.raises(ValueError, match=f"its test data has no case '{ids[1]}'; it has"):
        draw_features({"small": runs["small"]}, tmp_path / "f.png", case=ids[1])
    with pytest.raises(ValueError, match=r"small has no module 'backbone.up9'; close to it: backbone\.up"):
        draw_features({"small": runs["small"]}, tmp_path / "f.png", modules={"small": ["backbone.up9"]})
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="empty holds no checkpoint"):
        draw_features({"none": tmp_path / "empty"}, tmp_path / "f.png")


@pytest.mark.slow
def test_pictures_of_features_and_configuration(runs, tmp_path):
    features = cv2.imread(str(draw_features(runs, tmp_path / "f.png")))
    assert features.shape == (3 * 224 + 4, 5 * 224 + 8, 3)
    image = features[:224, :224].astype(int)
    assert (image == image[..., :1]).mean() > 0.9, "the image is grey"
    path = draw_configuration(runs, tmp_path / "c.png")
    assert cv2.imread(str(path)).std() > 10
    with pytest.raises(ValueError, match="must be of one length"):
        draw_features(runs, tmp_path / "f.png", modules={"small": ["backbone.up1"]})


def test_configuration_is_that_of_the_loss(runs, tmp_path, drawn):
    draw_configuration({name: runs[name] for name in ("small", "configuration")}, tmp_path / "c.png")
    features, names, rows, _ = drawn["plotted"]
    assert names == ["radius", "angle"]
    assert features.shape == (2, *SIZE)
    assert list(rows) == ["annotated", "small", "configuration"]
    view = figures._view(runs["configuration"], None, None)
    (loss,) = view.model.head.losses.values()
    assert loss.beta == 20
    expected = loss.correlations(view.model.raw_maps(view.inputs), view.sample.mask[None])[0]
    for picture, embedding, correlations in rows.values():
        assert picture.shape == (*SIZE, 3)
        assert embedding.shape == (19, 2)
        np.testing.assert_allclose(correlations, embedding @ embedding.T, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(rows["configuration"][2], expected.numpy(), rtol=1e-5)
    with pytest.raises(ValueError, match="give the run another name"):
        draw_configuration({"annotated": runs["small"]}, tmp_path / "c.png")
    # Without the loss in any run its defaults count.
    draw_configuration({"small": runs["small"]}, tmp_path / "c.png")
    assert drawn["plotted"][1] == ["x", "y", "radius", "angle"]


def test_networks_must_find_the_same_landmarks(runs, tmp_path):
    folder = tmp_path / "hand"
    hands = {
        f"{part}_dataloader.dataset.{key}": value
        for part in ("train", "val", "test")
        for key, value in (("kind", "hand"), ("num_samples", 2))
    }
    train_config(tiny_config(folder, max_epochs=1, **hands, **{"model.head.num_landmarks": 37}))
    with pytest.raises(ValueError, match=r"the runs detect \[19, 37\] landmarks"):
        draw_configuration({"small": runs["small"], "hand": folder}, tmp_path / "c.png")


def test_weights_of_ewc_and_squared_errors(tmp_path, drawn):
    config = load_config(config_root() / "farnet/farnet_densenet121_isbi2015_800x640.py")
    plain = load_config(config.filename, {"model.head.loss": dict(_delete_=True, type="HeatmapMSELoss")})
    configuration = load_config(config_root() / "spatial_configuration/sc_unet_isbi2015_800x640.py")
    draw_loss_weights({"ewc": config, "mse": plain, "sc": configuration}, tmp_path / "w.png")
    by_height, by_distance, _ = drawn["plotted"]
    heights, weights = by_height["ewc"]
    np.testing.assert_allclose(weights, 40**heights, rtol=1e-4)
    distances, weights = by_distance["ewc"]
    np.testing.assert_allclose(weights, 40 ** np.exp(-(distances**2) / (2 * 10**2)), rtol=1e-3)
    assert 30 < distances[-1] < 80
    for name in ("mse", "sc"):
        np.testing.assert_allclose(by_height[name][1], 1, rtol=1e-4)


def test_a_loss_on_whole_maps_has_no_weights(tmp_path):
    config = tiny_config(tmp_path)
    config.model.head.loss = dict(type="SpatialCrossEntropyLoss")
    with pytest.raises(ConfigError, match=r"mine: model\.head\.loss does not compare pixels"):
        draw_loss_weights({"mine": config}, tmp_path / "w.png")
    config = Config(dict(config.to_dict(), test_dataloader=None, val_dataloader=None))
    config.model.head.loss = [dict(type="EWCLoss")]
    with pytest.raises(ConfigError, match="two sides are needed"):
        draw_loss_weights({"mine": config}, tmp_path / "w.png")


def test_a_network_of_another_kind_shows_its_neck_or_backbone(runs):
    model = figures._view(runs["small"], None, None).model
    assert figures.finest_blocks(model, 1) == ["backbone.up2"]
    model.backbone = torch.nn.Identity()
    assert figures.finest_blocks(model) == ["backbone"]
    model.neck = torch.nn.Identity()
    assert figures.finest_blocks(model) == ["neck"]
