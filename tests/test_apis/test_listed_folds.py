"""Configs whose parts are lists of ids, as those of a plan, are cross-validated over these lists."""

from __future__ import annotations

import pytest

from mmlandmark.apis import cross_validate, fold_configs
from mmlandmark.apis.listed_folds import give_lists, listed_folds
from mmlandmark.engine import ConfigError, plan_of_run
from mmlandmark.testing import tiny_config
from mmlandmark.utils.config_hash import recipe_hash
from test_planning.kites import write_kites

NAMES = [f"kite{n:02d}" for n in range(10)]


@pytest.fixture
def config(tmp_path):
    """Ten kites of five patients: six to train on, two to validate and two to test."""
    path = write_kites(tmp_path / "kites", "json", count=10, group=[f"p{n // 2}" for n in range(10)])
    config = tiny_config(tmp_path / "run", max_epochs=1)
    config.model.head.num_landmarks = 4
    config.model.data_preprocessor.channels = config.model.backbone.in_channels = 3
    for part, ids in dict(train=NAMES[:6], val=NAMES[6:8], test=NAMES[8:]).items():
        (tmp_path / f"{part}.txt").write_text("\n".join(ids))
        loader = config[f"{part}_dataloader"]
        loader.dataset = dict(
            type="LandmarkDataset", data_root=str(path.parent), ann_file=path.name, image_dir="photos",
            serialize_data=False, ids=str(tmp_path / f"{part}.txt"), pipeline=loader.dataset.pipeline,
            test_mode=part != "train",
        )  # fmt: skip
    return config


def ids_of(config, loader):
    return list(config[f"{loader}_dataloader"].dataset.ids)


def test_folds_divide_the_images_of_training_and_validation(config):
    folds = fold_configs(config, deal=dict(num_folds=4, fold_seed=1))
    assert list(folds) == ["0", "1", "2", "3"]
    for fold in folds.values():
        assert sorted(ids_of(fold, "train") + ids_of(fold, "test")) == NAMES[:8]
        assert ids_of(fold, "val") == ids_of(fold, "test")
        assert "fold" not in fold.test_dataloader.dataset
    assert sorted(name for fold in folds.values() for name in ids_of(fold, "test")) == NAMES[:8]
    everything = fold_configs(config, deal=dict(num_folds=2, fold_split=None))
    assert sorted(ids_of(everything["0"], "train") + ids_of(everything["0"], "test")) == NAMES
    assert {recipe_hash(fold) for fold in folds.values()} == {recipe_hash(config)}, "these calibrate it"


def test_patients_stay_together(config):
    (fold,) = fold_configs(config, ["1"], dict(num_folds=2)).values()
    tested = set(ids_of(fold, "test"))
    assert len(tested) == 4
    assert all((a in tested) == (b in tested) for a, b in zip(NAMES[::2], NAMES[1::2], strict=True))
    with pytest.raises(ValueError, match="num_folds must be between 2 and the number of groups, 4, got 5"):
        fold_configs(config, deal=dict(num_folds=5))


def test_stages_get_the_lists_of_their_fold(config, tmp_path):
    config.stages = [
        dict(name="first"),
        dict(name="second", train_dataloader=dict(dataset=dict(ids=NAMES[:3]))),
    ]
    fold = fold_configs(config, deal=dict(num_folds=2))["1"]
    first, second = plan_of_run(fold, tmp_path).children
    assert ids_of(first.config, "train") == ids_of(second.config, "train")
    assert len(ids_of(first.config, "train")) == 4


def test_a_cross_validation_runs(config, tmp_path):
    report = cross_validate(fold_configs(config, deal=dict(num_folds=2)), tmp_path / "cv")
    assert report.images == {"0": 4, "1": 4}


def test_what_cannot_be_dealt_out_is_refused(config, tmp_path):
    with pytest.raises(ConfigError, match=r"lists of ids, of which the folds .* --num-folds K deals out"):
        fold_configs(config)
    other = config.copy()
    other.val_dataloader.dataset.ann_file = "other.json"
    with pytest.raises(ConfigError, match="have one each, of one data set"):
        fold_configs(other, deal=dict(num_folds=2))
    del config.test_dataloader.dataset["ids"]
    with pytest.raises(ConfigError, match="only if training, validation and test have one each"):
        fold_configs(config, deal=dict(num_folds=2))


def test_data_without_lists_stays_as_it_is(tmp_path):
    plain = tiny_config(tmp_path)
    assert listed_folds([plain], dict(num_folds=2), "a config") is None
    before = plain.to_dict()
    give_lists(plain, ["a"], ["b"])
    assert plain.to_dict() == before
