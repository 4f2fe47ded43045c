"""Configs of single landmarks."""

import pytest

from mmlandmark.engine import ConfigError
from mmlandmark.engine.per_landmark import (
    choose_landmarks,
    chosen_landmarks,
    landmark_schema,
    of_landmarks,
)
from mmlandmark.testing import phantom_dataloader, tiny_config

NAMES = ["sella", "nasion", "menton"]


def each(folder, **overrides):
    config = tiny_config(folder, per_landmark=True, **overrides)
    config.model.head.num_landmarks = len(NAMES)
    for loader in ("train_dataloader", "val_dataloader", "test_dataloader"):
        config[loader].dataset.landmarks = list(NAMES)
    return config


def test_the_tested_data_names_the_landmarks(tmp_path):
    config = each(tmp_path)
    assert list(landmark_schema(config).landmarks) == NAMES
    assert chosen_landmarks(config) == dict(sella=0, nasion=1, menton=2)
    # Also where only a stage has data.
    loaders = {f"{part}_dataloader": config.pop(f"{part}_dataloader") for part in ("train", "val", "test")}
    config.stages = [dict(name="one"), dict(name="two", **loaders)]
    assert list(landmark_schema(config).landmarks) == NAMES
    config.stages = [dict(name="one", train_dataloader=dict(dataset=dict(type="RandomImages")))]
    with pytest.raises(ConfigError, match="needs a data set with landmarks"):
        landmark_schema(config)


def test_places_ranges_and_names_are_chosen(tmp_path):
    for text, names in (
        ("0-1", NAMES[:2]),
        ("2", ["menton"]),
        ("menton,0", ["sella", "menton"]),
    ):
        config = each(tmp_path)
        choose_landmarks(config, text)
        assert list(chosen_landmarks(config)) == config.per_landmark == names
    choose_landmarks(whole := each(tmp_path), "0, 1-2")
    assert whole.per_landmark is True
    # Whatever the config itself names.
    for text, names in (("2", ["menton"]), ("0-2", True)):
        some = each(tmp_path)
        some.per_landmark = ["sella", "nasion"]
        choose_landmarks(some, text)
        assert some.per_landmark == names
    for text, message in (
        ("3", "'3' is no landmark; they are 0 to 2: sella, nasion, menton"),
        ("2-1", "'2-1' is no landmark"),
        ("mention", "did you mean 'menton' for 'mention'"),
        (" ", "names no landmark"),
    ):
        with pytest.raises(ConfigError, match=message):
            choose_landmarks(each(tmp_path), text)
    with pytest.raises(ConfigError, match="--landmarks is for a config with per_landmark=True"):
        choose_landmarks(tiny_config(tmp_path), "0")
    config = each(tmp_path)
    config.per_landmark = ["sela", "menton"]
    with pytest.raises(ConfigError, match=r"per_landmark names \['sela'\] \(did you mean 'sella'"):
        chosen_landmarks(config)


def test_all_data_and_the_model_are_restricted(tmp_path):
    config = each(
        tmp_path,
        train_dataloader=dict(
            dataset=dict(
                _delete_=True,
                type="RepeatDataset",
                times=2,
                dataset=phantom_dataloader()["dataset"],
            ),
            unlabelled=dict(offset=20),
        ),
        custom_hooks=[dict(type="TemplateHook", template=dict(phantom_dataloader()["dataset"], offset=5))],
    )
    config.mine = dict(type="PhantomDataset")
    config.model.coarse = [dict(head=dict(num_landmarks=3))]
    one = of_landmarks(config, ["menton"], landmark_schema(config))
    assert "per_landmark" not in one
    assert one.mine == dict(type="PhantomDataset")  # nobody reads it
    for section in (
        one.train_dataloader.dataset.dataset,
        one.val_dataloader.dataset,
        one.test_dataloader.dataset,
        one.custom_hooks[0].template,
    ):
        assert section.landmarks == ["menton"]
    assert "landmarks" not in one.train_dataloader.unlabelled  # it takes those of the labelled part
    assert one.model.head.num_landmarks == one.model.coarse[0].head.num_landmarks == 1
    assert one.model.backbone.widths == (8, 16)
    assert config.model.head.num_landmarks == 3  # the given one stays as it is
    config.model.head.num_landmarks = 19
    with pytest.raises(ConfigError, match="num_landmarks of the model is 19, the data has 3: give"):
        of_landmarks(config, ["menton"], landmark_schema(config))
