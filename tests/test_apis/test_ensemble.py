"""Several trained runs as one model."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

from mmlandmark.apis import build_ensemble, train_config
from mmlandmark.apis import test_config as run_test
from mmlandmark.datasets.annotated_shapes import annotated_shapes
from mmlandmark.datasets.phantom import PhantomDataset
from mmlandmark.engine import ConfigError, load_config
from mmlandmark.inference.packing import pack_checkpoint
from mmlandmark.inference.shape_prior import with_shape_prior
from mmlandmark.registry import MODELS
from mmlandmark.testing import tiny_config
from mmlandmark.utils.checkpoint import load_checkpoint
from mmlandmark.utils.files import read_json


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Return the work folders of two runs that differ in their start and in their normalisation."""
    folders = []
    for seed in (0, 1):
        folder = tmp_path_factory.mktemp(f"run{seed}")
        config = tiny_config(folder, max_epochs=1)
        config.model.data_preprocessor.mean = 0.4 + 0.1 * seed
        config.randomness = dict(seed=seed)
        config.dump(folder / "source.py")
        train_config(load_config(folder / "source.py"))
        (folder / "source.py").unlink()
        config.dump(folder / "tiny.py")
        folders.append(folder)
    return folders


def points(folder) -> dict[str, np.ndarray]:
    cases = json.loads((folder / "predictions.json").read_text())["cases"]
    return {case["sample_id"]: np.array(case["pred"], dtype=float) for case in cases}


def test_the_mean_point_of_all_members_counts(runs, tmp_path):
    each = []
    for number, folder in enumerate(runs):
        config, checkpoint = build_ensemble([folder], tmp_path / f"one{number}")
        run_test(config, checkpoint, out_dir=tmp_path / f"one{number}" / "test")
        each.append(points(tmp_path / f"one{number}" / "test"))
        run_test(load_config(folder / "tiny.py"), folder / "epoch_1.pth", out_dir=tmp_path / f"own{number}")
        for key, value in points(tmp_path / f"own{number}").items():
            np.testing.assert_allclose(each[-1][key], value, atol=1e-3)  # an ensemble of one is that one
    config, checkpoint = build_ensemble(runs, tmp_path / "both")
    run_test(config, checkpoint, out_dir=tmp_path / "both" / "test")
    found = points(tmp_path / "both" / "test")
    assert len(found) == 4
    for key, value in found.items():
        np.testing.assert_allclose(value, (each[0][key] + each[1][key]) / 2, atol=1e-3)


def test_the_mean_map_is_decoded(runs, tmp_path):
    config, checkpoint = build_ensemble(runs, tmp_path, average="heatmaps")
    model = MODELS.build(config.model)
    model.load_state_dict(torch.load(checkpoint, weights_only=True)["state_dict"])
    model.eval()
    image = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        detection = model.detect(image)
        own = [m.heatmaps(m.data_preprocessor.normalize(image)) for m in model.members]
    torch.testing.assert_close(detection.maps, (own[0] + own[1]) / 2)
    torch.testing.assert_close(detection.points, model.head.predict(detection.maps, (64, 64)).points)


def test_members_that_choose_by_shapes_choose_together(runs, tmp_path):
    files, (shapes, steps) = [], annotated_shapes(PhantomDataset(num_samples=30))
    for number, folder in enumerate(runs):
        config, checkpoint = load_config(folder / "tiny.py"), folder / "epoch_1.pth"
        packed = pack_checkpoint(config, load_checkpoint(checkpoint), str(checkpoint))
        files.append(tmp_path / f"{number}.mml.pth")
        with_shape_prior(packed, shapes[number:], steps[number:], gate=2.0 + number).save(files[-1])
    config, checkpoint = build_ensemble(files, tmp_path / "both")
    run_test(config, checkpoint, out_dir=tmp_path / "both" / "test")
    model = MODELS.build(config.model)
    model.load_state_dict(load_checkpoint(checkpoint)["state_dict"])
    assert model.shape_choice.gate == 2.0
    for name, value in model.members[0].shape_choice.named_buffers():
        assert torch.equal(getattr(model.shape_choice, name), value)
    found = model.eval()(torch.rand(1, 1, 64, 64), mode="predict")[0]
    assert torch.isfinite(found.pred_deviation).all()


