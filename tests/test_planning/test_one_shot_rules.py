"""Rules on time, size and labels of one-shot detection."""

import math
from dataclasses import replace

import pytest

from mmlandmark.models.detectors.random_patches import RandomPatches
from mmlandmark.planning.budget_rules import FORWARD, Speed
from mmlandmark.planning.one_shot_rules import (
    COPIES,
    LABELLED,
    choose_epochs,
    choose_labellers,
    choose_levels,
    choose_selector,
    choose_size,
    sizes,
)

FAST, SLOW = Speed(0.08, 0.0, 0.0, 8), Speed(8.0, 0.0, 0.0, 8)


def test_sizes_have_the_proportions_of_the_images():
    assert sizes((2400, 1935))[0] == (128, 96)
    assert sizes((2400, 1935))[-1] == (384, 320)
    assert sizes((60, 80)) == [(96, 128)]  # an image that is smaller than all


@pytest.mark.parametrize("shape", [(2400, 1935), (1000, 1000), (1200, 2700), (3000, 1200), (700, 90)])
def test_embeddings_of_every_size_lie_on_grids_inside_of_each_other(shape):
    for size in sizes(shape):
        cells = [[math.ceil(side / 2**n) for side in size] for n in range(1, choose_levels(size).value + 1)]
        RandomPatches().size_of(size, cells)


@pytest.mark.parametrize(("minutes", "longest"), [(0.5, 128), (1, 160), (60, 384)])
def test_more_time_makes_a_larger_input(minutes, longest):
    candidates = sizes((1200, 1000))
    choice = choose_size(candidates, FAST, minutes, 100)
    assert max(choice.value) == longest
    assert "images are seen" in choice.why
    per_pixel = 0.01 / math.prod(candidates[0])
    seen = 30 * minutes / (per_pixel * math.prod(choice.value))
    assert (seen >= 2000) == ("short time" not in choice.why)


def test_epochs_fill_the_time():
    first, second, minutes = choose_epochs(FAST, 2.0, 100)
    assert minutes <= 2.0
    assert minutes > 0.9 * 2 * 0.93
    assert first.value == pytest.approx(second.value / (1 - LABELLED), rel=0.35)
    # The template is encoded before every epoch, which matters where there are few images.
    few, half, least = choose_epochs(FAST, 2.0, 20)
    assert least <= 2.0
    assert few.value * (20 + COPIES * FORWARD) <= half.value * 20 / (1 - LABELLED)
    many, _, less = choose_epochs(FAST, 600.0, 100)
    assert many.value == 120
    assert less < 10
    # Two trainings of embeddings and the detector share the time.
    each, rest, minutes = choose_epochs(FAST, 2.0, 100, labellers=3)
    assert 0.9 * 2 * 0.93 < minutes <= 2.0
    assert each.value == pytest.approx(first.value * 2 / 3, rel=0.15)
    assert each.value == pytest.approx(rest.value / (1 - LABELLED), rel=0.35)
    with pytest.raises(
        ValueError, match=r"--minutes 1 is too short .* see 1000 images .* give at least \d+\.\d"
    ):
        choose_epochs(SLOW, 1.0, 100)


@pytest.mark.parametrize("labellers", [1, 3])
@pytest.mark.parametrize("images", [100, 3000, 20000])
def test_many_images_take_a_smaller_size_and_no_more_time(images, labellers):
    """A step takes as long as its input has pixels: an epoch of 20000 images at the largest, half an hour."""
    candidates, minutes = sizes((1200, 1000)), 60.0
    size = choose_size(candidates, FAST, minutes, images, labellers).value
    steps = FAST.iteration * math.prod(size) / math.prod(candidates[0])
    *_, taken = choose_epochs(replace(FAST, iteration=steps), minutes, images, labellers)
    assert taken <= minutes
    assert (max(size) < 384) == (images == 20000)
    assert choose_labellers(True, candidates, FAST, 60, 10 * images).value == (3 if images < 20000 else 1)


def test_a_few_have_nothing_to_agree_on():
    assert choose_selector(19, 100).value["type"] == "ShapeConsensus"
    assert choose_selector(3, 100).value["type"] == choose_selector(19, 9).value["type"] == "KeepAll"


def test_three_label_where_there_is_time_to_train_two():
    candidates = sizes((1200, 1000))
    assert choose_labellers(True, candidates, FAST, 60, 100).value == 3
    assert choose_labellers(False, candidates, FAST, 60, 100).value == 1
    short = choose_labellers(True, candidates, FAST, 0.5, 100)
    assert short.value == 1
    assert "too short a time to train two" in short.why
    # What is given to a second training is missing in the size.
    one, three = (choose_size(candidates, FAST, 3, 100, count) for count in (1, 3))
    assert max(three.value) < max(one.value)


def test_large_inputs_have_a_fifth_level():
    assert choose_levels((256, 192)).value == 5
    assert choose_levels((192, 160)).value == 4
