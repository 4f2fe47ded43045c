"""Geometry: what is drawn at a landmark stays at it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

import mmlandmark.datasets.transforms as T
from dot_images import SHAPES, centroid, make_results, px, read_positions, run
from mmlandmark.structures import (
    apply_matrix,
    frame_center,
    invert_matrix,
    rotation_matrix,
    spacing_of,
    world_matrix,
)


def pipelines(dims):
    half = tuple(n // 2 for n in SHAPES[dims])
    most = tuple(9 * n // 10 for n in SHAPES[dims])
    more = tuple(n + 11 for n in SHAPES[dims])
    affine = T.RandomAffine(rotation=25, scale=0.2, shift=px(5, dims))
    return {
        "resize": [T.Resize(most)],
        "resize_larger": [T.Resize(more)],
        "resize_keep_aspect": [T.Resize((*half[:-1], more[-1]), keep_aspect=True)],
        "affine": [affine],
        "flip_x": [T.RandomFlip(prob=1.0, axis=0)],
        "flip_last": [T.RandomFlip(prob=1.0, axis=dims - 1)],
        "center_crop": [T.CenterCrop(most)],
        "center_crop_pads": [T.CenterCrop(more)],
        "random_crop": [T.RandomCrop(most)],
        "around": [T.CropAroundLandmarks(margin=px(16, dims), jitter=px(4, dims))],
        "patch": [T.RandomPatch(most, jitter=0.2)],
        "pad": [T.Pad(more), T.Pad(divisor=16)],
        "elastic": [T.RandomElastic(px(3.5, dims), cells=2)],
        "resize_elastic": [T.Resize(most), T.RandomElastic(px(3, dims), cells=2)],
        "elastic_affine": [T.RandomElastic(px(3, dims), cells=2), affine],
        "two_elastics": [
            T.RandomElastic(px(3, dims), cells=2), affine, T.RandomElastic(px(2, dims), cells=2),
            T.RandomFlip(1.0),
        ],
        "everything": [
            T.Resize(most), T.RandomFlip(), affine, T.RandomElastic(px(2.5, dims), cells=2),
            T.Pad(divisor=16), T.RandomCrop(most), T.Resize(more),
        ],
    }  # fmt: skip


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("name", pipelines(2))
def test_dot_stays_at_its_landmark(name, dims):
    for seed in range(4 if dims == 2 else 2):
        results = run(make_results(dims, seed=seed), *pipelines(dims)[name], T.Resample())
        assert results["img"].shape == results["input_shape"]
        expected = apply_matrix(results["input_from_original"], results["landmarks"])[0]
        # A bent dot is no longer symmetric, which alone moves its centroid by a few hundredths of a pixel.
        assert np.abs(centroid(results["img"]) - expected).max() < 0.1


@pytest.mark.parametrize("dims", [2, 3])
def test_dot_through_loading_at_another_size(dims):
    half = tuple(n // 2 for n in SHAPES[dims])
    steps = [T.Resize(tuple(n // 4 * 3 for n in half)), T.RandomAffine(10, 0.1, px(2, dims)), T.Resample()]
    for seed in range(4):
        results = run(make_results(dims, seed=seed, load=T.LoadImage(half)), *steps)
        expected = apply_matrix(results["input_from_original"], results["landmarks"])[0]
        assert np.abs(centroid(results["img"]) - expected).max() < 0.1


@pytest.mark.parametrize("dims", [2, 3])
def test_dot_stays_when_the_frame_shrinks_strongly(dims):
    size = tuple(n // 5 - 1 for n in SHAPES[dims]) if dims == 2 else (11, 13, 12)
    for seed in range(3):
        results = make_results(dims, seed=seed, sigma=13.0 if dims == 2 else 5.0)
        results = run(results, T.Resize(size), T.RandomAffine(5, 0, 0), T.Resample())
        weights = results["img"].astype(np.float64)
        assert weights.max() > 0.7
        peak = np.array(np.unravel_index(weights.argmax(), size))
        # A Gaussian's logarithm is a parabola, whose vertex three pixels tell.
        expected = apply_matrix(results["input_from_original"], results["landmarks"])[0]
        for axis in range(dims):
            line = np.log(np.moveaxis(weights, axis, 0)[(slice(None), *np.delete(peak, axis))])
            before, at, after = line[peak[axis] - 1 : peak[axis] + 2]
            vertex = peak[axis] + (before - after) / (2 * (before + after - 2 * at))
            assert abs(vertex - expected[dims - 1 - axis]) < 0.1


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("name", pipelines(2))
def test_pixels_and_landmarks_move_alike(name, dims):
    # As the dot, but exact: the pixel that a landmark has moved to is read where the landmark was.
    for seed in range(3):
        results = make_results(dims, seed=seed)
        sides = np.array(SHAPES[dims][::-1])
        before = np.random.default_rng(seed).uniform(0.35, 0.65, (40, dims)) * sides
        results["landmarks"] = np.concatenate([before, results["landmarks"]])
        results["flip_pairs"] = ((40, 0),)  # which swaps rows as soon as there is a flip
        results = run(results, *pipelines(dims)[name])
        matrix, size = results["input_from_original"], results["input_shape"]
        moved = apply_matrix(matrix, results["landmarks"][1:40])
        inside = ((moved >= 0) & (moved <= np.array(size[::-1]) - 1)).all(1)
        assert inside.sum() > 20
        source = read_positions(matrix, size, results.get("elastic", ()))
        read = np.stack(
            [map_coordinates(axis, moved.T[::-1], order=1) for axis in np.moveaxis(source, -1, 0)], 1
        )
        # In 3D, a deformation is linear between the nodes of a lattice.
        assert np.abs(read - before[1:])[inside].max() < (0.01 if dims == 2 else 0.03)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("name", ["affine", "everything"])
def test_back_to_the_original(name, dims):
    results = make_results(dims)
    steps = [s for s in pipelines(dims)[name] if not isinstance(s, T.RandomElastic)]
    before = results["landmarks"].copy()
    results = run(results, *steps, T.Resample())
    moved = apply_matrix(results["input_from_original"], before.astype(np.float64))
    np.testing.assert_allclose(
        apply_matrix(invert_matrix(results["input_from_original"]), moved), before, atol=1e-4
    )
    np.testing.assert_array_equal(results["landmarks"], before)  # they stay in the original frame


@pytest.mark.parametrize("dims", [2, 3])
def test_same_seed_same_result(dims):
    def once(seed):
        results = make_results(dims, seed=1) | dict(rng=np.random.default_rng(seed))
        return run(results, *pipelines(dims)["everything"], T.Resample())

    first, again, other = once(5), once(5), once(6)
    np.testing.assert_array_equal(first["img"], again["img"])
    np.testing.assert_array_equal(first["landmarks"], again["landmarks"])
    assert not np.array_equal(first["img"], other["img"])


def test_keep_aspect_pads_centred():
    results = T.Resize((100, 120), keep_aspect=True)(make_results())  # from 200 x 180
    np.testing.assert_allclose(results["input_from_original"], [[0.5, 0, 14.75], [0, 0.5, -0.25], [0, 0, 1]])
    assert results["input_shape"] == (100, 120)


def test_flip_swaps_rows():
    results = make_results()
    results["landmarks"] = np.array([[10, 20], [90, 30], [50, 70]], np.float32)
    results["visibility"] = np.array([1, 0, -1], np.int8)
    results["weights"] = np.array([1, 2, 3], np.float32)
    results["by_annotator"] = np.stack([results["landmarks"], results["landmarks"] + 1])
    results["flip_pairs"] = ((0, 1),)
    results = T.RandomFlip(prob=1.0)(results)
    np.testing.assert_array_equal(results["by_annotator"], [results["landmarks"], results["landmarks"] + 1])
    np.testing.assert_array_equal(results["landmarks"], [[90, 30], [10, 20], [50, 70]])
    np.testing.assert_array_equal(results["visibility"], [0, 1, -1])
    np.testing.assert_array_equal(results["weights"], [2, 1, 3])
    moved = apply_matrix(results["input_from_original"], results["landmarks"])
    np.testing.assert_allclose(moved[0], [179 - 90, 30])


def test_flip_refuses_unknown_pairs():
    results = make_results()
    results["landmarks"] = np.ones((2, 2), np.float32)
    with pytest.raises(ValueError, match="no flip_pairs"):
        T.RandomFlip()(results)
    with pytest.raises(ValueError, match="axis 2 does not exist"):
        T.RandomFlip(axis=2)(make_results())


@pytest.mark.parametrize(
    "step", [T.RandomFlip(0.3), T.RandomAffine(10, prob=0.3), T.RandomElastic(0.05, prob=0.3)]
)
def test_prob(step):
    acted = 0
    for seed in range(200):
        before = make_results_light(seed)
        matrix = before["input_from_original"]
        after = step(before)
        acted += after["input_from_original"] is not matrix or "elastic" in after
    assert 40 <= acted <= 80


def make_results_light(seed):
    record = dict(
        img_path=None, img=np.zeros((40, 40), np.uint8), sample_id="x", rng=np.random.default_rng(seed)
    )
    return T.LoadImage()(record | dict(landmarks=np.full((1, 2), 20, np.float32)))


def test_affine_stays_within_its_limits():
    angles, factors, shifts = [], [], []
    for seed in range(200):
        matrix = T.RandomAffine(10, 0.1, (4 / 40, 2 / 40))(make_results_light(seed))["input_from_original"]
        angles.append(np.rad2deg(np.arctan2(matrix[1, 0], matrix[0, 0])))
        factors.append(np.hypot(matrix[0, 0], matrix[1, 0]))
        shifts.append(apply_matrix(matrix, np.array([[19.5, 19.5]]))[0] - 19.5)  # of the centre
    assert 9 < np.abs(angles).max() <= 10
    assert 0.9 <= min(factors) < 0.91
    assert 1.09 < max(factors) <= 1.1
    assert (np.abs(shifts).max(0) <= (4, 2)).all()
    assert (np.abs(shifts).max(0) > (3.8, 1.9)).all()


@pytest.mark.parametrize("dims", [2, 3])
def test_elastic_moves_landmarks_as_its_field_says(dims):
    results = make_results(dims)
    results["landmarks"] = np.random.default_rng(3).uniform(5, 40, (30, dims)).astype(np.float64)
    results["landmarks"][4] = np.nan
    before = results["landmarks"].copy()
    results["by_annotator"] = np.stack([before, before + 1])
    results = run(results, T.Resize([n // 2 for n in SHAPES[dims]]), T.RandomElastic(px(3, dims), cells=2))
    (field,) = results["elastic"]
    moved = results["landmarks"]
    np.testing.assert_array_equal(results["by_annotator"][0], moved)
    np.testing.assert_array_equal(results["by_annotator"][1], field.move(before + 1))
    assert np.isnan(moved[4]).all()
    finite = np.isfinite(moved).all(1)
    assert np.abs(moved - before)[finite].max() > 0.3
    in_frame = apply_matrix(results["input_from_original"], moved[finite])
    source = in_frame + field.at(in_frame)
    np.testing.assert_allclose(
        source, apply_matrix(results["input_from_original"], before[finite]), atol=1e-5
    )


def test_elastic_refuses_to_fold():
    for dims, limit in ((2, "0.125"), (3, "0.08333")):
        with pytest.raises(ValueError, match=rf"can fold an image of {dims} .*at most {limit}"):
            T.RandomElastic(0.17, cells=2)(make_results(dims))


@pytest.mark.parametrize("size", [(320, 256), (160, 128), (128, 192), (1024, 512)])
def test_fractions_are_of_the_shorter_side(size):
    image = np.zeros(size, np.uint8)

    def make(seed):
        record = dict(img_path=None, img=image, sample_id="x", rng=np.random.default_rng(seed))
        return T.LoadImage()(record | dict(landmarks=np.full((1, 2), 60, np.float32)))

    side = min(size)
    for seed in range(5):
        draws = np.random.default_rng(seed)
        draws.random()  # whether the step acts
        draws.uniform(-1, 1, 2)  # angle and factor
        shift = T.RandomAffine(shift=5 / 64)(make(seed))["input_from_original"][:2, 2]
        np.testing.assert_array_equal(shift, draws.uniform(-1, 1, 2) * (5 / 64 * side))
        (field,) = T.RandomElastic(1 / 64)(make(seed))["elastic"]
        draws = np.random.default_rng(seed)
        draws.random()
        np.testing.assert_array_equal(
            field.coefficients, draws.uniform(-side / 64, side / 64, field.coefficients.shape)
        )
    results = T.CropAroundLandmarks(margin=1 / 16)(make(0))
    assert results["input_shape"] == (side // 8 + 1, side // 8 + 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: T.RandomFlip(1.5), r"prob must lie in \[0, 1\]"),
        (lambda: T.RandomFlip(axis=3), "axis must be 0"),
        (lambda: T.RandomAffine(scale=1.0), r"scale must lie in \[0, 1\)"),
        (lambda: T.RandomAffine(rotation=-3), "must not be negative"),
        (lambda: T.RandomElastic(-0.1), "amplitude must be a fraction of the shorter side"),
        (lambda: T.RandomElastic(8), r"amplitude must be a fraction .*got 8; for 20 pixels"),
        (lambda: T.RandomElastic(0.1, cells=0), "cells must be a positive integer"),
        (lambda: T.RandomAffine(shift=20), r"shift must be a fraction .*got 20; for 20 pixels"),
        (lambda: T.RandomAffine(shift=(0.1, 1)), "shift must be a fraction"),
        (lambda: T.RandomAffine(shift=-0.1), "shift must be a fraction"),
        (lambda: T.RandomAffine(shift=float("nan")), "shift must be a fraction"),
        (lambda: T.Resize((0, 3)), "size must be"),
        (lambda: T.ResampleSpacing(0), "spacing must be one positive number"),
        (lambda: T.ResampleSpacing((1, 2, float("nan"))), "spacing must be one positive number"),
        (lambda: T.ResampleSpacing((1, 1, 1))(make_results(2) | dict(spacing=(1, 1))), "one number or 2"),
        (lambda: T.ResampleSpacing(1)(make_results(2)), r"dot: .*needs the spacing of the image"),
        (lambda: T.ResampleSpacing(1e-3)(make_volume()), r"case: .*is in another unit"),
        (lambda: T.Resample("best"), "interpolation must be one of"),
        (lambda: T.Resample(border="wrap"), "border must be one of"),
        (lambda: T.Resize((4, 4, 4))(make_results(2)), "do not fit an image of 2 dimensions"),
        (lambda: T.RandomAffine(shift=(0.1, 0.2, 0.3))(make_results(2)), "shift must be one number or 2"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def make_volume(spacing=(0.5, 0.8, 2.5), turn=(20, -30, 40), size=(12, 30, 40), **more):
    """Return the results of an oblique volume with anisotropic voxels, its centre at (5, 6, 7) mm."""
    direction = rotation_matrix(turn, (0, 0, 0))[:3, :3]
    world = world_matrix(spacing, direction=direction)
    world[:3, 3] += np.array([5, 6, 7]) - apply_matrix(world, frame_center(size)[None])[0]
    record = dict(
        sample_id="case", img_path=None, img=np.zeros(size, np.uint8), landmarks=np.ones((1, 3), np.float32)
    )
    results = T.LoadImage()(record | dict(rng=np.random.default_rng(more.pop("seed", 0))))
    return results | dict(world_from_original=world) | more


def motion_in_mm(results, before):
    """Return the linear part (3, 3) of what steps did to the anatomy, in mm along the patient's axes."""
    moved = before["input_from_original"]  # of the frame in which the steps acted
    step = results["input_from_original"] @ invert_matrix(moved)
    world_from_frame = before["world_from_original"] @ invert_matrix(moved)
    return (world_from_frame @ step @ np.linalg.inv(world_from_frame))[:3, :3]


