"""What a class declares as its inputs; test_given_inputs.py uses it."""

import dataclasses

import pytest

from mmlandmark.utils.run_inputs import RunInput


def test_a_declaration_does_not_change():
    declared = RunInput("teacher.checkpoint", config="teacher.config")
    assert RunInput("template.image").config is None
    with pytest.raises(dataclasses.FrozenInstanceError):
        declared.file = "other"
