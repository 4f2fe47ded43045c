"""A misspelt argument anywhere in a config is told with its section, its class and the nearest argument."""

import re
from pathlib import Path

import pytest

from mmlandmark.apis import train_config
from mmlandmark.engine import ConfigError, check_plan, load_config, plan_of_stages
from mmlandmark.engine.config_arguments import arguments_of, wrong_arguments
from mmlandmark.registry import MODELS, UnknownArgumentError
from mmlandmark.testing import tiny_config

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "widths",
            "widhts",
            "model.backbone (UNet) got an unexpected keyword argument 'widhts'; did you mean 'widths'?",
        ),
        (
            "sigma",
            "sgima",
            "model.head.codec (GaussianHeatmapCodec) got an unexpected keyword argument 'sgima'; did you ",
        ),
        (
            "batch_size",
            "batch_sise",
            "(DataLoader) got an unexpected keyword argument 'batch_sise'; did you mean 'batch_size'?",
        ),
        (
            "max_epochs",
            "max_epoch",
            "train_cfg (EpochBasedTrainLoop) got an unexpected keyword argument 'max_epoch'; did you me",
        ),
        (
            "rotation",
            "rotaton",
            "dataset.pipeline[1] (RandomAffine) got an unexpected keyword argument 'rotaton'; did you mean",
        ),
        (
            "unit=",
            "uint=",
            "test_evaluator (LandmarkMetric) got an unexpected keyword argument 'uint'; did you mean 'unit'?",
        ),
        (
            "start_factor",
            "start_fator",
            "param_scheduler[0] (LinearLR) got an unexpected keyword argument 'start_fator'; did y",
        ),
        ("shift", "colour", "(RandomAffine) got an unexpected keyword argument 'colour'; it takes "),
        (
            "seed=0",
            "sede=0",
            "randomness (the runner) got an unexpected keyword argument 'sede'; did you mean 'seed'?",
        ),
        ("opencv_num", "x", None),  # a free dict of values
    ],
)
def test_the_section_the_class_and_the_nearest_argument_are_named(tmp_path, old, new, message):
    file = tmp_path / "mine.py"
    tiny_config(tmp_path).dump(file)
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    if message is None:
        load_config(file)
        return
    with pytest.raises(ConfigError, match=rf"^{re.escape(str(file))}: .*{re.escape(message)}"):
        load_config(file)


def test_a_section_of_another_type_hears_how_to_replace_what_it_inherits(tmp_path):
    tiny_config(tmp_path).dump(tmp_path / "base.py")
    mine = tmp_path / "mine.py"
    mine.write_text("_base_ = 'base.py'\nmodel = dict(backbone=dict(type='HRNet'))\n")
    with pytest.raises(ConfigError, match=r"\(HRNet\) got .* 'widths'.*begins with _delete_=True"):
        load_config(mine)
    mine.write_text("_base_ = 'base.py'\nmodel = dict(backbone=dict(_delete_=True, type='HRNet'))\n")
    load_config(mine)


def test_shipped_configs_have_none():
    for path in sorted(CONFIGS.glob("*/*.py")):
        load_config(path)


def test_a_stage_is_checked_as_it_will_be(tmp_path):
    config = tiny_config(tmp_path)
    config.stages = [dict(name="one"), dict(name="two", model=dict(backbone=dict(widhts=(4, 8))))]
    with pytest.raises(
        ConfigError,
        match=r"run 'two': model\.backbone \(UNet\) got an unexpected keyword argument 'widhts'",
    ):
        check_plan(plan_of_stages(config, tmp_path))


def test_further_arguments_may_go_elsewhere():
    # Of an ensemble everything but the number of members is for its members.
    model = tiny_config("x").model.to_dict() | dict(type="EnsembleDetector", members=2)
    assert list(wrong_arguments(dict(model=model))) == []
    assert list(wrong_arguments(dict(model=dict(model, membres=2)))) == [
        "model (EnsembleDetector) got an unexpected keyword argument 'membres'; did you mean 'members'?"
    ]
    known, complete = arguments_of(MODELS.get("EnsembleDetector"))
    assert {"members", "test_cfg"} <= known
    assert not complete
    assert arguments_of(MODELS.get("UNet"))[1]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (dict(type="UNet", in_channels=1, widhts=(4, 8)), "UNet got .* 'widhts'; did you mean 'widths'"),
        (
            dict(
                type="HeatmapHead",
                in_channels=4,
                num_landmarks=2,
                codec=dict(type="LaplaceHeatmapCodec", sigma=1, decoderr="dark"),
                loss=dict(type="EWCLoss"),
            ),
            r"LaplaceHeatmapCodec got .* 'decoderr' \(HeatmapCodec refused it\); did you mean 'decoder'",
        ),
        (dict(type="EWCLoss", colour=3), "EWCLoss got .* 'colour'; it takes .*reduction"),
    ],
)
def test_a_registry_names_the_nearest_argument(config, message):
    with pytest.raises(UnknownArgumentError, match=message):
        MODELS.build(config)


def test_a_file_that_is_no_config_says_so(tmp_path):
    annotations = tmp_path / "annotations.json"
    annotations.write_text('{"samples": []}')
    with pytest.raises(ConfigError, match=r"annotations\.json: there is no model in it.*'samples'"):
        train_config(load_config(annotations))
    annotations.write_text("[1, 2]")
    with pytest.raises(ConfigError, match=r"annotations\.json: a config is an object with named keys"):
        load_config(annotations)


def test_json_and_yaml_run_as_configs_do(tmp_path):
    config = tiny_config(tmp_path / "run", max_epochs=1)
    for suffix in ("json", "yaml"):
        config.dump(tmp_path / f"mine.{suffix}")
        assert load_config(tmp_path / f"mine.{suffix}").model.head.num_landmarks == 19
