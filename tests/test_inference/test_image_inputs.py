"""Files, patterns, folders and arrays become cases with unique names in a stable order."""

from __future__ import annotations

import os
import re

import cv2
import numpy as np
import pytest

from image_writers import write_dicom
from mmlandmark.inference.image_inputs import find_cases
from mmlandmark.testing.volume_files import write_dicom_series

PICTURE = np.arange(12, dtype=np.uint8).reshape(3, 4)


@pytest.fixture
def folder(tmp_path):
    """Return a function that writes a tiny image under each name and returns the folder."""

    def written(*names: str):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix in (".png", ".jpg", ".bmp"):
                assert cv2.imwrite(str(path), PICTURE)
            else:
                path.write_bytes(b"some text, no image\n" * 20)
        return tmp_path

    return written


def names(cases) -> list[str]:
    return [case.sample_id for case in cases]


def test_a_folder_is_searched_with_all_below_in_the_order_of_its_names(folder):
    root = folder("b.png", "a.png", "sub/a.png", "sub/deep/c.jpg", "notes.txt", ".hidden.png", ".git/d.png")
    cases = find_cases(str(root))
    assert names(cases) == ["a", "b", "sub/a", "sub/deep/c"]
    assert [os.path.relpath(case.image, root) for case in cases] == [
        "a.png",
        "b.png",
        "sub/a.png",
        "sub/deep/c.jpg",
    ]
    assert names(find_cases([root, root / "b.png", root])) == names(cases), "each image counts once"


def test_files_keep_their_order_and_patterns_are_sorted(folder, monkeypatch):
    monkeypatch.chdir(folder("b.png", "a.png", "c/d.bmp", "what?.png"))
    assert names(find_cases(["b.png", "a.png"])) == ["b", "a"]
    assert names(find_cases("[ab].png")) == ["a", "b"]
    assert names(find_cases("**/*.bmp")) == ["d"]
    assert names(find_cases("what?.png")) == ["what?"], "a file of that name is no pattern"
    assert all(os.path.isabs(case.image) for case in find_cases("*.png"))


def test_names_that_meet_are_told_apart(folder):
    root = folder("one/1.png", "two/1.png", "two/1.jpg", "two/2.png")
    files = [root / "one" / "1.png", root / "two" / "1.png", root / "two" / "1.jpg", root / "two" / "2.png"]
    assert names(find_cases(files)) == ["one/1", "two/1", "1.jpg", "2"]
    assert names(find_cases(files[1:])) == ["1.png", "1.jpg", "2"]
    assert names(find_cases(root)) == ["one/1", "two/1.jpg", "two/1.png", "two/2"]
    taken = {"1": str(files[0])}
    assert names(find_cases(files[:2], taken=taken)) == ["1", "two/1"], "a name once given stays"


def test_dicom_files_need_no_suffix(tmp_path):
    for name in ("IM000001", "1.2.840.7", "b.dcm"):
        write_dicom(tmp_path / name, PICTURE.astype(np.uint16), (1.0, 1.0), bits=12)
    (tmp_path / "DICOMDIR").write_bytes((tmp_path / "b.dcm").read_bytes())
    (tmp_path / "README").write_text("no image")
    assert names(find_cases(tmp_path)) == ["1.2.840.7", "IM000001", "b"]


def test_a_folder_of_slices_is_one_case(tmp_path):
    pytest.importorskip("pydicom")
    for name in ("b", "a/ct"):
        write_dicom_series(tmp_path / name, np.zeros((3, 4, 5), np.uint8), np.eye(4))
    (tmp_path / "c.png").write_bytes(b"x")
    assert [case.sample_id for case in find_cases(tmp_path)] == ["b", "c", "a/ct"]
    one = find_cases(tmp_path / "b")
    assert [(case.sample_id, case.image) for case in one] == [("b", str(tmp_path / "b"))]
    # Folders of slices beside files; their slices are no images of their own.
    for pattern, found in (("*[bc]*", ["c", "b"]), ("**", ["c", "ct", "b"])):
        assert [case.sample_id for case in find_cases(tmp_path / pattern)] == found


def test_a_broken_image_is_a_case_and_a_named_file_always_is(folder):
    root = folder("a.png")
    (root / "broken.png").write_bytes(b"")
    (root / "scan.xyz").write_bytes(b"?")
    assert names(find_cases(root)) == ["a", "broken"]
    assert names(find_cases(root / "scan.xyz")) == ["scan.xyz"]


