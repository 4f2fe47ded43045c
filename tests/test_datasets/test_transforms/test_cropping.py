"""Parts of the frame: where they lie, and what they keep."""

from __future__ import annotations

import numpy as np
import pytest

import mmlandmark.datasets.transforms as T
from dot_images import SHAPES, make_results, px
from mmlandmark.datasets.transforms.cropping import otsu_threshold
from mmlandmark.structures import apply_matrix, scale_matrix


def test_pad_is_centred_and_never_shrinks():
    results = T.Pad((211, 100))(make_results())
    assert results["input_shape"] == (211, 180)
    np.testing.assert_array_equal(results["input_from_original"][:2, 2], [0, 5])
    assert T.Pad(divisor=32)(make_results())["input_shape"] == (224, 192)


def test_random_crop_reaches_every_place():
    starts = {
        tuple(T.RandomCrop((198, 180))(make_results(seed=s))["input_from_original"][:2, 2]) for s in range(40)
    }
    assert starts == {(0, 0), (0, -1), (0, -2)}


def test_crop_around_landmarks_without_any():
    results = make_results()
    results["landmarks"][:] = np.nan
    assert T.CropAroundLandmarks()(results)["input_shape"] == SHAPES[2]


def test_crop_around_landmarks_keeps_the_margin():
    for seed in range(5):
        results = make_results(seed=seed)
        results["landmarks"] = np.array([[40, 60], [90, 150], [np.nan, np.nan]], np.float32)
        results = T.CropAroundLandmarks(margin=px(10), jitter=px(10))(results)
        points = apply_matrix(results["input_from_original"], results["landmarks"])[:2]
        assert (points >= 0).all()
        assert (points <= np.array(results["input_shape"][::-1]) - 1).all()


def patch_results(dims, seed=0):
    results = make_results(dims, seed=seed)
    sides = np.array(SHAPES[dims][::-1])
    results["landmarks"] = np.stack([sides * 0.5, sides * 0.1, sides * 0.9, np.full(dims, np.nan)])
    return results


