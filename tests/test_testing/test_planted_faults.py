"""Planted faults are found, by kind and family, and clean annotations stay quiet."""

from __future__ import annotations

import numpy as np
import pytest

from mmlandmark.datasets.releases import DigitalHandAtlas, Isbi2015Cephalogram, SlicerMarkups
from mmlandmark.testing.planted_faults import (
    FAULTS,
    OTHER_FAULTS,
    VOLUME_FAULTS,
    alarms,
    from_datasets,
    measure,
    phantom_annotations,
    plant,
    ultrasound_annotations,
    wing_annotations,
)

# What points alone cannot tell where shapes lie anywhere, in any direction, seen from both sides.
POSE = {"mirrored", "y from the bottom", "x and y exchanged", "whole shape shifted", "whole shape scaled"}
ALWAYS = {"(0, 0)", "(-1, -1)", "all as fractions", "shuffled order", "copied annotation", "spacing in cm"}


def test_planting_changes_what_it_says_and_nothing_else():
    clean = phantom_annotations("spine", 60)
    given = plant(clean, fraction=0.5, seed=3)
    changed = (given.points != clean.points).any(axis=(1, 2)) | (given.spacing != clean.spacing)
    assert [bool(kind) for kind in given.faulty] == changed.tolist()
    assert set(given.faulty) - {""} == {*FAULTS, *OTHER_FAULTS}
    assert clean.frames is None
    for n, (kind, wrong) in enumerate(zip(given.faulty, given.wrong, strict=True)):
        moved = np.flatnonzero((given.points[n] != clean.points[n]).any(axis=1))
        if wrong:
            assert set(moved) == set(wrong), kind
    again = plant(clean, fraction=0.5, seed=3)
    np.testing.assert_array_equal(given.points, again.points)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ceph", "hand", "spine"])
def test_faults_in_radiographs(kind):
    clean = phantom_annotations(kind, 150)
    assert alarms(clean) <= 4
    tally = measure(clean)
    assert tally.precision >= 0.8  # a few phantoms of spines have vertebrae that touch
    assert tally.recall >= 0.85
    certain = {*ALWAYS, "two landmarks exchanged", "moved by 40 %", "mirrored", "y from the bottom"}
    assert {k: v for k, v in tally.counts.items() if k in certain and v[0] < v[1]} == {}
    moved = tally.counts["moved by 15 %"]
    assert moved[2] >= 0.9 * moved[1]  # and it is that landmark which is named


def test_faults_in_volumes():
    clean = phantom_annotations("head", 120)
    assert alarms(clean) <= 2
    tally = measure(clean)
    assert set(tally.counts) >= {*VOLUME_FAULTS}
    assert tally.precision >= 0.95
    assert tally.recall >= 0.88
    certain = {*ALWAYS, *VOLUME_FAULTS, "two landmarks exchanged", "left and right exchanged"}
    certain |= {"moved by 40 %", "mirrored", "y from the bottom", "x and y exchanged"}
    assert {k: v for k, v in tally.counts.items() if k in certain and v[0] < v[1]} == {}


@pytest.mark.parametrize("family", [wing_annotations, ultrasound_annotations])
def test_faults_in_shapes_that_lie_anywhere(family):
    clean = family(150)
    assert alarms(clean) <= 2
    tally = measure(clean)
    assert tally.precision >= 0.95
    exchanged = tally.counts["two landmarks exchanged"]
    assert exchanged[0] >= 0.9 * exchanged[1]
    assert all(tally.counts[k][0] == tally.counts[k][1] for k in ALWAYS if k in tally.counts)


@pytest.mark.real_data
@pytest.mark.parametrize("release", [Isbi2015Cephalogram, DigitalHandAtlas, SlicerMarkups])
def test_real_annotations(release, real_data):
    if release is Isbi2015Cephalogram:
        data = release(data_root=str(real_data("isbi2015_ceph")), split="train")
    elif release is SlicerMarkups:
        data = release("target_LMs", str(real_data("mouse_ct_3d")), "targets")
    else:
        data = release(data_root=str(real_data("hand_dha")), missing_images="keep")
    clean = from_datasets(release.__name__, data)
    assert alarms(clean) <= 3
    tally = measure(clean, seeds=(0,) if len(clean.points) > 100 else range(6))
    assert tally.precision >= 0.85
    assert tally.recall >= 0.78
