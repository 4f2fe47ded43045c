"""Reading images: formats, dtypes, frames, bad files."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mmlandmark.datasets.image_io import from_array, read_image
from mmlandmark.datasets.readers import volume
from mmlandmark.datasets.readers.raster import HEADROOM, reduction
from mmlandmark.datasets.readers.raster_headers import jpeg_shape
from mmlandmark.structures import apply_matrix


def ramp(shape=(40, 31), dtype=np.uint8):
    y, x = np.mgrid[: shape[0], : shape[1]]
    return ((5 * x + 2 * y) * (1 if dtype == np.uint8 else 200)).astype(dtype)


def write(path, array, *flags):
    assert cv2.imwrite(str(path), array, list(flags))
    return path


def centroid(array):
    weights = array.astype(np.float64) - np.median(array)
    weights[weights < 0.05 * weights.max()] = 0
    y, x = np.mgrid[: array.shape[0], : array.shape[1]]
    return np.array([(x * weights).sum(), (y * weights).sum()]) / weights.sum()


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


# ---- JPEG at reduced scale --------------------------------------------------------------------------


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


@pytest.mark.parametrize("min_size", [None, (30, 30)])
def test_exif_orientation_is_ignored(tmp_path, min_size):
    data = cv2.imencode(".jpg", ramp((200, 120)))[1].tobytes()
    entry = b"\x12\x01\x03\x00\x01\x00\x00\x00\x06\x00\x00\x00"  # orientation 6: turned by 90 degrees
    exif = b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x01\x00" + entry + b"\x00\x00\x00\x00"
    turned = tmp_path / "turned.jpg"
    turned.write_bytes(data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:])
    assert cv2.imread(str(turned), cv2.IMREAD_GRAYSCALE).shape == (120, 200)  # the orientation is in force
    plain = tmp_path / "plain.jpg"
    plain.write_bytes(data)
    image, other = read_image(turned, min_size), read_image(plain, min_size)
    assert image.ori_shape == (200, 120)
    np.testing.assert_array_equal(image.array, other.array)


@pytest.mark.parametrize("progressive", [0, 1])
@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_header(progressive, channels):
    array = ramp() if channels == 1 else np.dstack([ramp(), 255 - ramp(), ramp()])
    data = cv2.imencode(".jpg", array, [cv2.IMWRITE_JPEG_PROGRESSIVE, progressive])[1].tobytes()
    assert jpeg_shape(data)[:3] == (40, 31, channels)
    assert jpeg_shape(data[:30]) is None


# ---- volumes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".mha", ".mhd", ".nrrd"])
def test_simpleitk_formats(tmp_path, suffix):
    sitk = pytest.importorskip("SimpleITK")
    volume = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)
    image = sitk.GetImageFromArray(volume)
    image.SetSpacing((0.1, 0.2, 0.3))
    sitk.WriteImage(image, str(tmp_path / f"a{suffix}"))
    loaded = read_image(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(loaded.array, volume)
    assert loaded.ori_shape == (4, 5, 6)
    assert loaded.array.dtype == np.int16
    np.testing.assert_allclose(loaded.spacing, (0.1, 0.2, 0.3))


def test_volume_of_depth_one_is_an_image(tmp_path):
    sitk = pytest.importorskip("SimpleITK")
    image = sitk.GetImageFromArray(ramp()[None])
    image.SetSpacing((0.1, 0.2, 5.0))
    sitk.WriteImage(image, str(tmp_path / "a.mha"))
    loaded = read_image(tmp_path / "a.mha")
    assert loaded.ori_shape == (40, 31)
    np.testing.assert_allclose(loaded.spacing, (0.1, 0.2))


def test_nifti_is_turned_to_lps(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    volume = np.zeros((6, 5, 4), np.uint8)  # x, y, z
    volume[1, 2, 3] = 9
    affine = np.diag([0.5, 0.6, 0.7, 1.0])  # right and anterior: LPS is mirrored in x and y
    nibabel.save(nibabel.Nifti1Image(volume, affine), tmp_path / "a.nii.gz")
    loaded = read_image(tmp_path / "a.nii.gz")
    assert loaded.ori_shape == (4, 5, 6)
    assert loaded.array[3, 5 - 1 - 2, 6 - 1 - 1] == 9
    marked = apply_matrix(loaded.img_from_original, np.array([[1.0, 2.0, 3.0]]))
    np.testing.assert_array_equal(marked, [[6 - 1 - 1, 5 - 1 - 2, 3]])
    np.testing.assert_allclose(loaded.spacing, (0.5, 0.6, 0.7), rtol=1e-6)


def test_npy(tmp_path):
    np.save(tmp_path / "a.npy", ramp().astype(np.float64))
    loaded = read_image(tmp_path / "a.npy")
    assert loaded.array.dtype == np.float32
    np.testing.assert_array_equal(loaded.array, ramp())


def write_dicom(path, array, **tags):
    pydicom = pytest.importorskip("pydicom")
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = pydicom.uid.SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    data = pydicom.dataset.FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    data.Rows, data.Columns = array.shape
    data.SamplesPerPixel, data.BitsAllocated, data.BitsStored, data.HighBit = 1, 16, 12, 11
    data.PixelRepresentation, data.PhotometricInterpretation = 0, "MONOCHROME2"
    data.PixelData = array.astype("<u2").tobytes()
    for name, value in tags.items():
        setattr(data, name, value)
    data.save_as(path, enforce_file_format=True)
    return path


def test_dicom(tmp_path):
    array = ramp(dtype=np.uint16) % 4096
    loaded = read_image(write_dicom(tmp_path / "a.dcm", array, PixelSpacing=[0.2, 0.1]))
    np.testing.assert_array_equal(loaded.array, array)
    assert loaded.array.dtype == np.uint16
    assert loaded.spacing == (0.1, 0.2)  # rows come first in the file, x comes first here


def test_dicom_rescale_and_monochrome1(tmp_path):
    array = ramp(dtype=np.uint16) % 4096
    loaded = read_image(write_dicom(tmp_path / "a.dcm", array, RescaleSlope=2, RescaleIntercept=-1024))
    np.testing.assert_array_equal(loaded.array, 2.0 * array - 1024)
    loaded = read_image(write_dicom(tmp_path / "b.dcm", array, PhotometricInterpretation="MONOCHROME1"))
    np.testing.assert_array_equal(loaded.array, 4095 - array)


# ---- arrays and bad input ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (np.bool_, np.uint8), (np.int8, np.int16), (np.uint8, np.uint8), (np.int16, np.int16),
        (np.uint16, np.uint16), (np.int32, np.float32), (np.float64, np.float32), (np.float16, np.float32),
    ],
)  # fmt: skip
def test_dtypes(given, kept):
    array = np.array([[0, 1], [1, 0]]).astype(given)
    image = from_array(array)
    assert image.array.dtype == kept
    np.testing.assert_array_equal(image.array, array.astype(kept) * (255 if given == np.bool_ else 1))


def test_channels_of_arrays():
    assert from_array(np.zeros((4, 5, 1))).array.shape == (4, 5)
    assert from_array(np.zeros((4, 5, 6))).ori_shape == (4, 5, 6)
    colour = np.random.default_rng(0).random((4, 5, 6, 3))
    assert from_array(colour).ori_shape == (4, 5, 6)
    assert from_array(colour).array.shape == (4, 5, 6, 3)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(4), "2 or 3 dimensions"),
        (np.zeros((2, 2, 2, 2, 2)), "2 or 3 dimensions"),
        (np.array([["a"]]), "pixels must be numbers"),
        (np.zeros((4, 5), complex), "pixels must be numbers"),
    ],
)
def test_bad_arrays(array, message):
    with pytest.raises(ValueError, match=message):
        from_array(array)


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


def test_missing_package_names_the_extra(tmp_path, monkeypatch):
    path = tmp_path / "a.mha"
    path.write_bytes(b"ObjectType = Image\nNDims = 2\nDimSize = 1 1\nElementDataFile = LOCAL\nx")

    def gone(name):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(volume.importlib, "import_module", gone)
    with pytest.raises(ImportError, match=r"a\.mha.*needs SimpleITK: pip install 'mmlandmark\[medical\]'"):
        read_image(path)


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
