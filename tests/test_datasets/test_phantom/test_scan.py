"""The volume of a generated head: its frame, what it leaves out, and that it shows what the landmarks say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from mmlandmark.datasets.phantom import render_phantom, sample_scene
from mmlandmark.datasets.phantom.head import LANDMARKS
from mmlandmark.structures import apply_matrix, canonical_matrix, original_from_world, spacing_of

SIZE = (40, 48, 48)


def test_frames_are_oblique_anisotropic_and_those_of_nifti():
    ratios, angles = [], []
    for index in range(30):
        scan = sample_scene("head", 0, index, SIZE)
        world = scan.world_from_original
        np.testing.assert_allclose(scan.spacing, spacing_of(world))
        axes = world[:3, :3] / scan.spacing
        np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-9)
        assert np.linalg.det(axes) > 0
        angles.append(np.degrees(np.arccos(np.abs(np.diag(axes)))))
        ratios.append(scan.spacing[2] / scan.spacing[0])
        assert np.isclose(scan.spacing[0], scan.spacing[1])
        # Stored columns run to the right and rows to the front: both are reversed on the way to LPS.
        assert np.diag(canonical_matrix(world, SIZE))[:3].tolist() == [-1, -1, 1]
    assert 5 < np.max(angles) < 20
    assert np.std(ratios) > 0.05
    assert np.mean(ratios) > 1.05


def test_the_patient_does_not_depend_on_the_volume():
    for index in range(4):
        coarse, fine = (sample_scene("head", 1, index, size) for size in (SIZE, (80, 96, 96)))
        worlds = [apply_matrix(s.world_from_original, s.landmarks.astype(float)) for s in (coarse, fine)]
        np.testing.assert_allclose(worlds[0], worlds[1], atol=1e-4)
        np.testing.assert_allclose(np.array(coarse.spacing) / fine.spacing, 2, rtol=1e-6)
        # The half-pixel convention: twice as many voxels in the same box.
        np.testing.assert_allclose(2 * coarse.landmarks + 0.5, fine.landmarks, atol=1e-3)


def test_absent_are_lost_teeth_and_what_lies_outside():
    scans = [sample_scene("head", 2, index, SIZE) for index in range(80)]
    absent = np.stack([s.visibility < 0 for s in scans])
    molars = np.array(["molar" in name for name in LANDMARKS])
    cut = absent[:, ~molars].any(axis=1)
    assert 0.05 < cut.mean() < 0.35
    assert 0.1 < absent[:, molars].mean() < 0.4
    for scan in scans:
        gone = scan.visibility < 0
        assert np.array_equal(gone, np.isnan(scan.landmarks).all(axis=1))
        assert (scan.landmarks[~gone] >= -0.5).all()
        assert (scan.landmarks[~gone] <= np.array(SIZE[::-1]) - 0.5).all()
    chins = absent[:, [LANDMARKS.index("menton")]].sum()
    assert chins > absent[:, [LANDMARKS.index("right eye")]].sum()


def test_voxels_are_hounsfield_units_with_noise():
    volume, _, _ = render_phantom("head", 0, 3)
    assert volume.dtype == np.int16
    assert volume.shape == (80, 96, 96)
    assert volume.min() >= -1024
    assert 2000 < volume.max() <= 3071
    corner = volume[-6:, :8, :8].astype(float)
    assert corner.mean() == pytest.approx(-1000, abs=15)
    assert 3 < corner.std() < 40
    for low, high, least in ((-1024, -900, 0.2), (-20, 100, 0.15), (600, 1300, 0.05), (1800, 3072, 0.0002)):
        assert ((volume > low) & (volume < high)).mean() > least


def _around(volume, points, scan, step=2.5):
    """Return values in a cube of 7 samples a side about points (N, 3), along the axes of the world."""
    steps = np.stack(np.meshgrid(*[np.arange(-3, 4) * step] * 3, indexing="ij"), -1).reshape(-1, 3)
    places = apply_matrix(scan.world_from_original, points)[:, None] + steps
    voxels = apply_matrix(original_from_world(scan.world_from_original), places)
    return map_coordinates(volume.astype(np.float32), voxels[..., ::-1].T, order=1, mode="nearest").T


def test_landmarks_lie_on_structures_of_the_volume():
    # Averaged over patients, the surroundings of a landmark keep their detail only if it is in its place.
    rng, exact, astray = np.random.default_rng(0), [], []
    for index in range(10):
        scan = sample_scene("head", 3, index, (64, 72, 72))
        volume = np.clip(render_phantom("head", 3, index, (64, 72, 72))[0], -1000, 1500)
        points = scan.landmarks.astype(float)
        shift = rng.normal(size=points.shape)
        shift *= 8 / np.linalg.norm(shift, axis=1, keepdims=True) / np.array(scan.spacing)
        for group, places in ((exact, points), (astray, points + shift)):
            patch = _around(volume, np.nan_to_num(places), scan)
            group.append(np.where(np.isnan(points[:, :1]), np.nan, patch))
    detail = [np.nanmean(group, axis=0).std(axis=1) for group in (exact, astray)]
    ratios = (detail[0] / detail[1])[["eye" not in name for name in LANDMARKS]]  # its globe has no detail
    assert (ratios > 1.05).all(), np.round(ratios, 2)
    assert np.median(ratios) > 1.3
