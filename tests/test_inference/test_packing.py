"""From a config and a checkpoint to a model file."""

from __future__ import annotations

import pytest
import torch
from mmengine.config import Config

from mmlandmark.datasets.phantom import PhantomDataset
from mmlandmark.engine import ConfigError
from mmlandmark.inference.packing import pack_checkpoint
from mmlandmark.models.model_file import ModelFile
from mmlandmark.registry import MODELS
from mmlandmark.testing import tiny_config, tiny_model


def checkpoint_of(config: Config, **meta) -> dict:
    return dict(state_dict=MODELS.build(config.model).state_dict(), meta=meta)


def test_a_file_names_no_start_no_file_and_no_folder_of_this_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("CEPH_ROOT", str(tmp_path / "data"))
    config = tiny_config(tmp_path)
    config.model.backbone.init_cfg = dict(type="Pretrained", checkpoint="https://example.org/a.pth")
    config.test_evaluator.out_file = "report.json"
    checkpoint = checkpoint_of(config, dataset_meta=PhantomDataset(lazy_init=True).metainfo)
    dataset = dict(type="LandmarkDataset", data_root=str(tmp_path / "data" / "films"), ann_file="a.json")
    config.test_dataloader.dataset = dict(
        dataset, pipeline=config.test_dataloader.dataset.pipeline, image_cache=dict(mode="ram")
    )
    model = pack_checkpoint(config, checkpoint, "a.pth")
    assert model.config["model"]["backbone"].keys() == {"type", "in_channels", "widths", "norm_cfg"}
    assert model.config["model"]["dims"] == 2
    packed = model.config["test_dataloader"]["dataset"]
    assert packed["data_root"] == "$CEPH_ROOT/films"
    assert "image_cache" not in packed
    assert "out_file" not in model.config["test_evaluator"]
    assert str(tmp_path) not in repr(model.config)


@pytest.mark.parametrize("address", ["https://example.org/shards/index.json", "s3://films/index.json", None])
def test_a_test_of_data_on_a_server_is_left_out(tmp_path, address):
    config = tiny_config(tmp_path)
    steps = config.test_dataloader.dataset.pipeline
    config.test_dataloader.dataset = dict(
        type="ShardedDataset",
        ann_file=address or "index.json",
        cache_dir=str(tmp_path / "cache"),
        backend_args=dict(tries=2),
        pipeline=steps,
    )
    model = pack_checkpoint(config, checkpoint_of(config), "a.pth")
    assert [step["type"] for step in model.config["pipeline"]] == [step["type"] for step in steps]
    if address is None:
        assert set(model.config["test_dataloader"]["dataset"]) == {"type", "ann_file", "pipeline"}
    else:
        assert set(model.config) == {"model", "pipeline"}
    model.save(tmp_path / "a.mml.pth")
    assert ModelFile.load(tmp_path / "a.mml.pth").config == model.config


def test_weights_without_names_get_numbers(tmp_path):
    config = tiny_config(tmp_path)
    model = pack_checkpoint(config, checkpoint_of(config)["state_dict"], "weights.pth")
    assert model.schema.name == "numbered19"
    assert model.name == "weights"


def test_what_only_training_uses_is_left_out(tmp_path):
    config = tiny_config(tmp_path)
    checkpoint = checkpoint_of(config)
    head = dict(
        type="HeatmapHead", codec=dict(type="GaussianHeatmapCodec", sigma=2), loss=dict(type="EWCLoss")
    )
    for extra in (
        dict(
            type="DistilledDetector",
            terms=[dict(loss=dict(type="HeatmapMSELoss"))],
            teacher=dict(checkpoint="large.pth"),
        ),
        dict(
            type="MultiTaskDetector",
            branches=dict(
                more=dict(taps=["backbone.up0"], decoder=dict(type="UNetDecoder", in_channels=[8]), head=head)
            ),
        ),
    ):
        trained = Config(dict(config.to_dict(), model={**config.model, **extra}))
        packed = pack_checkpoint(trained, checkpoint, "a.pth").config["model"]
        assert packed == tiny_model().config["model"]


def test_a_config_without_a_pipeline_is_refused(tmp_path):
    config = tiny_config(tmp_path)
    config.test_dataloader = config.val_dataloader = None
    with pytest.raises(ConfigError, match="needs a model and the pipeline of a test"):
        pack_checkpoint(config, checkpoint_of(config), "a.pth")


def test_how_it_was_trained_is_kept(tmp_path):
    config = tiny_config(tmp_path)
    meta = dict(seed=4, epoch=7, iter=70, trained_on=dict(images=150, hash="ab"), precision="float32")
    training = pack_checkpoint(config, checkpoint_of(config, **meta), "a.pth").training
    assert (training["seed"], training["epoch"], training["iterations"]) == (4, 7, 70)
    assert training["trained_on"] == dict(images=150, hash="ab")
    assert training["data"] == ["PhantomDataset"]
    assert len(training["config_hash"]) == 16
    assert not any(isinstance(value, torch.Tensor) for value in training.values())
