"""Files appear whole or not at all."""

from __future__ import annotations

import json
import os
import stat

import pytest

from mmlandmark.utils.files import atomic_path, atomic_write_json, atomic_write_text


def test_folders_are_made_and_files_replaced(tmp_path):
    path = tmp_path / "a" / "b" / "note.txt"
    atomic_write_text(path, "Höhe 1 µm\n")
    atomic_write_text(path, "Höhe 2 µm\n")
    assert path.read_bytes() == "Höhe 2 µm\n".encode()
    assert list(path.parent.iterdir()) == [path]


def test_the_path_itself_is_untouched_until_the_end(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with atomic_path(path) as temporary:
        assert temporary.parent == tmp_path  # a rename within one file system is atomic
        assert temporary.suffix == ".csv"  # writers choose the format by it
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("exists", [True, False])
def test_an_error_leaves_what_was_there(tmp_path, error, exists):
    path = tmp_path / "model.pth"
    if exists:
        path.write_text("old")

    def write_half():
        with atomic_path(path) as temporary:
            temporary.write_text("hal")
            raise error("the disk is full")

    with pytest.raises(error):
        write_half()
    assert [p.read_text() for p in tmp_path.iterdir()] == ["old"] * exists


def test_a_value_that_is_no_json_leaves_the_file(tmp_path):
    path = tmp_path / "a.json"
    atomic_write_json(path, {"mre": 1.5})
    with pytest.raises(ValueError, match="JSON"):
        atomic_write_json(path, {"mre": float("nan")})
    with pytest.raises(TypeError, match="set"):
        atomic_write_json(path, {"mre": {1}})
    assert json.loads(path.read_text()) == {"mre": 1.5}
    assert list(tmp_path.iterdir()) == [path]


def test_json_layout(tmp_path):
    atomic_write_json(tmp_path / "a.json", {"b": [1]}, indent=None)
    assert (tmp_path / "a.json").read_text() == '{"b": [1]}\n'


@pytest.mark.skipif(os.name != "posix", reason="permissions are those of POSIX")
@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_permissions_are_those_of_any_new_file(tmp_path, umask):
    before = os.umask(umask)
    try:
        atomic_write_text(tmp_path / "ours", "")
        (tmp_path / "plain").write_text("")
        assert os.umask(umask) == umask  # looking at it did not change it
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("ours", "plain")]
    assert modes == [0o666 & ~umask] * 2
