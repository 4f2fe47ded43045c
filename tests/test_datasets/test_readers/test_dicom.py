"""DICOM: ranges, frames, and headers as they stand in files."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from image_writers import frames_of, load, write_dicom
from memory_limit import limited_memory
from mmlandmark.datasets.image_files import image_shape
from mmlandmark.datasets.image_io import read_image


def ramp(shape=(24, 17), dtype=np.uint8):
    array = np.arange(np.prod(shape)).reshape(shape) % 200
    return array.astype(dtype)


def written(path, array, **tags):
    write_dicom(path, array, None, 12, **tags)
    return path


def test_signed_dicom(tmp_path):
    picture = np.random.default_rng(0).integers(-1024, 2048, (12, 15)).astype(np.int16)
    write_dicom(tmp_path / "a.dcm", picture, None, bits=12)
    image = read_image(tmp_path / "a.dcm")
    np.testing.assert_array_equal(image.array, picture)
    assert (image.value_range, image.bits) == ((0.0, 2047.0), 11)


def test_dicom(tmp_path):
    array = 200 * ramp().astype(np.uint16) % 4096
    loaded = read_image(written(tmp_path / "a.dcm", array, PixelSpacing=[0.2, 0.1]))
    np.testing.assert_array_equal(loaded.array, array)
    assert loaded.array.dtype == np.uint16
    assert loaded.spacing == (0.1, 0.2)  # rows come first in the file, x comes first here


def test_dicom_rescale_and_monochrome1(tmp_path):
    array = 200 * ramp().astype(np.uint16) % 4096
    loaded = read_image(written(tmp_path / "a.dcm", array, RescaleSlope=2, RescaleIntercept=-1024))
    np.testing.assert_array_equal(loaded.array, 2.0 * array - 1024)
    loaded = read_image(written(tmp_path / "b.dcm", array, PhotometricInterpretation="MONOCHROME1"))
    np.testing.assert_array_equal(loaded.array, 4095 - array)


def table_of(entries, first=0, depth=16):
    """Return a ModalityLUTSequence."""
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    item = Dataset()
    item.LUTDescriptor, item.ModalityLUTType = [len(entries), first, depth], "US"
    item.add_new("LUTData", "OW", np.asarray(entries, "<u2").tobytes())
    return Sequence([item])


@pytest.mark.parametrize("depth", [16, 12])
def test_values_come_from_the_modality_table_of_a_file(tmp_path, depth):
    array = 20 * ramp().astype(np.uint16)
    entries = np.round(4095 * (np.arange(2048) / 2047) ** 2).astype(int)
    tags = dict(ModalityLUTSequence=table_of(entries, 100, depth), RescaleSlope=2, RescaleIntercept=5)
    loaded = read_image(written(tmp_path / "a.dcm", array, **tags))
    wanted = entries[np.clip(array.astype(int) - 100, 0, 2047)]
    np.testing.assert_array_equal(loaded.array, wanted)
    assert (loaded.value_range, loaded.bits) == ((0.0, 4095.0), 12), "the bits that entries fill"
    inverted = read_image(written(tmp_path / "b.dcm", array, PhotometricInterpretation="MONOCHROME1", **tags))
    np.testing.assert_array_equal(inverted.array, 4095 - wanted)


def test_a_table_longer_than_bytes_reach_and_one_that_is_malformed(tmp_path):
    write_dicom(tmp_path / "a.dcm", ramp(), None, 8, ModalityLUTSequence=table_of(range(4096)))
    np.testing.assert_array_equal(read_image(tmp_path / "a.dcm").array, ramp())
    broken = table_of(range(256))
    del broken[0].LUTDescriptor
    write_dicom(tmp_path / "b.dcm", ramp(), None, 8, ModalityLUTSequence=broken)
    with pytest.raises(ValueError, match=r"b\.dcm.*its ModalityLUTSequence cannot be applied"):
        read_image(tmp_path / "b.dcm")


@pytest.mark.parametrize("place", ["shared", "frames", "each"])
def test_values_of_frames_are_rescaled_as_their_functional_groups_say(tmp_path, place):
    """An enhanced CT, whose data set itself states no slope; of "each" frame another one, as in PET."""
    from pydicom.dataset import Dataset

    volume = np.random.default_rng(0).integers(0, 4096, (4, 5, 6)).astype(np.uint16)
    slopes = [2, 1, 0.5, 3] if place == "each" else [2] * 4
    (shared,), frames = frames_of(volume, np.eye(4))
    for slope, group in zip(slopes, [shared] if place == "shared" else frames, strict=False):
        values = Dataset()
        values.RescaleSlope, values.RescaleIntercept = slope, -1024
        group.PixelValueTransformationSequence = [values]
    groups = dict(SharedFunctionalGroupsSequence=[shared], PerFrameFunctionalGroupsSequence=frames)
    write_dicom(tmp_path / "a.dcm", volume, None, 12, world=np.eye(4), **groups)
    loaded = read_image(tmp_path / "a.dcm")
    np.testing.assert_allclose(loaded.array, volume * np.reshape(slopes, (4, 1, 1)) - 1024.0)
    assert loaded.value_range == (-1024, max(slopes) * 4095 - 1024)
    assert loaded.bits == 12
    if place == "each":
        groups["PerFrameFunctionalGroupsSequence"] = frames[:3]
        write_dicom(tmp_path / "a.dcm", volume, None, 12, world=np.eye(4), **groups)
        with pytest.raises(ValueError, match=r"a\.dcm.*has 4 frames, and rescales 3"):
            read_image(tmp_path / "a.dcm")


def test_volumes_of_frames_without_positions_have_spacing_only(tmp_path):
    volume = np.random.default_rng(0).integers(0, 255, (4, 5, 6)).astype(np.uint8)
    tags = dict(PixelSpacing=[0.2, 0.1], SliceThickness=3)
    tags |= dict(SharedFunctionalGroupsSequence=[], PerFrameFunctionalGroupsSequence=[])
    write_dicom(tmp_path / "a.dcm", volume, None, 8, world=np.eye(4), **tags)
    loaded = read_image(tmp_path / "a.dcm")
    np.testing.assert_array_equal(loaded.array, volume)
    assert loaded.spacing == (0.1, 0.2, 3.0)


def test_uneven_frames_have_no_frame(tmp_path):
    volume = np.random.default_rng(0).integers(0, 255, (4, 5, 6)).astype(np.uint8)
    _, frames = frames_of(volume, np.eye(4))
    frames[3].PlanePositionSequence[0].ImagePositionPatient = [0, 0, 4.5]
    write_dicom(tmp_path / "a.dcm", volume, None, 8, world=np.eye(4), PerFrameFunctionalGroupsSequence=frames)
    image = read_image(tmp_path / "a.dcm")
    assert image.spacing is None
    assert [r.check for r in image.remarks] == ["malformed spacing"]


def rewritten(path, **tags):
    """Change elements of a DICOM file; None takes one out."""
    import pydicom

    data = pydicom.dcmread(path)
    for name, value in tags.items():
        if value is None:
            del data[name]
        elif name.endswith("TableDescriptor"):  # of two possible types
            data.add_new(pydicom.datadict.tag_for_keyword(name), "US", value)
        else:
            setattr(data, name, value)
    data.save_as(path)
    return path


def test_dicom_of_32_bits_and_of_floats(tmp_path):
    rng = np.random.default_rng(0)
    write_dicom(tmp_path / "a.dcm", np.zeros((6, 8), np.uint16), None, 16)
    wide = rng.integers(0, 2**20, (6, 8))
    content = wide.astype("<u4").tobytes()
    rewritten(tmp_path / "a.dcm", BitsAllocated=32, BitsStored=20, HighBit=19, PixelData=content)
    np.testing.assert_allclose(load(tmp_path / "a.dcm", (1, 1))[1], wide / (2**20 - 1), atol=1e-6)
    floats = rng.random((6, 8)).astype(np.float32)
    rewritten(tmp_path / "a.dcm", PixelData=None, FloatPixelData=floats.tobytes(), BitsStored=None)
    np.testing.assert_array_equal(load(tmp_path / "a.dcm", (1, 1))[1], floats)


@pytest.mark.parametrize("kind", ["RGB", "YBR_FULL", "PALETTE COLOR"])
def test_colour_dicom(tmp_path, kind):
    write_dicom(tmp_path / "a.dcm", np.zeros((6, 8), np.uint8), None, 8)
    colour = np.zeros((6, 8, 3), np.uint8)
    colour[..., 0], colour[:3, :, 1], colour[..., 2] = 200, 100, 30
    tags = dict(SamplesPerPixel=3, PlanarConfiguration=0, PhotometricInterpretation=kind)
    tags["PixelData"] = colour.tobytes()
    if kind == "YBR_FULL":
        tags["PixelData"] = cv2.cvtColor(colour, cv2.COLOR_RGB2YCrCb)[..., [0, 2, 1]].tobytes()
    if kind == "PALETTE COLOR":
        index = (colour[..., 1] == 100).astype(np.uint8)
        tags = dict(PhotometricInterpretation=kind, PixelData=index.tobytes())
        for name, pair in (("Red", (200, 200)), ("Green", (0, 100)), ("Blue", (30, 30))):
            tags[f"{name}PaletteColorLookupTableDescriptor"] = [2, 0, 8]
            tags[f"{name}PaletteColorLookupTableData"] = bytes(pair)
    image = read_image(rewritten(tmp_path / "a.dcm", **tags))
    np.testing.assert_allclose(image.array.astype(int), colour, atol=2)
    assert image.value_range == (0, 255)


def raw_element(path, tag, vr, value):
    """Write a value that pydicom would not let through, as it stands in files."""
    import pydicom

    pydicom.config.settings.writing_validation_mode = pydicom.config.IGNORE
    data = pydicom.dcmread(path)
    data[tag] = pydicom.dataelem.RawDataElement(
        pydicom.tag.Tag(tag), vr, len(value), value, 0, False, True, True
    )
    data.save_as(path)


@pytest.mark.parametrize("value", [b"", b"  "])
@pytest.mark.parametrize("tag", [0x00281053, 0x00281052, 0x00280030, 0x00181164, 0x00280004])
def test_blank_header_values_count_as_absent(tmp_path, tag, value):
    path = tmp_path / "a.dcm"
    write_dicom(path, ramp(), None, 8)
    raw_element(path, tag, "CS" if tag == 0x00280004 else "DS", value)
    image = read_image(path)
    np.testing.assert_array_equal(image.array, ramp())
    assert (image.spacing, image.remarks) == (None, ())


@pytest.mark.parametrize("value", [b"0,2\\0,1", b"0.1", b"0\\0.1", b"abc\\1", b"0.1\\0.1\\0.1"])
def test_malformed_spacing_counts_as_none_and_is_told(tmp_path, value, log):
    path = tmp_path / "a.dcm"
    write_dicom(path, ramp(), None, 8)
    raw_element(path, 0x00280030, "DS", value)
    image = read_image(path)
    np.testing.assert_array_equal(image.array, ramp())
    assert image.spacing is None
    assert [r.check for r in image.remarks] == ["malformed spacing"]
    assert "PixelSpacing" in log[0]


@pytest.mark.parametrize(
    ("tag", "value", "message"),
    [(0x00281053, b"two", "RescaleSlope is not a number"), (0x00281053, b"0", "RescaleSlope is 0"),
     (0x00281052, b"1,5", "RescaleIntercept is not a number")],
)  # fmt: skip
def test_what_pixels_depend_on_is_refused(tmp_path, tag, value, message):
    path = tmp_path / "a.dcm"
    write_dicom(path, ramp(), None, 8)
    raw_element(path, tag, "DS", value)
    with pytest.raises(ValueError, match=rf"a\.dcm.*{message}"):
        read_image(path)


def test_bits_beyond_those_stored_are_no_pixels(tmp_path):
    path, array = tmp_path / "a.dcm", np.array([[0, 100, 4095, 4096 + 904]], np.uint16)  # an overlay's bit
    write_dicom(path, array, None, 12)
    np.testing.assert_array_equal(read_image(path).array, [[0, 100, 4095, 904]])


def test_dicom_without_pixels(tmp_path):
    import pydicom

    path = tmp_path / "a.dcm"
    write_dicom(path, ramp(), None, 8)
    data = pydicom.dcmread(path)
    del data.PixelData
    data.save_as(path)
    with pytest.raises(ValueError, match=r"a\.dcm.*has no pixels"):
        read_image(path)
    del data.Rows
    data.save_as(path)
    with pytest.raises(ValueError, match=r"a\.dcm.*no rows and columns"):
        image_shape(path)


@pytest.mark.parametrize(
    ("tags", "window"),
    [
        (dict(WindowCenter=40, WindowWidth=400), (-160, 239)),
        (dict(WindowCenter=[40, 600], WindowWidth=[400, 2800]), (-160, 239)),  # soft tissue and bone
        (dict(WindowCenter=40), None),
        (dict(WindowCenter=40, WindowWidth=0), None),
        (dict(WindowCenter=40, WindowWidth=400, inverted=True), None),
        ({}, None),
    ],
)
def test_the_window_that_a_file_asks_for(tmp_path, tags, window):
    path = tmp_path / "a.dcm"
    write_dicom(path, ramp(), None, 8, **tags)
    assert read_image(path).window == window


def test_pixels_of_another_size_than_the_header_says_are_refused(tmp_path):
    pydicom = pytest.importorskip("pydicom")
    assert read_image(written(tmp_path / "a.dcm", ramp().astype(np.uint16))).ori_shape == (24, 17)
    data = pydicom.dcmread(tmp_path / "a.dcm")
    data.PixelData *= 3
    data.save_as(tmp_path / "b.dcm")
    with pytest.raises(
        ValueError, match=r"b\.dcm.*its header states \(24, 17\), its pixels are \(3, 24, 17\)"
    ):
        read_image(tmp_path / "b.dcm")


def test_an_element_that_claims_4_gib_reserves_no_memory(tmp_path):
    data = bytearray(written(tmp_path / "a.dcm", ramp().astype(np.uint16)).read_bytes())
    at = data.rindex(b"\xe0\x7f\x10\x00O") + 8  # the length of the pixels
    data[at : at + 4] = b"\xf0\xff\xff\xff"
    (tmp_path / "b.dcm").write_bytes(bytes(data))
    with limited_memory():
        image = read_image(tmp_path / "b.dcm")  # it holds all pixels that the image needs
    np.testing.assert_array_equal(image.array, ramp())
