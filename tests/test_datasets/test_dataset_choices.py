"""Words that arguments of datasets may be."""

from __future__ import annotations

import pytest

from mmlandmark.datasets.dataset_choices import check_choices


@pytest.mark.parametrize("missing", ["raise", "drop", "keep"])
@pytest.mark.parametrize("coordinates", [None, "pixels", "LPS", "RAS"])
def test_what_they_may_be(missing, coordinates):
    check_choices(missing, coordinates, "raise", True)
    check_choices(missing, coordinates, "skip", False)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("ignore", None, "raise", False), "missing_images must be 'raise', 'drop' or 'keep', got 'ignore'"),
        (("raise", "mm", "raise", False), "coordinates must be one of .*, got 'mm'"),
        (("raise", None, "drop", False), "on_error must be 'raise' or 'skip', got 'drop'"),
        (("raise", None, "skip", True), "on_error='skip' is for training"),
    ],
)
def test_what_they_may_not_be(words, told):
    with pytest.raises(ValueError, match=told):
        check_choices(*words)
