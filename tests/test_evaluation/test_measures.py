"""Values of measures, and their uncertainty."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from mmlandmark.evaluation.measures import (
    measure_all,
    measure_units,
    measure_values,
    millimetre_axes,
)
from mmlandmark.structures import LandmarkSchema, Prediction, world_matrix

NAMES = ["a", "b", "c", "d", "e"]


def schema(*measures, derived=(), dims=2, **keys):
    return LandmarkSchema(
        "own", NAMES, dims=dims, measures=list(measures), derived_points=list(derived), **keys
    )


def value(places, derived=(), dims=2, reference_length=None, **measure):
    own = schema(dict(measure, name="m"), derived=derived, dims=dims, reference_length=reference_length)
    given = np.full((5, dims), np.nan)
    given[: len(places)] = places
    return measure_all(own, given)[0].value


def test_angles():
    assert value([(5, 0), (0, 0), (0, 3)], kind="angle", points=[0, 1, 2]) == pytest.approx(90)
    assert value([(5, 0), (0, 0), (1, 0)], kind="angle", points=[0, 1, 2]) == 0
    assert value([(5, 0), (0, 0), (-1, 0)], kind="angle", points=[0, 1, 2]) == pytest.approx(180)
    lines = [(0, 0), (10, 0), (3, 3), (3, 9)]
    assert value(lines, kind="angle", lines=[[0, 1], [2, 3]]) == pytest.approx(90)
    assert value(lines, kind="angle", lines=[[1, 0], "x"]) == pytest.approx(180)
    tiny = value([(1e6, 0), (0, 0), (1e6, 1e-3)], kind="angle", points=[0, 1, 2])
    assert tiny == pytest.approx(math.degrees(1e-9), rel=1e-6)
    space = [(1, 0, 0), (0, 0, 0), (0, 0, 2)]
    assert value(space, kind="angle", points=[0, 1, 2], dims=3) == pytest.approx(90)


@pytest.mark.parametrize("mirror", [1, -1])
def test_a_sign_is_told_by_a_landmark_and_survives_a_mirror(mirror):
    points = np.array([(0, 0), (10, 0), (10, 1), (5, 5)]) * [mirror, 1]
    line = dict(kind="angle", lines=[[0, 1], [0, 2]])
    assert value(points, **line, positive=3) == pytest.approx(math.degrees(math.atan(0.1)))
    assert value(points * [1, -1], **line, positive=3) == pytest.approx(math.degrees(math.atan(0.1)))
    points[3] = (5, -5)
    assert value(points, **line, positive=3) == pytest.approx(-math.degrees(math.atan(0.1)))
    assert value(points, kind="point_to_line", point=2, line=[0, 1], positive=3) == pytest.approx(-1)
    assert value(points, kind="point_to_line", point=2, line=[0, 1]) == pytest.approx(1)


def test_lengths():
    points = [(0, 0), (3, 4), (0, 0), (10, 0), (1, 7)]
    assert value(points, kind="distance", points=[0, 1]) == 5
    assert value(points, kind="distance", points=[1, 0], sign_along="x") == -5
    assert value(points, kind="distance", points=[1, 0], sign_along=[3, 2]) == 5
    assert value(points, kind="projected_distance", points=[0, 1], line=[2, 3]) == 3
    assert value(points, kind="projected_distance", points=[0, 1], line=[3, 2]) == -3
    assert value(points, kind="projected_distance", points=[0, 1], line="y") == 4
    assert value(points, kind="point_to_line", point=4, line="x") == 7
    assert value(points, kind="point_to_line", point=4, line="y", positive=3) == 1
    space = [(0, 0, 0), (1, 2, 2), (0, 0, 5)]
    assert value(space, kind="distance", points=[0, 1], dims=3) == 3
    assert value(space, kind="point_to_line", point=1, line=[0, 2], dims=3) == pytest.approx(math.sqrt(5))


def test_derived_points():
    points = [(0, 0), (4, 0), (0, 6), (4, 4), (2, -3)]
    to = dict(kind="projected_distance", line="x")
    across = dict(kind="projected_distance", line="y")
    for point, expected in (
        (dict(kind="midpoint", points=[1, 3]), (4, 2)),
        (dict(kind="midpoint", points=[0, 1, 2]), (4 / 3, 2)),
        (dict(kind="projection", point=4, line=[0, 1]), (2, 0)),
        (dict(kind="projection", point=4, line="y"), (0, -3)),
        (dict(kind="intersection", lines=[[0, 3], [1, 2]]), (2.4, 2.4)),
    ):
        derived = [dict(point, name="p")]
        assert value(points, derived, points=[0, "p"], **to) == pytest.approx(expected[0])
        assert value(points, derived, points=[0, "p"], **across) == pytest.approx(expected[1])


def test_the_wits_appraisal_by_derived_points():
    """The feet of A and B on the occlusal plane, and the distance between them along it."""
    own = LandmarkSchema(
        "wits",
        ("A", "B", "front", "back"),
        derived_points=[
            dict(name="AO", kind="projection", point="A", line=["back", "front"]),
            dict(name="BO", kind="projection", point="B", line=["back", "front"]),
        ],
        measures=[dict(name="Wits", kind="projected_distance", points=["BO", "AO"], line=["back", "front"])],
    )
    for mirror in (1, -1):
        points = np.array([(12, 0), (10, 20), (20, 10), (0, 10.0)]) * [mirror, 1]
        assert measure_all(own, points)[0].value == pytest.approx(2)


def test_ratios_and_sums():
    points = [(0, 0), (3, 4), (0, 2)]
    one, other = dict(kind="distance", points=[0, 1]), dict(kind="distance", points=[0, 2])
    assert value(points, kind="ratio", measures=[one, other]) == 2.5
    assert value(points, kind="sum", plus=[one, one], minus=[other]) == 8
    assert value(points, kind="sum", plus=[dict(kind="ratio", measures=[one, other])]) == 2.5


@pytest.mark.parametrize(
    ("points", "measure", "derived"),
    [
        ([(1, 1), (1, 1), (2, 3)], dict(kind="angle", points=[0, 1, 2]), ()),
        (
            [(0, 0), (1, 0), (0, 0), (1, 1), (5, 0)],
            dict(kind="angle", lines=[[0, 1], [2, 3]], positive=4),
            (),
        ),
        ([(0, 0), (0, 0), (1, 1)], dict(kind="point_to_line", point=2, line=[0, 1]), ()),
        ([(0, 0), (1, 0), (1, 1), (7, 0)], dict(kind="point_to_line", point=2, line=[0, 1], positive=3), ()),
        ([(0, 0), (0, 0), (1, 1)], dict(kind="projected_distance", points=[0, 2], line=[0, 1]), ()),
        ([(0, 0), (1, 0), (2, 2), (2, 2)], dict(kind="distance", points=[0, 1], sign_along=[2, 3]), ()),
        (
            [(0, 0), (0, 0), (1, 1)],
            dict(
                kind="ratio",
                measures=[dict(kind="distance", points=[0, 2]), dict(kind="distance", points=[0, 1])],
            ),
            (),
        ),
        (
            [(0, 0), (1, 0), (0, 1), (3, 1)],
            dict(kind="distance", points=[0, "p"]),
            [dict(name="p", kind="intersection", lines=[[0, 1], [2, 3]])],
        ),
        ([(0, 0), (1, 0)], dict(kind="distance", points=[0, 2]), ()),
        (
            [(0, 0), (1, 0)],
            dict(kind="distance", points=[0, "p"]),
            [dict(name="p", kind="midpoint", points=[1, 2])],
        ),
    ],
)
def test_degenerate_geometry_is_nan(points, measure, derived):
    assert math.isnan(value(points, derived, **measure))


def test_a_coinciding_reference_is_nan():
    length = dict(pair=[0, 1], mm=50)
    measure = dict(kind="distance", points=[1, 2], scale="reference_length")
    assert math.isnan(value([(1, 1), (1, 1), (4, 5)], reference_length=length, **measure))
    assert value([(0, 0), (0, 10), (0, 14)], reference_length=length, **measure) == 20


def test_millimetres_and_units():
    own = schema(
        dict(name="angle", kind="angle", points=[0, 1, 2]),
        dict(name="length", kind="distance", points=[0, 2], classes=[dict(label="short", below=9)]),
        dict(name="by reference", kind="distance", points=[1, 2], scale="reference_length"),
        dict(name="ratio", kind="ratio", measures=["length", "length"]),
        reference_length=dict(pair=[0, 1], mm=50),
    )
    assert measure_units(own, in_mm=False) == ("degrees", "pixels", "mm", "")
    assert measure_units(own, in_mm=True) == ("degrees", "mm", "mm", "")
    points = np.array([(4, 0), (0, 0), (4, 4), (9, 9), (9, 9.0)])
    in_pixels = measure_all(own, points)
    assert [m.unit for m in in_pixels] == ["degrees", "pixels", "mm", ""]
    assert in_pixels[0].value == pytest.approx(45)
    assert (in_pixels[1].value, in_pixels[1].label) == (4, "")  # thresholds are in mm
    flat = measure_all(own, points, world_from_original=world_matrix((1, 0.5), (7, 8)))
    assert flat[0].value == pytest.approx(math.degrees(math.atan(0.5)))
    assert (flat[1].value, flat[1].unit, flat[1].label) == (2, "mm", "short")
    assert flat[2].value == pytest.approx(50 / 4 * math.hypot(4, 2))


def test_the_place_in_the_patient_changes_nothing():
    own = schema(
        dict(name="angle", kind="angle", lines=[[0, 1], "x"]),
        dict(name="length", kind="distance", points=[0, 1]),
    )
    points = np.array([(4, 1), (0, 3), (4, 4), (9, 9), (9, 9.0)])
    plain = measure_all(own, points, world_from_original=world_matrix((0.5, 2)))
    sagittal = world_matrix((0.5, 2), (1, 2, 3), [[0, 0], [1, 0], [0, -1]])
    turned = measure_all(own, points, world_from_original=sagittal)
    assert [m.value for m in turned] == pytest.approx([m.value for m in plain])
    oblique = world_matrix((1, 1), None, [[1, 0.6], [0, 0.8]])  # y leans towards x
    assert measure_all(own, points, world_from_original=oblique)[1].value == pytest.approx(
        np.linalg.norm(oblique[:2, :2] @ (points[1] - points[0]))
    )
    assert millimetre_axes(oblique) == pytest.approx(np.array([[1, 0.6], [0, 0.8]]))


KINDS = [
    dict(kind="angle", points=[0, 1, 2]),
    dict(kind="angle", lines=[[0, 1], [2, 3]], positive=4),
    dict(kind="distance", points=[0, 1], sign_along="x"),
    dict(kind="point_to_line", point=4, line=[0, 1], positive=3),
    dict(kind="projected_distance", points=[2, 3], line=[0, 1], scale="reference_length"),
    dict(
        kind="ratio",
        measures=[dict(kind="distance", points=[0, 1]), dict(kind="distance", points=[2, 3])],
    ),
    dict(
        kind="sum",
        plus=[dict(kind="angle", points=[0, 1, 2])],
        minus=[dict(kind="angle", points=[0, 1, 3])],
    ),
    dict(kind="distance", points=[4, "p"]),
]


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("measure", KINDS, ids=lambda measure: measure["kind"])
def test_the_uncertainty_agrees_with_a_simulation(measure, dims):
    rng = np.random.default_rng(5)
    points = np.array([(100, 0, 30), (0, 10, 0), (20, 160, 20), (130, 40, 60), (60, 70, 90.0)])[:, :dims]
    root = rng.normal(size=(5, dims, dims)) * 0.4
    covariance = root @ root.transpose(0, 2, 1)
    own = schema(
        dict(measure, name="m"),
        dims=dims,
        derived=[dict(name="p", kind="projection", point=3, line=[0, 1])],
        reference_length=dict(pair=[0, 2], mm=50),
    )
    frame = world_matrix((0.5, 0.8, 1.1)[:dims])
    told = measure_all(own, points, covariance, frame)[0]
    noise = np.einsum("kde,nke->nkd", root, rng.normal(size=(40_000, 5, dims)))
    drawn = measure_values(own, points + noise, millimetre_axes(frame)[None])[:, 0]
    assert told.std == pytest.approx(drawn.std(), rel=0.02)
    assert told.value == pytest.approx(drawn.mean(), abs=0.05 * told.std)


def test_the_uncertainty_of_the_cephalometric_measures_agrees_with_a_simulation():
    rng = np.random.default_rng(0)
    own = LandmarkSchema.load("isbi2015_cephalogram")
    points = FILM + 0.0
    covariance = np.tile(np.array([[10.0, 4], [4, 20]]), (19, 1, 1))
    frame = world_matrix((0.1, 0.1))
    told = measure_all(own, points, covariance, frame)
    noise = rng.multivariate_normal((0, 0), covariance[0], size=(20_000, 19))
    drawn = measure_values(own, points + noise, millimetre_axes(frame)[None])
    assert [m.std for m in told] == pytest.approx(drawn.std(axis=0), rel=0.03)
    for column, measure in enumerate(told):
        classes = own.measures[column]["classes"]
        limits = {entry["label"]: n for n, entry in enumerate(classes)}
        values, place = drawn[:, column], limits[measure.label]
        low = classes[place - 1].get("below", classes[place - 1].get("to")) if place else -np.inf
        high = classes[place].get("below", classes[place].get("to", np.inf))
        share = ((values >= low) & (values <= high)).mean()
        assert measure.label_probability == pytest.approx(share, abs=0.02)


def test_a_standard_deviation_is_only_given_where_it_is_known():
    own = schema(dict(name="m", kind="distance", points=[0, 1]))
    points = np.array([(0, 0), (3, 4), (5, 5), (6, 6), (7, 7.0)])
    covariance = np.tile(np.eye(2), (5, 1, 1))
    assert measure_all(own, points)[0].std is None
    assert measure_all(own, points, covariance)[0].std == pytest.approx(math.sqrt(2))
    covariance[2] = np.nan  # of a landmark that the measure does not use
    assert measure_all(own, points, covariance)[0].std == pytest.approx(math.sqrt(2))
    covariance[1] = np.nan
    assert measure_all(own, points, covariance)[0].std is None
    points[1] = 0  # the distance cannot shrink: no derivative
    assert measure_all(own, points, np.tile(np.eye(2), (5, 1, 1)))[0].std is None
    points[1] = np.nan
    missing = measure_all(own, points, np.tile(np.eye(2), (5, 1, 1)))[0]
    assert math.isnan(missing.value)
    assert missing.std is None
    assert missing.label_probability is None


def test_wrong_shapes_are_refused():
    own = schema(dict(name="m", kind="distance", points=[0, 1]))
    with pytest.raises(ValueError, match=r"needs points \(N, 5, 2\)"):
        measure_all(own, np.zeros((4, 2)))
    with pytest.raises(ValueError, match="covariance must be"):
        measure_all(own, np.zeros((5, 2)), np.zeros((5, 2)))
    spine = LandmarkSchema.load("spine_aasce2019")
    with pytest.raises(ValueError, match="Cobb angles need the shape of the image"):
        measure_all(spine, np.zeros((68, 2)))


def test_measures_survive_a_prediction_as_json():
    own = schema(dict(name="m", kind="distance", points=[0, 1], classes=[dict(label="short", below=20)]))
    points = np.array([(0, 0), (3, 4), (5, 5), (6, 6), (7, 7.0)])
    measures = measure_all(own, points, np.tile(np.eye(2), (5, 1, 1)), world_matrix((2, 2)))
    assert (measures[0].value, measures[0].unit, measures[0].std) == (
        10,
        "mm",
        pytest.approx(2 * math.sqrt(2)),
    )
    prediction = Prediction("x", None, (9, 9), own, points, np.ones(5), measures=measures)
    back = Prediction.from_dict(json.loads(json.dumps(prediction.to_dict())), own)
    assert back.measures == measures


# A made-up film that faces right, 0.1 mm per pixel.
FILM = np.array(
    [
        (800, 1000), (1440, 1050), (1290, 1270), (600, 1220), (1380, 1640), (1370, 2000), (1340, 2180),
        (1250, 2270), (1300, 2250), (690, 1810), (1440, 1880), (1465, 1860), (1590, 1750), (1570, 2010),
        (1510, 1610), (1420, 2280), (940, 1510), (1420, 1560), (660, 1340),
    ],
    dtype=float,
)  # fmt: skip


def _eight_by_hand(points):
    """The eight measures of the challenge from its formulas in image coordinates (y down, facing right)."""
    p = dict(enumerate(points, 1))

    def between(u, v):
        return math.degrees(math.acos(np.dot(u, v) / np.linalg.norm(u) / np.linalg.norm(v)))

    def cross(u, v):
        return u[0] * v[1] - u[1] * v[0]

    sna, snb = between(p[1] - p[2], p[5] - p[2]), between(p[1] - p[2], p[6] - p[2])
    palatal = between(p[3] - p[4], p[18] - p[17])
    palatal = -palatal if cross(p[3] - p[4], p[18] - p[17]) < 0 else palatal
    facial = between(p[7] - p[2], p[6] - p[5])
    facial = -facial if cross(p[7] - p[2], p[6] - p[5]) > 0 else facial
    overjet = np.linalg.norm(p[12] - p[11]) / 10
    return [
        sna,
        snb,
        sna - snb,
        between(p[10] - p[8], p[5] - p[6]) + palatal,
        between(p[4] - p[3], p[7] - p[2]) + facial + palatal,
        np.linalg.norm(p[10] - p[1]) / np.linalg.norm(p[8] - p[2]),
        between(p[2] - p[1], p[9] - p[10]),
        -overjet if p[12][0] < p[11][0] else overjet,
    ]


def test_the_eight_cephalometric_measures_are_those_of_the_challenge():
    rng = np.random.default_rng(1)
    own = LandmarkSchema.load("isbi2015_cephalogram")
    films = FILM + rng.normal(size=(200, 19, 2)) * 25
    values = measure_values(own, films, np.eye(2)[None] / 10)
    assert values == pytest.approx(np.array([_eight_by_hand(film) for film in films]), abs=1e-6)
    assert [m["name"] for m in own.measures] == ["SNA", "SNB", "ANB", "ODI", "APDI", "FHI", "FMA", "MW"]
    assert ((values < 0).sum(axis=0) > 0)[[2, 7]].all()  # the cases with a sign occur
    mirrored = measure_values(own, films * [-1, 1], np.eye(2)[None] / 10)
    assert mirrored[:, :7] == pytest.approx(values[:, :7])


def test_the_lengths_of_a_hand_are_in_units_of_its_wrist():
    own = LandmarkSchema.load("hand_atlas")
    points = np.random.default_rng(2).normal(size=(37, 2)) * 100
    small, large = measure_all(own, points), measure_all(own, points * 7)
    assert [m.value for m in small] == pytest.approx([m.value for m in large])
    steps = np.linalg.norm(np.diff(points[25:29], axis=0), axis=1).sum()
    wrist = np.linalg.norm(points[0] - points[4])
    values = {m.name: m for m in small}
    assert values["middle finger"].value == pytest.approx(50 * steps / wrist)
    assert values["middle finger"].unit == "mm"
    assert values["2D:4D"].unit == ""


def test_the_angles_of_a_spine_are_named_from_the_top():
    own = LandmarkSchema.load("spine_aasce2019")
    middle = np.stack([300 + 30 * np.sin(np.linspace(0, 6.2, 17)), 60 + 50 * np.arange(17.0)], 1)
    points = np.concatenate([m + np.array([(-20, -15), (20, -15), (-20, 15), (20, 15)]) for m in middle])
    points += np.random.default_rng(3).normal(size=points.shape) / 50  # without it, all others tie
    points[4 * 12 + 1 :: 2][:2] += [0, 12]  # the thirteenth vertebra tilts
    values = measure_all(own, points, np.tile(np.eye(2) * 0.01, (68, 1, 1)), shape=(900, 600))
    assert [m.name for m in values] == ["PT", "MT", "TL/L"]
    assert (
        max(m.value for m in values)
        == values[2].value
        == pytest.approx(math.degrees(math.atan(12 / 40)), abs=0.3)
    )
    assert values[2].std > 0