@pytest.mark.parametrize("first", [[], [T.Resize((30, 30, 30))], [T.RandomFlip(1.0), T.ResampleSpacing(0.7)]])
def test_a_rotation_of_a_volume_is_one_of_the_patient(first):
    for seed in range(5):
        before = run(make_volume(seed=seed), *first)
        after = run(dict(before), T.RandomAffine(rotation=(30, 0, 0), scale=0.3))
        motion = motion_in_mm(after, before)
        factor = np.cbrt(np.linalg.det(motion))
        np.testing.assert_allclose(motion @ motion.T, np.eye(3) * factor**2, atol=1e-9)  # nothing is sheared
        np.testing.assert_allclose(
            motion @ [1, 0, 0], [factor, 0, 0], atol=1e-9
        )  # about the patient's x axis
        assert 0.7 <= factor <= 1.3
        # About the centre of the frame.
        center = frame_center(before["input_shape"])[None]
        step = after["input_from_original"] @ invert_matrix(before["input_from_original"])
        np.testing.assert_allclose(apply_matrix(step, center), center, atol=1e-9)


def test_the_spacing_of_the_record_counts_before_that_of_the_file():
    # The header says (1, 1, 1) mm, the annotation (1, 1, 3).
    before = make_volume((1, 1, 1), (0, 0, 0)) | dict(spacing=(1, 1, 3))
    after = run(dict(before), T.RandomAffine(rotation=(30, 30, 0)))
    true = dict(before) | dict(world_from_original=np.diag([1.0, 1, 3, 1]))
    motion = motion_in_mm(after, true)
    np.testing.assert_allclose(motion @ motion.T, np.eye(3), atol=1e-9)


