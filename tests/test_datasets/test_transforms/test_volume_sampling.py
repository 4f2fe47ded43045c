"""Volumes: the part that is read, read-only memory, and deformations as lattices."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

import mmlandmark.datasets.transforms as T
from dot_images import run
from mmlandmark.datasets.transforms.elastic_field import ElasticField
from mmlandmark.datasets.transforms.frame import move_frame
from mmlandmark.datasets.transforms.intensity import gaussian_blur
from mmlandmark.datasets.transforms.resampling import render
from mmlandmark.datasets.transforms.volume_sampling import (
    displacement_nodes,
    sample_volume,
    source_box,
    source_part,
    turned,
)
from mmlandmark.ops.resample import _positions
from mmlandmark.structures import apply_matrix, crop_matrix, invert_matrix, rotation_matrix, scale_matrix


@pytest.mark.parametrize("border", ["constant", "replicate", "reflect"])
@pytest.mark.parametrize("zoom", [0.2, 0.45, 1.3])
def test_a_patch_of_a_volume_is_that_of_the_whole(border, zoom):
    noise = gaussian_blur(np.random.default_rng(0).random((40, 50, 60), dtype=np.float32), 2.0, 3)
    image = (noise * 4000).astype(np.int16)
    for seed, start in enumerate([(30, 20, 12), (-4, 20, 30), (1, 90, 2), (100, 10, 10)]):
        record = dict(img_path=None, img=image, sample_id="v", landmarks=np.full((1, 3), 9.0, np.float32))
        results = T.LoadImage()(record | dict(rng=np.random.default_rng(seed)))
        steps = [T.Resize([round(n * zoom) for n in image.shape]), T.RandomAffine(20, 0.1, 0.05)]
        results = run(results, *steps, *([T.RandomElastic(0.04, 2)] if seed % 2 else []))
        whole = T.Resample(border=border)(dict(results))["img"].astype(float)
        begin = [round(n * zoom) for n in start][::-1]
        patch = move_frame(dict(results), crop_matrix(begin[::-1]), (9, 10, 11))
        patch = T.Resample(border=border)(patch)["img"].astype(float)
        place = [slice(max(b, 0), b + n) for b, n in zip(begin, patch.shape, strict=True)]
        common = whole[tuple(place)]
        same = patch[
            tuple(slice(max(-b, 0), max(-b, 0) + n) for b, n in zip(begin, common.shape, strict=True))
        ]
        # The nodes of a deformation do not lie at the same places.
        assert np.abs(common - same).max(initial=0) <= (5 if seed % 2 else 1)


def test_only_the_part_that_a_patch_shows_is_touched(tmp_path):
    # Pixels that are not needed raise no page: they lie in a file of which only a part exists.
    path = tmp_path / "volume.npy"
    image = np.lib.format.open_memmap(path, "w+", np.int16, (200, 300, 400))
    image[100:140] = np.arange(400)
    matrix = crop_matrix((50, 60, 104)) @ scale_matrix((0.9, 0.9, 1.1), (0, 0, 100))
    box = source_box(np.linalg.inv(matrix), (16, 20, 24), None)
    part, moved = source_part(image, np.eye(4), box, (1, 1, 1), "constant")
    assert part.base is not None
    assert part.size < 2.5 * 16 * 20 * 24
    start = -moved[:3, 3].astype(int)
    place = tuple(slice(a, a + n) for a, n in zip(start[::-1], part.shape, strict=True))
    np.testing.assert_array_equal(part, image[place])
    result = render(image, np.eye(4), matrix, (16, 20, 24))
    np.testing.assert_allclose(result[5, 5], np.rint((50 + np.arange(24)) / 0.9), atol=1)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float16, np.float32])
def test_read_only_memory_is_read_without_a_copy_or_a_warning(dtype):
    array = np.random.default_rng(0).integers(0, 200, (9, 10, 11)).astype(dtype)
    array.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same = sample_volume(array, np.eye(4), array.shape, None, (1, 1, 1), "linear", "constant", 0.0)
        turned = sample_volume(
            array[::-1], np.eye(4), array.shape, None, (1, 1, 1), "nearest", "constant", 0.0
        )
    assert same.dtype == dtype
    np.testing.assert_allclose(same, array, atol=1e-3)  # the twin takes a detour to [-1, 1]
    np.testing.assert_array_equal(turned, array[::-1])


def random_field(rng, size, amplitude, turn=0.0, cells=(2, 3, 4)):
    frame = rotation_matrix((turn, -turn, turn), (10, 12, 14)) @ scale_matrix((0.8, 1.1, 1.4), (3, 3, 3))
    lattice = (3, *[n + 3 for n in cells])
    return ElasticField(rng.uniform(-amplitude, amplitude, lattice), frame, size)


@pytest.mark.parametrize("amplitude", [0.1, 1.0, 4.0])
def test_a_lattice_of_displacements_is_exact_to_a_fiftieth_of_a_voxel(amplitude):
    rng = np.random.default_rng(0)
    field = random_field(rng, (40, 50, 60), amplitude, 20.0)
    input_from_original = rotation_matrix((5, 10, 15), (20, 20, 20)) @ scale_matrix(1.2, (9, 9, 9))
    size = (30, 34, 42)
    nodes, step = displacement_nodes(input_from_original, size, [field])
    assert max(step) > 1 or amplitude == 4.0
    matrix = invert_matrix(input_from_original)
    read = _positions(torch.from_numpy(matrix), size, nodes, step).numpy().reshape(-1, 3)
    pixels = np.stack(np.meshgrid(*[np.arange(n) for n in size], indexing="ij")[::-1], -1).reshape(-1, 3)
    at = apply_matrix(field.frame_from_original @ invert_matrix(input_from_original), pixels.astype(float))
    exact = apply_matrix(invert_matrix(field.frame_from_original), at + field.at(at))
    # In pixels of the field, whose spline it is. The lattice and the nodes are linear, one after the other.
    errors = (read - exact) @ field.frame_from_original[:3, :3].T
    assert np.abs(errors).max() < 0.04
    assert np.abs(exact - apply_matrix(matrix, pixels.astype(float))).max() > amplitude / 2


def test_the_box_of_a_deformed_frame_holds_all_that_is_read():
    rng = np.random.default_rng(1)
    fields = [random_field(rng, (40, 50, 60), 3.0, 20.0), random_field(rng, (30, 30, 30), 2.0)]
    frame, size = rotation_matrix((5, 10, 15), (20, 20, 20)), (20, 24, 22)
    img = scale_matrix((0.5, 0.8, 2.0), (0, 0, 0))
    moved, step = displacement_nodes(frame, size, fields)
    nodes, matrix = turned(img, moved), img @ invert_matrix(frame)
    read = _positions(torch.from_numpy(matrix), size, nodes, step).numpy().reshape(-1, 3)
    box = source_box(matrix, size, nodes)
    assert (read >= box[0] - 1e-5).all()
    assert (read <= box[1] + 1e-5).all()
    reach = nodes.flatten(1).abs().amax(1).numpy()
    assert (box[1] - box[0] <= read.max(0) - read.min(0) + 4 * reach).all()


def test_elastic_of_colour_and_of_half_floats():
    image = np.random.default_rng(0).random((20, 22, 24), dtype=np.float32)
    results = [
        run(
            T.LoadImage()(
                dict(
                    img_path=None, img=array, sample_id="v", rng=np.random.default_rng(3),
                    landmarks=np.full((1, 3), 9.0, np.float32),
                )
            ),
            T.RandomElastic(0.04), T.RandomAffine(20), T.Resample(),
        )["img"]
        for array in (image, np.stack([image, 1 - image, image], -1), image.astype(np.float16))
    ]  # fmt: skip
    grey, colour, half = results
    np.testing.assert_array_equal(colour[..., 0], grey)
    assert half.dtype == np.float16
    np.testing.assert_allclose(half, grey, atol=1e-3)


def test_memory_of_a_patch_does_not_grow_with_the_volume():
    import tracemalloc

    def peak(side):
        record = dict(img_path=None, img=np.zeros((side, side, side), np.int16), sample_id="v")
        record |= dict(landmarks=np.full((1, 3), 40.0, np.float32), rng=np.random.default_rng(0))
        results = T.LoadImage()(record)
        results = run(results, T.RandomAffine(20), T.RandomPatch((24, 24, 24)), T.RandomElastic(0.01))
        tracemalloc.start()
        T.Resample()(results)
        memory = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return memory

    assert peak(160) < 1.2 * peak(64) + 1e5
