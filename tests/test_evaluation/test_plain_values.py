"""Checks of plain values."""

from __future__ import annotations

import numpy as np
import pytest

from mmlandmark.evaluation.plain_values import checked_keys, need, numbers


def test_keys_must_be_those():
    assert checked_keys(dict(a=1), ["a"], "thing") == dict(a=1)
    with pytest.raises(ValueError, match=r"thing needs the keys a, b, got \['a', 'c'\]"):
        checked_keys(dict(a=1, c=2), ["a", "b"], "thing")
    with pytest.raises(ValueError, match="thing needs the keys a, got list"):
        checked_keys([], ["a"], "thing")


def test_numbers():
    np.testing.assert_array_equal(numbers([1, 2.5, None], "n", 3, missing=True), [1, 2.5, np.nan])
    for values, words in (
        ("12", "a list of numbers"),
        ([1], "2 numbers are needed, got 1"),
        ([1, None], "finite"),
        ([1, True], "finite"),
        ([1, float("inf")], "finite"),
        ([1, 0], "positive"),
    ):
        with pytest.raises(ValueError, match=f"calibration: n: .*{words}"):
            numbers(values, "n", 2, positive=True)
    with pytest.raises(ValueError, match="calibration: no"):
        need(False, "no")
