"""Phantoms: the same everywhere, in view, and with landmarks that the image shows."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest

from mmlandmark.datasets import set_epoch, set_seed
from mmlandmark.datasets.phantom import (
    DEFAULT_SIZES,
    SCHEMAS,
    PhantomDataset,
    render_phantom,
    sample_scene,
)
from mmlandmark.datasets.phantom.radiograph import oversampling
from mmlandmark.datasets.phantom.scene import ellipse, smooth_warp, spline, turn
from mmlandmark.registry import DATASETS
from mmlandmark.structures import LandmarkSchema

KINDS = sorted(SCHEMAS)
_DIGEST = """
import hashlib
from mmlandmark.datasets.phantom import render_phantom
digest = hashlib.sha256()
for kind in ("ceph", "hand", "spine"):
    image, landmarks, _ = render_phantom(kind, 5, 2, bits=16)
    digest.update(image.tobytes() + landmarks.tobytes())
print(digest.hexdigest())
"""


@pytest.mark.parametrize("kind", KINDS)
def test_image_and_landmarks(kind):
    image, landmarks, spacing = render_phantom(kind, 0, 0)
    assert image.shape == DEFAULT_SIZES[kind]
    assert image.dtype == np.uint8
    assert landmarks.shape == (len(LandmarkSchema.load(SCHEMAS[kind])), 2)
    assert landmarks.dtype == np.float32
    assert len(spacing) == 2
    assert all(0.3 < s < 4 for s in spacing)
    assert np.ptp(image) > 120  # exposed, neither flat nor a silhouette
    assert 20 < image.mean() < 220


@pytest.mark.parametrize("kind", KINDS)
def test_all_landmarks_are_in_view(kind):
    for index in range(40):
        scene = sample_scene(kind, 1, index)
        height, width = scene.size
        assert (scene.landmarks >= 0).all()
        assert (scene.landmarks <= (width - 1, height - 1)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_same_seed_and_index_give_the_same_bits(kind):
    first, again, other = (render_phantom(kind, 3, 7), render_phantom(kind, 3, 7), render_phantom(kind, 4, 7))
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], again[1])
    assert first[2] == again[2]
    assert not np.array_equal(first[0], other[0])
    assert np.abs(first[1] - other[1]).mean() > 1
    assert np.abs(first[1] - sample_scene(kind, 3, 8).landmarks).mean() > 1


def test_same_bits_without_vector_units_and_vendor_code():
    features = "X86_V4 X86_V3 AVX512F AVX512CD AVX512_SKX AVX2 FMA3"
    plain = dict(
        OPENCV_IPP="disabled", OPENCV_CPU_DISABLE="AVX512-SKX,AVX2,FP16", NPY_DISABLE_CPU_FEATURES=features
    )
    digests = [
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", _DIGEST],
            env=dict(os.environ, **extra),
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for extra in ({}, plain)
    ]
    assert len(digests[0].strip()) == hashlib.sha256().digest_size * 2
    assert digests[0] == digests[1]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(64, 48), (101, 77), (200, 400), (512, 300)])
def test_any_size(kind, size):
    image, landmarks, spacing = render_phantom(kind, 0, 1, size)
    assert image.shape == size
    assert (landmarks >= 0).all()
    assert (landmarks < size[::-1]).all()
    assert spacing[0] == spacing[1]


@pytest.mark.parametrize("kind", KINDS)
def test_size_changes_sampling_but_not_the_patient(kind):
    small, large = sample_scene(kind, 0, 5, (160, 120)), sample_scene(kind, 0, 5, (480, 360))
    # Half-pixel convention: a resize by 3 maps x to 3 x + 1; the poses differ by the rounding of margins.
    assert np.allclose(3 * small.landmarks + 1, large.landmarks, atol=1.0)
    assert np.isclose(small.spacing[0], 3 * large.spacing[0], rtol=0.01)


@pytest.mark.parametrize("kind", KINDS)
def test_spacing_is_that_of_the_pixels(kind):
    scene = sample_scene(kind, 0, 3)
    millimetres = np.linalg.inv(scene.pixel_from_mm)[:2, :2]
    assert np.allclose(np.sqrt(np.abs(np.linalg.det(millimetres))), scene.spacing[0])


def test_sixteen_bits_show_more_grey_levels_of_the_same_picture():
    coarse, fine = render_phantom("ceph", 0, 0)[0], render_phantom("ceph", 0, 0, bits=16)[0]
    assert fine.dtype == np.uint16
    assert len(np.unique(fine)) > 10 * len(np.unique(coarse))
    assert np.abs(fine / 65535 - coarse / 255).max() < 0.003


def _mean_patch_detail(images: list[np.ndarray], centers: np.ndarray, radius: int = 8) -> float:
    """Mean squared slope of the average of patches around ``centers`` (N, 2), one per image."""
    patches = []
    for image, center in zip(images, centers, strict=True):
        patch = cv2.getRectSubPix(image.astype(np.float32), (2 * radius + 1,) * 2, center.tolist())
        patches.append((patch - patch.mean()) / (patch.std() + 5))
    mean = np.mean(patches, axis=0)
    return float(np.square(np.gradient(mean)).mean())


@pytest.mark.parametrize("kind", KINDS)
def test_landmarks_lie_on_structures_of_the_image(kind):
    # Averaged over patients, the surroundings of a landmark stay a picture if the landmark sits on the same
    # structure in all of them, and blur away if it is a few pixels off. This is what a network can learn.
    images, landmarks = [], []
    for index in range(24):
        image, points, _ = render_phantom(kind, 2, index)
        images.append(image)
        landmarks.append(points)
    points = np.stack(landmarks, axis=1)
    angles = np.random.default_rng(0).uniform(0, 2 * np.pi, size=points.shape[:2])
    astray = points + 5 * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    exact, blurred = (
        np.array([_mean_patch_detail(images, centers) for centers in group])
        for group in (points, astray.astype(np.float32))
    )
    assert (exact > 1.15 * blurred).all(), np.round(exact / blurred, 2)
    assert np.median(exact / blurred) > 1.7


def test_landmarks_follow_anatomy():
    for index in range(20):
        spine = sample_scene("spine", 0, index).landmarks.reshape(17, 4, 2)
        assert (spine[:, 0, 0] < spine[:, 1, 0]).all()
        assert (spine[:, 2, 0] < spine[:, 3, 0]).all()
        assert (spine[:, :2, 1].mean(axis=1) < spine[:, 2:, 1].mean(axis=1)).all()
        assert (np.diff(spine.mean(axis=1)[:, 1]) > 0).all()
        ceph = sample_scene("ceph", 0, index).landmarks
        assert ceph[1, 0] > ceph[0, 0]  # nasion before sella
        assert ceph[7, 1] > ceph[10, 1] > ceph[17, 1]  # menton below the incisors below the nasal spine
        hand = sample_scene("hand", 0, index).landmarks
        for root in (21, 25, 29, 33):
            assert (np.diff(hand[root : root + 4, 1]) < 0).all()  # fingers point up


def test_patients_vary_in_shape_not_only_in_pose():
    shapes = np.stack([sample_scene("ceph", 0, index).landmarks for index in range(30)]).astype(np.float64)
    shapes -= shapes.mean(axis=1, keepdims=True)
    shapes /= np.linalg.norm(shapes, axis=(1, 2), keepdims=True)
    reference, left = shapes[0], []
    for shape in shapes[1:]:
        u, _, vt = np.linalg.svd(shape.T @ reference)
        left.append(np.linalg.norm(shape @ u @ vt - reference))
    assert 0.03 < np.mean(left) < 0.4


@pytest.mark.parametrize("dims", [2, 3])
def test_smooth_warp_is_small_and_works_in_any_dimension(dims):
    warp = smooth_warp(np.random.default_rng(0), dims, amplitude=2.0, wavelength=150.0)
    points = np.random.default_rng(1).uniform(-100, 100, size=(500, dims))
    moved = warp(points) - points
    assert moved.shape == points.shape
    assert 0.3 < np.sqrt((moved**2).mean()) < 8
    near = warp(points + 0.01) - warp(points)
    assert np.abs(near - 0.01).max() < 0.01  # neighbours stay neighbours: no fold


def test_curves():
    square = np.array([(0, 0), (4, 0), (4, 4), (0, 4)], dtype=float)
    assert np.allclose(spline(square, steps=5)[::5], square)
    assert np.allclose(spline(square, closed=False)[[0, -1]], square[[0, -1]])
    assert np.allclose(turn([(1, 0)], 90, (0, 0)), [(0, 1)])
    assert np.allclose(np.linalg.norm(ellipse((3, 4), (2, 2)) - (3, 4), axis=1), 2)


def test_oversampling_shrinks_with_size():
    assert oversampling((64, 48)) == 4
    assert oversampling((320, 256)) == 2
    assert oversampling((1200, 900)) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("foot", 0, 0), "unknown phantom kind 'foot', known: ceph"),
        (("ceph", -1, 0), "must not be negative"),
        (("ceph", 0, 0, (320,)), "size must be"),
        (("ceph", 0, 0, (320, 8)), "size must be"),
        (("ceph", 0, 0, (64, 64, 64)), "is 2D"),
        (("ceph", 0, 0, None, 12), "8 or 16 bits"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        render_phantom(*arguments)


# ---- the dataset --------------------------------------------------------------------------------------


def test_dataset_yields_packed_samples():
    pipeline = [dict(type="LoadImage"), dict(type="PackInputs")]
    dataset = DATASETS.build(dict(type="PhantomDataset", kind="hand", num_samples=3, pipeline=pipeline))
    assert len(dataset) == 3
    assert dataset.metainfo["num_landmarks"] == 37
    sample = dataset[1]
    image, landmarks, spacing = render_phantom("hand", 0, 1)
    assert tuple(sample["inputs"].shape) == (1, *image.shape)
    assert np.array_equal(sample["data_samples"].gt_landmarks.numpy(), landmarks)
    assert sample["data_samples"].spacing == pytest.approx(spacing)
    assert sample["data_samples"].sample_id == "hand_0_000001"


def test_records_carry_the_image_that_belongs_to_them():
    dataset = PhantomDataset("ceph", 2, (128, 96), seed=5, offset=10, bits=16)
    record = dataset.get_data_info(1)
    image, landmarks, _ = render_phantom("ceph", 5, 11, (128, 96), bits=16)
    assert np.array_equal(record["img"], image)
    assert np.array_equal(record["landmarks"], landmarks)


def test_splits_by_offset_do_not_overlap():
    train, test = PhantomDataset("ceph", 3), PhantomDataset("ceph", 3, offset=3)
    ids = [dataset.get_data_info(i)["sample_id"] for dataset in (train, test) for i in range(3)]
    assert len(set(ids)) == 6


def test_the_seed_of_a_run_leaves_the_patients_alone():
    dataset = PhantomDataset("ceph", 1, seed=3)
    before = dataset.get_data_info(0)["img"]
    set_seed(dataset, 99)
    set_epoch(dataset, 4)
    assert np.array_equal(dataset.get_data_info(0)["img"], before)


def test_missing_landmarks():
    dataset = PhantomDataset("spine", 20, missing=0.3)
    gone = np.array([np.isnan(dataset.get_data_info(i)["landmarks"]).all(axis=1) for i in range(20)])
    assert 0.2 < gone.mean() < 0.4
    most = PhantomDataset("spine", 5, missing=0.999)
    assert all(np.isfinite(most.get_data_info(i)["landmarks"]).all(axis=1).sum() >= 1 for i in range(5))
    whole = PhantomDataset("spine", 20).get_data_info(4)["landmarks"]
    assert np.array_equal(whole[~gone[4]], dataset.get_data_info(4)["landmarks"][~gone[4]])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(kind="foot"), "unknown phantom kind"),
        (dict(num_samples=0), "num_samples >= 1"),
        (dict(offset=-1), "offset >= 0"),
        (dict(missing=1.0), "missing is a fraction"),
        (dict(bits=12), "bits must be 8 or 16"),
        (dict(seed=-1), "seed must be"),
        (dict(size=(9, 9)), "size must be"),
        (dict(ann_file="a.json"), "reads no files"),
    ],
)
def test_bad_dataset_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        PhantomDataset(**arguments)


def test_annotators_have_habits_and_are_right_on_average():
    alone, read = (PhantomDataset(num_samples=3, size=(96, 80), num_annotators=n) for n in (1, 3))
    assert "by_annotator" not in alone.get_data_info(0)
    habits = []
    for index in range(3):
        readings, truth = read.get_data_info(index)["by_annotator"], alone.get_data_info(index)["landmarks"]
        assert readings.shape == (3, 19, 2)
        np.testing.assert_allclose(readings.mean(0), truth, atol=1e-4)
        np.testing.assert_allclose(read.get_data_info(index)["landmarks"], truth, atol=1e-4)
        habits.append(readings - truth)
    np.testing.assert_allclose(habits[0], habits[2], atol=1e-4)
    assert np.abs(habits[0]).max() > 0.3
    with pytest.raises(ValueError, match="num_annotators must be at least 1, got 0"):
        PhantomDataset(num_annotators=0)