def test_pictures_of_predictions_are_no_inputs(folder):
    root = folder("a.png", "out/overlays/a.png", "overlays/b.png")
    assert names(find_cases(root)) == ["a", "out/overlays/a", "overlays/b"]
    (root / "out" / "journal.jsonl").write_text("")
    assert names(find_cases(root)) == ["a", "overlays/b"]
    assert names(find_cases(root / "out" / "overlays")) == ["a"], "unless they are asked for"


def test_pictures_of_trainings_are_no_inputs(folder):
    """Such as those of `mmlandmark one-shot --images . -o my.mml.pth`."""
    root = folder("a.png", "my/run/02_student/pseudo_labels/labels.png", "my/more/b.png", "run/c.png")
    for name in ("plan.json", "config.py"):
        (root / "my" / name).write_text("")
    assert names(find_cases(root)) == ["a", "my/more/b", "run/c"]


def test_arrays_are_numbered(folder):
    cases = find_cases([PICTURE, folder("a.png") / "a.png", PICTURE])
    assert names(cases) == ["array_1", "a", "array_2"]
    assert cases[0].array is PICTURE
    assert cases[0].image is None
    assert names(find_cases([PICTURE] * 10))[0] == "array_01"


def test_a_name_that_no_list_can_hold_becomes_one(tmp_path):
    path = os.fsencode(tmp_path) + b"/line\nbreak \xff.png"
    with open(path, "wb") as file:
        file.write(b"x")
    (case,) = find_cases(tmp_path)
    assert case.sample_id == "line_break \ufffd"
    assert os.path.isfile(case.image)


def test_a_name_has_no_blanks_at_its_ends(tmp_path):
    for name in (" x .png", "x.png", "\N{NO-BREAK SPACE}.png"):
        (tmp_path / name).write_bytes(b"x")
    assert sorted(names(find_cases(tmp_path))) == ["_", "_x_", "x"]
    (tmp_path / "_x_.png").write_bytes(b"x")
    found = {os.path.basename(case.image): case.sample_id for case in find_cases(tmp_path)}
    assert re.fullmatch("_x_~[0-9a-f]{10}", found[" x .png"])
    assert found["_x_.png"] == "_x_.png"


def test_names_that_differ_in_control_letters_alone_stay_apart(tmp_path):
    files = [tmp_path / f"x{letter}.png" for letter in ("\x01", "\x02", "_")]
    for path in files:
        path.write_bytes(b"x")
    found = {case.image: case.sample_id for case in find_cases(tmp_path)}
    ids = [found[str(path)] for path in files]
    assert re.fullmatch("x_~[0-9a-f]{10}", ids[0])
    assert re.fullmatch("x_~[0-9a-f]{10}", ids[1])
    assert ids[2] == "x_.png"
    assert len(set(ids)) == 3


def test_an_array_and_a_file_of_its_name(folder):
    root = folder("array_1.png", "array_2.jpg")
    assert names(find_cases([PICTURE, root])) == ["array_1", "array_1.png", "array_2"]


def test_whatever_the_names_ids_are_unique(folder):
    root = folder("a/x.png", "a/x.png.png", "x.png", "b/a/x.png")
    path = str(root / "a" / "x.png")
    every = [path, path[:-4]]  # other images have all names that this file can have
    taken = {name[i + 1 :]: "elsewhere" for name in every for i in range(len(name)) if name[i] == "/"}
    taken |= dict.fromkeys(every, "elsewhere")
    found = find_cases(root, taken=taken)
    assert {case.image: case.sample_id for case in found}[path] == f"{path}~2"
    assert len({*names(found), *taken}) == len(found) + len(taken)


def test_a_part_that_is_named_already_changes_nothing_for_the_rest(folder):
    """What a kill left over gets the names that it would have got."""
    root = folder("one/1.png", "two/1.png", "two/1.jpg")
    files = [root / "one" / "1.png", root / "two" / "1.png", root / "two" / "1.jpg"]
    whole = find_cases(files)
    for case in whole:
        assert names(find_cases(files, taken={case.sample_id: case.image})) == names(whole)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("nowhere.png", "'nowhere.png' does not exist"),
        ("*.tif", r"no file matches '\*.tif'"),
        ("empty", "'empty' holds no image"),
    ],
)
def test_what_does_not_exist_is_said(given, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty" / "deeper").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=message):
        find_cases([given])


def test_no_input_is_an_error():
    with pytest.raises(ValueError, match="nothing to predict"):
        find_cases([])
