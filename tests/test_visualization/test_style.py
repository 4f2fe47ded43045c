"""Display values and files of pictures."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mmlandmark.visualization import style


def test_to_rgb_keeps_eight_bits_and_copies():
    grey = np.arange(6, dtype=np.uint8).reshape(2, 3)
    rgb = style.to_rgb(grey)
    np.testing.assert_array_equal(rgb, np.repeat(grey[..., None], 3, axis=2))
    colour = np.stack([grey, grey + 1, grey + 2], axis=-1)
    same = style.to_rgb(colour)
    np.testing.assert_array_equal(same, colour)
    same[:] = 0
    assert colour.any()
    np.testing.assert_array_equal(style.to_rgb(grey[..., None]), rgb)


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.float32])
def test_to_rgb_windows_other_types(dtype):
    image = np.linspace(-1000 if np.issubdtype(dtype, np.signedinteger) else 0, 3000, 10000)
    rgb = style.to_rgb(image.reshape(100, 100).astype(dtype))
    assert rgb.dtype == np.uint8
    assert (rgb[0, 0] == 0).all()
    assert (rgb[-1, -1] == 255).all()
    assert abs(int(rgb[50, 0, 0]) - 128) <= 2


def test_to_rgb_of_flat_and_missing_values():
    assert style.to_rgb(np.full((3, 3), np.nan)).max() == 0
    assert style.to_rgb(np.full((3, 3), 7.0)).shape == (3, 3, 3)
    spot = np.zeros((100, 100), np.float32)
    spot[3, 4] = 1
    assert style.to_rgb(spot)[3, 4, 0] == 255
    with pytest.raises(ValueError, match="expected an image"):
        style.to_rgb(np.zeros((3, 3, 4)))


def test_save_image_writes_rgb(tmp_path):
    image = np.zeros((4, 5, 3), np.uint8)
    image[..., 0] = 200
    path = style.save_image(image, tmp_path / "new" / "a.png")
    np.testing.assert_array_equal(cv2.imread(str(path))[..., ::-1], image)
    assert [file.name for file in path.parent.iterdir()] == ["a.png"]
    with pytest.raises(ValueError, match=r"a\.jpg: pictures are saved as PNG"):
        style.save_image(image, tmp_path / "a.jpg")
    with pytest.raises(ValueError, match="uint8"):
        style.save_image(image.astype(float), tmp_path / "a.png")
