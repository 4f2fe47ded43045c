"""Definitions of measures and derived points: what a schema accepts, refuses and keeps."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from mmlandmark.structures import LandmarkSchema
from mmlandmark.structures.measure_definitions import measures_of, points_of, quantity_of

NAMES = ["alpha", "bravo", "charlie", "delta", "echo"]


def schema(measures=(), derived=(), **keys):
    return LandmarkSchema(
        **dict(name="own", landmarks=NAMES, measures=list(measures), derived_points=list(derived), **keys)
    )


def test_names_become_indices_at_every_depth():
    own = schema(
        derived=[
            dict(name="middle", kind="midpoint", points=["alpha", "bravo"]),
            dict(name="foot", kind="projection", point="middle", line=["charlie", "delta"]),
        ],
        measures=[
            dict(name="one", kind="angle", lines=[["alpha", "foot"], "x"], positive="echo"),
            dict(
                name="two",
                kind="sum",
                plus=["one", dict(kind="angle", points=["alpha", "middle", 2])],
                minus=[dict(kind="angle", points=[0, 1, "echo"])],
            ),
        ],
    )
    assert own.derived_points[1] == dict(name="foot", kind="projection", point="middle", line=[2, 3])
    assert own.measures[0]["lines"] == [[0, "foot"], "x"]
    assert own.measures[0]["positive"] == 4
    assert own.measures[1]["plus"] == ["one", dict(kind="angle", points=[0, "middle", 2])]
    assert own.measures[1]["minus"][0]["points"] == [0, 1, 4]
    assert LandmarkSchema.load(json.loads(json.dumps(asdict(own)))) == own
    assert points_of(own.measures[1]) == {0, 1, 2, 4, "middle"}
    assert measures_of(own.measures[1]) == {"one"}
    assert quantity_of(own.measures[1], {m["name"]: m for m in own.measures}) == "angle"


def test_a_subset_keeps_what_is_whole():
    own = schema(
        reference_length=dict(pair=["alpha", "bravo"], mm=50),
        derived=[
            dict(name="middle", kind="midpoint", points=["bravo", "charlie"]),
            dict(name="foot", kind="projection", point="middle", line=["delta", "echo"]),
        ],
        measures=[
            dict(name="to middle", kind="distance", points=["delta", "middle"]),
            dict(name="to foot", kind="distance", points=["delta", "foot"]),
            dict(name="both", kind="sum", plus=["to middle", "to foot"]),
            dict(name="share", kind="ratio", measures=["to middle", dict(kind="distance", points=[1, 2])]),
            dict(name="scaled", kind="distance", points=[1, 2], scale="reference_length"),
        ],
    )
    smaller, chosen = own.subset(["delta", "charlie", "bravo"])
    assert chosen == [3, 2, 1]
    assert [point["name"] for point in smaller.derived_points] == ["middle"]
    assert [measure["name"] for measure in smaller.measures] == ["to middle", "share"]
    assert smaller.derived_points[0]["points"] == [2, 1]
    assert smaller.measures[0]["points"] == [0, "middle"]
    assert smaller.measures[1]["measures"][1]["points"] == [2, 1]
    whole, _ = own.subset(NAMES[::-1])
    assert [measure["name"] for measure in whole.measures] == [m["name"] for m in own.measures]
    assert whole.measures[4]["points"] == [3, 2]


DISTANCE = dict(name="d", kind="distance", points=[0, 1])
OTHER = dict(DISTANCE, name="m")
CORNERS = [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1]


def nested(depth):
    """Return sums inside of each other, without a name."""
    return dict(kind="sum", plus=[nested(depth - 1) if depth else dict(kind="distance", points=[0, 1])])


@pytest.mark.parametrize(
    ("measure", "message"),
    [
        ("m", "every one of measures needs 'name' and 'kind', got 'm'"),
        (dict(kind="angle"), "needs a 'name' of printable text"),
        (dict(DISTANCE, name="d\n"), "needs a 'name' of printable text"),
        (dict(name="m", points=[0, 1]), "measure 'm' got kind None; the kinds are"),
        (dict(name="m", kind="angel", points=[0, 1, 2]), r"got kind 'angel' \(did you mean 'angle'"),
        (dict(name="m", kind=["angle"], points=[0, 1, 2]), r"got kind \['angle'\]"),
        (dict(name="m", kind="angle", points=[0, 1]), r"measure 'm' has \[0, 1\], which is not three points"),
        (dict(name="m", kind="angle", point=[0, 1, 2]), "did you mean 'points' for 'point'"),
        (dict(name="m", kind="angle"), "of kind 'angle' needs 'points' or 'lines'"),
        (dict(name="m", kind="angle", points=[0, 1, 2], lines=[[0, 1], [1, 2]]), "needs 'points' or 'lines'"),
        (dict(name="m", kind="angle", lines=[[0, 1]]), "needs two lines"),
        (dict(name="m", kind="angle", lines=[[0, 1], [2]]), r"line \[2\], which is neither a pair"),
        (dict(name="m", kind="angle", lines=[[0, 1], "z"]), "line 'z', which is neither"),
        (dict(name="m", kind="angle", points=[0, 1, 1]), r"a point twice: \[0, 1, 1\]"),
        (dict(name="m", kind="angle", points=[0, 1, 5]), "point 5, which is not one of 0..4"),
        (dict(name="m", kind="angle", points=[0, 1, True]), "point True, which is not one of 0..4"),
        (dict(name="m", kind="angle", points=[0, 1, "brave"]), "'brave' .did you mean 'bravo'"),
        (dict(name="m", kind="angle", points=[0, 1, 2], positive="x"), "names point 'x'"),
        (dict(name="m", kind="distance", points="alpha"), "needs a list as 'points', got 'alpha'"),
        (dict(OTHER, sign_along=3), "needs a list as 'sign_along', got 3"),
        (dict(OTHER, lines=[]), r"unknown \['lines'\]"),
        (dict(OTHER, unit="mm"), r"unknown \['unit'\]"),
        (dict(OTHER, scale="reference_length"), "needs 'reference_length' as 'scale', and a schema that"),
        (dict(OTHER, source=5), "needs text as 'source'"),
        (dict(OTHER, classes=[dict(label="a", code=1.5)]), "measure 'm' has class 'a' with code 1.5"),
        (dict(name="m", kind="point_to_line", point=0, line=[0, 1]), r"a point twice: \[0, 0, 1\]"),
        (dict(name="m", kind="point_to_line", line=[0, 1]), "of kind 'point_to_line' needs 'point'"),
        (dict(name="m", kind="ratio", measures=["d"]), "needs two measures as 'measures'"),
        (
            dict(name="m", kind="ratio", measures=["d", "e"]),
            r"names measure 'e'; those before it are \['d'\]",
        ),
        (dict(name="m", kind="sum", plus=[]), "needs a list of measures as 'plus'"),
        (dict(name="m", kind="sum", minus=["d"]), "of kind 'sum' needs 'plus'"),
        (dict(name="m", kind="sum", plus=["m"]), "names measure 'm'; those before"),
        (
            dict(name="m", kind="sum", plus=[dict(kind="distance", points=5)]),
            "a part needs a list as 'points'",
        ),
        (
            dict(name="m", kind="sum", plus=[dict(kind="distance", points=["alpha", "brav"])]),
            "measure 'm': a part names point 'brav' .did you mean 'bravo'",
        ),
        (dict(name="m", **nested(7)), "more than 6 measures inside of each other"),
        (dict(name="m", kind="sum", plus=[5]), "has a part 5, which is no name and no definition"),
        (
            dict(name="m", kind="sum", plus=["d", dict(kind="angle", points=[0, 1, 2])]),
            "mixes angle and length: it has no unit",
        ),
        (
            dict(name="m", kind="sum", plus=[dict(DISTANCE)]),
            r"a part has unknown \['name'\]",
        ),
        (dict(name="m", kind="cobb", curve="LT", points=CORNERS), "curve 'LT', which is none of"),
        (dict(name="m", kind="cobb", curve=True, points=CORNERS), "curve True, which is none of"),
        (dict(name="m", kind="cobb", curve=1, points=[0, 1, 2, 3]), "at least 3 vertebrae .* got 4"),
        (dict(DISTANCE), "the name 'd' is taken"),
    ],
)
def test_faults_of_a_measure_are_named(measure, message):
    with pytest.raises(ValueError, match=f"schema 'own': .*{message}"):
        schema([DISTANCE, measure])


@pytest.mark.parametrize(
    ("point", "message"),
    [
        (5, "every one of derived_points needs"),
        (dict(name="alpha", kind="midpoint", points=[0, 1]), "the name 'alpha' is taken"),
        (dict(name="p", kind="midpoints", points=[0, 1]), "did you mean 'midpoint'"),
        (dict(name="p", kind="midpoint", points=[0]), "needs at least two points"),
        (dict(name="p", kind="midpoint", points=[0, 1], source=1), "needs text as 'source'"),
        (dict(name="p", kind="midpoint", points=["p", 1]), "names point 'p'"),
        (dict(name="p", kind="intersection", lines=[[0, 1], [2, "q"]]), "names point 'q'"),
        (dict(name="p", kind="projection", point=0), "of kind 'projection' needs 'line'"),
        (dict(name="p", kind="midpoint", points=[0, 1], classes=[]), r"unknown \['classes'\]"),
    ],
)
def test_faults_of_a_derived_point_are_named(point, message):
    with pytest.raises(ValueError, match=f"schema 'own': .*{message}"):
        schema(derived=[point])


def test_what_mixes_the_reference_length_with_other_lengths_is_refused():
    parts = [
        dict(kind="distance", points=[0, 1], scale="reference_length"),
        dict(kind="distance", points=[1, 2]),
    ]
    for measure in (dict(kind="sum", plus=parts), dict(kind="ratio", measures=parts)):
        with pytest.raises(ValueError, match="mixes length and reference length"):
            schema([dict(name="m", **measure)], reference_length=dict(pair=[0, 1], mm=5))


def test_measures_inside_of_each_other_have_a_limit():
    assert schema([dict(name="m", **nested(5))]).measures


def test_some_things_are_2d_only():
    with pytest.raises(ValueError, match="two lines seldom meet in 3D"):
        schema(derived=[dict(name="p", kind="intersection", lines=[[0, 1], [2, 3]])], dims=3)
    with pytest.raises(ValueError, match="needs in 2D the corners"):
        schema([dict(name="m", kind="cobb", curve=1, points=CORNERS)], dims=3)
    assert schema([dict(name="m", kind="angle", lines=[[0, 1], "z"])], dims=3).measures
