"""Choices and open questions."""

from __future__ import annotations

import dataclasses

import pytest

from mmlandmark.planning import Choice, OpenQuestion
from mmlandmark.planning.choice import duration


def test_a_choice_is_final_and_plain():
    choice = Choice(3, "three are enough")
    assert dataclasses.asdict(choice) == dict(value=3, why="three are enough")
    with pytest.raises(dataclasses.FrozenInstanceError):
        choice.value = 4


def test_an_open_question_is_an_error_that_the_user_can_answer():
    assert issubclass(OpenQuestion, ValueError)


@pytest.mark.parametrize(
    ("minutes", "words"),
    [
        (0.001, "1 s"),
        (0.2, "12 s"),
        (0.99, "59 s"),
        (0.996, "1 minute"),
        (1, "1 minute"),
        (1.06, "1.1 minutes"),
        (9.96, "10 minutes"),
        (30.4, "30 minutes"),
    ],
)
def test_durations_read_as_one_says_them(minutes, words):
    assert duration(minutes) == words
