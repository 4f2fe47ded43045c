"""What image files say wrongly, oddly or not at all: told or refused, never taken in silence."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import pytest

from image_writers import FLAT, VOLUMES, write_dicom
from mmlandmark.datasets import image_io
from mmlandmark.datasets.image_files import image_shape
from mmlandmark.datasets.image_io import read_image
from mmlandmark.datasets.transforms import LoadImage
from mmlandmark.structures import world_matrix


@pytest.fixture
def log(monkeypatch):
    """Lines that the readers log, as if nothing had been told before."""
    lines = []
    monkeypatch.setattr(image_io, "print_log", lambda text, **_: lines.append(text))
    monkeypatch.setattr(image_io, "_TOLD", bytearray(4096))
    return lines


def ramp(shape=(24, 17), dtype=np.uint8):
    array = np.arange(np.prod(shape)).reshape(shape) % 200
    return array.astype(dtype)


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


def jpeg_with(orientation):
    data = cv2.imencode(".jpg", ramp())[1].tobytes()
    content = b"Exif\x00\x00" + exif(orientation)
    return data[:2] + b"\xff\xe1" + (len(content) + 2).to_bytes(2, "big") + content + data[2:]


def png_with(orientation):
    data = cv2.imencode(".png", ramp())[1].tobytes()
    content = b"eXIf" + exif(orientation)
    chunk = struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))
    return data[:33] + chunk + data[33:]  # behind the header


# ---- orientation ------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["tif", "jpg", "png"])
def test_no_tag_turns_the_pixels_and_the_log_says_so(tmp_path, kind, orientation, log):
    path = tmp_path / f"a.{kind}"
    make = dict(tif=lambda o: tiff(ramp(), o), jpg=jpeg_with, png=png_with)[kind]
    path.write_bytes(make(orientation))
    image = read_image(path)
    np.testing.assert_allclose(image.array, ramp(), atol=12 if kind == "jpg" else 0)
    assert image.ori_shape == image_shape(path) == (24, 17)
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
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").array, ramp(dtype=dtype))
    assert image_shape(tmp_path / "a.tif") == (24, 17)


@pytest.mark.parametrize(("dtype", "white"), [(np.uint8, 255), (np.uint16, 65535), (np.float32, 1)])
def test_white_is_zero_is_turned_round(tmp_path, dtype, white):
    (tmp_path / "a.tif").write_bytes(tiff(ramp(dtype=dtype), photometric=0))
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").array, white - ramp().astype(float))


def test_several_pages_are_told(tmp_path, log):
    (tmp_path / "a.tif").write_bytes(tiff(ramp(), pages=2))
    assert [r.check for r in read_image(tmp_path / "a.tif").remarks] == ["several pages"]
    assert "the first is read" in log[0]


# ---- names ------------------------------------------------------------------------------------------


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


# ---- numbers ----------------------------------------------------------------------------------------


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


def test_arrays_of_records_are_checked_too():
    with pytest.raises(ValueError, match=r"record 'case 3'.*1 of 4 pixels are NaN"):
        LoadImage()(dict(img_path=None, img=np.array([[0, np.nan], [1, 2]]), sample_id="case 3"))
    with pytest.raises(ValueError, match="1 of 4 pixels are NaN or infinite"):  # too large for float32
        LoadImage()(dict(img_path=None, img=np.array([[0, 1e200], [1, 2]]), sample_id="case 3"))


# ---- DICOM ------------------------------------------------------------------------------------------


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
    [(0x00281053, b"two", "RescaleSlope is no number"), (0x00281053, b"0", "RescaleSlope is 0"),
     (0x00281052, b"1,5", "RescaleIntercept is no number")],
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


def test_half_of_a_nifti_pair_is_no_volume(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    pair = nibabel.Nifti1Pair(np.zeros((9, 9, 9), np.uint8), np.eye(4))
    nibabel.save(pair, tmp_path / "a.img")
    with pytest.raises(ValueError, match=r"a\.hdr.*pair.*store both as one \.nii"):
        read_image(tmp_path / "a.hdr")


# ---- MetaImage and NRRD -----------------------------------------------------------------------------


def metaimage(path, local=True, **changes):
    """Write a volume of 2 x 3 x 4 voxels, with entries of the header changed or left out (None)."""
    entries = dict(
        ObjectType="Image", NDims=3, BinaryData="True", BinaryDataByteOrderMSB="False",
        TransformMatrix="1 0 0 0 1 0 0 0 1", Offset="1 2 3", ElementSpacing="0.5 1 2", DimSize="4 3 2",
        ElementType="MET_UCHAR",
    )  # fmt: skip
    entries |= changes
    entries["ElementDataFile"] = "LOCAL" if local else "pixels.raw"
    text = "".join(f"{key} = {value}\n" for key, value in entries.items() if value is not None)
    path.write_bytes(text.encode() + (bytes(range(24)) if local else b""))
    if not local:
        (path.parent / "pixels.raw").write_bytes(bytes(range(24)))
    return path


@pytest.mark.parametrize("local", [True, False])
@pytest.mark.parametrize(
    "changes",
    [
        dict(ElementSpacing="0 0 0"),
        dict(ElementSpacing="nan 1 1"),
        dict(ElementSpacing="a b c"),
        dict(TransformMatrix="0 0 0 0 0 0 0 0 0"),
        dict(TransformMatrix="1 0 0 1 0 0 0 0 1"),
        dict(TransformMatrix="1 0 0"),
    ],
)
def test_a_malformed_frame_leaves_the_pixels_readable(tmp_path, local, changes, log):
    path = metaimage(tmp_path / ("a.mha" if local else "a.mhd"), local, **changes)
    image = read_image(path)
    np.testing.assert_array_equal(image.array, np.arange(24).reshape(2, 3, 4))
    assert image.spacing is None
    assert [r.check for r in image.remarks] == ["malformed spacing"]
    assert next(iter(changes)) in log[0]


def test_no_spacing_is_made_up(tmp_path, log):
    assert read_image(metaimage(tmp_path / "a.mha")).spacing == (0.5, 1, 2)
    assert read_image(metaimage(tmp_path / "a.mha", ElementSpacing=None)).spacing is None
    sizes = metaimage(tmp_path / "a.mha", ElementSpacing=None, ElementSize="1 1 3")
    assert read_image(sizes).spacing == (1, 1, 3)
    for entry, spacing in (("", None), ("0.5 1 2", (0.5, 1, 2)), ("0.5 nan 2", None)):
        line = f"spacings: {entry}\n" if entry else ""
        header = f"NRRD0004\ntype: uint8\ndimension: 3\nsizes: 4 3 2\nencoding: raw\n{line}\n"
        (tmp_path / "a.nrrd").write_bytes(header.encode() + bytes(range(24)))
        assert read_image(tmp_path / "a.nrrd").spacing == spacing
    assert len(log) == 1
    assert "0.5 nan 2" in log[0]


def header_of(folder, name, kind):
    """Write a volume of 2 x 3 x 4 voxels whose header takes its pixels from ``name``."""
    if kind == "nhdr":
        path, entry = folder / "a.nhdr", f"data file: {name}"
        text = f"NRRD0004\ntype: uint8\ndimension: 3\nsizes: 4 3 2\nencoding: raw\n{entry}\n"
        path.write_text(text)
        return path
    path = metaimage(folder / "a.mhd")
    path.write_text(path.read_bytes().decode("latin-1").split("LOCAL")[0] + name + "\n")
    return path


def pixel_files(folder):
    """Write the pixels of :func:`header_of` whole, and in two files."""
    folder.mkdir(exist_ok=True)
    for name, data in (("all.raw", range(24)), ("s0.raw", range(12)), ("s1.raw", range(12, 24))):
        (folder / name).write_bytes(bytes(data))


LISTS = {"mhd": "LIST\n", "nhdr": "LIST 2\n"}


@pytest.mark.parametrize("kind", ["mhd", "nhdr"])
@pytest.mark.parametrize("name", ["all.raw", "./all.raw", "s%d.raw 0 1 1", "LISTs0.raw\ns1.raw"])
@pytest.mark.parametrize("below", ["", "below/"])
def test_pixels_beside_their_header_or_below(tmp_path, kind, name, below):
    pytest.importorskip("SimpleITK")
    pixel_files(tmp_path / below)
    name = name.replace("s0.raw", below + "s0.raw").replace("s1.raw", below + "s1.raw")
    name = name.replace("LIST", LISTS[kind]) if name.startswith("LIST") else below + name.replace(below, "")
    if kind == "nhdr" and "%" in name:
        name += " 2"
    image = read_image(header_of(tmp_path, name, kind))
    np.testing.assert_array_equal(image.array, np.arange(24).reshape(2, 3, 4))


@pytest.mark.parametrize("kind", ["mhd", "nhdr"])
@pytest.mark.parametrize(
    "name",
    ["../all.raw", "{folder}/all.raw", "below/../../all.raw", "../s%d.raw 0 1 1", "{folder}/s%d.raw 0 1 1",
     "LIST../s0.raw\n../s1.raw", "LISTs0.raw\n../s1.raw", "LIST{folder}/s0.raw\n{folder}/s1.raw",
     "..\\all.raw", "C:\\all.raw", "%c%c/all.raw 46 46 1", "%n%s%d 0 1 1"],
)  # fmt: skip
def test_pixels_outside_of_the_header_s_folder_are_refused(tmp_path, kind, name):
    pytest.importorskip("SimpleITK")
    pixel_files(tmp_path)
    pixel_files(tmp_path / "case")
    name = name.replace("{folder}", str(tmp_path))
    name = name.replace("LIST", LISTS[kind]) if name.startswith("LIST") else name
    path = header_of(tmp_path / "case", name, kind)
    why = "(outside of its folder|% is for one number)"
    with pytest.raises(ValueError, match=rf"a\.{kind}.*its header takes the pixels from.*{why}"):
        read_image(path)
    assert image_shape(path) == (2, 3, 4)  # the header alone is read


def test_no_line_of_a_header_hides_another_file(tmp_path):
    pytest.importorskip("SimpleITK")
    pixel_files(tmp_path)
    pixel_files(tmp_path / "case")
    path = header_of(tmp_path / "case", "all.raw", "mhd")
    text = path.read_text()
    for more in ("ElementDataFile: ../all.raw\n", "Comment = " + "x" * 70000 + "\n"):
        path.write_text(text.replace("ElementDataFile", more + "ElementDataFile"))
        with pytest.raises(ValueError, match=r"a\.mhd.*(outside of its folder|more than 65,535 characters)"):
            read_image(path)
    path = header_of(tmp_path / "case", "../all.raw", "nhdr")
    text = path.read_text()
    for more in ("# \n" * 1100, "#" + "x" * 65534 + "\n", "  \n", "datafile: all.raw\n"):
        path.write_text(text.replace("data file", more + "data file"))
        with pytest.raises(ValueError, match=r"a\.nhdr.*cannot be read"):
            read_image(path)


# ---- damage -----------------------------------------------------------------------------------------


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
def test_files_cut_off(tmp_path, name, kept):
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
