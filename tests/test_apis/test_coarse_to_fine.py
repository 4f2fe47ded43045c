"""Coarse to fine, from one config to one model file: trained, tested, packed, predicted, calibrated."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from mmlandmark import apis
from mmlandmark.apis.calibration import calibrate, calibration_of
from mmlandmark.apis.tested_data import read_tested
from mmlandmark.engine import describe_plan, plan_of_stages
from mmlandmark.inference import LandmarkInferencer
from mmlandmark.inference.export import ExportError, export_model
from mmlandmark.inference.loading import load_model
from mmlandmark.registry import DATASETS
from mmlandmark.testing import phantom_dataloader, tiny_config
from mmlandmark.utils.checkpoint import load_checkpoint

SIZE, COARSE, PATCH = (96, 80), (32, 32), (32, 32)


def staged(folder):
    """Return a config of both stages, of images that are three times as large as the coarse detector's."""
    config = tiny_config(folder, max_epochs=1)
    part = config.model.to_dict()
    start = dict(type="Pretrained", checkpoint="run:coarse:best")
    whole = phantom_dataloader(num_samples=2, size=SIZE, train=False)
    patches = phantom_dataloader(num_samples=2, size=SIZE)
    patches["dataset"]["pipeline"].insert(-2, dict(type="RandomPatch", size=PATCH))
    small = phantom_dataloader(num_samples=2, size=COARSE, train=False)
    config.model = dict(
        type="CoarseToFineDetector",
        coarse=dict(part, init_cfg=start),
        fine=part,
        patch_size=PATCH,
        coarse_size=COARSE,
    )
    config.train_dataloader, config.val_dataloader, config.test_dataloader = patches, whole, whole
    config.default_hooks.checkpoint.update(save_best="mre", rule="less")
    config.stages = [
        dict(
            name="coarse",
            model=dict(_delete_=True, **part),
            train_dataloader=phantom_dataloader(num_samples=2, size=COARSE),
            val_dataloader=small,
            test_dataloader=small,
        ),
        dict(name="fine"),
    ]
    return config


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("coarse_to_fine")
    config = staged(folder)
    apis.train_config(config)
    return config, folder


def test_one_command_trains_both_stages(trained):
    config, folder = trained
    plan = plan_of_stages(config, folder)
    assert [node.finished() for node in plan.children] == [True, True], describe_plan(plan)
    logs = [path.read_text() for path in folder.glob("0*/*/*.log")]
    assert len(logs) == 2
    assert not [line for text in logs for line in text.splitlines() if "Failed to search" in line]
    coarse = load_checkpoint(next((folder / "01_coarse").glob("best_*.pth")))["state_dict"]
    both = load_checkpoint(next((folder / "02_fine").glob("epoch_1.pth")))["state_dict"]
    for key, value in coarse.items():
        assert torch.equal(both[f"coarse.{key}"], value), "the coarse detector stays as it was trained"
    assert any(not torch.equal(both[f"fine.{key}"], value) for key, value in coarse.items())


def test_the_model_file_predicts_what_the_test_found(trained, tmp_path):
    config, folder = trained
    metrics = apis.test_config(config, apis.find_checkpoint(config, None), out_dir=tmp_path / "test")
    model = load_model(folder / "02_fine")
    model.save(tmp_path / "both.mml.pth")
    again = load_model(tmp_path / "both.mml.pth")
    assert "init_cfg" not in again.config["model"]["coarse"]
    assert str(folder) not in repr(again.config)
    dataset = DATASETS.build(dict(config.test_dataloader.dataset, pipeline=[]))
    records = [dataset.get_data_info(i) for i in range(len(dataset))]
    found = LandmarkInferencer(again, "cpu", batch_size=2)([np.asarray(r["img"]) for r in records])
    truth = np.stack([r["landmarks"] for r in records])
    errors = np.linalg.norm(np.stack([p.points for p in found]) - truth, axis=-1)
    assert np.nanmean(errors) == pytest.approx(metrics["mre"], rel=1e-3)
    assert all(p.spread is not None for p in found)


def test_it_is_calibrated_and_says_why_it_cannot_be_exported(trained, tmp_path):
    config, folder = trained
    model = load_model(folder / "02_fine")
    rng = np.random.default_rng(0)
    dataset = DATASETS.build(dict(config.test_dataloader.dataset, pipeline=[], num_samples=12, offset=300))
    samples, images = [], tmp_path / "images"
    images.mkdir()
    for record in (dataset.get_data_info(i) for i in range(len(dataset))):
        name = f"{record['sample_id'].replace('/', '_')}.npy"
        np.save(
            images / name,
            np.asarray(record["img"]) + rng.integers(0, 2, size=record["img"].shape, dtype=np.uint8),
        )
        samples.append(dict(id=name, image=name, landmarks=record["landmarks"].tolist()))
    (images / "points.json").write_text(json.dumps(dict(samples=samples)))
    (part,) = read_tested(model, images / "points.json")
    calibrated = calibrate(model, part.cases, ["points.json"])
    assert calibration_of(calibrated) is not None
    with pytest.raises(ExportError, match="CoarseToFineDetector cannot be exported: which patches"):
        export_model(model, tmp_path / "model.onnx")
