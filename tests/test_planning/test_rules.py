"""Every rule on the data, by table."""

from __future__ import annotations

import pytest

from mmlandmark.planning import OpenQuestion, rules


@pytest.mark.parametrize(
    ("patients", "parts", "value", "why"),
    [
        (200, {"": 200}, dict(train=0.7, val=0.1, test=0.2), "200 patients"),
        (20, {"": 30}, dict(train=0.8, test=0.2), "only 20 patients"),
        (9, {"train": 6, "test": 3}, dict(train=["train"], test=["test"]), "6 train, 3 test"),
        (9, {"training": 6, "dev": 3}, dict(train=["training"], val=["dev"]), "6 train, 3 val"),
        (
            9,
            {"train": 5, "test1": 2, "test2": 1, "odd": 1},
            dict(train=["train"], test=["test1", "test2"]),
            "1 images of no or another split are not used",
        ),
        (50, {"train": 50}, dict(train=0.7, val=0.1, test=0.2), "50 patients"),
    ],
)
def test_parts(patients, parts, value, why):
    choice = rules.choose_parts(patients, parts)
    assert choice.value == value
    assert why in choice.why


def test_too_few_patients():
    with pytest.raises(ValueError, match=r"4 patients are too few.*at least 5"):
        rules.choose_parts(4, {"": 40})
    with pytest.raises(ValueError, match=r"1 patient is too few"):
        rules.choose_parts(1, {"": 40})


def test_a_part_without_landmarks_is_none():
    assert rules.choose_parts(30, {"train": 20, "val": 0, "test": 10}).value == dict(
        train=["train"], test=["test"]
    )
    assert rules.choose_parts(30, {"train": 30, "test": 0}).value == dict(train=0.8, test=0.2)
    with pytest.raises(ValueError, match="no image of the split 'Train' has a landmark: annotate some"):
        rules.choose_parts(30, {"Train": 0, "val": 10, "test": 20})


@pytest.mark.parametrize(
    ("known", "reference", "scale", "unit", "why"),
    [
        (10, None, False, "mm", "all images have a spacing"),
        (9, None, False, "px", "only 9 of 10"),
        (0, None, False, "px", "no image has a spacing"),
        (0, None, True, "px", "SCALE= in the file has no unit"),
        (10, None, True, "mm", "all images have a spacing"),  # --spacing
        (0, ("a", "b", 50.0), False, "mm", "from a to b it is 50 mm"),
    ],
)
def test_unit(known, reference, scale, unit, why):
    choice = rules.choose_unit(10, known, reference, scale)
    assert choice.value == unit
    assert why in choice.why


@pytest.mark.parametrize(("colour", "channels"), [(0.0, 1), (0.49, 1), (0.5, 3), (1.0, 3)])
def test_channels(colour, channels):
    assert rules.choose_channels(colour).value == channels


@pytest.mark.parametrize(
    ("bits", "used", "values", "value"),
    [
        (8, 1.0, (0, 255), {}),
        (16, 0.9, (10, 60000), {}),
        (16, 4095 / 65535, (0, 4095), dict(bits=12)),
        (16, 900 / 65535, (0, 900), dict(bits=10)),
        (15, 0.12, (-1000, 3000), dict(value_range=(-1000.0, 3000.0))),
        (None, 1.0, (0.0, 1.0), {}),
        (None, 40.0, (0.0, 40.02), dict(value_range=(0.0, 40.02))),
        (8, 0.04, (100, 110), dict(value_range=(100.0, 110.0))),
    ],
)
def test_value_range(bits, used, values, value):
    assert rules.choose_value_range(bits, used, values).value == value


@pytest.mark.parametrize(("spread", "keep"), [(0.0, False), (0.02, False), (0.021, True), (1.0, True)])
def test_aspect(spread, keep):
    assert rules.choose_aspect(spread).value is keep
    assert rules.choose_aspect(spread, (128, 64), (800, 400)).value is keep


def test_an_input_that_would_stretch_images_is_padded():
    choice = rules.choose_aspect(0.0, (32, 256), (40, 800))
    assert choice.value is True
    assert "stretch images 2.5 times" in choice.why
    assert rules.choose_aspect(0.0, (64, 128), (419, 745)).value is False  # rounded to a multiple of 16


@pytest.mark.parametrize(("border", "value"), [(0.0, "constant"), (0.25, "constant"), (0.3, "replicate")])
def test_border(border, value):
    assert rules.choose_border(border).value == value


@pytest.mark.parametrize(
    ("spread", "value"),
    [
        ((0, 0, 0), dict(rotation=10, scale=0.1, shift=0.05)),
        ((20, 0.1, 0.06), dict(rotation=30, scale=0.15, shift=0.08)),
        ((300, 2.0, 1.0), dict(rotation=180, scale=0.3, shift=0.15)),
        (([0, 4, 22], 0.1, 0.06), dict(rotation=(10, 15, 30), scale=0.15, shift=0.08)),
        (([20, 30, 95], 0.1, 0.06), dict(rotation=(30, 40, 180), scale=0.15, shift=0.08)),
    ],
)
def test_augmentation_covers_what_the_data_shows(spread, value):
    choice = rules.choose_augmentation(*spread, [])
    assert choice.value == dict(value, mirror=False)
    assert ("x, y, z of the patient" in choice.why) == isinstance(value["rotation"], tuple)
    assert "no pairs are declared" in choice.why
    assert rules.choose_augmentation(*spread, [(0, 1)]).value["mirror"] is True


