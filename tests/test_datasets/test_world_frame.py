"""The frame of a case over every format that can say it, and through the whole pipeline and back.

Files of one world are told apart by nothing but their format: the same point in mm is the same voxel.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from image_writers import write_dicom, write_nifti, write_nrrd_in, write_sitk
from mmlandmark.datasets.image_files import image_frame
from mmlandmark.datasets.image_io import read_image
from mmlandmark.datasets.transforms import LoadImage, PackInputs, RandomAffine, RandomFlip, Resample, Resize
from mmlandmark.structures import (
    apply_matrix,
    canonical_matrix,
    first_slice,
    original_from_world,
    spacing_of,
    translation_matrix,
    world_matrix,
)
from part_of_cases import ALL

CASES = 1000 if ALL else 200
BLOCKS = 10  # of CASES, so that a failure names few


def random_world(rng, dims=3):
    """Return the matrix of a random frame: oblique, axes in any order and direction, anisotropic."""
    signed = np.eye(dims)[rng.permutation(dims)] * rng.choice((-1, 1), dims)
    turn = Rotation.random(rng=rng).as_matrix() if dims == 3 else Rotation.from_euler("z", 7).as_matrix()
    direction = turn[:dims, :dims] @ signed
    spacing = np.exp(rng.uniform(np.log(0.2), np.log(4), dims))
    return world_matrix(spacing, rng.uniform(-250, 250, dims), direction)


def grid_of(size):
    """Return the (N, D) pixels of a frame of ``size`` (*S), in the order of its flattened array."""
    axes = np.meshgrid(*[np.arange(n, dtype=float) for n in size], indexing="ij")
    return np.stack(axes[::-1], -1).reshape(-1, len(size))


def sheared(world, rng):
    """Return a frame whose slices are not stacked at right angles, as a tilted gantry leaves them."""
    tilted = world.copy()
    tilted[:3, 2] += world[:3, :2] @ rng.uniform(-0.3, 0.3, 2)
    return tilted


def write_all(folder, volume, world, more):
    """Write one volume in every format that can say its frame, ``more`` in rarer ways; return the files."""
    files = {name: folder / name for name in ("s.nii", "a.nrrd", "a.mha", "a.dcm", *more)}
    write_nifti(files["s.nii"], volume, None, world)
    write_sitk(files["a.nrrd"], volume, None, world)
    write_sitk(files["a.mha"], volume, None, world)
    write_dicom(files["a.dcm"], volume, None, 16, world=world)
    if "q.nii" in files:
        write_nifti(files["q.nii"], volume, None, world, by="qform")
    if "ras.nrrd" in files:
        write_nrrd_in("right-anterior-superior", files["ras.nrrd"], volume, world)
    return files


@pytest.mark.parametrize("block", range(BLOCKS))
def test_the_same_place_in_mm_is_the_same_voxel_in_every_format(tmp_path, block):
    rng = np.random.default_rng(block)
    for case in range(CASES // BLOCKS):
        size = tuple(rng.integers(2, 7, 3).tolist())
        volume = rng.permutation(np.prod(size)).reshape(size).astype(np.uint16)
        world = random_world(rng)
        if case % 5 == 0:
            world = sheared(world, rng)
        more = ("q.nii", "ras.nrrd") if case % 5 == 1 else ()  # a quaternion holds no shear
        voxels = rng.integers(0, size[::-1], (4, 3)).astype(float)
        places = apply_matrix(world, voxels + rng.uniform(-0.4, 0.4, (4, 3)))
        indices = apply_matrix(original_from_world(world), places)
        arrays = {}
        for name, path in write_all(tmp_path, volume, world, more).items():
            image = read_image(path)
            np.testing.assert_array_equal(image_frame(path), image.world_from_original, err_msg=name)
            back = original_from_world(image.world_from_original)
            # A quaternion of 32 bits holds no more, where it turns by nearly 180 degrees.
            tolerance = 2e-3 if name == "q.nii" else 1e-4
            np.testing.assert_allclose(apply_matrix(back, places), indices, atol=tolerance, err_msg=name)
            np.testing.assert_allclose(image.spacing, spacing_of(world), rtol=1e-5, err_msg=name)
            there = np.rint(apply_matrix(image.img_from_original, voxels)).astype(int)
            stored = volume[tuple(voxels.astype(int).T[::-1])]
            np.testing.assert_array_equal(image.array[tuple(there.T[::-1])], stored, err_msg=name)
            world_of_array = image.world_from_original @ np.linalg.inv(image.img_from_original)
            np.testing.assert_array_equal(canonical_matrix(world_of_array, image.array.shape), np.eye(4))
            arrays[name] = image.array
        assert all(np.array_equal(array, arrays["s.nii"]) for array in arrays.values())


@pytest.mark.parametrize("block", range(BLOCKS))
def test_a_slice_knows_its_place_in_the_patient(tmp_path, block):
    rng = np.random.default_rng(block)
    for _ in range(20):
        size = tuple(rng.integers(2, 9, 3).tolist())
        volume = rng.permutation(np.prod(size)).reshape(size).astype(np.uint16)
        world, depth = random_world(rng), int(rng.integers(size[0]))
        below = world @ translation_matrix((0, 0, depth))
        write_dicom(tmp_path / "slice.dcm", volume[depth], None, 16, world=first_slice(below))
        write_nifti(tmp_path / "slice.nii", volume[depth], None, first_slice(below))
        write_sitk(tmp_path / "deep.mha", volume[depth][None], None, below)
        pixel = rng.integers(0, size[:0:-1], (1, 2)).astype(float)
        place = apply_matrix(world, np.array([[*pixel[0], depth]]))
        for name in ("slice.dcm", "slice.nii", "deep.mha"):
            image = read_image(tmp_path / name)
            assert image.world_from_original.shape == (4, 3)
            np.testing.assert_array_equal(image_frame(tmp_path / name), image.world_from_original)
            np.testing.assert_allclose(apply_matrix(image.world_from_original, pixel), place, atol=1e-4)
            back = original_from_world(image.world_from_original)
            np.testing.assert_allclose(apply_matrix(back, place), pixel, atol=1e-4)
            np.testing.assert_allclose(image.spacing, spacing_of(world)[:2], rtol=1e-5)
            np.testing.assert_array_equal(image.array, volume[depth])


def ramp(size, world, rng):
    """Return float pixels that grow evenly with the place in mm, from 0 to 1, and their function.

    Linear interpolation keeps such an image exactly, whatever the frame that it is sampled in.
    """
    slope = rng.normal(size=len(world) - 1)
    values = apply_matrix(world, grid_of(size)) @ slope
    low, high = values.min(), values.max()

    def value(places):
        return (places @ slope - low) / (high - low)

    return ((values - low) / (high - low)).reshape(size).astype(np.float32), value


def through_pipeline(record, size, rng):
    """Return the packed sample of a random geometry."""
    dims = len(size)
    record["rng"], record["flip_pairs"] = rng, ((0, 1),)
    steps = [
        LoadImage(file_spacing=True),
        RandomFlip(prob=0.5),
        RandomAffine(rotation=[25] * 3 if dims == 3 else 25, scale=0.2, shift=0.1),
        Resize(size),
        Resample(border="replicate"),
        PackInputs(),
    ]
    for step in steps:
        record = step(record)
    return record["data_samples"], record["inputs"][0].numpy().astype(np.float64)


WRITERS = {
    "a.nii": write_nifti,
    "a.nrrd": write_sitk,
    "a.mha": write_sitk,
    "ras.nrrd": lambda path, volume, _, world: write_nrrd_in("right-anterior-superior", path, volume, world),
    "las.nrrd": lambda path, volume, _, world: write_nrrd_in("left-anterior-superior", path, volume, world),
}


def check_sample(sample, found, volume, value, world, points, tolerance):
    """Compare the points of a sample, and every pixel of its input that lies inside of the image."""
    places = apply_matrix(np.linalg.inv(sample.input_from_original), grid_of(found.shape))
    inside = ((places >= 0) & (places <= np.array(volume.shape[::-1]) - 1)).all(axis=1)
    assert inside.any()
    expected = value(apply_matrix(world, places[inside]))
    np.testing.assert_allclose(found.reshape(-1)[inside], expected, atol=tolerance)
    given = torch.from_numpy(points.astype(np.float32))
    back = sample.to_original(sample.to_input(given))
    np.testing.assert_allclose(back, points, atol=1e-4)
    np.testing.assert_allclose(sample.to_world(back), apply_matrix(world, points), atol=1e-3)
    np.testing.assert_allclose(sample.spacing, spacing_of(world), rtol=1e-5)


@pytest.mark.parametrize("block", range(BLOCKS))
def test_a_volume_goes_through_the_pipeline_and_back(tmp_path, block):
    rng = np.random.default_rng(block)
    for case in range(CASES // BLOCKS):
        size, world = tuple(rng.integers(5, 9, 3).tolist()), random_world(rng)
        volume, value = ramp(size, world, rng)
        name = list(WRITERS)[case % len(WRITERS)]
        WRITERS[name](tmp_path / name, volume, None, world)
        points = rng.uniform(0, np.array(size[::-1]) - 1, (3, 3)).astype(np.float32)
        record = dict(img_path=str(tmp_path / name), sample_id=name, landmarks=points)
        sample, found = through_pipeline(record, tuple(rng.integers(6, 10, 3).tolist()), rng)
        check_sample(sample, found, volume, value, world, points, 2e-5)


@pytest.mark.parametrize("name", ["a.mha", "a.nrrd", "a.nii"])
def test_an_image_goes_through_the_pipeline_and_back(tmp_path, name):
    rng = np.random.default_rng(len(name))
    for _ in range(50):
        size = tuple(rng.integers(12, 20, 2).tolist())
        world = random_world(rng, 2) if name != "a.nii" else first_slice(random_world(rng))
        picture, value = ramp(size, world, rng)
        (write_nifti if name == "a.nii" else write_sitk)(tmp_path / name, picture, None, world)
        points = rng.uniform(0, np.array(size[::-1]) - 1, (3, 2)).astype(np.float32)
        record = dict(img_path=str(tmp_path / name), sample_id=name, landmarks=points)
        sample, found = through_pipeline(record, tuple(rng.integers(20, 30, 2).tolist()), rng)
        # OpenCV reads between pixels in steps of 1/32.
        check_sample(sample, found, picture, value, world, points, 1 / 32 / 11)
