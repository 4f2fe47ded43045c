"""TIFF files of several pages: volumes and their spacing."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest

from mmlandmark.datasets.image_files import image_header
from mmlandmark.datasets.image_io import read_image
from mmlandmark.datasets.readers.tiff_stack import tiff_frame, tiff_header

VOLUME = np.random.default_rng(0).integers(0, 60000, (3, 4, 5)).astype(np.uint16)


def stack(path, volume, description="", resolution=None, photometric=1, orientation=1, order="<"):
    """Write an uncompressed grey TIFF, one page a slice, with what programs state on its first page."""
    out = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 0)
    last = 4  # where the place of the next page belongs
    for number, pixels in enumerate(volume):
        data = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
        text = description.encode() + b"\0"
        where_data, where_text = len(out), len(out) + len(data)
        out += data + text + b"\0" * (len(text) % 2)
        where_fractions = len(out)
        for per_unit in resolution or (1, 1):
            out += struct.pack(order + "II", round(per_unit * 1000), 1000)
        entries = [
            (256, 4, pixels.shape[1]), (257, 4, pixels.shape[0]), (258, 3, 8 * pixels.itemsize), (259, 3, 1),
            (262, 3, photometric), (273, 4, where_data), (274, 3, orientation), (277, 3, 1),
            (278, 4, pixels.shape[0]), (279, 4, len(data)), (282, 5, where_fractions),
            (283, 5, where_fractions + 8), (339, 3, {"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]),
        ]  # fmt: skip
        if number == 0:
            entries.insert(5, (270, 2, where_text))
        page = struct.pack(order + "H", len(entries))
        for tag, kind, value in entries:
            count = len(text) if kind == 2 else 1
            small = (
                struct.pack(order + "H", value).ljust(4, b"\0")
                if kind == 3
                else struct.pack(order + "I", value)
            )
            if kind == 2 and count <= 4:
                small = text.ljust(4, b"\0")
            page += struct.pack(order + "HHI", tag, kind, count) + small
        out = (
            out[:last]
            + struct.pack(order + "I", len(out))
            + out[last + 4 :]
            + page
            + struct.pack(order + "I", 0)
        )
        last = len(out) - 4
    path.write_bytes(out)
    return path


@pytest.mark.parametrize("order", ["<", ">"])
def test_pages_of_one_size_are_slices(tmp_path, order):
    path = stack(tmp_path / "a.tif", VOLUME, order=order)
    image, header = read_image(path), image_header(path)
    np.testing.assert_array_equal(image.array, VOLUME)
    assert header.shape == image.ori_shape == (3, 4, 5)
    assert header.dtype == image.array.dtype == np.uint16
    assert header.world_from_original is None
    assert image.spacing is None
    assert image.remarks == ()


def test_what_opencv_writes(tmp_path):
    assert cv2.imwritemulti(str(tmp_path / "a.tif"), list(VOLUME.astype(np.float32)))
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").array, VOLUME)
    with (tmp_path / "a.tif").open("rb") as file:
        assert tiff_header(file) == ((3, 4, 5), np.float32)


@pytest.mark.parametrize(("unit", "factor"), [("mm", 1), ("cm", 10), ("micron", 1e-3), ("\\u00B5m", 1e-3)])
def test_spacing_of_imagej(tmp_path, unit, factor):
    text = f"ImageJ=1.54f\nimages=3\nslices=3\nunit={unit}\nspacing=0.5\nloop=false\n"
    path = stack(tmp_path / "a.tif", VOLUME, text, resolution=(4, 2))
    np.testing.assert_allclose(read_image(path).spacing, np.array([0.25, 0.5, 0.5]) * factor)
    np.testing.assert_allclose(image_header(path).spacing, np.array([0.25, 0.5, 0.5]) * factor)


def test_spacing_of_ome(tmp_path):
    text = (
        '<?xml version="1.0"?><OME><Image><Pixels SizeC="1" SizeT="1" SizeX="5" SizeY="4" SizeZ="3" '
        'PhysicalSizeX="300" PhysicalSizeY="0.4" PhysicalSizeYUnit="mm" PhysicalSizeZ="0.05" '
        'PhysicalSizeZUnit="cm"/></Image></OME>'
    )
    path = stack(tmp_path / "a.tif", VOLUME, text)
    np.testing.assert_allclose(tiff_frame(path), np.diag([0.3, 0.4, 0.5, 1]))


@pytest.mark.parametrize(
    "text",
    [
        "ImageJ=1.5\nimages=3\nunit=pixel\nspacing=1\n",
        "ImageJ=1.5\nimages=3\nunit=mm\n",
        "ImageJ=1.5\nimages=3\nunit=mm\nspacing=0\n",
        "ImageJ=1.5\nimages=3\nunit=mm\nspacing=wide\n",
        '<OME><Pixels PhysicalSizeX="1" PhysicalSizeY="1"/></OME>',
        '<OME><Pixels PhysicalSizeX="1" PhysicalSizeY="1" PhysicalSizeZ="1" PhysicalSizeZUnit="mile"/></OME>',
        "scanned at 300 dpi",
    ],
)
def test_no_spacing_is_made_up(tmp_path, text):
    path = stack(tmp_path / "a.tif", VOLUME, text)
    assert read_image(path).spacing is None
    assert image_header(path).spacing is None


def test_white_is_zero(tmp_path):
    path = stack(tmp_path / "a.tif", VOLUME, photometric=0)
    np.testing.assert_array_equal(read_image(path).array, 65535 - VOLUME)


@pytest.mark.parametrize(
    ("pages", "text", "message"),
    [
        (1, "ImageJ=1.5\nimages=40\nslices=40\n", r"ImageJ wrote 40 slices behind one page"),
        (3, "ImageJ=1.5\nimages=3\nchannels=3\n", r"the TIFF holds 3 channels: store one volume in a file"),
        (3, "ImageJ=1.5\nimages=3\nframes=3\n", r"the TIFF holds 3 frames"),
        (3, '<OME><Pixels SizeC="1" SizeT="3"/></OME>', r"the TIFF holds 3 times"),
    ],
)
@pytest.mark.parametrize("read", [read_image, image_header])
def test_several_volumes_in_a_file_are_refused(tmp_path, read, pages, text, message):
    with pytest.raises(ValueError, match=rf"a.tif.*{message}"):
        read(stack(tmp_path / "a.tif", VOLUME[:pages], text))


def test_turned_slices_and_damage_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"its slices have the orientation tag 6: store them upright"):
        read_image(stack(tmp_path / "a.tif", VOLUME, orientation=6))
    data = stack(tmp_path / "a.tif", VOLUME).read_bytes()
    (tmp_path / "a.tif").write_bytes(data[:-20])
    with pytest.raises(ValueError, match=r"a.tif.*cut off"):
        read_image(tmp_path / "a.tif")


def colour_planes(path, image):
    """Write a colour TIFF with its colours one plane after the other."""
    height, width, colours = image.shape
    planes = [np.ascontiguousarray(image[..., c]).tobytes() for c in range(colours)]
    places = np.cumsum([8, *map(len, planes)])
    entries = {
        256: [width], 257: [height], 258: [8 * image.itemsize] * colours, 259: [1], 262: [2],
        273: places[:-1], 277: [colours], 278: [height], 279: [len(plane) for plane in planes], 284: [2],
    }  # fmt: skip
    page, more, after = b"", b"", int(places[-1]) + 2 + 12 * len(entries) + 4
    for tag, values in entries.items():
        data = np.asarray(values, "<u4" if len(values) == 1 or tag in (273, 279) else "<u2").tobytes()
        kind = 4 if len(data) == 4 * len(values) else 3
        where = data if len(data) <= 4 else struct.pack("<I", after + len(more))
        page, more = page + struct.pack("<HHI", tag, kind, len(values)) + where, more + data * (len(data) > 4)
    head = b"II*\0" + struct.pack("<I", places[-1])
    path.write_bytes(head + b"".join(planes) + struct.pack("<H", len(entries)) + page + bytes(4) + more)
    return path


def test_colours_one_plane_after_the_other(tmp_path):
    image = np.random.default_rng(0).integers(0, 255, (6, 5, 3)).astype(np.uint8)
    np.testing.assert_array_equal(read_image(colour_planes(tmp_path / "a.tif", image)).array, image)
    for deep in (np.uint16, np.float32):
        with pytest.raises(ValueError, match=r"b.tif.*its 3 colours of .* bits are stored one after"):
            read_image(colour_planes(tmp_path / "b.tif", image.astype(deep)))
