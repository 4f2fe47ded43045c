"""One detector in several ways says the same, as far as its numbers go."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmlandmark.inference.export.example_images import image_shape, made_images
from mmlandmark.testing import tiny_config, tiny_model
from mmlandmark.testing.inference_contenders import (
    PYTORCH,
    WAYS,
    errors_of,
    model_or_untrained,
    own_test,
    ways_to_run,
)


def needed(way):
    for name, packages in (("ONNX", ("onnxscript", "onnxruntime")), ("OpenVINO", ("onnxscript", "openvino"))):
        if way.startswith(name):
            for package in packages:
                pytest.importorskip(package, reason="an optional package of mmlandmark[export]")


@pytest.mark.slow
@pytest.mark.parametrize("way", ["PyTorch, channels last", "PyTorch, channels last, bf16", "torch.export"])
def test_a_way_says_what_pytorch_says(way, tmp_path):
    model = tiny_model()
    shape = image_shape(model, model.detector())
    images = made_images(model, shape)
    runs = ways_to_run(model, [PYTORCH, way], shape, images, tmp_path, threads=1)
    scores = [run(np.stack(images[:2]))["scores"] for run in runs.values()]
    assert scores[0].shape == (2, 19)
    np.testing.assert_allclose(scores[1], scores[0], atol=0.02 if "bf16" in way else 1e-4)
    assert ("bf16" in way) == (np.abs(scores[1] - scores[0]).max() > 1e-5)


@pytest.mark.slow
def test_exported_files_are_written_once(tmp_path):
    needed("ONNX")
    needed("OpenVINO")
    model = tiny_model()
    shape = image_shape(model, model.detector())
    images = made_images(model, shape)
    runs = ways_to_run(model, ["ONNX Runtime", "ONNX Runtime, int8"], shape, images, tmp_path, threads=1)
    assert {path.name for path in tmp_path.iterdir()} == {"untrained.onnx", "untrained-int8.onnx"}
    one, other = (run(images[0][None])["scores"] for run in runs.values())
    assert 0 < np.abs(one - other).max() < 0.2
    assert len(set(WAYS)) == len(WAYS)


def test_a_config_is_built_with_random_weights(tmp_path):
    tiny_config("unused").dump(tmp_path / "tiny.py")
    model = model_or_untrained(tmp_path / "tiny.py")
    assert model.name == "tiny"
    assert len(model.schema) == 19
    first, second = (model_or_untrained(tmp_path / "tiny.py").state_dict for _ in range(2))
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_errors_are_those_of_the_test_that_the_model_names(tmp_path):
    model = tiny_model()
    images, samples = own_test(model)

    def perfect(batch):
        where = [next(i for i, image in enumerate(images) if np.array_equal(image, one)) for one in batch]
        points = np.stack([samples[i].to_input(samples[i].gt_landmarks).numpy() for i in where])
        return dict(points=points + np.float32((3, 4)), scores=np.ones(points.shape[:2], np.float32))

    assert errors_of(model, perfect, images, samples)["mre"] == pytest.approx(5.0, abs=1e-4)
    del model.config["test_evaluator"]
    with pytest.raises(ValueError, match="'untrained' names no data of a test and no evaluator"):
        own_test(model)