@pytest.mark.parametrize("dims", [2, 3])
def test_patches_lie_around_every_annotated_landmark(dims):
    size = tuple(n // 4 for n in SHAPES[dims])
    seen = set()
    for seed in range(40):
        results = T.RandomPatch(size, jitter=0.9)(patch_results(dims, seed))
        assert results["input_shape"] == size
        points = apply_matrix(results["input_from_original"], results["landmarks"])[:3]
        inside = ((points > -0.5) & (points < np.array(size[::-1]) - 0.5)).all(1)
        assert inside.sum() == 1
        seen.add(int(np.flatnonzero(inside)[0]))
        start = -results["input_from_original"][:dims, dims]
        assert (start == np.round(start)).all()  # pixels of the patch are pixels of the frame
        assert (start >= 0).all()
        assert (start[::-1] + size <= SHAPES[dims]).all()
    assert seen == {0, 1, 2}


@pytest.mark.parametrize("dims", [2, 3])
def test_landmarks_outside_of_a_patch_are_absent(dims):
    size = (24, 30, 20)[-dims:]
    for seed in range(5):
        given = patch_results(dims, seed)
        both = np.stack([given["landmarks"], given["landmarks"] + 1])
        whole = apply_matrix(
            T.RandomPatch(size)(patch_results(dims, seed))["input_from_original"], given["landmarks"]
        )
        results = T.RandomPatch(size)(given | dict(by_annotator=both))
        outside = ((whole < -0.5) | (whole > np.array(size[::-1]) - 0.5)).any(1)  # not the missing one
        assert 0 < outside.sum() < 3
        kept = ~outside & np.isfinite(given["landmarks"]).all(1)
        np.testing.assert_array_equal(results["visibility"], np.where(outside, -1, kept))
        np.testing.assert_array_equal(np.isfinite(results["landmarks"]).all(1), kept)
        np.testing.assert_array_equal(np.isfinite(results["by_annotator"]).all(2), [kept, kept])
        np.testing.assert_array_equal(results["landmarks"][kept], given["landmarks"][kept])


def test_jitter_moves_the_landmark_within_its_part_of_the_patch():
    offsets = []
    for seed in range(200):
        results = T.RandomPatch((51, 41), around=[0], jitter=0.5)(patch_results(2, seed))
        offsets.append(apply_matrix(results["input_from_original"], results["landmarks"])[0] - (20, 25))
    offsets = np.abs(offsets).max(0)
    assert (offsets <= np.array([41, 51]) / 4 + 0.5).all()
    assert (offsets > np.array([41, 51]) / 4 - 1.5).all()
    results = T.RandomPatch((51, 41), around=[0], jitter=0)(patch_results(2))
    assert (
        np.abs(apply_matrix(results["input_from_original"], results["landmarks"])[0] - (20, 25)).max() <= 0.5
    )


def test_patches_without_a_landmark_come_from_anywhere():
    for around, prob in (([3], 1.0), ("landmarks", 0.0)):  # landmark 3 is not annotated
        starts = [
            T.RandomPatch((190, 170), around, prob)(patch_results(2, seed))["input_from_original"][:2, 2]
            for seed in range(80)
        ]
        assert {int(x) for x, _ in starts} == set(range(-10, 1))
        assert {int(y) for _, y in starts} == set(range(-10, 1))
    acted = sum(
        (apply_matrix(r["input_from_original"], r["landmarks"])[0] == (2, 2)).all()
        for r in (T.RandomPatch((5, 5), [0], 0.3, 0)(patch_results(2, seed)) for seed in range(200))
    )
    assert 40 <= acted <= 80


def test_a_patch_larger_than_the_frame_is_centred():
    results = T.RandomPatch((220, 41), jitter=0)(patch_results(2) | dict(landmarks=np.array([[50.0, 3]])))
    np.testing.assert_array_equal(results["input_from_original"][:2, 2], [-30, 10])


def volume_with_a_box(noise=0.0):
    rng = np.random.default_rng(0)
    image = rng.normal(-1000, 10, (40, 60, 150)).astype(np.float32)
    image[10:30, 20:50, 30:140] += 1000
    specks = rng.random(image.shape) < noise
    image[specks] = 2000
    record = dict(img_path=None, img=image.astype(np.int16), sample_id="box", spacing=(1, 1, 2))
    return T.LoadImage()(record | dict(landmarks=np.zeros((1, 3), np.float32)))


@pytest.mark.parametrize("threshold", [None, -500])
@pytest.mark.parametrize("noise", [0.0, 2e-4])
def test_foreground_crop(threshold, noise):
    results = T.ForegroundCrop(threshold, margin=0)(volume_with_a_box(noise))
    np.testing.assert_array_equal(results["input_from_original"][:3, 3], [-30, -20, -10])
    assert results["input_shape"] == (20, 30, 110)
    # 3 mm of the shorter side of 60 mm.
    results = T.ForegroundCrop(threshold, margin=0.05)(volume_with_a_box(noise))
    np.testing.assert_array_equal(results["input_from_original"][:3, 3], [-27, -17, -8])
    assert results["input_shape"] == (24, 36, 116)


def test_foreground_of_a_frame_that_has_moved():
    results = T.ForegroundCrop(margin=0)(T.Resize((20, 30, 75))(volume_with_a_box()))
    assert results["input_shape"] == (10, 15, 55)
    np.testing.assert_allclose(results["input_from_original"], _crop_of_half((15, 10, 5)))
    # What an earlier crop has left out does not come back.
    results = T.ForegroundCrop(margin=0.1)(T.CenterCrop((10, 10, 10))(volume_with_a_box()))
    assert results["input_shape"] == (10, 10, 10)
    assert T.ForegroundCrop(threshold=3000)(volume_with_a_box())["input_shape"] == (40, 60, 150)


def _crop_of_half(start):
    matrix = scale_matrix(0.5, (-0.5, -0.5, -0.5))
    matrix[:3, 3] -= start
    return matrix


def test_foreground_crop_of_colour_and_of_a_blank_image():
    image = np.zeros((30, 40, 3), np.uint8)
    image[5:20, 10:15, 1] = 200
    load = T.LoadImage()
    results = T.ForegroundCrop(margin=0)(load(dict(img_path=None, img=image, sample_id="colour")))
    assert results["input_shape"] == (15, 5)
    blank = load(dict(img_path=None, img=np.full((30, 40), 7, np.uint8), sample_id="blank"))
    assert T.ForegroundCrop()(blank)["input_shape"] == (30, 40)


def test_otsu_splits_two_classes():
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(-900, 30, 5000), rng.normal(40, 100, 2000)])
    assert -800 < otsu_threshold(values) < -250


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: T.CropAroundLandmarks(margin=20), "margin must be a fraction"),
        (lambda: T.Pad(divisor=0), "divisor must be"),
        (lambda: T.CropAroundLandmarks(margin=0.1, jitter=0.2), "jitter must be <= margin"),
        (lambda: T.RandomPatch((4, 4), around=None), "is RandomCrop"),
        (lambda: T.RandomPatch((4, 4), around="points"), "must be 'landmarks' or a list"),
        (lambda: T.RandomPatch((4, 4), around=[]), "must be 'landmarks' or a list"),
        (lambda: T.RandomPatch((4, 4), around=[-1]), "must be 'landmarks' or a list"),
        (lambda: T.RandomPatch((4, 4), jitter=1.5), r"jitter must lie in \[0, 1\]"),
        (lambda: T.RandomPatch((4, 4), [4])(patch_results(2)), "has landmark 4, but there are 4"),
        (lambda: T.RandomPatch((4, 4, 4))(make_results(2)), "do not fit an image of 2 dimensions"),
        (lambda: T.ForegroundCrop(margin=5), "margin must be a fraction"),
        (lambda: T.ForegroundCrop(min_share=1), r"min_share must lie in \[0, 1\)"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()
