"""Headers of PNG, JPEG, BMP and TIFF."""

from __future__ import annotations

import io
import struct

import cv2
import numpy as np
import pytest

from mmlandmark.datasets.readers.raster_headers import (
    bmp_header,
    jpeg_header,
    jpeg_shape,
    png_header,
)


def ramp(shape=(40, 31)):
    y, x = np.mgrid[: shape[0], : shape[1]]
    return (5 * x + 2 * y).astype(np.uint8)


@pytest.mark.parametrize("progressive", [0, 1])
@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_header(progressive, channels):
    array = ramp() if channels == 1 else np.dstack([ramp(), 255 - ramp(), ramp()])
    data = cv2.imencode(".jpg", array, [cv2.IMWRITE_JPEG_PROGRESSIVE, progressive])[1].tobytes()
    assert jpeg_shape(data)[:3] == (40, 31, channels)
    assert jpeg_shape(data[:30]) is None


@pytest.mark.parametrize(
    ("suffix", "read"),
    [(".png", png_header), (".bmp", bmp_header), (".jpg", jpeg_header)],
)
@pytest.mark.parametrize("shape", [(40, 31), (3, 200)])
def test_height_and_width(suffix, read, shape):
    data = cv2.imencode(suffix, ramp(shape))[1].tobytes()
    assert read(io.BytesIO(data)) == (shape, np.uint8)


def test_rows_from_the_top_and_headers_of_os2():
    rows_from_top = b"BM" + bytes(12) + struct.pack("<Iii", 40, 31, -40)
    assert bmp_header(io.BytesIO(rows_from_top)).shape == (40, 31)
    os2 = b"BM" + bytes(12) + struct.pack("<IHH", 12, 31, 40) + bytes(4)
    assert bmp_header(io.BytesIO(os2)).shape == (40, 31)


def test_a_jpeg_without_a_frame_is_refused():
    with pytest.raises(ValueError, match="no frame"):
        jpeg_header(io.BytesIO(b"\xff\xd8\xff\xd9"))