def test_lengths_in_a_volume_are_in_mm():
    # Sides of 20, 24 and 30 mm.
    shifts = []
    for seed in range(100):
        matrix = T.RandomAffine(shift=0.1)(make_volume(seed=seed))["input_from_original"]
        shifts.append(np.abs(matrix[:3, 3]) * (0.5, 0.8, 2.5))
    assert (np.max(shifts, 0) <= 2).all()
    assert (np.max(shifts, 0) > 1.9).all()
    (field,) = T.RandomElastic(0.04)(make_volume())["elastic"]
    largest = np.abs(field.coefficients).reshape(3, -1).max(1) * (0.5, 0.8, 2.5)
    assert (largest <= 0.8).all()
    assert (largest > 0.75).all()


@pytest.mark.parametrize(
    ("wanted", "size"),
    [
        (1.0, (30, 24, 20)),
        ((0.5, 0.8, 2.5), (12, 30, 40)),
        ((0.25, 0.9, 5.0), (6, 27, 80)),
        (500.0, (1, 1, 1)),
    ],
)
def test_resample_spacing(wanted, size):
    before = make_volume()
    results = run(dict(before), T.RandomFlip(1.0), T.ResampleSpacing(wanted))
    assert results["input_shape"] == size
    world_from_input = before["world_from_original"] @ invert_matrix(results["input_from_original"])
    np.testing.assert_allclose(spacing_of(world_from_input), np.broadcast_to(wanted, 3))
    np.testing.assert_allclose(apply_matrix(world_from_input, frame_center(size)[None]), [[5, 6, 7]])


def test_resample_spacing_of_an_image_takes_the_spacing_of_its_record():
    results = run(make_results() | dict(spacing=(0.1, 0.2)), T.ResampleSpacing(0.2))
    assert results["input_shape"] == (200, 90)
    np.testing.assert_allclose(results["input_from_original"], [[0.5, 0, -0.25], [0, 1, 0], [0, 0, 1]])


def test_geometry_needs_an_image():
    with pytest.raises(KeyError, match="put LoadImage before it"):
        T.Resize((4, 4))(dict(landmarks=np.ones((1, 2))))
