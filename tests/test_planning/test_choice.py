"""Choices and open questions."""

from __future__ import annotations

import dataclasses

import pytest

from mmlandmark.planning import Choice, OpenQuestion


def test_a_choice_is_final_and_plain():
    choice = Choice(3, "three are enough")
    assert dataclasses.asdict(choice) == dict(value=3, why="three are enough")
    with pytest.raises(dataclasses.FrozenInstanceError):
        choice.value = 4


def test_an_open_question_is_an_error_that_the_user_can_answer():
    assert issubclass(OpenQuestion, ValueError)
