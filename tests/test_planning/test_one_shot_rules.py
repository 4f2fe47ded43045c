"""Rules on time, size and labels of one-shot detection."""

import math

import pytest

from mmlandmark.planning.budget_rules import FORWARD, Speed
from mmlandmark.planning.one_shot_rules import (
    COPIES,
    LABELLED,
    choose_epochs,
    choose_selector,
    choose_size,
    sizes,
)

FAST, SLOW = Speed(0.08, 0.0, 0.0, 8), Speed(8.0, 0.0, 0.0, 8)


def test_sizes_have_the_proportions_of_the_images():
    assert sizes((2400, 1935))[0] == (128, 96)
    assert sizes((2400, 1935))[-1] == (384, 304)
    assert sizes((60, 80)) == [(96, 128)]  # an image that is smaller than all


@pytest.mark.parametrize(("minutes", "longest"), [(0.5, 128), (1, 160), (60, 384)])
def test_more_time_makes_a_larger_input(minutes, longest):
    candidates = sizes((1200, 1000))
    choice = choose_size(candidates, FAST, minutes)
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
    with pytest.raises(
        ValueError, match=r"--minutes 1 is too short .* see 1000 images .* give at least \d+\.\d"
    ):
        choose_epochs(SLOW, 1.0, 100)


def test_a_few_have_nothing_to_agree_on():
    assert choose_selector(19, 100).value["type"] == "ShapeConsensus"
    assert choose_selector(3, 100).value["type"] == choose_selector(19, 9).value["type"] == "KeepAll"
