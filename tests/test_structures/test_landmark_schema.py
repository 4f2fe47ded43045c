"""Schemas: what they refuse, and those that are shipped."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from mmlandmark.structures import LandmarkSchema
from mmlandmark.structures.measure_definitions import map_points

COUNTS = dict(aariz=29, cl_detection2023=38, hand_atlas=37, isbi2015_cephalogram=19, spine_aasce2019=68)


@pytest.mark.parametrize("name", LandmarkSchema.shipped())
def test_shipped_schemas_are_consistent(name):
    schema = LandmarkSchema.load(name)
    assert schema.name == name
    assert schema.sources
    assert sorted(schema.flip_permutation) == list(range(len(schema)))
    assert LandmarkSchema.load(json.loads(json.dumps(asdict(schema)))) == schema


@pytest.mark.parametrize(("name", "count"), COUNTS.items())
def test_counts(name, count):
    assert len(LandmarkSchema.load(name)) == count


def test_the_same_angle_means_the_same_landmarks_in_both_cephalogram_schemas():
    aariz, isbi = LandmarkSchema.load("aariz"), LandmarkSchema.load("isbi2015_cephalogram")
    full = dict(
        S="sella", N="nasion", A="subspinale (A)", B="supramentale (B)", Or="orbitale", Po="porion",
        Pog="pogonion", Me="menton", Gn="gnathion", Go="gonion", LIT="lower incisor", UIT="upper incisor",
        PNS="posterior nasal spine", ANS="anterior nasal spine",
    )  # fmt: skip
    assert len(isbi.measures) == 8
    for one, other in zip(aariz.measures, isbi.measures, strict=True):
        assert map_points(one, lambda p: full[aariz.landmarks[p]]) == map_points(
            other, lambda p: isbi.landmarks[p]
        )


def test_aariz_has_the_symbols_of_its_files_in_their_order():
    names = LandmarkSchema.load("aariz").landmarks
    assert names[:5] == ("A", "ANS", "B", "Me", "N")
    assert names[-3:] == ("N`", "Pog`", "Sn")
    assert names.index("S") == 10


def test_spine_mirror_swaps_left_and_right_of_every_vertebra():
    schema = LandmarkSchema.load("spine_aasce2019")
    for name, mirrored in zip(schema.landmarks, schema.flip_permutation, strict=True):
        swapped = name.replace("left", "LEFT").replace("right", "left").replace("LEFT", "right")
        assert schema.landmarks[mirrored] == swapped


def test_load_from_every_kind_of_source(tmp_path):
    data = dict(name="own", landmarks=["a", "b"], flip_pairs=[[0, 1]])
    path = tmp_path / "own.json"
    path.write_text(json.dumps(data))
    schema = LandmarkSchema.load(path)
    assert (
        schema == LandmarkSchema.load(data) == LandmarkSchema.load(schema) == LandmarkSchema.load(str(path))
    )
    assert schema.flip_permutation == [1, 0]
    assert LandmarkSchema.numbered(3, dims=3).landmarks == ("landmark_1", "landmark_2", "landmark_3")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(landmarks=[]), "must exist and be unique"),
        (dict(landmarks=["a", "a"]), r"repeated: \['a'\]"),
        (dict(dims=4), "dims must be 2 or 3"),
        (dict(flip_pairs=[[0, 3]]), r"flip_pairs has \[0, 3\]"),
        (dict(flip_pairs=[[0, 0]]), r"flip_pairs has \[0, 0\]"),
        (dict(flip_pairs=[[0, 1], [1, 2]]), "is in two flip_pairs"),
        (dict(links=[[0, -1]]), r"links has \[0, -1\]"),
        (dict(reference_length={"pair": [0, 1]}), "needs 'pair' and a positive 'mm'"),
        (dict(reference_length={"pair": [0, 1], "mm": 0}), "needs 'pair' and a positive 'mm'"),
        (dict(reference_length={"pair": [0, 9], "mm": 5}), r"reference_length has \[0, 9\]"),
        (dict(flips=[]), r"unknown \['flips'\]"),
        (dict(flip_pair=[]), r"unknown \['flip_pair'\] \(did you mean 'flip_pairs' for 'flip_pair'\?\)"),
        (dict(flip_pairs=[["a", "B"]]), r"flip_pairs names \['B'\] \(did you mean 'b' for 'B'\?\)"),
        (dict(flip_pairs=[["a", "a"]]), r"flip_pairs has \['a', 'a'\], which is not two"),
        (dict(flip_pairs=[["0", "1"]]), r"flip_pairs names \['0', '1'\]"),
        (dict(flip_pairs=[[0, True]]), r"flip_pairs has \[0, True\]"),
        (dict(flip_pairs=[[0, 1.5]]), r"flip_pairs has \[0, 1.5\]"),
        (dict(flip_pairs=["ab"]), r"flip_pairs names \['ab'\]"),
        (dict(flip_pairs=5), "'flip_pairs' must be a list"),
        (dict(links=[None]), r"links has \[None\]"),
        (dict(landmarks="abc"), "'landmarks' must be a list of names"),
        (dict(landmarks=["a", 5]), "must be printable text, got 5"),
        (dict(landmarks=["a", "b\nc"]), "must be printable text"),
        (dict(landmarks=["a", " "]), "must be printable text"),
        (dict(name=5), "'name' and 'sources' must be text"),
        (dict(dims=True), "dims must be 2 or 3"),
        (dict(reference_length=5), "reference_length needs 'pair'"),
        (dict(reference_length={"pair": [0, 1], "mm": "5"}), "a positive 'mm', got '5'"),
        (dict(reference_length={"pairs": [0, 1], "mm": 5}), "did you mean 'pair' for 'pairs'"),
        (dict(measures=5), "'measures' must be a list"),
        (dict(derived_points={}), "'derived_points' must be a list"),
        (dict(measures=[dict(name="m", kind="angle", points=[0, 1])]), "measure 'm' has"),
        (dict(links=[[0, [1]]]), r"links has \[0, \[1\]\]"),
    ],
)
def test_inconsistent_schema_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        LandmarkSchema.load({**dict(name="own", landmarks=["a", "b", "c"]), **change})


def test_landmarks_may_be_given_by_name():
    by_name = LandmarkSchema(
        name="own",
        landmarks=["mid", "left", "right", "1"],
        flip_pairs=[["left", "right"]],
        links=[["mid", 1], ("right", "1")],
        reference_length=dict(pair=["left", "right"], mm=30),
        measures=[dict(name="m", kind="angle", points=["left", "mid", "right"])],
    )
    assert by_name == LandmarkSchema.load(
        dict(
            name="own",
            landmarks=["mid", "left", "right", "1"],
            flip_pairs=[[1, 2]],
            links=[[0, 1], [2, 3]],
            reference_length=dict(pair=[1, 2], mm=30),
            measures=[dict(name="m", kind="angle", points=[1, 0, 2])],
        )
    )
    assert by_name == LandmarkSchema.load(json.loads(json.dumps(asdict(by_name))))


def test_a_fault_in_a_file_names_the_file(tmp_path):
    path = tmp_path / "own.json"
    for content in (
        dict(name="own", landmarks=["a"], links=[["a", "b"]]),
        [1],
        dict(name="own", landmark=["a"]),
    ):
        path.write_text(json.dumps(content))
        with pytest.raises(ValueError, match=r"own\.json: "):
            LandmarkSchema.load(path)


def test_missing_keys_and_broken_files(tmp_path):
    with pytest.raises(ValueError, match="needs 'name' and 'landmarks'"):
        LandmarkSchema.load(dict(name="own"))
    path = tmp_path / "broken.json"
    path.write_text('{"name":\n oops}')
    with pytest.raises(ValueError, match=r"broken\.json, line 2: not valid JSON"):
        LandmarkSchema.load(path)
    with pytest.raises(FileNotFoundError, match=r"shipped: \['aariz'"):
        LandmarkSchema.load("unknown")


def test_an_error_quotes_no_more_than_a_sentence_holds():
    given = dict(name="a", landmarks=["x", "y"], reference_length=dict(pair=[0, 1], mm="z" * 10_000))
    with pytest.raises(ValueError, match="reference_length needs 'pair' and a positive 'mm'") as caught:
        LandmarkSchema.load(given)
    assert len(str(caught.value)) == 1000