@pytest.mark.parametrize(
    ("gpu", "cores", "workers"), [(False, 64, 0), (True, 64, 8), (True, 4, 3), (True, 1, 1)]
)
def test_workers(gpu, cores, workers):
    assert rules.choose_workers(gpu, cores).value == workers


@pytest.mark.parametrize(
    ("largest", "loaded"),
    [
        ((2400, 1935), [640, 512]),
        ((400, 350), [438, 350]),
        ((200, 100), [320, 256]),
        ((640, 512), [640, 512]),
    ],
)
def test_images_are_not_enlarged_to_be_loaded(largest, loaded):
    assert rules.choose_loaded_size((320, 256), largest).value == loaded


@pytest.mark.parametrize(
    ("images", "bits", "memory", "gigabytes"),
    [
        (1000, 8, 8, 1.2),
        (1000, 12, 8, 2.3),
        (1000, 12, 7, None),
        (1000, None, 16.1, 4.4),
        (10, 8, 8, 0.2),
        (9000, 8, 8, None),
    ],
)
def test_cache(images, bits, memory, gigabytes):
    choice = rules.choose_cache(images, (1024, 1024), 1, bits, memory * 2**30)
    assert choice.value == gigabytes


def test_volumes_that_do_not_fit_are_kept_on_disk():
    choice = rules.choose_cache(100, (600, 512, 512), 1, 15, 16 * 2**30)
    assert choice.value == "disk"
    assert "29.3 GB" in choice.why
    assert rules.choose_cache(10, (150, 160, 160), 1, 8, 2**30).value == 0.2
    whole, floats = (rules.choose_cache(10, (150, 160, 160), 1, bits, 2**30).value for bits in (31, None))
    assert whole == floats, "integers of 32 bits become floats"


@pytest.mark.parametrize(
    ("dims", "bits", "values", "own", "stretched", "why"),
    [
        (2, 8, (0, 255), 9.0, False, "images"),
        (3, 15, (-1000, 2000), 9.0, False, "Hounsfield"),
        (3, 8, (0, 255), 1.4, False, "about the same"),
        (3, 15, (0, 900), 1.4, False, "about the same"),
        (3, 15, (0, 900), 1.6, True, "1.6 times larger"),
        (3, None, (0, 900), 20.0, True, "20.0 times larger"),
    ],
)
def test_contrast_of_volumes(dims, bits, values, own, stretched, why):
    choice = rules.choose_contrast(dims, bits, values, own)
    assert choice.value == (dict(mode="percentile", low=0.5, high=99.5) if stretched else None)
    assert why in choice.why


@pytest.mark.parametrize(
    ("load", "bits", "file_range", "value_range", "value"),
    [
        ({}, 8, (0, 255), (0, 255), dict(mean=0.4, std=0.2)),
        (dict(bits=12), 16, (0, 65535), (0, 4095), dict(mean=6.401, std=3.201)),
        (dict(value_range=(-1000, 1000)), 15, (0, 32767), (-1000, 1000), dict(mean=7.053, std=3.277)),
        ({}, 8, (0, 1), (0, 1), dict(mean=0.4, std=0.2)),
    ],
)
def test_normalisation_is_in_the_grey_range_that_was_chosen(load, bits, file_range, value_range, value):
    found = rules.grey_range(load, bits, file_range)
    assert found == value_range
    assert rules.choose_normalisation(0.4, 0.2, file_range, found).value == value
    assert rules.choose_normalisation(0.4, 0.0, file_range, found).value["std"] == 0.01


@pytest.mark.parametrize(
    ("names", "pairs"),
    [
        (["left eye", "nose", "right eye"], [("left eye", "right eye")]),
        (["hip_l", "hip_r", "knee_l", "knee_r"], [("hip_l", "hip_r"), ("knee_l", "knee_r")]),
        (["L1", "L2", "R1"], [("L1", "R1")]),
        (["sella", "nasion"], []),
    ],
)
def test_pairs_are_suggested_by_names(names, pairs):
    assert rules.suggested_pairs(names) == pairs


def test_given_pairs():
    names = ("a", "b", "c")
    assert rules.given_pairs(names, ["a:c"]) == [("a", "c")]
    for wrong in ("a", "a:d", "a:a", "a-b"):
        with pytest.raises(OpenQuestion, match=f"--pairs {wrong}: .* the landmarks are a, b, c"):
            rules.given_pairs(names, [wrong])
    assert rules.given_pairs(("2:1", "1", "b c"), ["2:1:1", "b c:1"]) == [("2:1", "1"), ("b c", "1")]
    with pytest.raises(OpenQuestion, match=r"--pairs 'b d:1': .* like '2:1:b c';"):
        rules.given_pairs(("2:1", "1", "b c"), ["b d:1"])
