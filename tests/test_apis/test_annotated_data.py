"""Annotated images of a file or a config become a data set for a detector."""

from __future__ import annotations

import json

import pytest

from mmlandmark.apis.annotated_data import dataset_of
from mmlandmark.engine import ConfigError
from mmlandmark.engine.config_data import config_to_data


def test_a_file_or_a_config_is_read_with_the_pipeline_of_the_model(model, trained, annotated):
    from_file, from_config = dataset_of(model, annotated), dataset_of(model, trained.path)
    assert (len(from_file), len(from_config)) == (12, 4)
    for dataset in (from_file, from_config, dataset_of(model, trained.folder, "train_dataloader")):
        assert dataset[0]["inputs"].shape == (1, 64, 64)
        assert len(dataset.pipeline.transforms) == len(model.config["pipeline"])
    assert dataset_of(model, annotated, ids=["200"]).get_data_info(0)["sample_id"] == "200"


def test_without_a_model_landmarks_are_as_the_file_or_the_config_has_them(trained, annotated):
    from_file = dataset_of(None, annotated)
    assert len(from_file) == 12
    assert from_file.pipeline.transforms == []
    from_config = dataset_of(None, trained.folder, "train_dataloader")
    assert from_config[0]["inputs"].shape[0] == 1
    assert from_config.metainfo["landmark_names"]


def test_a_config_in_json_is_no_annotation(model, trained, tmp_path):
    frozen = tmp_path / "frozen.json"
    frozen.write_text(json.dumps(config_to_data(trained.config())))
    assert len(dataset_of(model, frozen)) == len(dataset_of(model, trained.path))
    (tmp_path / "other.json").write_text(json.dumps(dict(shapes=[])))
    with pytest.raises(ValueError, match=r"other\.json: needs a list under 'samples'"):
        dataset_of(model, tmp_path / "other.json")


def test_other_data_are_refused(model, tmp_path):
    (tmp_path / "wings.tps").write_text("LM=1")
    with pytest.raises(ConfigError, match=r"wings\.tps: this is neither an annotation .* nor a config"):
        dataset_of(model, tmp_path / "wings.tps")
    (tmp_path / "heads").mkdir()
    (tmp_path / "heads" / "a.mrk.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"heads: this is neither.*or of a cross-validation; mmlandmark"):
        dataset_of(model, tmp_path / "heads")
    for stage in ("01_coarse", "02_fine"):
        (tmp_path / "run" / stage).mkdir(parents=True)
        (tmp_path / "run" / stage / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"whose last run is .*02_fine; mmlandmark convert"):
        dataset_of(model, tmp_path / "run")
    (tmp_path / "plain.py").write_text("model = dict()")
    with pytest.raises(ConfigError, match="has no val_dataloader"):
        dataset_of(model, tmp_path / "plain.py", "val_dataloader")
