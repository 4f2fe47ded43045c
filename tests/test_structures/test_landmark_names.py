"""One rule says whether two sets of landmarks are the same."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmlandmark.datasets.phantom import PhantomDataset
from mmlandmark.structures import LandmarkSchema, name_difference, names_of, only_numbered, schema_of

NAMES = list("abcdef")
named = st.lists(st.sampled_from(NAMES), min_size=1, max_size=6, unique=True)
numbered = st.integers(1, 6).map(lambda count: list(LandmarkSchema.numbered(count).landmarks))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(there=st.one_of(named, numbered, st.none()), here=st.one_of(named, numbered, st.none()))
def test_only_equal_names_in_one_order_or_equal_counts_without_names_match(there, here):
    difference = name_difference(there, here)
    if there is None or here is None:
        assert difference is None
    elif only_numbered(there) == only_numbered(here):
        assert (difference is None) == (there == here)
    else:
        assert (difference is None) == (len(there) == len(here))
    assert (name_difference(here, there) is None) == (difference is None)


def test_the_first_difference_is_named():
    assert "landmark 1 is 'b' there and 'c' here" in name_difference(["a", "b", "c"], ["a", "c", "b"])
    assert name_difference(["a", "b"], ["a", "x", "y"]) == (
        "2 landmarks there, 3 here: 'b' only there, 'x', 'y' only here"
    )
    # Kept from a numbered file in another order, the numbers are names.
    assert "another order" in name_difference(["landmark_7", "landmark_6"], ["landmark_6", "landmark_7"])


@pytest.mark.parametrize(
    "hostile",
    [None, 3, "ab", dict(landmark_names=3), dict(landmark_names=["a", 1]), dict(landmark_names="ab")],
)
def test_what_is_no_list_of_names_is_none(hostile):
    assert names_of(hostile) is None
    assert names_of(dict(landmark_names=("a", "b"))) == ["a", "b"]


def test_a_schema_comes_back_from_the_metainfo_of_a_data_set():
    dataset = PhantomDataset(kind="hand", lazy_init=True)
    assert schema_of({**dataset.metainfo, "own": 1}) == replace(dataset.schema, sources="")
    assert schema_of(None) is None
    assert schema_of(dict(num_landmarks=3)) is None
    assert schema_of(dict(landmark_names=["a", "b"])).name == "numbered2"
    with pytest.raises(ValueError, match=r"dataset_meta: schema .*: dims must be 2 or 3"):
        schema_of(dict(landmark_names=["a"], dims=7))
