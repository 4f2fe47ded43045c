"""Reading images: formats, dtypes, frames, bad files."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from image_writers import FLAT, VOLUMES
from mmlandmark.datasets.image_files import image_shape
from mmlandmark.datasets.image_io import image_of_record, read_image
from mmlandmark.datasets.transforms import LoadImage
from mmlandmark.structures import world_matrix


def ramp(shape=(40, 31), dtype=np.uint8):
    y, x = np.mgrid[: shape[0], : shape[1]]
    return ((5 * x + 2 * y) * (1 if dtype == np.uint8 else 200)).astype(dtype)


def write(path, array, *flags):
    assert cv2.imwrite(str(path), array, list(flags))
    return path


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
def test_grey_8_bit(tmp_path, suffix):
    image = read_image(write(tmp_path / f"a{suffix}", ramp()))
    np.testing.assert_array_equal(image.array, ramp())
    assert image.array.dtype == np.uint8
    assert image.ori_shape == (40, 31)
    assert image.spacing is None
    np.testing.assert_array_equal(image.img_from_original, np.eye(3))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bit_stays(tmp_path, suffix):
    image = read_image(write(tmp_path / f"a{suffix}", ramp(dtype=np.uint16)))
    assert image.array.dtype == np.uint16
    np.testing.assert_array_equal(image.array, ramp(dtype=np.uint16))


@pytest.mark.parametrize("suffix", [".png", ".bmp"])
def test_colour_is_rgb_and_equal_channels_are_grey(tmp_path, suffix):
    colour = np.zeros((40, 31, 3), np.uint8)
    colour[..., 2] = ramp()  # red, in OpenCV's order
    image = read_image(write(tmp_path / f"c{suffix}", colour))
    assert image.array.shape == (40, 31, 3)
    np.testing.assert_array_equal(image.array[..., 0], ramp())
    assert not image.array[..., 1:].any()
    grey = read_image(write(tmp_path / f"g{suffix}", np.repeat(ramp()[..., None], 3, 2)))
    np.testing.assert_array_equal(grey.array, ramp())


def test_one_coloured_pixel_keeps_the_colour(tmp_path):
    array = np.repeat(ramp()[..., None], 3, 2)
    array[3, 3, 0] += 1
    assert read_image(write(tmp_path / "a.png", array)).array.shape == (40, 31, 3)


def test_opacity_is_dropped(tmp_path):
    rgba = np.dstack([ramp(), ramp(), ramp(), np.full_like(ramp(), 255)])
    np.testing.assert_array_equal(read_image(write(tmp_path / "a.png", rgba)).array, ramp())


def test_names_outside_ascii(tmp_path):
    (tmp_path / "Röntgen 1 a ap.png").write_bytes(cv2.imencode(".png", ramp())[1].tobytes())
    np.testing.assert_array_equal(read_image(tmp_path / "Röntgen 1 a ap.png").array, ramp())


# ---- arrays and bad input ---------------------------------------------------------------------------


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.png.*does not exist"):
        read_image(tmp_path / "nowhere.png")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".mha", ".nii.gz", ".dcm", ".npy", ".xyz"])
@pytest.mark.parametrize("content", [b"", b"\xff\xd8 this is no image at all"])
def test_empty_and_nonsense_files(tmp_path, suffix, content):
    path = tmp_path / f"broken{suffix}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"broken{suffix}.*" + ("cannot be read" if content else "is empty")):
        read_image(path)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif"])
@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_files_cut_off(tmp_path, suffix, kept):
    noise = np.random.default_rng(0).integers(0, 255, (100, 80), dtype=np.uint8)
    data = cv2.imencode(suffix, noise)[1].tobytes()
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(data[: int(kept * len(data))])
    with pytest.raises(ValueError, match=f"cut{suffix}.*cannot be read"):
        read_image(path)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["a.npy", "a.mha", "a.nii.gz", "a.nrrd", "a.tif"])
def test_pixels_that_are_not_finite(tmp_path, name, bad):
    array = np.random.default_rng(0).random((20, 30)).astype(np.float32)
    array[3, 4:7] = bad
    FLAT[name][0](tmp_path / name, array, (1.0, 1.0))
    with pytest.raises(ValueError, match=rf"{name}.*: 3 of 600 pixels are NaN or infinite.*fill_value"):
        read_image(tmp_path / name)
    results = LoadImage(fill_value=0.25)(dict(img_path=str(tmp_path / name)))
    assert (results["img"][3, 4:7] == 0.25).all()
    assert np.isfinite(results["img"]).all()


def written(folder, name):
    """Write a volume or an image of noise, and return its path."""
    rng = np.random.default_rng(0)
    if name in VOLUMES and name not in FLAT:
        writer, options = VOLUMES[name]
        volume = rng.integers(0, 65535, (5, 12, 14)).astype(np.uint16)
        writer(folder / name, volume, None, world=world_matrix((1, 1, 1)), **options)
    else:
        writer, bits, options, _ = FLAT[name]
        image = rng.integers(0, 2**bits, (40, 30)).astype(np.uint8 if bits == 8 else np.uint16)
        writer(folder / name, image, (1.0, 1.0), **options)
    return folder / name


WHOLE_FILES = sorted({*FLAT, *VOLUMES} - {"compressed.mhd", "a.mhd"})  # their pixels lie in another file


@pytest.mark.parametrize("kept", [0.3, 0.7, 0.97])
@pytest.mark.parametrize("name", WHOLE_FILES)
def test_files_of_every_format_cut_off(tmp_path, name, kept):
    path = written(tmp_path, name)
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data))])
    with pytest.raises(ValueError, match=rf"{name}.*cannot be read"):
        read_image(path)


@pytest.mark.parametrize("name", ["compressed.mhd", "a.mhd"])
def test_pixels_cut_off_beside_a_header(tmp_path, name):
    path = written(tmp_path, name)
    data = next(p for p in tmp_path.iterdir() if p != path)
    data.write_bytes(data.read_bytes()[:-40])
    with pytest.raises(ValueError, match=rf"{name}.*cannot be read"):
        read_image(path)


@pytest.mark.parametrize(
    "name", ["a.png", "16.png", "a.nii.gz", "compressed.mha", "compressed.nrrd", "compressed.mhd"]
)
def test_damaged_bytes_in_compressed_pixels(tmp_path, name):
    path = written(tmp_path, name)
    holder = next((p for p in tmp_path.iterdir() if p != path), path)
    data = bytearray(holder.read_bytes())
    rng = np.random.default_rng(0)
    for place in rng.integers(int(0.5 * len(data)), int(0.95 * len(data)), 20):
        damaged = data.copy()
        damaged[place] ^= 1 << int(rng.integers(8))
        holder.write_bytes(damaged)
        with pytest.raises(ValueError, match=rf"{name}.*cannot be read"):
            read_image(path)


@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, of header values
@pytest.mark.parametrize("name", WHOLE_FILES)
def test_any_damage_ends_in_an_image_or_a_named_error(tmp_path, name):
    path = written(tmp_path, name)
    data = path.read_bytes()
    rng = np.random.default_rng(len(data))
    for _ in range(25):
        damaged = bytearray(data)
        for place in rng.integers(0, min(len(data), 600), rng.integers(1, 8)):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        for read in (read_image, image_shape):
            found, complaint = None, name
            try:
                found = read(path)
            except ValueError as error:
                complaint = str(error)
            assert name in complaint
            shape = getattr(found, "ori_shape", found) or (1, 1)
            assert len(shape) in (2, 3)
            assert min(shape) > 0


def test_the_image_of_a_record(tmp_path):
    image = np.arange(20, dtype=np.uint8).reshape(4, 5)
    cv2.imwrite(str(tmp_path / "a.png"), image)
    for record in (dict(img_path=str(tmp_path / "a.png")), dict(img_path=None, img=image)):
        np.testing.assert_array_equal(image_of_record(record).array, image)
    assert image_of_record(dict(img_path=None)) is None
    volume = dict(img=np.arange(60).reshape(3, 4, 5), world_from_original=np.diag([-1.0, 1, 1, 1]))
    np.testing.assert_array_equal(image_of_record(volume).array, volume["img"][:, :, ::-1])
    with pytest.raises(FileNotFoundError):
        image_of_record(dict(img_path=str(tmp_path / "gone.png")))
