"""One picture through every format that can hold it: the same input, landmark and place in mm."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from image_writers import FLAT, VOLUMES, load, write_cv, write_nifti, write_npy, write_sitk
from mmlandmark.datasets import image_files
from mmlandmark.datasets.image_files import image_shape
from mmlandmark.datasets.image_io import read_image
from mmlandmark.datasets.readers.loaded_image import reorder
from mmlandmark.structures import apply_matrix, invert_matrix, world_matrix


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", FLAT)
def test_one_picture_in_every_format(tmp_path, name, seed):
    writer, bits, options, keeps_spacing = FLAT[name]
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(9, 40, 2).tolist())
    unit = cv2.GaussianBlur(rng.random(shape), (0, 0), 1.5)
    unit = (unit - unit.min()) / (unit.max() - unit.min())
    picture = np.round(unit * (2**bits - 1)).astype(np.uint8 if bits == 8 else np.uint16)
    spacing = rng.uniform(0.1, 2, 2).round(3)
    writer(tmp_path / name, picture, spacing, **options)

    x, y = rng.integers(0, shape[::-1])
    sample, found = load(tmp_path / name, (x, y))
    assert found.shape == shape == sample.ori_shape == image_shape(tmp_path / name)
    tolerance = 3 / 255 if name.endswith(".jpg") else 1e-6
    np.testing.assert_allclose(found, picture / (2**bits - 1), atol=tolerance)
    assert np.abs(found - unit).max() <= tolerance + 0.51 / (2**bits - 1)
    px, py = sample.to_input(sample.gt_landmarks)[0].int().tolist()
    assert abs(found[py, px] - picture[y, x] / (2**bits - 1)) <= tolerance
    if keeps_spacing:
        np.testing.assert_allclose(sample.spacing, spacing, atol=1e-6)
        step = sample.to_world(sample.gt_landmarks + 1) - sample.to_world(sample.gt_landmarks)
        np.testing.assert_allclose(np.linalg.norm(step[0]), np.linalg.norm(spacing), atol=1e-4)
    else:
        assert sample.spacing is None
        with pytest.raises(ValueError, match="does not say where"):
            sample.to_world(sample.gt_landmarks)


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.jpg"])
def test_eight_bits_reach_the_network_bit_for_bit(tmp_path, name):
    picture = np.random.default_rng(0).integers(0, 256, (40, 30)).astype(np.uint8)
    write_cv(tmp_path / name, picture, None)
    decoded = cv2.imread(str(tmp_path / name), cv2.IMREAD_GRAYSCALE)
    found = load(tmp_path / name, (1, 1))[1]
    np.testing.assert_array_equal(found, decoded.astype(np.float32) * np.float32(1 / 255))


# MONOCHROME1 turns round all bits that it says it stores, so it cannot hold fewer by mistake.
SILENT_16 = [n for n, (_, bits, options, _) in FLAT.items() if bits == 16 and "inverted" not in options]


@pytest.mark.parametrize("name", SILENT_16)
def test_twelve_bits_in_sixteen_need_a_word(tmp_path, name):
    writer, _, options, _ = FLAT[name]
    picture = np.random.default_rng(0).integers(0, 4096, (20, 30)).astype(np.uint16)
    writer(tmp_path / name, picture, (1.0, 1.0), **options)
    for said in (dict(bits=12), dict(value_range=(0, 4095))):
        np.testing.assert_allclose(load(tmp_path / name, (1, 1), **said)[1], picture / 4095, atol=1e-6)
    np.testing.assert_allclose(load(tmp_path / name, (1, 1))[1], picture / 65535, atol=1e-6)


def test_bits_leave_alone_what_has_fewer(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (20, 30)).astype(np.uint8)
    for name in ("a.png", "a.dcm", "12.dcm"):
        writer, bits, options, _ = FLAT[name]
        writer(tmp_path / name, picture.astype(np.uint8 if bits == 8 else np.uint16), None, **options)
        assert np.array_equal(load(tmp_path / name, (1, 1), bits=12)[1], load(tmp_path / name, (1, 1))[1])


@pytest.mark.parametrize(
    ("dtype", "white"),
    [
        ("int8", 127),
        ("int16", 32767),
        ("int32", 2**31 - 1),
        ("uint32", 2**32 - 1),
        ("float32", 1),
        ("float64", 1),
    ],
)
def test_white_of_other_numbers(tmp_path, dtype, white):
    picture = (np.random.default_rng(0).uniform(-0.5, 1, (12, 15)) * white).astype(dtype)
    if dtype.startswith("u"):
        picture = (np.random.default_rng(0).uniform(0, 1, (12, 15)) * white).astype(dtype)
    writers = {"a.npy": write_npy, "a.mha": write_sitk, "a.nrrd": write_sitk, "a.nii": write_nifti}
    if dtype in ("int8", "float32", "int32", "float64"):
        writers["a.tif"] = write_cv
    for name, writer in writers.items():
        writer(tmp_path / name, picture, (1.0, 1.0))
        np.testing.assert_allclose(load(tmp_path / name, (1, 1))[1], picture / white, rtol=1e-6, atol=1e-6)
        assert load(tmp_path / name, (1, 1))[0].ori_shape == image_shape(tmp_path / name) == (12, 15)


# ---- volumes ----------------------------------------------------------------------------------------

ORDERS = [
    (order, signs)
    for order in itertools.permutations(range(3))
    for signs in itertools.product((1, -1), repeat=3)
]


def stored_as(order, signs, size):
    """Return the matrix from a volume stored with other axes to the canonical one of ``size`` (*S)."""
    matrix = np.zeros((4, 4))
    matrix[3, 3] = 1
    for axis in range(3):
        matrix[axis, order[axis]] = signs[axis]
        matrix[axis, 3] = size[2 - axis] - 1 if signs[axis] < 0 else 0
    return matrix


@pytest.mark.parametrize("name", VOLUMES)
def test_one_volume_in_every_format_and_order(tmp_path, name):
    writer, options = VOLUMES[name]
    rng = np.random.default_rng(len(name))
    for turn, (order, signs) in enumerate(ORDERS):
        size = tuple(rng.integers(3, 9, 3).tolist())
        # Up to 20 degrees about each axis: oblique, but it is clear which axis is nearest to which.
        direction = Rotation.from_euler(
            "xyz", rng.uniform(-20, 20, 3) * (turn % 4 > 0), degrees=True
        ).as_matrix()
        world = world_matrix(rng.uniform(0.3, 3, 3), rng.uniform(-150, 150, 3), direction)
        volume = rng.integers(0, 65536, size).astype(np.uint16)
        matrix = stored_as(order, signs, size)
        stored = reorder(volume, invert_matrix(matrix), 3)
        path = tmp_path / name
        writer(path, stored, None, world=world @ matrix, **options)

        point = np.array([rng.integers(0, n) for n in size[::-1]], float)
        marked = apply_matrix(invert_matrix(matrix), point[None])[0]
        sample, found = load(path, marked)
        np.testing.assert_allclose(found, volume / 65535, atol=1e-6)
        assert sample.ori_shape == stored.shape == image_shape(path)
        np.testing.assert_allclose(sample.to_input(sample.gt_landmarks)[0], point, atol=1e-4)
        expected = apply_matrix(world, point[None])[0]
        np.testing.assert_allclose(sample.to_world(sample.gt_landmarks)[0], expected, atol=1e-4)
        np.testing.assert_allclose(
            sample.to_original(sample.to_input(sample.gt_landmarks))[0], marked, atol=1e-4
        )
        np.testing.assert_allclose(
            sample.spacing, np.linalg.norm((world @ matrix)[:3, :3], axis=0), rtol=1e-5
        )
        assert stored[tuple(marked.astype(int)[::-1])] == volume[tuple(point.astype(int)[::-1])]


def test_an_npy_volume_stays_as_it_is(tmp_path):
    volume = np.random.default_rng(0).integers(0, 255, (4, 5, 6)).astype(np.uint8)
    np.save(tmp_path / "a.npy", volume)
    sample, found = load(tmp_path / "a.npy", (1, 2, 3))
    np.testing.assert_allclose(found, volume / 255, atol=1e-6)
    np.testing.assert_array_equal(sample.input_from_original, np.eye(4))
    assert sample.world_from_original is None


@pytest.mark.real_data
def test_real_brain_under_its_published_landmarks(real_data):
    """Landmarks of a template in RAS mm, found in the array by the way of its own voxels."""
    nibabel = pytest.importorskip("nibabel")
    folder = real_data("afids_brain")
    rows = (folder / "tpl-MNI152NLin2009cAsym_afids.fcsv").read_text().splitlines()
    ras = np.array([[float(c) for c in row.split(",")[1:4]] for row in rows if not row.startswith("#")])
    path = folder / "tpl-MNI152NLin2009cAsym_res-02_T1w.nii.gz"
    image = nibabel.load(path)
    voxels = apply_matrix(np.linalg.inv(image.affine), ras)
    loaded = read_image(path)
    assert not np.array_equal(loaded.img_from_original, np.eye(4))  # it is stored in RAS
    lps = apply_matrix(loaded.world_from_original, voxels)
    np.testing.assert_allclose(lps, ras * (-1, -1, 1), atol=1e-4)
    nearest = np.rint(voxels).astype(int)
    there = np.rint(apply_matrix(loaded.img_from_original, nearest.astype(float))).astype(int)
    values = image.get_fdata()[tuple(nearest.T)]
    np.testing.assert_allclose(loaded.array[tuple(there.T[::-1])], values, rtol=1e-5)
    assert values.std() > 0


# ---- what single formats bring ----------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted({*FLAT, *VOLUMES}))
def test_sizes_come_from_headers(tmp_path, name, monkeypatch):
    def forbidden(path):
        raise AssertionError("the pixels were decoded")

    monkeypatch.setattr(image_files, "read_image", forbidden)
    if name in FLAT:
        writer, bits, options, _ = FLAT[name]
        array = np.zeros((7, 9), np.uint8 if bits == 8 else np.uint16)
        writer(tmp_path / name, array, (1.0, 1.0), **options)
    else:
        array, (writer, options) = np.zeros((5, 7, 9), np.uint16), VOLUMES[name]
        writer(tmp_path / name, array, None, world=np.eye(4), **options)
    assert image_shape(tmp_path / name) == array.shape
