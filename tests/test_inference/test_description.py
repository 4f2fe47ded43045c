"""A model file in words."""

from __future__ import annotations

from dataclasses import replace

from mmlandmark.inference.description import describe_model
from mmlandmark.testing import tiny_model


def test_every_fact_has_a_line():
    test = dict(data="Films test1", unit="mm", images=150, mre=1.2345, median=1.0, sdr={"2": 85.5, "4": 99.0})
    model = replace(
        tiny_model(),
        licence="research use\nno clinical use",
        training=dict(
            config="unet", config_hash="ab", seed=3, epoch=40, data=["Films"], trained_on=dict(images=9)
        ),
        measured={
            "test": test,
            "coverage on films": dict(images=150, coverage={"0.9": 0.895}),
            "half precision": dict(largest_difference=0.01, unit="px", data="noise"),
        },
        calibration=dict(levels=[0.9]),
    )
    lines = describe_model(model).splitlines()
    assert lines[0].split(maxsplit=1) == ["name", "untrained"]
    text = "\n".join(lines)
    for part in (
        "19 in 2D, isbi2015_cephalogram",
        "64 x 64, mean 0.4, std 0.25",
        "LandmarkDetector: UNet, HeatmapHead; 6,",
        "config unet (ab), seed 3, epoch 40, 9 images of Films",
        "Films test1, 150 images: mre 1.23, median 1 mm; within 2 mm 85.5 %, 4 mm 99 %",
        "150 images: 89.5 % within the 90 % radius",
        "largest difference 0.01 px, noise",
        "PhantomDataset",
    ):
        assert part in text, part
    assert lines[-1].strip() == "no clinical use"
    assert lines[-1].index("no") == lines[-2].index("research"), "lines of one fact are aligned"


def test_facts_of_any_form_are_printed_and_control_no_terminal():
    odd = dict(test=dict(mre=1, sdr=[1]), more=7, text="\x1b[2J")
    model = replace(tiny_model(), measured=odd, training=dict(trained_on=3))
    text = describe_model(model)
    assert "\x1b" not in text
    assert "?[2J" in text
    assert "'trained_on': 3" in text
    assert "'sdr': [1]" in text


def test_numbers_are_short():
    model = tiny_model()
    model.config["model"]["data_preprocessor"] = dict(mean=[0.4980392156862745, 0.5], std=1 / 3)
    assert "64 x 64, mean 0.498, 0.5, std 0.333" in describe_model(model)


def test_what_is_not_known_is_said():
    bare = replace(tiny_model(), training={}, measured={})
    bare = replace(bare, config={key: bare.config[key] for key in ("model", "pipeline")})
    text = describe_model(bare)
    for key, value in dict(trained="unknown", calibration="none", licence="none stated").items():
        assert next(line for line in text.splitlines() if line.startswith(key)).endswith(value)
    assert "not in the file" in text
