"""Slips of the keyboard are told from names of somebody's own."""

from __future__ import annotations

import pytest

from mmlandmark.utils.near_names import did_you_mean, edit_distance, near_name, refuse_misspelt

KNOWN = ("id", "image", "landmarks", "visibility", "weights", "spacing", "group", "split", "fold", "width")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("wieghts", "weights"),  # codespell:ignore
        ("gruop", "group"),  # codespell:ignore
        ("spliit", "split"),  # codespell:ignore
        ("visibilty", "visibility"),  # codespell:ignore
        ("Group", "group"),
        (" ID ", "id"),
        ("weight", "weights"),
        ("widht", "width"),  # codespell:ignore
        ("spacing_x", "spacing"),
        *[
            (name, None)
            for name in (
                "image1",
                "group2",
                "age",
                "sex",
                "ide",
                "machine",
                "image_2",
                "site",
                "old",
                "patient",
                "comment",
            )
        ],
    ],
)
def test_near_names(name, meant):
    assert near_name(name, KNOWN) == meant


def test_names_that_differ_in_case_and_separators_only_are_near():
    known = ["left eye", "soft-tissue pogonion"]
    assert near_name("Left_Eye", known) == "left eye"
    assert near_name("Soft Tissue_Pogonion", known) == "soft-tissue pogonion"
    assert did_you_mean(["Left_Eye", "toe"], known) == " (did you mean 'left eye' for 'Left_Eye'?)"
    assert did_you_mean(["toe"], known) == ""


@pytest.mark.parametrize(
    ("one", "other", "distance"),
    [
        ("", "", 0),
        ("abc", "abc", 0),
        ("abc", "acb", 1),
        ("abc", "ab", 1),
        ("kitten", "sitting", 3),
        ("", "ab", 2),
    ],
)
def test_edit_distance(one, other, distance):
    assert edit_distance(one, other) == edit_distance(other, one) == distance


def test_a_misspelt_key_is_refused_and_a_strange_one_is_not():
    refuse_misspelt(["group", "machine"], KNOWN, "here")
    with pytest.raises(
        ValueError,
        match=r"a\.json, samples\[2\]: unknown key 'gruop', did you mean 'group'\?",  # codespell:ignore
    ):
        refuse_misspelt(["machine", "gruop"], KNOWN, "a.json, samples[2]")  # codespell:ignore


def test_long_names_are_near_to_none_at_once():
    assert near_name("x" * 100_000, ["x" * 99_999, "spacing"]) is None
    assert near_name("landmark_" * 9, ["landmark_" * 8 + "landmrak_"]) is not None  # codespell:ignore
