"""Phantoms: the same everywhere, in view, and with landmarks that the image shows."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest

from mmlandmark.datasets.phantom import (
    DEFAULT_SIZES,
    SCHEMAS,
    render_phantom,
    sample_scene,
)
from mmlandmark.structures import LandmarkSchema

KINDS = sorted(kind for kind, size in DEFAULT_SIZES.items() if len(size) == 2)


_DIGEST = """
import hashlib
from mmlandmark.datasets.phantom import render_phantom


digest = hashlib.sha256()
for kind in ("ceph", "hand", "spine"):
    image, landmarks, _ = render_phantom(kind, 5, 2, bits=16)
    digest.update(image.tobytes() + landmarks.tobytes())
image, landmarks, _ = render_phantom("head", 5, 2, (40, 48, 48))
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


@pytest.mark.parametrize("kind", sorted(SCHEMAS))
def test_same_seed_and_index_give_the_same_bits(kind):
    first, again, other = (render_phantom(kind, 3, 7), render_phantom(kind, 3, 7), render_phantom(kind, 4, 7))
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], again[1], equal_nan=True)
    assert first[2] == again[2]
    assert not np.array_equal(first[0], other[0])
    assert np.nanmean(np.abs(first[1] - other[1])) > 1
    assert np.nanmean(np.abs(first[1] - sample_scene(kind, 3, 8).landmarks)) > 1


@pytest.mark.slow
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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("foot", 0, 0), "unknown phantom kind 'foot', known: ceph"),
        (("ceph", -1, 0), "must not be negative"),
        (("ceph", 0, 0, (320,)), "size must be"),
        (("ceph", 0, 0, (320, 8)), "size must be"),
        (("ceph", 0, 0, (64, 64, 64)), "is 2D"),
        (("ceph", 0, 0, None, 12), "8 or 16 bits"),
        (("head", 0, 0, None, 8), "'head' has 16 bits, got bits=8"),
        (("head", 0, 0, (64, 64)), r"is 3D: size must be \(depth, height, width\), each >= 16"),
        (("head", 0, 0, (64, 64, 15)), "each >= 16"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        render_phantom(*arguments)
