"""Pictures of predictions, while a model trains and after."""

from types import SimpleNamespace

import numpy as np

from mmlandmark.engine import LandmarkRunner
from mmlandmark.engine.hooks import LandmarkVisualizationHook
from mmlandmark.structures import LandmarkDataSample
from mmlandmark.testing import tiny_config


def test_pictures_are_drawn(tmp_path):
    config = tiny_config(
        tmp_path, max_epochs=1, custom_hooks=[dict(type="LandmarkVisualizationHook", num_samples=3)]
    )
    LandmarkRunner.from_cfg(config).train()
    assert len(list(tmp_path.glob("*/vis_data/vis_image/*.png"))) == 3


def test_pictures_of_files_that_training_had_to_fill(tmp_path):
    image = np.random.default_rng(0).random((20, 30)).astype(np.float32)
    image[:2] = np.nan  # trained on with LoadImage(fill_value=...), which the hook does not know
    np.save(tmp_path / "a.npy", image)
    drawn = []
    visualizer = SimpleNamespace(add_datasample=lambda name, image, *_, **__: drawn.append(image))
    sample = LandmarkDataSample(metainfo=dict(img_path=str(tmp_path / "a.npy"), sample_id="a"))
    hook = LandmarkVisualizationHook(num_samples=1)
    hook.after_test_iter(SimpleNamespace(visualizer=visualizer), 0, outputs=[sample])
    np.testing.assert_array_equal(drawn[0], np.nan_to_num(image))
