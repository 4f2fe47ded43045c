"""Volumes: directions, spacing, the origin of the world, and the sides of the patient."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mmlandmark.datasets import LandmarkDataset
from mmlandmark.datasets.check_cases import Cases
from mmlandmark.datasets.checks import check_dataset
from mmlandmark.datasets.volume_checks import upright_spacing
from mmlandmark.structures import LandmarkSchema
from test_datasets.heads import findings, heads, stored_as

# What is stored as RAS becomes LPS, or SRA.
TO_LPS, TO_SRA = np.diag([-1.0, -1, 1]), np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])


class Records(LandmarkDataset):
    def __init__(self, records):
        self.records = records
        super().__init__(schema="phantom_head", lazy_init=True)

    def load_records(self):
        return self.records


def records_of(given):
    dataset = given.dataset()
    return [dataset.get_data_info(n) for n in range(len(dataset))]


@pytest.fixture(scope="module")
def clean():
    return heads()


def test_clean_volumes_have_no_finding(clean):
    assert findings(clean) == []


def test_the_same_patients_in_other_orientations_compare_alike(clean):
    """Left and right, shapes and positions are those of the patient, however the volume is stored."""
    mixed = stored_as(stored_as(clean, TO_LPS, slice(0, 6)), TO_SRA, slice(6, 14))
    found = findings(mixed)
    assert {finding["check"] for finding in found} == {"mixed orientation"}
    assert {finding["severity"] for finding in found} == {"note"}
    stored = {finding["sample_id"]: finding["message"] for finding in found}
    assert set(stored) == {str(n) for n in range(14)}
    assert stored["0"] == "stored as LPS; 10 of 24 volumes are RAS"
    assert stored["13"] == "stored as SRA; 10 of 24 volumes are RAS"
    given, same = Cases(dict(train=clean.dataset())), Cases(dict(train=mixed.dataset()))
    np.testing.assert_allclose(given.comparable(), same.comparable(), atol=1e-3)
    np.testing.assert_allclose(upright_spacing(given), upright_spacing(same))


def test_a_volume_without_directions_among_others(clean):
    dataset = Records([dict(record) for record in records_of(clean)])
    dataset.records[5]["world_from_original"] = None
    dataset.records[7].update(spacing=(2.4, 2.4, 3.1))
    cases = Cases(dict(train=dataset))
    assert cases.frames[5] is None
    found = {(f["check"], f["sample_id"]): f for f in check_dataset(dict(train=dataset))["findings"]}
    assert found["mixed orientation", "5"]["severity"] == "warning"
    assert "does not state its directions" in found["mixed orientation", "5"]["message"]
    assert found["spacing", "5"]["message"] == "has no spacing, but other records have one"
    assert "states a spacing of (2.4, 2.4, 3.1) mm, its file one of" in found["spacing", "7"]["message"]


def test_slices_of_another_thickness(clean):
    frames = clean.frames.copy()
    frames[3, :3, 2] *= 4
    points = clean.points.copy()
    points[3, :, 2] /= 4
    found = findings(replace(clean, frames=frames, points=points), "spacing")
    assert [finding["sample_id"] for finding in found] == ["3"]


def test_points_outside_and_too_close_in_anisotropic_voxels(clean):
    points = clean.points.copy()
    points[2, 0, 2] = clean.sizes[2, 2] + 20
    points[4, 1] = points[4, 2] + [0.2, 0, 0]
    found = findings(replace(clean, points=points))
    assert {("far outside", "2"), ("points too close", "4")} <= {(f["check"], f["sample_id"]) for f in found}


def test_a_point_at_the_origin_of_the_world_is_a_placeholder(clean):
    """Where 0, 0, 0 mm lies in the voxels of a volume depends on its frame."""
    points = clean.points.copy()
    inverse = np.linalg.inv(clean.frames[6])
    points[6, 4] = inverse[:3, 3]
    (found,) = findings(replace(clean, points=points), "placeholder")
    assert (found["sample_id"], found["landmarks"]) == ("6", [4])
    assert "(0, 0, 0) mm" in found["message"]


def test_copied_millimetres_are_found_in_another_frame(clean):
    points = clean.points.copy()
    world = points[0] @ clean.frames[0][:3, :3].T + clean.frames[0][:3, 3]
    inverse = np.linalg.inv(clean.frames[1])
    points[1] = world @ inverse[:3, :3].T + inverse[:3, 3]
    found = findings(replace(clean, points=points), "same landmarks")
    assert [finding["sample_id"] for finding in found] == ["1"]


@pytest.mark.parametrize(
    ("signs", "words"),
    [
        ((-1, -1, 1), "left and right and front and back seem to be exchanged; x and y have the wrong sign"),
        ((-1, 1, 1), "left and right seem to be exchanged"),
        ((1, 1, -1), "head and feet seem to be exchanged"),
    ],
)
def test_a_whole_file_on_the_wrong_side_of_the_patient(signs, words):
    """All samples agree with each other, so only names can tell."""
    names = (
        "left eye", "right eye", "left porion", "right porion", "anterior spine", "posterior spine",
        "upper tooth", "lower tooth",
    )  # fmt: skip
    places = np.array(
        [[30, -40, 20], [-30, -40, 20], [60, 0, 0], [-60, 0, 0], [0, -50, -10], [0, -10, -10], [5, -45, -30],
         [5, -45, -45]]
    )  # fmt: skip
    given = heads(12)
    world = places + np.random.default_rng(0).normal(0, 2, (12, 8, 3))
    schema = LandmarkSchema("eight", names, 3, flip_pairs=((0, 1), (2, 3)))
    frames = np.tile(np.eye(4), (12, 1, 1))
    frames[:, :3, 3] = -100
    given = replace(given, schema=schema, frames=frames, sizes=np.full((12, 3), 200.0))
    right = replace(given, points=world + 100)
    assert findings(right, "sides of the patient") == []
    wrong = replace(given, points=world * signs + 100)
    (found,) = findings(wrong, "sides of the patient")
    assert found["sample_id"] == ""
    assert words in found["message"]


@pytest.mark.parametrize("count", [1, 2, 6])
def test_a_volume_in_micrometres_among_few(clean, count):
    """The frame of its file is said in micrometres, so that its landmarks are far apart, too."""
    names = ("points", "sizes", "spacing", "frames")
    few = replace(clean, **{name: getattr(clean, name)[:count].copy() for name in names})
    few.frames[0, :3] *= 1000
    (found,) = (finding for finding in findings(few) if finding["severity"] != "note")
    assert (found["check"], found["sample_id"]) == ("spacing", few.dataset().get_data_info(0)["sample_id"])
    assert "longer than a patient: micrometres in place of mm?" in found["message"]


@pytest.mark.parametrize("count", [1, 3])
def test_few_volumes_in_ras_for_lps(count):
    """No other volume tells it, but the names of their landmarks do."""
    given = heads(count)
    world = Cases(dict(train=given.dataset())).comparable()
    centre = np.nanmean(world, axis=1, keepdims=True)
    taken = centre + (world - centre) * [-1, -1, 1]
    frames = np.repeat(np.eye(4)[None], count, axis=0)
    frames[:, :3, 3] = (np.nanmin(world, axis=1) - 300).round()
    same = dict(frames=frames, sizes=np.full((count, 3), 800.0))
    right = replace(given, points=world - frames[:, None, :3, 3], **same)
    assert findings(right, "sides of the patient") == []
    (found,) = findings(replace(right, points=taken - frames[:, None, :3, 3]), "sides of the patient")
    where = "in 1 volume:" if count == 1 else "in all of 3 volumes:"
    assert where in found["message"]
    assert "left and right" in found["message"]
    # A slip in one pair of many is no matter of the whole file.
    left, other = (given.schema.landmarks.index(f"{side} orbitale") for side in ("left", "right"))
    slip = right.points.copy()
    slip[0, [left, other]] = slip[0, [other, left]]
    assert findings(replace(right, points=slip), "sides of the patient") == []
