"""Axes of a volume that are exchanged or mirrored, and places of shapes in volumes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mmlandmark.datasets.axis_checks import upright_fractions
from mmlandmark.datasets.check_cases import Cases
from test_datasets.heads import findings, heads, stored_as


@pytest.fixture(scope="module")
def clean():
    return heads(30)


CHANGES = {
    "x is mirrored": lambda points, size: points * [-1, 1, 1] + [size[0] - 1, 0, 0],
    "z is mirrored": lambda points, size: points * [1, 1, -1] + [0, 0, size[2] - 1],
    "x and y are mirrored: are they in RAS, and count as LPS?": lambda points, size: (
        points * [-1, -1, 1] + [size[0] - 1, size[1] - 1, 0]
    ),
    "its axes are taken in the order z, y, x": lambda points, size: points[:, ::-1],
    "its axes are taken in the order y, x, z": lambda points, size: points[:, [1, 0, 2]],
}


@pytest.mark.parametrize("words", CHANGES)
def test_the_change_that_makes_a_shape_fit_is_named(clean, words):
    points = clean.points.copy()
    points[4] = CHANGES[words](points[4], clean.sizes[4])
    found = [f for f in findings(replace(clean, points=points)) if f["severity"] != "note"]
    told = {f["check"]: f for f in found if f["sample_id"] == "4"}
    assert {f["sample_id"] for f in found} == {"4"}
    assert told["axes of a volume"]["message"] == f"fits the others when {words}"
    assert not {"shape outlier", "mirrored shape", "landmark outlier", "position outlier"} & set(told)


def test_where_volumes_show_any_pose_nothing_is_told(clean):
    turns = Rotation.random(len(clean.points), random_state=0).as_matrix()
    middle = np.nanmean(clean.points, axis=1, keepdims=True)
    points = np.einsum("nij,nkj->nki", turns, clean.points - middle) + middle
    frames = np.tile(np.diag([2.0, 2, 2, 1]), (len(points), 1, 1))  # isotropic, so that shapes stay
    given = replace(clean, points=points + 100, sizes=np.full(clean.sizes.shape, 300.0), frames=frames)
    assert findings(given, "axes of a volume") == []


def test_fractions_are_those_of_the_upright_volume(clean):
    change = np.array([[0.0, 0, -1], [1, 0, 0], [0, 1, 0]])
    rows = np.arange(5)
    expected = None
    for given in (clean, stored_as(clean, change)):
        cases = Cases(dict(all=given.dataset()))
        fractions = np.stack([upright_fractions(cases, n, cases.comparable()[n, :1]) for n in rows])
        expected = fractions if expected is None else expected
        np.testing.assert_allclose(fractions, expected, atol=1e-5)
    assert ((expected > 0) & (expected < 1)).all()