def test_members_with_and_without_annotators_and_mirrored():
    torch.manual_seed(0)
    member = tiny_config("unused").model
    twice = tiny_config("unused").model
    twice.head.num_annotators = 2
    model = MODELS.build(dict(type="MixedEnsemble", detectors=[member, twice])).eval()
    permutation = list(range(19))
    permutation[0], permutation[1] = 1, 0
    image = torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        one = model.detect(image, permutation).points
        other = model.detect(image.flip(-1), permutation).points
    assert one.shape == (2, 1, 19, 2)
    mirrored = other[..., permutation, :].clone()
    mirrored[..., 0] = 63 - mirrored[..., 0]
    torch.testing.assert_close(one, mirrored, atol=1e-3, rtol=0)


def test_members_with_the_same_annotators_keep_them_apart():
    torch.manual_seed(0)
    member = tiny_config("unused").model
    member.head.num_annotators = 2
    model = MODELS.build(dict(type="MixedEnsemble", detectors=[member, member])).eval()
    image = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        found = model(image, mode="predict")[0]
        alone = [
            m(m.data_preprocessor.normalize(image), mode="predict")[0].pred_by_annotator
            for m in model.members
        ]
    torch.testing.assert_close(found.pred_by_annotator, torch.stack(alone).mean(0), atol=1e-3, rtol=0)
    assert not torch.equal(found.pred_by_annotator[0], found.pred_by_annotator[1])


def test_members_pad_as_they_learnt_it():
    member = tiny_config("unused").model
    member.data_preprocessor = dict(type="LandmarkDataPreprocessor", mean=0.4, std=0.25, size_divisor=32)
    model = MODELS.build(dict(type="MixedEnsemble", detectors=[member])).eval()
    data = dict(inputs=[torch.rand(1, 50, 60)])
    with torch.no_grad():
        one = model(model.data_preprocessor(data)["inputs"], mode="predict")[0]
        alone = model.members[0]
        other = alone(alone.data_preprocessor(data)["inputs"], mode="predict")[0]
    torch.testing.assert_close(one.pred_landmarks, other.pred_landmarks)


def test_what_does_not_go_together_is_named(runs, tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere is not the folder of a run, it holds no config"):
        build_ensemble([tmp_path / "nowhere"], tmp_path / "out")
    for stage in ("01_coarse", "02_fine"):
        (tmp_path / "staged" / stage).mkdir(parents=True)
        (tmp_path / "staged" / stage / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"no config\.json: name .*02_fine, the last of 2 runs in it"):
        build_ensemble([tmp_path / "staged"], tmp_path / "out")
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "tiny.py").write_text((runs[0] / "tiny.py").read_text())
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        build_ensemble([empty], tmp_path / "out")
    other = tmp_path / "other"
    shutil.copytree(runs[0], other)
    changed = read_json(other / "config.json")
    changed["test_dataloader"]["dataset"]["pipeline"] = []
    (other / "config.json").write_text(json.dumps(changed))
    with pytest.raises(ConfigError, match="different pipelines"):
        build_ensemble([runs[0], other], tmp_path / "out")
    changed = read_json(runs[0] / "config.json")
    changed["model"]["test_cfg"] = dict(flip=True)
    (other / "config.json").write_text(json.dumps(changed))
    with pytest.raises(ConfigError, match=r"other is tested with {'flip': True}, and .* --cfg-options model"):
        build_ensemble([runs[0], other], tmp_path / "out")
    config, _ = build_ensemble([runs[0], other], tmp_path / "out", options={"model.test_cfg.flip": True})
    assert config.model.test_cfg.flip
    fewer = tiny_config("unused").model
    fewer.head.num_landmarks = 5
    with pytest.raises(ValueError, match=r"same landmarks, their numbers are \[5, 19\]"):
        MODELS.build(dict(type="MixedEnsemble", detectors=[tiny_config("unused").model, fewer]))
    with pytest.raises(ValueError, match="average must be one of"):
        MODELS.build(dict(type="MixedEnsemble", detectors=[fewer], average="middle"))
