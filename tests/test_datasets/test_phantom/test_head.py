"""The anatomy of the generated head: names, sides, lost teeth, and landmarks on their structures."""

from __future__ import annotations

import numpy as np

from mmlandmark.datasets.phantom import head
from mmlandmark.structures import LandmarkSchema

HEADS = [head.build(np.random.default_rng(seed)) for seed in range(100)]
POINTS = np.stack([one.landmarks for one in HEADS])
SCHEMA = LandmarkSchema.load("phantom_head")


def test_the_schema_has_the_landmarks_in_their_order():
    assert SCHEMA.landmarks == head.LANDMARKS
    assert SCHEMA.dims == 3
    pairs = [(SCHEMA.landmarks[a], SCHEMA.landmarks[b]) for a, b in SCHEMA.flip_pairs]
    assert len(pairs) == 9
    for right, left in pairs:
        assert right.replace("right ", "") == left.replace("left ", "")


def test_left_is_left_and_the_mean_head_is_its_own_mirror_image():
    mean = POINTS.mean(0)
    mirrored = mean[SCHEMA.flip_permutation] * (-1, 1, 1)
    np.testing.assert_allclose(mirrored, mean, atol=1.2)
    for right, left in SCHEMA.flip_pairs:
        assert (POINTS[:, right, 0] < -20).all()
        assert (POINTS[:, left, 0] > 20).all()
    middle = [i for i, name in enumerate(head.LANDMARKS) if name in head.MIDLINE]
    assert np.abs(POINTS[:, middle, 0]).max() < 1e-9


def test_sides_of_one_head_differ():
    gonion = [head.LANDMARKS.index(f"{side} gonion") for side in ("right", "left")]
    difference = POINTS[:, gonion[0]] * (-1, 1, 1) - POINTS[:, gonion[1]]
    assert (difference.std(0) > 1).all()


def test_teeth_are_lost_in_some_heads():
    present = np.stack([one.present for one in HEADS])
    molars = [i for i, name in enumerate(head.LANDMARKS) if "molar" in name]
    assert present[:, [i for i in range(26) if i not in molars]].all()
    assert (1 - present[:, molars].mean(0) > 0.1).all()
    assert (1 - present[:, molars].mean(0) < 0.32).all()
    for one in HEADS[:20]:
        crowns = [b for b in one.bodies if b.value == head.ENAMEL]
        assert len(crowns) == 28 - (~one.present).sum()
        for k in molars:
            nearest = min(np.linalg.norm(np.asarray(b.end) - one.landmarks[k]) for b in crowns)
            assert (nearest < 0.01) == bool(one.present[k])


def test_an_open_mouth_lowers_the_chin_and_moves_it_back():
    made = head._Builder(np.random.default_rng(0))
    chin = np.array([0.0, -74, -81])
    made.open = 0.0
    np.testing.assert_allclose(made.jaw(chin), chin)
    made.open = 0.2
    moved = made.jaw(chin)
    assert moved[2] < chin[2] - 5
    assert moved[1] > chin[1] + 5
    joint = np.array([0.0, -13, 0])
    assert np.isclose(np.linalg.norm(moved - joint), np.linalg.norm(chin - joint))


def test_landmarks_of_bone_lie_on_its_surface_and_the_eye_in_its_globe():
    for one in HEADS[:4]:
        for name, place in zip(head.LANDMARKS, one.landmarks, strict=True):
            point = [np.array([value], dtype=np.float32) for value in place]
            depths = np.array([body.depth(*point)[0] for body in one.bodies])
            values = np.array([body.value for body in one.bodies])
            bone = depths[(values > 600) & (values < 1300)].max()
            if name.endswith("eye"):
                assert depths[values == head.WATER].max() > 11
            elif name == "sella":
                assert bone > -8  # in its fossa
            elif name == "pronasale":
                assert abs(depths[values == head.SOFT].max()) < 1.5
            elif "molar" not in name:  # teeth have a test of their own
                assert bone > -1.6, (name, bone)  # on or in bone
