"""PNG, JPEG, BMP, TIFF, PGM: reduced decoding, tags that turn the pixels."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import pytest

from image_writers import load
from mmlandmark.datasets.image_files import image_shape
from mmlandmark.datasets.image_io import read_image
from mmlandmark.datasets.readers.raster import HEADROOM, raster_orientation, reduction
from mmlandmark.structures import apply_matrix, invert_matrix


def ramp(shape=(24, 17), dtype=np.uint8):
    array = np.arange(np.prod(shape)).reshape(shape) % 200
    return array.astype(dtype)


def write(path, array, *flags):
    assert cv2.imwrite(str(path), array, list(flags))
    return path


def centroid(array):
    weights = array.astype(np.float64) - np.median(array)
    weights[weights < 0.05 * weights.max()] = 0
    y, x = np.mgrid[: array.shape[0], : array.shape[1]]
    return np.array([(x * weights).sum(), (y * weights).sum()]) / weights.sum()


@pytest.mark.parametrize(
    ("factor", "min_size"), [(1, (300, 300)), (2, (130, 100)), (4, (70, 60)), (8, (30, 30))]
)
@pytest.mark.parametrize("shape", [(480, 408), (485, 411), (487, 401)])
def test_reduced_jpeg_is_where_its_matrix_says(tmp_path, shape, factor, min_size):
    centers = np.array([[100.3, 200.7], [301.2, 77.9], [353.0, 442.4]])
    for i, center in enumerate(centers):
        y, x = np.mgrid[: shape[0], : shape[1]]
        dot = 20 + 220 * np.exp(-((x - center[0]) ** 2 + (y - center[1]) ** 2) / (2 * 12.0**2))
        path = write(tmp_path / f"{i}.jpg", dot.round().astype(np.uint8), cv2.IMWRITE_JPEG_QUALITY, 98)
        image = read_image(path, min_size=min_size)
        assert image.ori_shape == shape
        assert image.array.shape == tuple(-(-n // factor) for n in shape)
        np.testing.assert_allclose(image.img_from_original[0, 0], 1 / factor, rtol=1e-15)
        found, expected = centroid(image.array), apply_matrix(image.img_from_original, center[None])[0]
        assert np.abs(found - expected).max() < 0.03


def test_reduction_keeps_headroom():
    assert reduction((2400, 1935), None) == 1
    assert reduction((2400, 1935), (320, 256)) == 4
    assert reduction((2400, 1935), (640, 512)) == 2
    assert reduction((2400, 1935), (1200, 960)) == 1
    for size in ((320, 256), (100, 90), (640, 512)):
        factor = reduction((2400, 1935), size)
        assert all(n / factor >= HEADROOM * s for n, s in zip((2400, 1935), size, strict=True))
    with pytest.raises(ValueError, match="two dimensions"):
        reduction((10, 10), (2, 2, 2))


def test_reduced_colour_jpeg(tmp_path):
    array = np.zeros((400, 320, 3), np.uint8)
    array[..., 2] = 200
    image = read_image(write(tmp_path / "a.jpg", array), min_size=(100, 100))
    assert image.array.shape == (200, 160, 3)
    assert image.array[..., 0].mean() > 180 > 40 > image.array[..., 2].mean()


def tiff(array, orientation=1, photometric=1, order="<", pages=1, big=False):
    """Return an uncompressed grey TIFF."""
    kind = {"u": 1, "i": 2, "f": 3}[array.dtype.kind]
    data = array.astype(array.dtype.newbyteorder(order)).tobytes()
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HHHQ" if big else order + "HI",
            *((43, 8, 0, 16 + len(data)) if big else (42, 8 + len(data))))  # fmt: skip
    entries = [
        (256, array.shape[1]), (257, array.shape[0]), (258, 8 * array.itemsize), (259, 1), (262, photometric),
        (273, len(head)), (274, orientation), (277, 1), (278, array.shape[0]), (279, len(data)), (339, kind),
    ]  # fmt: skip
    out = head + data
    for page in range(pages):
        out += struct.pack(order + ("Q" if big else "H"), len(entries))
        for tag, value in entries:
            short = tag in (258, 259, 262, 274, 277, 339)
            out += struct.pack(order + ("HHQ" if big else "HHI"), tag, 3 if short else 4, 1)
            value = struct.pack(order + ("H" if short else "I"), value)
            out += value.ljust(8 if big else 4, b"\0")
        following = len(out) + (8 if big else 4) if page + 1 < pages else 0
        out += struct.pack(order + ("Q" if big else "I"), following)
    return out


def exif(orientation):
    entry = b"\x12\x01\x03\x00\x01\x00\x00\x00" + bytes([orientation]) + b"\x00\x00\x00"
    return b"II*\x00\x08\x00\x00\x00\x01\x00" + entry + b"\x00\x00\x00\x00"


def jpeg_with(orientation, array=None):
    data = cv2.imencode(".jpg", ramp() if array is None else array)[1].tobytes()
    content = b"Exif\x00\x00" + exif(orientation)
    return data[:2] + b"\xff\xe1" + (len(content) + 2).to_bytes(2, "big") + content + data[2:]


def png_with(orientation):
    data = cv2.imencode(".png", ramp())[1].tobytes()
    content = b"eXIf" + exif(orientation)
    chunk = struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))
    return data[:33] + chunk + data[33:]  # behind the header


def turned(array, orientation):
    """Return an array as a viewer shows it: where its first row and column go, by the words of Exif."""
    if orientation > 4:  # the first row is shown on the left or on the right
        array = np.swapaxes(array, 0, 1)
    right, below = orientation in (2, 3, 6, 7), orientation in (3, 4, 7, 8)
    return array[:: -1 if below else 1, :: -1 if right else 1]


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_turned_jpeg_is_decoded_at_the_scale_of_the_upright_one(tmp_path, orientation):
    stored = (400, 160)
    upright = turned(np.zeros(stored), orientation).shape
    y, x = np.mgrid[: stored[0], : stored[1]]
    array = np.round(127 + 60 * np.sin(x / 30) + 60 * np.cos(y / 50)).astype(np.uint8)
    (tmp_path / "a.jpg").write_bytes(jpeg_with(orientation, array))
    image = read_image(tmp_path / "a.jpg", min_size=[side // 3 for side in upright])
    assert image.array.shape == tuple(side // 2 for side in upright)
    assert image.ori_shape == stored
    back = invert_matrix(image.img_from_original)
    rows, columns = np.mgrid[2 : image.array.shape[0] - 2 : 9, 2 : image.array.shape[1] - 2 : 9]
    points = apply_matrix(back, np.stack([columns.ravel(), rows.ravel()], axis=1))
    expected = 127 + 60 * np.sin(points[:, 0] / 30) + 60 * np.cos(points[:, 1] / 50)
    np.testing.assert_allclose(image.array[rows.ravel(), columns.ravel()], expected, atol=4)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["tif", "jpg", "png"])
def test_a_tag_turns_the_pixels_and_the_matrix_and_the_log_say_so(tmp_path, kind, orientation, log):
    path = tmp_path / f"a.{kind}"
    make = dict(tif=lambda o: tiff(ramp(), o), jpg=jpeg_with, png=png_with)[kind]
    path.write_bytes(make(orientation))
    image = read_image(path)
    atol = 12 if kind == "jpg" else 0
    np.testing.assert_allclose(image.array, turned(ramp(), orientation), atol=atol)
    assert image.ori_shape == image_shape(path) == (24, 17)
    if kind == "jpg":  # a viewer that turns it
        np.testing.assert_allclose(image.array, cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), atol=atol)
    for x, y in ((0, 0), (16, 3), (5, 23)):
        column, row = apply_matrix(image.img_from_original, np.array([[x, y]]))[0].astype(int)
        np.testing.assert_allclose(image.array[row, column], float(ramp()[y, x]), atol=atol)
    if orientation == 1:
        assert (image.remarks, log) == ((), [])
    else:
        assert [r.check for r in image.remarks] == ["orientation tag"]
        read_image(path)
        assert len(log) == 1
        assert f"a.{kind}" in log[0]
        assert f"orientation is {orientation}" in log[0]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_every_tiff_has_one_rule(tmp_path, dtype, order, big, log):
    (tmp_path / "a.tif").write_bytes(tiff(ramp(dtype=dtype), orientation=6, order=order, big=big))
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").array, turned(ramp(dtype=dtype), 6))
    assert image_shape(tmp_path / "a.tif") == (24, 17)


@pytest.mark.parametrize(("dtype", "white"), [(np.uint8, 255), (np.uint16, 65535), (np.float32, 1)])
def test_white_is_zero_is_turned_round(tmp_path, dtype, white):
    (tmp_path / "a.tif").write_bytes(tiff(ramp(dtype=dtype), photometric=0))
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").array, white - ramp().astype(float))


def test_pages_of_different_kinds_are_told(tmp_path, log):
    assert cv2.imwritemulti(str(tmp_path / "a.tif"), [ramp(), ramp((5, 6))])
    image = read_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(image.array, ramp())
    assert [r.check for r in image.remarks] == ["several pages"]
    assert "2 pages of different kinds, of which the first is read" in log[0]
    assert image_shape(tmp_path / "a.tif") == (24, 17)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_png_of_few_bits_is_spread_over_eight(tmp_path, bits):
    picture = np.random.default_rng(0).integers(0, 2**bits, (6, 8)).astype(np.uint8)
    planes = np.unpackbits(picture[..., None], axis=2)[..., 8 - bits :]
    rows = b"".join(b"\0" + np.packbits(row).tobytes() for row in planes.reshape(6, -1))

    def chunk(name, content):
        return (
            struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        )

    header = struct.pack(">IIBBBBB", 8, 6, bits, 0, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + data)
    np.testing.assert_allclose(load(tmp_path / "a.png", (1, 1))[1], picture / (2**bits - 1), atol=1e-6)


@pytest.mark.parametrize("white", [15, 200, 255, 4095, 65535])
def test_pgm_states_its_white(tmp_path, white):
    picture = np.random.default_rng(0).integers(0, white + 1, (6, 8))
    head = b"P5 # a comment\n8 6\n%d\n" % white
    (tmp_path / "a.pgm").write_bytes(head + picture.astype(">u2" if white > 255 else np.uint8).tobytes())
    np.testing.assert_allclose(load(tmp_path / "a.pgm", (1, 1))[1], picture / white, atol=1e-6)


@pytest.mark.real_data
def test_reduced_decode_of_real_radiographs_loses_nothing(real_data):
    paths = sorted((real_data("isbi2015_ceph") / "RawImage" / "TrainingData").glob("*.jpg"))[:2]
    for path in paths:
        image, full = read_image(path, min_size=(320, 256)), read_image(path)
        assert image.ori_shape == full.ori_shape == (2400, 1935)
        assert image.array.shape == (600, 484)
        padded = cv2.copyMakeBorder(full.array, 0, 0, 0, 1, cv2.BORDER_REPLICATE)
        ours, theirs = (
            cv2.resize(a.astype(np.float64), (256, 320), interpolation=cv2.INTER_AREA)
            for a in (image.array, padded)
        )
        assert np.abs(ours - theirs).mean() < 0.5
        window = cv2.createHanningWindow((256, 320), cv2.CV_64F)
        assert np.hypot(*cv2.phaseCorrelate(theirs, ours, window)[0]) < 0.03


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_is_read_without_the_pixels(tmp_path, orientation):
    for name, data in (
        ("a.jpg", jpeg_with(orientation)),
        ("a.png", png_with(orientation)),
        ("a.tif", bytes(tiff(ramp(), orientation))),
    ):
        (tmp_path / name).write_bytes(data)
        assert raster_orientation(tmp_path / name) == orientation
    cv2.imwrite(str(tmp_path / "plain.bmp"), ramp())
    assert raster_orientation(tmp_path / "plain.bmp") == 1
