"""MetaImage, NRRD and npy: pixels, frames, and headers that lead elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

from memory_limit import limited_memory
from mmlandmark.datasets.image_files import image_frame, image_shape
from mmlandmark.datasets.image_io import read_image
from mmlandmark.datasets.readers import volume


def ramp(shape=(40, 31)):
    y, x = np.mgrid[: shape[0], : shape[1]]
    return (5 * x + 2 * y).astype(np.uint8)


@pytest.mark.parametrize("suffix", [".mha", ".mhd", ".nrrd"])
def test_simpleitk_formats(tmp_path, suffix):
    sitk = pytest.importorskip("SimpleITK")
    stored = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)
    image = sitk.GetImageFromArray(stored)
    image.SetSpacing((0.1, 0.2, 0.3))
    sitk.WriteImage(image, str(tmp_path / f"a{suffix}"))
    loaded = read_image(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(loaded.array, stored)
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


def test_npy(tmp_path):
    np.save(tmp_path / "a.npy", ramp().astype(np.float64))
    loaded = read_image(tmp_path / "a.npy")
    assert loaded.array.dtype == np.float32
    np.testing.assert_array_equal(loaded.array, ramp())


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


@pytest.mark.parametrize("read", [read_image, image_frame])
@pytest.mark.parametrize(
    "changes", [dict(NDims="-1", TransformMatrix="1 x"), dict(NDims="0"), dict(NDims="2"), dict(NDims="3.0")]
)
def test_a_wrong_number_of_dimensions_is_refused_before_itk_crashes(tmp_path, read, changes):
    with pytest.raises(ValueError, match=rf"a.mha.*its NDims '{changes['NDims']}' is not the number of its"):
        read(metaimage(tmp_path / "a.mha", **changes))


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


@pytest.mark.parametrize("line", ["foo: " + "a" * 996, "zz " * 400, "spacings: " + "9" * 5000])
def test_a_field_that_would_end_the_process_is_refused(tmp_path, line):
    """ITK writes its complaint beyond the end of a buffer."""
    path = tmp_path / "x.nrrd"
    header = "NRRD0004\ntype: uint8\ndimension: 3\nsizes: 4 3 2\nencoding: raw\n"
    path.write_bytes((header + f"{line}\n\n").encode() + bytes(24))
    for look in (read_image, image_shape, image_frame):
        with pytest.raises(ValueError, match=r"x\.nrrd.*line 6 of its header has \d+ characters"):
            look(path)


@pytest.mark.parametrize("line", ["# " + "a" * 5000, "content: " + "b" * 5000, "Segment0:=" + "c" * 5000])
def test_text_of_a_header_may_be_long(tmp_path, line):
    path = tmp_path / "x.nrrd"
    header = "NRRD0004\ntype: uint8\ndimension: 3\nsizes: 4 3 2\nencoding: raw\n"
    path.write_bytes((header + f"{line}\n\n").encode() + bytes(range(24)))
    assert read_image(path).array.ravel().tolist() == list(range(24))


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
    why = "(outside of its folder|% may only format one number)"
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


def test_missing_package_names_the_extra(tmp_path, monkeypatch):
    path = tmp_path / "a.mha"
    path.write_bytes(b"ObjectType = Image\nNDims = 2\nDimSize = 1 1\nElementDataFile = LOCAL\nx")

    def gone(name):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(volume.importlib, "import_module", gone)
    with pytest.raises(ImportError, match=r"a\.mha.*needs SimpleITK: pip install 'mmlandmark\[medical\]'"):
        read_image(path)


def test_an_npy_header_of_2_gib_is_not_read(tmp_path):
    np.save(tmp_path / "a.npy", ramp())
    data = bytearray((tmp_path / "a.npy").read_bytes())
    data[6:12] = b"\x02\0\xff\xff\xff\x7f"
    (tmp_path / "a.npy").write_bytes(bytes(data))
    for read in (read_image, image_shape):
        with limited_memory(), pytest.raises(ValueError, match=r"a\.npy") as caught:
            read(tmp_path / "a.npy")
        assert "not enough memory" not in str(caught.value)
