"""Detectors are told apart by what decides on their answers."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from mmengine.config import Config

from mmlandmark.inference.origin import digest_of, origin_of, origin_of_test
from mmlandmark.models.model_file import ModelFile
from mmlandmark.testing import tiny_model
from mmlandmark.utils.checkpoint import save_checkpoint


@pytest.fixture
def model():
    return tiny_model()


def test_the_digest_is_of_everything_that_counts(model):
    digest = digest_of(model)
    assert digest_of(replace(model, measured=dict(test=1), licence="free")) == digest
    weights = {key: value.clone() for key, value in model.state_dict.items()}
    next(iter(weights.values())).view(-1)[0] += 1e-6
    for changed in (
        replace(model, state_dict=weights),
        replace(model, config=dict(model.config, pipeline=model.config["pipeline"][:1])),
        replace(model, schema=replace(model.schema, links=())),
        replace(model, calibration=dict(levels=[0.9])),
    ):
        assert digest_of(changed) != digest


def test_half_precision_and_words_are_no_other_detector(model, tmp_path):
    own = origin_of(model)
    replace(model, half=True, name="other", licence="free").save(tmp_path / "half.mml.pth")
    assert origin_of(ModelFile.load(tmp_path / "half.mml.pth")) == own
    assert origin_of(replace(model, calibration=dict(levels=[0.9]))) == own
    weights = {key: value.clone() for key, value in model.state_dict.items()}
    next(value for value in weights.values() if value.ndim == 1)[0] += 1e-6
    assert origin_of(replace(model, state_dict=weights)).weights != own.weights


def test_options_of_the_test_are_told(model):
    def with_cfg(**test_cfg):
        return origin_of(replace(model, config=dict(model.config, model=model.config["model"] | test_cfg)))

    own = origin_of(model)
    assert with_cfg(test_cfg=dict(flip=False, spread=True, keep_heatmaps=True)) == own
    flipped = with_cfg(test_cfg=dict(flip=True))
    assert flipped.answers != own.answers
    assert flipped.differing_options(own) == ["flip"]
    half = origin_of(replace(model, config=dict(model.config, test_cfg=dict(fp16=True))))
    assert half.differing_options(own) == ["fp16"]


def test_folds_and_seeds_share_a_recipe(model):
    assert origin_of(model).recipe == model.training["recipe_hash"]
    older = replace(model, training=dict(config_hash="abc"))
    assert origin_of(older).recipe == "abc"


def test_what_is_no_detector_of_ours_has_no_origin(tmp_path):
    save_checkpoint(dict(state_dict=dict(weight=torch.zeros(2))), tmp_path / "other.pth")
    assert origin_of_test(Config(dict(model=dict(type="Other"))), tmp_path / "other.pth") is None
