"""The image cache: same bits, shared by workers, honest about its limits."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
import warnings

import cv2
import numpy as np
import pytest

from mmlandmark.datasets.image_cache import ImageCache
from mmlandmark.datasets.image_io import LoadedImage, read_image
from mmlandmark.datasets.transforms import LoadImage
from mmlandmark.structures import world_matrix
from mmlandmark.testing.forks import forked
from mmlandmark.testing.volume_files import write_dicom_series, write_itk

KINDS = {
    "grey8": ((60, 50), np.uint8),
    "grey16": ((60, 50), np.uint16),
    "colour8": ((60, 50, 3), np.uint8),
    "colour16": ((60, 50, 3), np.uint16),
}


@pytest.fixture(params=["ram", "disk"])
def cache(request, tmp_path):
    if request.param == "ram":
        return ImageCache("ram", max_gb=0.01)
    return ImageCache("disk", folder=tmp_path / "cache")


def make_image(folder, name="a.png", kind="grey8", seed=0):
    shape, dtype = KINDS[kind]
    array = np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape).astype(dtype)
    cv2.imwrite(str(folder / name), array)
    return str(folder / name)


def same(a: LoadedImage, b: LoadedImage) -> bool:
    return (
        a.array.dtype == b.array.dtype
        and np.array_equal(a.array, b.array)
        and a.ori_shape == b.ori_shape
        and np.array_equal(a.img_from_original, b.img_from_original)
        and same_world(a.world_from_original, b.world_from_original)
        and (a.value_range, a.bits, a.window) == (b.value_range, b.bits, b.window)
    )


def same_world(a, b) -> bool:
    return a is b if a is None or b is None else np.array_equal(a, b)


def forbidden():
    raise AssertionError("the image was read again")


@pytest.mark.parametrize("kind", KINDS)
def test_cached_is_bit_identical(cache, tmp_path, kind):
    path = make_image(tmp_path, kind=kind)
    load = LoadImage((30, 20))
    plain = load(dict(img_path=path))
    for _ in range(3):
        cached = load(dict(img_path=path, image_cache=cache))
        assert cached["img"].dtype == plain["img"].dtype
        for key in ("img", "img_from_original", "input_from_original"):
            np.testing.assert_array_equal(cached[key], plain[key])
        assert cached["ori_shape"] == plain["ori_shape"] == (60, 50)
        assert cached["input_shape"] == plain["input_shape"] == (30, 20)


def test_volumes_floats_and_spacing(cache, tmp_path):
    path = make_image(tmp_path)
    array = np.random.default_rng(0).standard_normal((4, 5, 6)).astype(np.float32)
    image = LoadedImage(array, (8, 10, 12), np.diag([0.5, 0.5, 0.5, 1.0]), np.diag([0.1, 0.2, 0.3, 1.0]))
    assert same(cache.fetch(path, 1, lambda: image), image)
    assert same(cache.fetch(path, 1, forbidden), image)


def test_frames_of_volumes_slices_and_images(cache, tmp_path):
    path, array = make_image(tmp_path), np.zeros((5, 6), np.uint8)
    slice_in_patient = world_matrix((0.5, 2), (1, 2, 3), [[0, 0], [1, 0], [0, 1]])
    for variant, world in enumerate((None, world_matrix((0.5, 2), (7, 8)), slice_in_patient)):
        image = LoadedImage(array, (5, 6), np.eye(3), world)
        assert same(cache.fetch(path, variant, lambda image=image: image), image)
        assert same(cache.fetch(path, variant, forbidden), image)


def test_the_window_of_the_display(cache, tmp_path):
    path, array = make_image(tmp_path), np.zeros((5, 6), np.int16)
    for variant, window in enumerate((None, (-160.0, 239.0))):
        image = LoadedImage(array, (5, 6), np.eye(3), window=window)
        assert same(cache.fetch(path, variant, lambda image=image: image), image)
        assert same(cache.fetch(path, variant, forbidden), image)


def test_every_variant_has_its_own_entry(cache, tmp_path):
    path = make_image(tmp_path)
    shapes = [LoadImage(size, keep)(dict(img_path=path, image_cache=cache))["img"].shape
              for size in ((30, 20), (20, 30), None) for keep in (False, True) for _ in range(2)]  # fmt: skip
    assert shapes[::2] == shapes[1::2]
    assert shapes[::2] == [(30, 20), (24, 20), (20, 30), (20, 17), (60, 50), (60, 50)]


def test_image_is_read_only(cache, tmp_path):
    path = make_image(tmp_path)
    for _ in range(2):
        image = cache.fetch(path, 0, lambda: read_image(path))
        with pytest.raises(ValueError, match="read-only"):
            image.array[0, 0] = 1


def test_errors_of_the_reader_get_through(cache, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.png"):
        LoadImage()(dict(img_path=str(tmp_path / "gone.png"), image_cache=cache))


def _fill(cache, paths, answers):
    answers.put([int(cache.fetch(p, 0, lambda p=p: read_image(p)).array.sum()) for p in paths])


def test_forked_processes_share_what_they_read(cache, tmp_path):
    if "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("this system cannot fork")
    paths = [make_image(tmp_path, f"{i}.png", seed=i) for i in range(12)]
    answers = multiprocessing.get_context("fork").Queue()
    workers = [forked(_fill, cache, paths[k:] + paths[:k], answers) for k in (0, 4, 8)]
    sums = [answers.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    expected = sorted(int(read_image(p).array.sum()) for p in paths)
    assert all(sorted(s) == expected for s in sums)
    for path in paths:
        assert same(cache.fetch(path, 0, forbidden), read_image(path))


def test_copies_share_and_pickles_start_anew(cache, tmp_path):
    path = make_image(tmp_path)
    cache.fetch(path, 0, lambda: read_image(path))
    assert same(copy.deepcopy([cache])[0].fetch(path, 0, forbidden), read_image(path))
    sent = pickle.loads(pickle.dumps(cache))
    assert same(sent.fetch(path, 0, lambda: read_image(path)), read_image(path))


# ---- in memory --------------------------------------------------------------------------------------


def test_full_memory_warns_once_and_goes_on(tmp_path):
    cache = ImageCache("ram", max_gb=8000 / 2**30)
    paths = [make_image(tmp_path, f"{i}.png", seed=i) for i in range(5)]  # 3000 bytes each: two find a place
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for path in paths:
            assert same(cache.fetch(path, 0, lambda path=path: read_image(path)), read_image(path))
    assert [w.category for w in caught] == [UserWarning]
    assert "raise max_gb or use mode='disk'" in str(caught[0].message)
    for path in paths[:2]:
        cache.fetch(path, 0, forbidden)
    with pytest.raises(AssertionError, match="read again"):
        cache.fetch(paths[4], 0, forbidden)


def test_many_images_do_not_collide(tmp_path):
    cache = ImageCache("ram", max_gb=0.05)
    images = [LoadedImage(np.full((3, 2), i, np.uint16), (3, 2), np.eye(3)) for i in range(5000)]
    for i, image in enumerate(images):
        cache.fetch(f"{i}.png", 0, lambda image=image: image)
    for i, image in enumerate(images):
        assert same(cache.fetch(f"{i}.png", 0, forbidden), image)


# ---- on disk ----------------------------------------------------------------------------------------


def test_disk_cache_outlives_the_run_and_notices_changes(tmp_path):
    path = make_image(tmp_path)
    ImageCache("disk", tmp_path / "cache").fetch(path, 0, lambda: read_image(path))
    later = ImageCache("disk", tmp_path / "cache")
    assert same(later.fetch(path, 0, forbidden), read_image(path))
    make_image(tmp_path, seed=1)
    os.utime(path, ns=(1, 1))  # another time of change, whatever the clock's resolution
    assert same(later.fetch(path, 0, lambda: read_image(path)), read_image(path))
    assert len(list((tmp_path / "cache").iterdir())) == 2  # and no temporary file is left


def test_disk_cache_notices_a_changed_slice(tmp_path):
    pytest.importorskip("pydicom")
    cache = ImageCache(mode="disk", folder=tmp_path / "cache")
    for value in (1, 2):
        volume = np.full((3, 4, 5), value, np.uint8)
        folder = str(write_dicom_series(tmp_path / "ct", volume, np.eye(4)))
        os.utime(f"{folder}/00002.dcm", ns=(value, value))  # whatever the clock's resolution
        image = cache.fetch(folder, 0, lambda folder=folder: read_image(folder))
        np.testing.assert_array_equal(image.array, volume)


@pytest.mark.parametrize("suffix", [".mhd", ".nhdr"])
def test_disk_cache_notices_changed_pixels_beside_their_header(tmp_path, suffix):
    pytest.importorskip("SimpleITK")
    cache, path = ImageCache(mode="disk", folder=tmp_path / "cache"), tmp_path / f"ct{suffix}"
    for value in (1, 2):
        volume = np.full((3, 4, 5), value, np.uint8)
        write_itk(path, volume, np.eye(4))
        os.utime(path, ns=(1, 1))  # the same header: only the file beside it is another
        os.utime(tmp_path / "ct.raw", ns=(value, value))
        np.testing.assert_array_equal(cache.fetch(path, 0, lambda: read_image(path)).array, volume)
    assert same(cache.fetch(path, 0, forbidden), read_image(path))


def test_broken_cache_file_is_written_anew(tmp_path):
    path = make_image(tmp_path)
    cache = ImageCache("disk", tmp_path / "cache")
    cache.fetch(path, 0, lambda: read_image(path))
    (file,) = (tmp_path / "cache").iterdir()
    for content in (b"", b"nonsense", file.read_bytes()[:-10]):
        file.write_bytes(content)
        with pytest.warns(UserWarning, match="is broken"):
            image = cache.fetch(path, 0, lambda: read_image(path))
        assert same(image, read_image(path))
        assert same(cache.fetch(path, 0, forbidden), read_image(path))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(mode="tape"), "mode must be 'ram' or 'disk'"),
        (dict(mode="disk"), "needs a folder"),
        (dict(mode="ram", folder="x"), "mode 'ram' has none"),
        (dict(mode="ram", max_gb=0), "max_gb must be positive"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        ImageCache(**arguments)


def test_too_much_memory():
    with pytest.raises(MemoryError, match="lower max_gb"):
        ImageCache("ram", max_gb=1e9)
