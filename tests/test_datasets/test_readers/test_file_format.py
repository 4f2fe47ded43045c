"""A file is what it contains, whatever it is called."""

from __future__ import annotations

import numpy as np
import pytest

from image_writers import FLAT
from mmlandmark.datasets.image_files import image_shape
from mmlandmark.datasets.image_io import read_image
from mmlandmark.datasets.readers.file_format import file_format, format_of_bytes, suffix_of


def ramp(shape=(24, 17), dtype=np.uint8):
    array = np.arange(np.prod(shape)).reshape(shape) % 200
    return array.astype(dtype)


@pytest.mark.parametrize("suffix", [".png", ".dcm", ".nii.gz", ".mha", ".npy", ".tif", ".xyz", ""])
@pytest.mark.parametrize("name", [n for n in FLAT if n.startswith("a.")])
def test_content_counts_not_the_suffix(tmp_path, name, suffix, log):
    writer, _, options, _ = FLAT[name]
    writer(tmp_path / name, ramp(), (0.5, 0.25), **options)
    path = tmp_path / f"renamed{suffix}"
    true = read_image(tmp_path / name)
    (tmp_path / name).rename(path)
    image = read_image(path)
    np.testing.assert_array_equal(image.array, true.array)
    assert image.spacing == true.spacing
    assert image_shape(path) == true.ori_shape
    alike = suffix in ("", ".xyz") or name.endswith(suffix) or (name == "a.nii" and suffix == ".nii.gz")
    assert [r.check for r in image.remarks] == ([] if alike else ["misnamed file"])
    assert len(log) == (0 if alike else 1)


@pytest.mark.parametrize(
    ("names", "kind"),
    [("a.png", "png"), ("a.jpg", "jpeg"), ("a.bmp", "bmp"), ("a.tif", "tiff"), ("a.npy", "npy"),
     ("a.mha", "metaimage"), ("a.nrrd", "nrrd"), ("a.nii a.nii.gz", "nifti"), ("a.dcm bare.dcm", "dicom")],
)  # fmt: skip
def test_the_first_bytes_show_the_format(tmp_path, names, kind):
    for name in names.split():
        writer, _, options, _ = FLAT[name]
        writer(tmp_path / name, ramp(), (0.5, 0.25), **options)
        assert file_format(tmp_path / name) == kind
        assert format_of_bytes((tmp_path / name).read_bytes()[:4096]) == kind


def test_other_content_is_unknown():
    for head in (b"", b"RIFF....WAVE", b"\x1f\x8b no gzip", b"image,a_x,a_y\n", b"\x02\0\0\0????\1\1"):
        assert format_of_bytes(head) == "unknown"
    assert format_of_bytes(b"RIFF....WEBP") == "webp"


def test_suffixes():
    assert [suffix_of(name) for name in ("a.NII.GZ", "b.nii.Png", "c", ".gz")] == [".nii.gz", ".png", "", ""]
