"""Rules on volumes, by table."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mmlandmark.planning.spacing_rules import (
    MULTIPLE,
    SMALLEST,
    Grid,
    choose_alignment,
    choose_image_radii,
    choose_loaded_size,
    choose_patch,
    choose_peak,
    choose_radii,
    choose_stages,
    choose_voxel,
    input_grids,
    level_kernels,
    level_strides,
)


@pytest.mark.parametrize(
    ("spacing", "voxel"),
    [
        ((0.14111, 0.141, 0.141), (0.141, 0.141, 0.141)),
        ((1.0, 1.0, 1.05), (1.016, 1.016, 1.016)),
        ((0.5, 0.5, 3.0), (0.5, 0.5, 3.0)),
        ((0.4, 0.4, 0.5), (0.4, 0.4, 0.5)),
    ],
)
def test_voxels_that_are_nearly_cubes_become_cubes(spacing, voxel):
    choice = choose_voxel(spacing)
    assert choice.value == voxel
    assert ("cubes" in choice.why) == (len(set(voxel)) == 1)


@pytest.mark.parametrize(
    ("voxel", "extent"),
    [
        ((0.141, 0.141, 0.141), (20.6, 22.6, 22.6)),
        ((0.5, 0.5, 3.0), (256, 256, 180)),
        ((0.3, 0.3, 0.3), (230, 230, 170)),
        ((2.0, 2.0, 2.0), (20, 30, 20)),
    ],
)
def test_candidates_go_from_coarse_to_the_voxels_of_the_data(voxel, extent):
    grids = input_grids(voxel, extent)
    assert grids[-1].spacing == voxel
    voxels = [math.prod(grid.size) for grid in grids]
    assert voxels == sorted(set(voxels))
    for grid in grids:
        covered = np.multiply(grid.size[::-1], grid.spacing)
        assert (covered >= np.asarray(extent) * 0.999).all()
        assert (covered - extent <= MULTIPLE * np.asarray(grid.spacing) + 2 * MULTIPLE * max(voxel)).all()
        assert all(side % MULTIPLE == 0 for side in grid.size)
        coarser = [mm for mm, own in zip(grid.spacing, voxel, strict=True) if mm > own]
        assert len(set(coarser)) <= 1  # the axes that are resampled have one spacing
        assert all(mm >= own for mm, own in zip(grid.spacing, voxel, strict=True))


@pytest.mark.parametrize(
    ("size", "spacing", "strides", "kernels"),
    [
        ((64, 64, 64), (1, 1, 1), [(1, 1, 1), *[(2, 2, 2)] * 4], [(3, 3, 3)] * 5),
        ((64, 64, 64), None, [(1, 1, 1), *[(2, 2, 2)] * 4], [(3, 3, 3)] * 5),
        # Slices of 3 mm: halved once the pixels in them are more than 1.5 mm.
        (
            (64, 512, 512),
            (0.5, 0.5, 3),
            [(1, 1, 1), (1, 2, 2), (1, 2, 2), (2, 2, 2), (2, 2, 2)],
            [(1, 3, 3), (1, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3)],
        ),
        # Few slices stay; kernels along them do not become flat again.
        (
            (16, 64, 64),
            (1, 1, 1),
            [(1, 1, 1), (2, 2, 2), (2, 2, 2), (1, 2, 2), (1, 2, 2)],
            [(3, 3, 3)] * 5,
        ),
        # The long axis is x.
        (
            (32, 32, 8),
            (5, 1, 1),
            [(1, 1, 1), (2, 2, 1), (2, 2, 1), (2, 2, 2)],
            [(3, 3, 1), (3, 3, 1), (3, 3, 3), (3, 3, 3)],
        ),
        ((8, 8, 8), (1, 1, 1), [(1, 1, 1), (2, 2, 2)], [(3, 3, 3)] * 2),
        ((16, 24), None, [(1, 1), (2, 2), (2, 2)], [(3, 3)] * 3),
    ],
)  # fmt: skip
def test_strides_and_kernels_follow_the_spacing(size, spacing, strides, kernels):
    found = level_strides(size, spacing, 5)
    assert list(found) == strides
    assert list(level_kernels(found, spacing)) == kernels
    deepest = [side // math.prod(steps) for side, steps in zip(size, zip(*found, strict=True), strict=True)]
    assert min(deepest) >= SMALLEST


@pytest.mark.parametrize(
    ("size", "spacing", "sigma", "mm", "window"),
    [
        ((48, 48, 48), (0.5, 0.5, 0.5), 1.5, "0.75 mm", 4),
        ((96, 96, 96), (0.5, 0.5, 0.5), 2.0, "1 mm", 5),
        ((64, 256, 256), (1.0, 1.0, 1.5), (2.0, 2.0, 1.33), "2 mm", 5),
        ((64, 256, 256), (0.5, 0.5, 3.0), (2.0, 2.0, 1.0), "1 mm", 5),
    ],
)
def test_a_peak_is_a_sphere_in_mm_unless_slices_are_thick(size, spacing, sigma, mm, window):
    choice = choose_peak(size, spacing)
    assert choice.value == dict(sigma=sigma, window=window)
    assert choice.why.startswith(mm + ",")


@pytest.mark.parametrize(
    ("spacing", "voxel", "seen", "stages", "why"),
    [
        ((0.45, 0.45, 0.45), (0.3, 0.3, 0.3), 9000, 1, "1.5 times those of the data"),
        ((0.6, 0.6, 0.6), (0.3, 0.3, 0.3), 3999, 1, "only 3999 volumes"),
        ((0.6, 0.6, 0.6), (0.3, 0.3, 0.3), 4000, 2, "2.0 times those of the data"),
        ((1.0, 1.0, 3.0), (0.5, 0.5, 3.0), 4000, 2, "2.0 times those of the data"),
    ],
)
def test_a_second_stage_needs_time_for_the_first(spacing, voxel, seen, stages, why):
    choice = choose_stages(spacing, voxel, seen)
    assert choice.value == stages
    assert why in choice.why


@pytest.mark.parametrize(
    ("coarse", "voxel", "extent", "spacing", "size"),
    [
        ((0.7, 0.7, 0.7), (0.14, 0.14, 0.14), (22, 22, 20), (0.14, 0.14, 0.14), (32, 32, 32)),
        ((4.0, 4.0, 4.0), (0.5, 0.5, 0.5), (256, 256, 300), (0.5, 0.5, 0.5), (48, 48, 48)),
        ((8.0, 8.0, 8.0), (0.5, 0.5, 0.5), (256, 256, 300), (1.0, 1.0, 1.0), (48, 48, 48)),
        ((2.0, 2.0, 3.0), (0.5, 0.5, 3.0), (256, 256, 60), (0.5, 0.5, 3.0), (24, 32, 32)),
    ],
)
def test_a_patch_covers_the_errors_of_the_first_stage(coarse, voxel, extent, spacing, size):
    grid = choose_patch(coarse, voxel, extent)
    assert (grid.spacing, grid.size) == (spacing, size)


@pytest.mark.parametrize(
    ("spacing", "landmarks", "value", "why"),
    [
        ((0.14, 0.14, 0.14), 45, dict(pixel=0.14, margin=0.5), "patches in one pose"),
        ((0.14, 0.14, 0.15), 8, dict(pixel=0.14, margin=0.5), "a wrong one put right"),
        ((0.14, 0.14, 0.14), 7, None, "7 landmarks make no sure pose"),
        ((0.5, 0.5, 3.0), 45, None, "slices are thick"),
    ],
)
def test_patches_are_aligned_where_a_pose_is_sure(spacing, landmarks, value, why):
    choice = choose_alignment(Grid(spacing, (32, 32, 32)), landmarks)
    assert choice.value == value
    assert why in choice.why


@pytest.mark.parametrize(
    ("spacing", "stored", "largest", "size"),
    [
        ((1.0, 1.0, 1.0), (0.25, 0.25, 0.25), (200, 200, 180), [100, 100, 90]),
        ((4.0, 4.0, 4.0), (0.5, 0.5, 3.0), (60, 512, 512), [60, 128, 128]),
        ((1.0, 1.0, 1.0), (0.5, 0.5, 0.5), (200, 200, 180), None),
        ((1.0, 1.0, 1.0), (0.9, 0.9, 0.9), (200, 200, 180), None),
    ],
)
def test_volumes_are_loaded_at_twice_the_input(spacing, stored, largest, size):
    assert choose_loaded_size(spacing, stored, largest).value == size


@pytest.mark.parametrize(
    ("voxel", "radii"),
    [
        ((0.141,) * 3, (0.25, 0.5, 1.0)),
        ((0.3,) * 3, (0.5, 1.0, 2.0)),
        ((0.5, 0.5, 0.5), (1.0, 2.0, 4.0)),
        ((1.0,) * 3, (2.0, 4.0, 8.0)),
        ((0.012,) * 3, (0.025, 0.05, 0.1)),
        ((0.5, 0.5, 4.0), (2.0, 4.0, 8.0)),
    ],
)
def test_radii_are_round_numbers_of_a_few_voxels(voxel, radii):
    assert choose_radii(voxel).value == radii


@pytest.mark.parametrize(
    ("size", "spacing", "radii"),
    [
        ((2400, 1935), (0.1, 0.1), (2, 2.5, 3, 4)),
        ((2400, 1935), None, (2, 2.5, 3, 4)),
        ((1000, 1000), (0.1, 0.1), (2, 2.5, 3, 4)),
        ((300, 400), (0.1, 0.1), (0.2, 0.4, 0.8)),
        ((480, 640), (0.004, 0.004), (0.01, 0.02, 0.04)),
        ((480, 640), (0.01, 0.02), (0.05, 0.1, 0.2)),
    ],
)
def test_radii_of_images_follow_the_size_of_the_anatomy(size, spacing, radii):
    assert choose_image_radii(size, spacing).value == radii
